"""A candidate answers a share of the questions, and thumbs judge it."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragwright.artifacts.cli import app
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.opinions import AnswerRecord
from ragwright.artifacts.server.swap import ServedVersion
from ragwright.programs.interface import ProgramInputs
from tests.artifacts.server.conftest import Running, Serve, until

QUESTION = "What is the capital of Japan?"


def loaded(server: Running) -> None:
    """Wait for the candidate, which is loaded beside the incumbent."""
    until(lambda: server.app.state.service.trial.ready)


def rag(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_share_of_the_questions_goes_to_the_candidate(
    serve: Serve, home: Path, tmp_path: Path
) -> None:
    with serve(candidate=str(home), share=0.5, cache_entries=0) as server:
        loaded(server)
        for turn in range(24):
            told = server.ask(f"{QUESTION} {turn}").json()
            body = {"answer_id": told["id"], "rating": "up"}
            assert server.client.post("/v1/feedback", json=body).status_code == 201
    store = tmp_path / "feedback.sqlite"
    kept = FeedbackStore(store)
    arms = [opinion.given.arm for opinion in kept.opinions()]
    kept.close()
    assert set(arms) == {"incumbent", "candidate"}
    said = json.loads(rag("feedback", "compare", "--store", str(store), "--json").stdout)
    assert said["incumbent"]["ratings"] + said["candidate"]["ratings"] == 24
    assert said["verdict"] == "not decided"
    assert "good at any time" in rag("feedback", "compare", "--store", str(store)).stdout


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all(serve: Serve, home: Path, share: float, tmp_path: Path) -> None:
    with serve(candidate=str(home), share=share) as server:
        loaded(server)
        told = server.ask(QUESTION).json()
        server.client.post("/v1/feedback", json={"answer_id": told["id"], "rating": "down"})
        assert server.metric("ragwright_context_passages_count") == 1
        assert server.metric("ragwright_context_tokens_sum") > 0
        assert server.metric("ragwright_replies_total", read="chat") == 1
    done = rag("feedback", "compare", "--store", str(tmp_path / "feedback.sqlite"))
    assert done.exit_code == (0 if share else 2)
    assert share or "--ab SHARE CANDIDATE" in done.stderr


def test_a_candidate_that_cannot_be_loaded_answers_nothing(serve: Serve, tmp_path: Path) -> None:
    with serve(candidate=str(tmp_path / "nowhere"), share=1.0) as server:
        until(lambda: bool(server.app.state.service.trial.problem))
        assert server.ask(QUESTION).status_code == 200
        health = server.client.get("/readyz").json()
        assert (health["status"], health["problems"]) == (
            "degraded", ["the candidate cannot be loaded"],
        )  # fmt: skip


def test_thumbs_on_earlier_versions_do_not_count(tmp_path: Path) -> None:
    """The winner of one trial is the incumbent of the next: its old thumbs judge neither."""
    file = tmp_path / "kept.sqlite"
    told = [("docs", "1", "", "up")] * 3  # before any trial
    told += [("docs", "1", "incumbent", "down"), ("docs", "2", "candidate", "up")] * 4
    told += [("docs", "2", "incumbent", "up"), ("docs", "3", "candidate", "down")] * 2
    with closing(FeedbackStore(file, create=True)) as kept:
        for n, (artifact, version, arm, rating) in enumerate(told):
            kept.record(AnswerRecord(f"{n}", f"{n}?", "x", (), artifact, version, arm=arm))
            kept.rate(f"{n}", rating)
    said = json.loads(rag("feedback", "compare", "--store", str(file), "--json").stdout)
    assert said["incumbent"] == {"ratings": 2, "up": 2}
    assert said["candidate"] == {"ratings": 2, "up": 0}


def test_a_candidate_that_takes_other_inputs_costs_no_answer(serve: Serve, home: Path) -> None:
    with serve(candidate=str(home), share=1.0) as server:
        loaded(server)
        trial = server.app.state.service.trial
        served: ServedVersion = trial.current
        trial._served = replace(
            served, inputs=ProgramInputs(types={"tone": str}, required=("tone",))
        )
        answer = server.ask(QUESTION)
        assert answer.status_code == 200, answer.text
