"""What people think of answers: kept, listed, and turned into a training set."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.server import feedback
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.opinions import (
    AnswerRecord,
    contradicted_questions,
    training_set,
)
from ragwright.optimize.questions.data import read_questions
from ragwright.retrievers.errors import InputError
from tests.artifacts.server.conftest import Running, Serve

QUESTION = "What is the capital of Peru?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    with closing(FeedbackStore(tmp_path / "deep/feedback.sqlite", create=True)) as opened:
        yield opened


def given(id: str, question: str = QUESTION, answer: str = "Lima") -> AnswerRecord:
    return AnswerRecord(id, question, answer, ("Peru",), "capitals", "1")


def test_the_last_word_on_an_answer_counts(server: Running) -> None:
    answer = server.ask(QUESTION).json()
    for rating, comment in (("up", "nice"), ("down", "too short")):
        body = {"answer_id": answer["id"], "rating": rating, "comment": comment}
        assert server.client.post("/v1/feedback", json=body).status_code == 201
    (opinion,) = server.app.state.service.feedback.opinions()
    assert (opinion.rating, opinion.comment) == ("down", "too short")
    assert opinion.given.question == QUESTION
    assert opinion.given.documents == ("Peru",)
    assert server.metric("ragwright_feedback_total", rating="up") == 1


def test_streamed_cached_and_chatted_answers_can_be_rated(server: Running) -> None:
    chat = {"messages": [{"role": "user", "content": QUESTION}]}
    ids = [
        server.events(question=QUESTION)[-1][1]["id"],
        server.ask(QUESTION).json()["id"],
        server.client.post("/v1/chat/completions", json=chat).json()["ragwright"]["id"],
    ]
    for id in ids:
        body = {"answer_id": id, "rating": "up"}
        assert server.client.post("/v1/feedback", json=body).status_code == 201
    assert len(set(ids)) == len(server.app.state.service.feedback.opinions()) == 3


def test_feedback_on_nothing_is_refused(server: Running) -> None:
    body = {"answer_id": "x", "rating": "up"}
    response = server.client.post("/v1/feedback", json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "no_answer")
    assert server.client.post("/v1/feedback", json={**body, "rating": "5"}).status_code == 422


def test_a_server_may_keep_nothing(serve: Serve, tmp_path: Path) -> None:
    with serve(feedback="") as server:
        id = server.ask(QUESTION).json()["id"]
        response = server.client.post("/v1/feedback", json={"answer_id": id, "rating": "up"})
        assert (response.status_code, response.json()["error"]["code"]) == (404, "no_feedback")
    assert not list(tmp_path.glob("*.sqlite"))


def test_what_people_asked_is_readable_for_the_servers_user_alone(tmp_path: Path) -> None:
    FeedbackStore(tmp_path / "kept.sqlite", create=True).close()
    assert (tmp_path / "kept.sqlite").stat().st_mode & 0o777 == 0o600


def test_a_training_set_holds_approved_and_corrected_answers(store: FeedbackStore) -> None:
    for id, question, rating, correction in (
        ("a", "Peru?", "up", ""),
        ("b", "Japan?", "down", ""),
        ("c", "Chad?", "down", "N'Djamena"),
        ("d", "  PERU? ", "down", "Lima, Peru"),
    ):
        store.record(given(id, question))
        store.rate(id, rating, correction=correction)
    assert training_set(store.opinions()) == [
        {"id": "d", "question": "  PERU? ", "answer": "Lima, Peru"},
        {"id": "c", "question": "Chad?", "answer": "N'Djamena"},
    ]
    assert training_set(store.opinions()[:1]) == [
        {"id": "a", "question": "Peru?", "answer": "Lima", "documents": ["Peru"]}
    ]


def test_the_export_is_a_training_set_as_it_is(store: FeedbackStore, tmp_path: Path) -> None:
    for n in range(3):
        store.record(given(f"a{n}", f"Question \u201c{n}\u201d?\n", "Lima\u2028!"))
        store.rate(f"a{n}", "up")
    output = tmp_path / "set.jsonl"
    path = str(tmp_path / "deep/feedback.sqlite")
    ran = CliRunner().invoke(app, ["feedback", "export", str(output), "--store", path, "--json"])
    assert (ran.exit_code, json.loads(ran.stdout)) == (
        0, {"opinions": 3, "questions": 3, "contradicted": 0, "callers": {"": 3}}
    )  # fmt: skip
    found = read_questions(output).questions
    assert [one.answers for one in found] == [("Lima\u2028!",)] * 3
    assert found[0].documents == ("Peru",)


@pytest.mark.parametrize("said", ["{", "7", "[1, null]", "[" * 100_000, b"\xff"])
def test_a_damaged_row_costs_its_documents_alone(store: FeedbackStore, said: str | bytes) -> None:
    store.record(given("a", "Peru?"))
    store._connection.execute("UPDATE answers SET documents = ?", (said,))
    assert store.rate("a", "up") is not None
    assert training_set(store.opinions()) == [{"id": "a", "question": "Peru?", "answer": "Lima"}]


def test_nobodys_word_replaces_anothers(store: FeedbackStore) -> None:
    said = [
        ("a", "Peru?", "ann", "up", ""), ("b", "peru?", "mallory", "down", "Cusco"),
        ("c", "Chad?", "ann", "down", "N'Djamena"), ("d", "Chad?", "bob", "up", "N'djamena "),
        ("e", "Mali?", "ann", "down", ""), ("f", "Mali?", "ann", "up", ""),
        ("g", "Togo?", "mallory", "up", ""), ("h", "Oman?", "mallory", "up", ""),
    ]  # fmt: skip
    for id, question, caller, rating, correction in said:
        store.record(given(id, question))
        store.rate(id, rating, correction=correction, caller=caller)
    opinions = store.opinions()
    assert contradicted_questions(opinions) == ["peru?"]
    assert [line["id"] for line in training_set(opinions)] == ["d", "f", "g", "h"]
    assert [line["id"] for line in training_set(opinions, per_caller=1)] == ["d", "f", "h"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ([("London", "down", "Paris"), ("Paris ", "up", "")], "Paris "),
        ([("London", "down", ""), ("London", "down", "Paris")], "Paris"),
        ([("London", "down", "Paris"), ("London", "down", "")], "Paris"),
        ([("London", "down", ""), ("Paris", "up", "")], "Paris"),
        ([("paris", "down", "Paris"), ("Paris", "up", "")], "Paris"),
        ([("Paris", "up", ""), ("It is Paris.", "up", "")], "It is Paris."),
        ([("London", "down", ""), ("London", "down", "")], None),
        ([("London", "up", ""), ("London", "down", "Paris")], None),
        ([("London", "down", "Paris"), ("Paris", "down", "")], None),
        ([("London", "down", "Paris"), ("Rome", "up", "")], None),
    ],
)
def test_callers_agree_on_what_is_right_whichever_version_answered(
    store: FeedbackStore, said: list[tuple[str, str, str]], answer: str | None
) -> None:
    """A question that a correction repaired stays in the set once the repaired answer is liked."""
    for n, (given_answer, rating, correction) in enumerate(said):
        store.record(given(f"a{n}", "France?", given_answer))
        store.rate(f"a{n}", rating, correction=correction, caller=f"caller {n}")
    lines = training_set(store.opinions())
    assert [line["answer"] for line in lines] == ([] if answer is None else [answer])


def test_what_strangers_said_may_be_kept_to_one_side(store: FeedbackStore, tmp_path: Path) -> None:
    for n, caller in enumerate(["ann", "mallory", "mallory"]):
        store.record(given(f"a{n}", f"Question {n}?"))
        store.rate(f"a{n}", "up", caller=caller)
    output = tmp_path / "set.jsonl"
    path = str(tmp_path / "deep/feedback.sqlite")
    ran = CliRunner().invoke(
        app, ["feedback", "export", str(output), "--store", path, "--split", "train"]
    )
    assert "2 callers; 2 of the questions are from mallory" in ran.stdout
    assert {one.split for one in read_questions(output).questions} == {"train"}


def test_feedback_is_listed(store: FeedbackStore, tmp_path: Path) -> None:
    store.record(given("a", "[bold]Peru?"))
    store.rate("a", "up", comment="good")
    path = str(tmp_path / "deep/feedback.sqlite")
    table = CliRunner().invoke(app, ["feedback", "list", "--store", path]).stdout
    assert "[bold]Peru?" in table
    listed = json.loads(
        CliRunner().invoke(app, ["feedback", "list", "--store", path, "--json"]).stdout
    )
    assert (listed[0]["question"], listed[0]["comment"]) == ("[bold]Peru?", "good")


def test_answers_without_feedback_are_forgotten_in_time(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "KEPT", 5)
    monkeypatch.setattr(feedback, "_EVERY", 10)
    store.record(given("old"))
    store.rate("old", "up")
    for n in range(9):
        store.record(given(f"new{n}"))
    assert store.rate("new2", "up") is None
    assert store.rate("new3", "up") is not None
    assert [opinion.given.id for opinion in store.opinions()] == ["old", "new3"]


def test_an_event_loop_records_where_nobody_else_writes(
    store: FeedbackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for no thread, no process and no disk: what would is left to a thread."""
    monkeypatch.setattr(feedback, "_EVERY", 3)
    log = tmp_path / "deep/feedback.sqlite-wal"
    assert not store.record_at_once(given("first"))  # the log is a thread's to move
    store.record(given("first"))
    assert store.record_at_once(given("second"))
    with closing(sqlite3.connect(tmp_path / "deep/feedback.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not store.record_at_once(given("third"))
        other.execute("ROLLBACK")
        with store._lock:
            assert not store.record_at_once(given("third"))
    for number in range(60):
        if not store.record_at_once(given(f"more {number}")):
            store.record(given(f"more {number}"))
    assert log.stat().st_size < 30 * 4096
    found = {one: store.rate(one, "up") is not None for one in ("first", "second", "third")}
    assert found == {"first": True, "second": True, "third": False}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("not a database at all, but long enough to be read as one" * 20)
    with pytest.raises(InputError, match="as a feedback store"):
        FeedbackStore(tmp_path / "x")
    with pytest.raises(InputError, match="There is no feedback"):
        FeedbackStore(tmp_path / "y")


def test_nothing_in_feedback_is_run_as_sql(server: Running, tmp_path: Path) -> None:
    id = server.ask("'; DROP TABLE answers; --").json()["id"]
    body = {"answer_id": id, "rating": "up", "comment": "'); DELETE FROM feedback; --"}
    assert server.client.post("/v1/feedback", json=body).status_code == 201
    assert server.client.post("/v1/feedback", json={**body, "answer_id": "' OR 1"}).is_client_error
    with sqlite3.connect(tmp_path / "feedback.sqlite") as connection:
        counts = connection.execute("SELECT count(*) FROM answers, feedback").fetchone()
    connection.close()
    assert counts == (1,)
