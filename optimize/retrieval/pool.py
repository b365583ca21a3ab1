"""Questions in, what retrieval finds for them out: fetched once, stored, and read back next time.

A pool is what the tuner replays instead of searching again. Its file is keyed by everything that
retrieval depends on and by the question; a changed index has another key. Knows nothing of
labels, knobs or metrics.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ragwright.optimize.progress import Progress
from ragwright.programs.candidates import Candidates
from ragwright.programs.fusion import Integers
from ragwright.programs.knobs import MOST_NEIGHBOURS
from ragwright.programs.neighbours import Around, Piece
from ragwright.programs.signals import Signal
from ragwright.retrievers.types import content_hash

_VERSION = "4"


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What the candidates of a question depend on.

    Attributes:
        index: The index's fingerprint: its embedder, chunker and live chunks.
        program: What tells programs apart whose candidates differ: reranker, expansion, hops.
    """

    index: str
    program: str

    def file(self, folder: Path) -> Path:
        """Where the pool of this key lies."""
        return folder / f"{content_hash(_VERSION, self.index, self.program)}.npz"


@dataclass(frozen=True)
class Pool:
    """Candidates of many questions.

    Attributes:
        questions: The texts, in the order of the candidates' rows.
        candidates: All signals, one row per question.
        fetched: How many questions had to be searched for; the rest was on disk.
        warning: Why the file on disk could not be used; empty if all was well.
    """

    questions: tuple[str, ...]
    candidates: Candidates
    fetched: int = 0
    warning: str = ""

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {question: row for row, question in enumerate(self.questions)}

    def take(self, questions: Sequence[str]) -> Candidates:
        """Return the candidates of these questions, in this order."""
        return self.candidates.take([self._rows[question] for question in questions])

    def __deepcopy__(self, memo: dict[int, Any]) -> Pool:
        """Nothing in it changes, so the many copies of a program share one pool."""
        return self


def build_pool(
    questions: Sequence[str],
    gather: Callable[[str], Candidates],
    *,
    key: PoolKey,
    folder: Path,
    signals: Sequence[Signal] = (),
    progress: Progress | None = None,
) -> Pool:
    """Read the stored pool, search for what it lacks, and store the union.

    `gather` returns the candidates of one question (Q = 1), every signal computed; `signals` say
    what their stored scores mean. A damaged file is replaced and reported in `Pool.warning`.
    """
    file = key.file(folder)
    stored, warning = _read(file)
    wanted = tuple(dict.fromkeys(questions))
    missing = [question for question in wanted if question not in stored]
    for done, question in enumerate(missing, 1):
        stored[question] = gather(question)
        if progress:
            progress("pool", done, len(missing))
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        _write(file, stored)
    union = Candidates.stack([stored[question] for question in wanted])
    return Pool(wanted, union.declaring(*signals), len(missing), warning)


def _write(file: Path, stored: Mapping[str, Candidates]) -> None:
    """Write all questions as one table; the file is complete or not there."""
    union = Candidates.stack(list(stored.values()))
    names = json.dumps(
        {
            "questions": list(stored),
            "ids": union.ids,
            "vectors": list(union.vectors),
            "near": list(union.around.pieces),
        }
    ).encode()
    signals = {f"signal_{name}": table for name, table in union.signals.items()}
    texts = {} if union.texts is None else {"texts": union.texts}
    near = _near_table(union.around)
    partial = file.with_name(f"{file.stem}.{os.getpid()}.partial.npz")
    np.savez_compressed(
        partial,
        allow_pickle=False,
        names=np.frombuffer(names, dtype=np.uint8),
        tokens=union.tokens,
        near=near,
        vectors=np.array(list(union.vectors.values()), dtype=np.int8),
        **texts,
        **signals,
    )
    partial.replace(file)


def _read(file: Path) -> tuple[dict[str, Candidates], str]:
    if not file.exists():
        return {}, ""
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            tables = {name: arrays[name] for name in arrays.files}
        names = json.loads(tables.pop("names").tobytes())
        tokens, texts = tables.pop("tokens"), tables.pop("texts", None)
        vectors = dict(zip(names["vectors"], tables.pop("vectors"), strict=True))
        around = _near(names["near"], tables.pop("near"))
        signals = {name.removeprefix("signal_"): table for name, table in tables.items()}
        ids = tuple(tuple(ids) for ids in names["ids"])
        union = Candidates(ids, signals, tokens, texts, vectors, around)
        rows = enumerate(names["questions"])
        return {question: _trimmed(union, row) for row, question in rows}, ""
    except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        return {}, f"The stored pool {file.name} was damaged ({error}) and has been built again."


def _trimmed(union: Candidates, row: int) -> Candidates:
    """One question without the padding that the others need."""
    width = len(union.ids[row])
    signals = {name: table[row : row + 1, :width] for name, table in union.signals.items()}
    texts = None if union.texts is None else union.texts[row : row + 1, :width]
    vectors = {id: union.vectors[id] for id in union.ids[row] if id in union.vectors}
    tokens = union.tokens[row : row + 1, :width]
    return Candidates((union.ids[row],), signals, tokens, texts, vectors, union.around)


def _near_table(around: Around) -> Integers:
    """One row per chunk: tokens, text, then the rows of those before and of those after it.

    -1 where there is none; a chunk that is known only as a neighbour has -2 in place of the first.
    """
    rows = {id: row for row, id in enumerate(around.pieces)}
    table = np.full((len(rows), 2 + 2 * MOST_NEIGHBOURS), -1, dtype=np.int64)
    for id, row in rows.items():
        piece, sides = around.pieces[id], around.sides.get(id)
        table[row, :2] = piece.tokens, piece.text
        if sides is None:
            table[row, 2] = -2
            continue
        for start, side in zip((2, 2 + MOST_NEIGHBOURS), sides, strict=True):
            table[row, start : start + len(side)] = [rows[key] for key in side]
    return table


def _near(ids: Sequence[str], table: Integers) -> Around:
    pieces, sides = {}, {}
    for id, (tokens, text, *places) in zip(ids, table.tolist(), strict=True):
        pieces[id] = Piece(tokens, text)
        if places[0] != -2:
            before, after = places[:MOST_NEIGHBOURS], places[MOST_NEIGHBOURS:]
            sides[id] = (_named(ids, before), _named(ids, after))
    return Around(sides, pieces)


def _named(ids: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(ids[row] for row in rows if row >= 0)
