"""Counts how often a test set has been used: one line per run, in a file beside the runs.

A test set is worth less with every look, because people keep what came out well. Knows nothing of
what was seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ragwright.optimize.questions.data import Question
from ragwright.retrievers.types import content_hash

FILE = "looks.jsonl"


def hash_test_questions(questions: Sequence[Question]) -> str:
    """A hash of the questions and their answers, whatever their order."""
    return content_hash(*sorted(repr((item.question, item.answers)) for item in questions))


def record_test_look(folder: Path, questions: Sequence[Question], run: str) -> int:
    """Note that a run looked at these test questions; return how many runs have, this one included.

    A run that is resumed and looks again counts once.
    """
    test, file = hash_test_questions(questions), folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    seen = {str(entry["run"]) for entry in _entries(file) if entry["test"] == test}
    if run not in seen:
        line = json.dumps({"test": test, "run": run}) + "\n"
        whole = not file.exists() or file.read_bytes()[-1:] in (b"", b"\n")
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, (line if whole else f"\n{line}").encode())
        finally:
            os.close(descriptor)
    return len(seen | {run})


def _entries(file: Path) -> list[dict[str, Any]]:
    """Every whole line; one that a crash cut short, or that nobody wrote so, is no look."""
    entries = []
    for line in file.read_bytes().splitlines() if file.exists() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and {"test", "run"} <= entry.keys():
            entries.append(entry)
    return entries
