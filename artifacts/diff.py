"""Compares two saved artifacts: settings, prompts, scores, answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from ragwright.artifacts.golden import read_golden
from ragwright.artifacts.manifest import Manifest
from ragwright.artifacts.state import knobs_in
from ragwright.artifacts.store import StoredArtifact


@dataclass(frozen=True)
class ArtifactDifference:
    """One thing that differs; None where one side lacks it.

    Attributes:
        part: "recipe", "knobs", "prompt", "manifest" or "golden".
        name: Which value of that part.
        before: Its value in the first artifact.
        after: Its value in the second.
    """

    part: str
    name: str
    before: Any
    after: Any


def artifact_differences(first: StoredArtifact, second: StoredArtifact) -> list[ArtifactDifference]:
    """Compare two artifacts; equal ones give an empty list."""
    pairs = (
        ("recipe", first.recipe.model_dump(mode="json"), second.recipe.model_dump(mode="json")),
        ("knobs", _knobs(first), _knobs(second)),
        ("prompt", _prompts(first), _prompts(second)),
        ("manifest", _facts(first.manifest), _facts(second.manifest)),
        ("golden", _answers(first), _answers(second)),
    )
    return [found for part, one, other in pairs for found in _compared(part, one, other)]


def text_diff(before: str, after: str) -> list[str]:
    """Return the lines that differ, as `diff -u` writes them, without its header."""
    lines = unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def _knobs(stored: StoredArtifact) -> dict[str, Any]:
    """Every number, by its name; with its place where the knobs are not the program's only ones."""
    return {name.removeprefix("knobs."): value for name, value in knobs_in(stored.state)}


def _prompts(stored: StoredArtifact) -> dict[str, str]:
    folder = stored.folder / "prompts"
    return {
        file.stem: file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(folder.glob("*.md"))
    }


def _facts(manifest: Manifest) -> dict[str, Any]:
    kept = {"created", "versions", "language_model", "index", "program", "provenance"}
    return manifest.model_dump(mode="json", include=kept)


def _answers(stored: StoredArtifact) -> dict[str, str]:
    return {golden.question: golden.given.answer for golden in read_golden(stored.folder)}


def _compared(part: str, first: Any, second: Any) -> Iterator[ArtifactDifference]:
    before, after = dict(_flat(first)), dict(_flat(second))
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield ArtifactDifference(part, name, before.get(name), after.get(name))


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for name, inner in value.items():
        yield from _flat(inner, f"{prefix}.{name}" if prefix else str(name))
