"""`rag label`: a person's few labels correct a run's means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.cli.labelling import LABELS, corrected_means, read_labels, read_run_answers
from ragwright.retrievers.errors import InputError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose metric is too kind: it gives every compiled answer full marks."""
    rows = [
        {"id": f"q{n}", "question": f"What is {n}?\x1b[31m", "expected": [str(n)],
         "baseline": {"answer": f"no idea {n}", "score": 0.0},
         "compiled": {"answer": f"{n if n % 2 else 'wrong'}", "score": 1.0}}
        for n in range(60)
    ]  # fmt: skip
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(json.dumps({"questions": rows}))
    return tmp_path


def test_labels_are_kept_and_correct_the_means(run: Path) -> None:
    shell = CliRunner()
    nobody = shell.invoke(app, ["label", str(run)], input="")
    assert (nobody.exit_code, "0 questions are labelled" in nobody.output) == (2, True)
    stopped = shell.invoke(app, ["label", str(run), "--number", "20"], input="n\n" * 6 + "q\n")
    assert stopped.exit_code != 0
    assert "labelled; 10 or more" in stopped.output
    assert len((run / LABELS).read_text().splitlines()) == 6
    assert "\x1b" not in stopped.output
    done = shell.invoke(
        app, ["label", str(run), "--number", "20", "--json"], input="maybe\n" + "p\n" * 34
    )
    assert done.exit_code == 0, done.output
    found = corrected_means(read_run_answers(run), read_labels(run))
    assert found["compiled"].judged == 1.0
    assert found["compiled"].labels == 20
    assert found["compiled"].high < 0.8
    assert set(found) == {"baseline", "compiled", "gain"}
    again = shell.invoke(app, ["label", str(run), "--number", "20"])
    assert again.exit_code == 0
    assert "20 of 60 labelled; the metric alone says 1.000" in again.output


def test_which_program_answered_is_not_shown(run: Path) -> None:
    found = CliRunner().invoke(app, ["label", str(run), "--number", "10"], input="s\n" * 20)
    assert "baseline" not in found.output
    assert "compiled" not in found.output


def test_what_is_no_run_or_damaged_is_named(tmp_path: Path, run: Path) -> None:
    with pytest.raises(InputError, match="holds no report"):
        read_run_answers(tmp_path / "nothing")
    (run / LABELS).write_text("{}\n")
    with pytest.raises(InputError, match="damaged"):
        read_labels(run)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "[]", '{"questions": [5]}', '{"questions": {"a": 1}}',
        '{"questions": [{"id": 1, "question": 2, "expected": 3}]}',
    ],
)  # fmt: skip
def test_a_report_that_somebody_wrote_is_refused(run: Path, text: str) -> None:
    (run / "report" / "report.json").write_text(text)
    with pytest.raises(InputError, match="holds no report"):
        read_run_answers(run)


def test_what_is_no_text_or_no_number_in_a_report_ends_nothing(run: Path) -> None:
    row: dict[str, Any] = {"id": 1, "question": None, "expected": [7]}
    row |= {name: {"answer": ["x"], "score": 0.5} for name in ("baseline", "compiled")}
    (run / "report" / "report.json").write_text(json.dumps({"questions": [row]}))
    shown = CliRunner().invoke(app, ["label", str(run)], input="y\ny\n")
    assert "1 questions are labelled" in shown.output
    row["baseline"] = {"answer": "x", "score": float("nan")}
    (run / "report" / "report.json").write_text(json.dumps({"questions": [row]}))
    with pytest.raises(InputError, match="holds no report"):
        read_run_answers(run)
