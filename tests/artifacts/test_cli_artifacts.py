"""`rag artifacts`: what is printed, what it means in exit codes, and that it does what it says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dspy
import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.golden import GoldenQuestion
from ragwright.artifacts.store import save
from ragwright.artifacts.versions import read_aliases, version_numbers
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import golden_facts
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.evaluation import EvaluationRow
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.programs.build import build_recipe_lm, index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.artifacts.conftest import CAPITALS, documents

HOME = "artifacts/compiled/capitals"


class Ran(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def golden_of(questions: Sequence[Question], rows: Sequence[EvaluationRow]) -> list[GoldenQuestion]:
    """Make golden questions of an evaluation, as a compile does."""
    facts = [golden_facts(question, row) for question, row in zip(questions, rows, strict=True)]
    return [GoldenQuestion.model_validate(one) for one in facts]


def rag(*words: str) -> Ran:
    done = CliRunner().invoke(app, ["artifacts", *words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def place(
    tmp_path: Path, program: dspy.Module, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The current folder, with two versions of an artifact that holds golden questions."""
    monkeypatch.chdir(tmp_path)
    questions = [
        Question(land, f"What is the capital of {land}?", (city,), (land,))
        for land, city in CAPITALS.items()
    ]
    for instructions in ("Name the city.", "Answer with one word."):
        program.respond.signature = program.respond.signature.with_instructions(instructions)
        program.set_lm(build_recipe_lm(recipe))
        rows = evaluate(program, questions, build_metric("answer_f1")).rows
        program.set_lm(None)
        save(program, HOME, recipe=recipe, golden=golden_of(questions, rows))
    return tmp_path


def _changed(recipe: Recipe, **texts: str) -> None:
    """Put other texts into the index."""
    known = {document.id: document for document in documents()}
    known |= {land: Document(land, text, title=land) for land, text in texts.items()}
    ingest(list(known.values()), recipe.index.path, index_settings(recipe))


def test_list_shows_versions_and_what_is_wrong_with_them(place: Path) -> None:
    rows = rag("list", "--json").json
    assert [(row["version"], row["aliases"], row["golden"]) for row in rows] == [
        (1, [], 6),
        (2, ["candidate", "current"], 6),
    ]
    (place / HOME / "1" / "manifest.json").write_text('{"format": 9}')
    text = rag("list", HOME)
    assert text.code == 0
    assert "format 9" in " ".join(text.out.split())
    assert rag("list", "nowhere").code == 2


def test_a_version_is_named_by_number_alias_or_folder(place: Path) -> None:
    for reference in ("capitals@1", f"{HOME}@1", f"{HOME}/1"):
        shown = rag("show", reference, "--json").json
        assert shown["predictors"][0]["instructions"] == "Name the city."
    assert "Answer with one word." in rag("show", "capitals").out


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nothing", "no artifact in 'artifacts/compiled/nothing'"),
        ("my.toml", "`rag compile my.toml` makes one"),
        ("../compiled", "There is no artifact"),
        ("capitals@../1", "There is no artifact"),
        ("capitals@9", r"no version '9'. It has 1, 2."),
        ("capitals@nobody", "no alias 'nobody'"),
        ("", "There is no artifact"),
    ],
)
def test_what_is_not_there_is_one_line(place: Path, reference: str, message: str) -> None:
    for command in ("show", "verify", "check", "promote"):
        done = rag(command, reference)
        assert (done.code, done.out) == (2, "")
        assert message in done.err or "has no" in done.err
        assert len(done.err.strip().splitlines()) == 1


def test_diff_shows_prompts_and_nothing_that_is_equal(place: Path) -> None:
    rows = rag("diff", "capitals@1", "capitals@2", "--json").json
    assert [(row["part"], row["name"]) for row in rows if row["part"] == "prompt"] == [
        ("prompt", "respond")
    ]
    assert {row["part"] for row in rows} <= {"prompt", "manifest"}
    text = rag("diff", "capitals@1", "capitals@2").out
    assert "Name the city." in text
    assert "+" in text
    assert rag("diff", "capitals@1", "capitals@1").out == "No difference.\n"


def test_promote_rollback_delete(place: Path) -> None:
    assert rag("promote", "capitals@1", "--json").json["aliases"]["champion"] == 1
    assert "champion 2" in rag("promote", "capitals").out
    assert rag("rollback", "capitals", "--json").json["aliases"] == {
        "candidate": 2, "champion": 1, "current": 1,
    }  # fmt: skip
    refused = rag("delete", "capitals@1", "--yes")
    assert (refused.code, "Promote another one first" in refused.err) == (2, True)
    assert rag("delete", "capitals@2", "--yes", "--json").json["deleted"] == [2]
    assert version_numbers(place / HOME) == [1]
    assert rag("delete", "capitals", "--all", "--yes").code == 0
    assert not (place / HOME).exists()


def test_delete_asks_first(place: Path) -> None:
    assert rag("delete", "capitals@1").code == 1
    assert version_numbers(place / HOME) == [1, 2]
    for words in (["capitals"], ["capitals@1", "--all"]):
        done = rag("delete", *words, "--yes")
        assert (done.code, "does not say what to delete" in done.err) == (2, True)
    assert version_numbers(place / HOME) == [1, 2]


