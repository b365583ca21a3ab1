"""Every example runs, says what it promises, and is short."""

from __future__ import annotations

import logging
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAYS: dict[str, tuple[str, ...]] = {
    "agent": ("pipeline at equal tokens", "agent - pipeline: "),
    "basic_rag": ("Tiber\n  [1] tiber",),
    "benchmarking": ("76 questions; ndcg@10 compared with dense", "hybrid + MaxSim  ", " to +"),
    "chroma": ("seine: The Seine flows through Paris.", "added 1, deleted 1, unchanged 2"),
    "context_management": ("order = edges", "left out"),
    "hybrid_search": ("BM25              ['e2'",),
    "own_program": (
        "handbook.knobs: {'dense': 1.0} -> {'dense': 0.",
        "tickets.knobs: {'dense': 1.0} -> {'dense': 0.",
        "report.html",
    ),
    "production": (
        "up: 'It is the Tiber.' from ['tiber', 'seine'], degraded: []",
        "down: 'Tiber' from ['tiber', 'seine'], degraded: [",
        "back: 'It is the Tiber.' from ['tiber', 'seine'], degraded: []",
    ),
    "qdrant": (
        "added 3 to rivers",
        "Tiber [1]",
        "['loire', 'seine']",
        "unchanged 2; 3 chunks",
    ),
    "reranking": ("76 questions", "MaxSim        best  50", "pairs against MaxSim: worse"),
}
LONGER = {"agent": 110, "own_program": 145, "production": 90, "reranking": 75}


@pytest.mark.parametrize("name", [file.stem for file in sorted(EXAMPLES.glob("*.py"))])
def test_an_example_runs(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.syspath_prepend(EXAMPLES)
    # Whatever an example silences is silent for it alone: it runs in this process.
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    said = capsys.readouterr().out
    for text in SAYS[name]:
        assert text in said


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_example_is_short_and_says_how_to_run_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) < LONGER.get(file.stem, 60)
    assert f"python examples/{file.name}" in text
