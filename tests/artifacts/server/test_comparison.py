"""A candidate answers a share of the questions, and thumbs judge it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragwright.artifacts.cli import app
from ragwright.artifacts.server.feedback import FeedbackStore
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
    assert set(arms) == {"", "candidate"}
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