def test_verify_finds_all_as_saved(place: Path) -> None:
    found = rag("verify", "capitals", "--json")
    assert found.code == 0
    assert (found.json["verified"], found.json["replayed"]) == (True, 6)
    assert "Verified" in rag("verify", "capitals@1").out


def test_an_artifact_whose_aliases_are_damaged_hides_no_other(place: Path) -> None:
    broken = place / "artifacts/compiled/broken/aliases.json"
    broken.parent.mkdir()
    broken.write_text("{")
    rows = rag("list", "--json").json
    told = {(row["artifact"], row["version"]): row["problem"] for row in rows}
    assert "is damaged" in told.pop(("broken", 0))
    assert told == {("capitals", 1): "", ("capitals", 2): ""}
    assert "capitals" in rag("list").out


def test_verify_lists_every_file_that_differs(place: Path) -> None:
    version = place / HOME / "2"
    (version / "prompts" / "respond.md").write_text("x")
    (version / "extra.bin").write_bytes(b"\x80")
    found = rag("verify", "capitals", "--json")
    assert found.code == 1
    assert [("respond.md" in text, "extra.bin" in text) for text in found.json["findings"]] == [
        (True, False),
        (False, True),
    ]


def test_verify_finds_an_answer_that_is_not_the_saved_one(
    place: Path, program: dspy.Module, recipe: Recipe
) -> None:
    program.set_lm(build_recipe_lm(recipe))
    question = Question("q", "What is the capital of Peru?", ("Lima",))
    rows = evaluate(program, [question], build_metric("answer_f1")).rows
    (honest,) = golden_of([question], rows)
    program.set_lm(None)
    given = honest.given.model_copy(update={"answer": "Rome"})
    save(program, HOME, recipe=recipe, golden=[honest.model_copy(update={"given": given})])
    found = rag("verify", "capitals", "--json")
    assert found.code == 1
    assert "'Rome', now" in found.json["findings"][0]


def test_verify_asks_nothing_of_changed_documents(place: Path, recipe: Recipe) -> None:
    _changed(recipe, Peru="Peru moved its capital to Cusco.")
    found = rag("verify", "capitals", "--json")
    assert (found.code, found.json["replayed"]) == (0, 0)
    assert "rag artifacts check" in found.json["notes"][0]


def test_check_holds_where_nothing_changed(place: Path) -> None:
    found = rag("check", "capitals", "--json")
    assert found.code == 0
    assert (found.json["verdict"], found.json["n"], found.json["gain"]) == ("holds", 6, 0.0)
    assert found.json["counts"]["unchanged"] == 6
    assert found.json["moved"] == []
    assert rag("check", "capitals", "--limit", "3", "--json").json["n"] == 3


def test_check_fails_when_answers_are_lost(place: Path, recipe: Recipe) -> None:
    lost = {land: f"{land} is a country." for land in ("France", "Italy", "Spain", "Peru", "Japan")}
    _changed(recipe, **lost)
    found = rag("check", "capitals", "--json")
    assert found.code == 1
    said = found.json
    assert (said["verdict"], said["losses"], said["high"] < 0) == ("dropped", 5, True)
    worse = [row for row in said["moved"] if row["gain"] < 0]
    assert sorted(row["id"] for row in worse) == sorted(lost)
    assert {row["cause"] for row in worse} == {"documents changed"}
    text = rag("check", "capitals")
    assert text.code == 1
    assert "rag compile" in " ".join(text.out.split())


def test_one_lost_answer_is_told_and_is_no_drop(place: Path, recipe: Recipe) -> None:
    _changed(recipe, Peru="Peru is a country.", Cuba="The capital of Cuba is Havana.")
    found = rag("check", "capitals", "--index", recipe.index.path, "--json")
    assert found.code == 0
    assert (found.json["verdict"], found.json["losses"]) == ("holds", 1)
    assert found.json["documents"] == {"then": 6, "now": 7}
    assert found.json["detectable"] > 0


def test_check_needs_golden_questions(place: Path, program: dspy.Module, recipe: Recipe) -> None:
    save(program, HOME, recipe=recipe)
    found = rag("check", "capitals")
    assert (found.code, "holds no golden questions" in found.err) == (2, True)


@pytest.mark.filterwarnings("default")
def test_publish_and_pull(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "--tracking-uri" in rag("publish", "capitals").err
    assert "--tracking-uri" in rag("pull", "capitals").err
    uri = ("--tracking-uri", f"sqlite:///{place}/mlflow.db")
    rag("promote", "capitals@1")
    said = rag("publish", "capitals", *uri, "--json").json
    assert (said["address"], said["created"]) == ("models:/capitals/1", True)
    assert said["aliases"] == {"champion": 1}
    pulled = rag("pull", "capitals", *uri, "--output", "pulled", "--json").json
    assert pulled["added"] == [1]
    assert read_aliases(place / "pulled") == {"champion": 1, "current": 1}
