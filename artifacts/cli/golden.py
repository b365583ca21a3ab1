"""`rag artifacts verify` and `check`: golden questions asked again, and what moved since.

`verify` expects the very answers of the saved program, on the index it was saved with. `check`
takes the documents as they are now and asks whether the score dropped beyond chance. How that looks
is in `golden_view.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.addresses import fetch_version
from ragwright.artifacts.cli.actions import (
    ReadyProgram,
    evaluate_program,
    load_ready_program,
    pace_of,
)
from ragwright.artifacts.cli.sources import ProgramSource
from ragwright.artifacts.golden import (
    GoldenAnswer,
    GoldenQuestion,
    Move,
    compare_answers,
    read_golden,
    sample_questions,
)
from ragwright.artifacts.integrity import damaged_version_files, foreign_files, read_manifest
from ragwright.artifacts.manifest import Manifest
from ragwright.artifacts.store import read_artifact
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.statistics import Gain, paired_gain
from ragwright.programs.anatomy import searchers_of
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.lm import EXTRACTIVE
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index, open_index


@dataclass(frozen=True)
class ReplayRequest:
    """Which version is to be replayed, and how; what is None stays as it was saved."""

    address: str
    index: Path | None
    lm: str | None
    limit: int | None
    threads: int


@dataclass(frozen=True)
class VerifyOutput:
    """What `verify_version` found; no findings means that all is as it was saved."""

    manifest: Manifest
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    files: int
    replayed: int


@dataclass(frozen=True)
class GoldenCheck:
    """What `check_golden` found.

    Attributes:
        gain: Scores now against scores then, paired.
        moves: What became of each golden question.
        documents: How many documents the index held then, and holds now.
        notes: What there is to say about the artifact, but that documents changed.
    """

    manifest: Manifest
    metric: str
    gain: Gain
    moves: tuple[Move, ...]
    documents: tuple[int, int]
    notes: tuple[str, ...]

    @property
    def dropped(self) -> bool:
        """Whether the whole 95 % interval of the change lies below 0."""
        return self.gain.high < 0

    @property
    def counts(self) -> dict[str, int]:
        """How many questions moved, and in which way."""
        return {
            "unchanged": sum(not (m.answer_moved or m.passages_moved) for m in self.moves),
            "other passages, same answer": sum(
                m.passages_moved and not m.answer_moved for m in self.moves
            ),
            "other answer": sum(m.answer_moved for m in self.moves),
            "better": sum(m.gain > 0 for m in self.moves),
            "worse": sum(m.gain < 0 for m in self.moves),
        }


def verify_version(wanted: ReplayRequest, progress: StageProgress, *, replay: bool) -> VerifyOutput:
    """Recompute hashes, then ask the golden questions on the index of the saved program.

    Raises:
        RagError: The artifact or its index cannot be read at all.
    """
    with fetch_version(wanted.address) as version:
        manifest = read_manifest(version)
        findings = damaged_version_files(version, manifest)
        names = foreign_files(version, manifest)
        findings += [f"{name!r} is not part of what was saved." for name in names]
        if findings or not replay:
            return VerifyOutput(manifest, tuple(findings), (), len(manifest.files), 0)
        golden = read_golden(version)
        opened = load_ready_program(ProgramSource(None, version, wanted.index))
        indexes = _indexes(opened)
        tuned = [binding.fingerprint for binding in manifest.bindings]
        if [index.fingerprint for index in indexes] != tuned:
            note = (
                "The documents changed since: ask the golden questions with `rag artifacts check`."
            )
            return VerifyOutput(manifest, (), (note,), len(manifest.files), 0)
        moves = _replayed(opened, golden, indexes, wanted.threads, progress) if golden else ()
    findings, notes = _differing(moves, manifest)
    notes += list(opened.notes) + ([] if golden else ["It holds no golden questions."])
    return VerifyOutput(manifest, tuple(findings), tuple(notes), len(manifest.files), len(moves))


def check_golden(wanted: ReplayRequest, progress: StageProgress) -> GoldenCheck:
    """Ask the golden questions on the documents of today and compare.

    Raises:
        InputError: The artifact holds no golden questions.
        RagError: The artifact or the index cannot be used.
    """
    with fetch_version(wanted.address) as version:
        stored = read_artifact(version)
        golden = read_golden(version)
        if not golden:
            raise InputError(
                f"{wanted.address!r} holds no golden questions.",
                hint="`rag compile` writes them; from Python: save(..., golden=...).",
            )
        opened = load_ready_program(ProgramSource(None, version, wanted.index), wanted.lm)
    asked = sample_questions(golden, wanted.limit) if wanted.limit else golden
    indexes = _indexes(opened)
    moves = _replayed(opened, asked, indexes, wanted.threads, progress)
    gain = paired_gain(_scores([m.golden.given for m in moves]), _scores([m.now for m in moves]))
    before = sum(binding.documents for binding in stored.manifest.bindings)
    documents = (before, sum(index.document_count for index in indexes))
    notes = tuple(note for note in opened.notes if "rag artifacts check" not in note)
    metric = stored.recipe.compile.metric
    return GoldenCheck(stored.manifest, metric, gain, moves, documents, notes)


def _replayed(
    opened: ReadyProgram,
    golden: Sequence[GoldenQuestion],
    indexes: Sequence[Index],
    threads: int,
    progress: StageProgress,
) -> tuple[Move, ...]:
    inputs = ProgramInputs.of(opened.program)
    questions = [
        Question(one.id, one.question, one.answers, one.documents, one.evidence,
                 example=_example(one, inputs))
        for one in golden
    ]  # fmt: skip
    pace = pace_of(opened, threads)
    rows = evaluate_program(opened, questions, pace=pace, progress=progress).rows
    chunks = {place.chunk for one in golden for place in one.given.passages}
    held = {chunk for index in indexes for chunk in index.tokens(sorted(chunks))}
    given = [GoldenAnswer.model_validate(row.given) for row in rows]
    return tuple(compare_answers(one, now, held) for one, now in zip(golden, given, strict=True))


def _example(golden: GoldenQuestion, inputs: ProgramInputs) -> dspy.Example | None:
    """What a program of one's own is asked with and judged by; None for ours.

    Raises:
        InputError: An input is not what the program takes.
    """
    if not golden.example:
        return None
    given = {name: golden.example[name] for name in golden.inputs if name in golden.example}
    question = str(given.pop(inputs.question, golden.question))
    called = inputs.call(question, given)
    return dspy.Example(**{**golden.example, **called}).with_inputs(*called)


def _indexes(opened: ReadyProgram) -> list[Index]:
    """The indexes that a program searches, each once, in its order."""
    paths = dict.fromkeys(part.path for part in searchers_of(opened.program).values())
    return [open_index(path) for path in paths]


def _differing(moves: Sequence[Move], manifest: Manifest) -> tuple[list[str], list[str]]:
    """Return findings and notes; only the offline model must give the very same answers."""
    passages = [m for m in moves if m.passages_moved]
    answers = [m for m in moves if m.answer_moved and not m.passages_moved]
    findings = [f"Other passages for {m.golden.question!r}." for m in passages]
    said = [
        f"{m.golden.question!r}: {m.golden.given.answer!r}, now {m.now.answer!r}." for m in answers
    ]
    if manifest.language_model == EXTRACTIVE or not said:
        return findings + said, []
    return findings, [f"{len(said)} answers differ; {manifest.language_model} may vary."]


def _scores(given: Sequence[GoldenAnswer]) -> Any:
    import numpy as np

    return np.array([one.score for one in given], dtype=np.float64)
