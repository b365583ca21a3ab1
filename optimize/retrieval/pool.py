"""A pool on disk of what stages found for each query, so that no search is made twice.

A pool is what the tuner replays instead of searching again. Everything that a stage's candidates
depend on is part of the key, so that a changed index or prompt has another. Knows nothing of
labels or metrics.
"""

from __future__ import annotations

import inspect
import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import numpy as np
from dspy.predict.parameter import Parameter

from ragwright.optimize.progress import StageProgress
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import MOST_NEIGHBOURS, Knobs
from ragwright.programs.lm import lm_identity
from ragwright.programs.neighbours import ChunkFacts, Surroundings
from ragwright.programs.replaying import StageQuery
from ragwright.programs.rerank import Reranker
from ragwright.programs.signals import Signal
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.embedding.base import Integers
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import Where, content_hash

_VERSION = "5"
_DSPY_OWN = ("callbacks", "history")
"""What DSPy keeps in every module, and no candidate depends on."""


class CandidatePool:
    """Candidates by what was asked: (stage, query, filter); a `programs.replaying.CandidateSource`.

    What was not asked before is searched for and kept, so that a replay is never wrong, only
    sometimes slower. `save` writes what is new beside each index; it is read back when its stage
    is first asked. The index may not change while a pool is in use.

    Attributes:
        fetched: How many questions had to be searched for; the rest was on disk.
        warnings: Which files could not be used, and why.
    """

    def __init__(self) -> None:
        self.fetched = 0
        self.warnings: list[str] = []
        self._rows: dict[StageQuery, Candidates] = {}
        self._files: dict[str, Path] = {}
        self._new: set[str] = set()
        self._indexes: dict[str, str] = {}
        self._lock = threading.RLock()
        self._busy: dict[StageQuery, threading.Lock] = {}

    def ask(self, stage: RetrievalStage, query: str, where: Where | None) -> StageQuery:
        identity = content_hash(_VERSION, stage_identity(stage, self._fingerprint))
        shown = "" if where is None else json.dumps(where, sort_keys=True, default=str)
        with self._lock:
            if identity not in self._files:
                self._files[identity] = open_index(stage.path).folder / "pools" / f"{identity}.npz"
                self._load(identity, stage.signals)
        return StageQuery(identity, query, shown)

    def candidates(self, stage: RetrievalStage, query: str, where: Where | None) -> Candidates:
        ask = self.ask(stage, query, where)
        with self._lock:
            alone = self._busy.setdefault(ask, threading.Lock())
        with alone:
            known = self._rows.get(ask)
            if known is None:
                known = stage.replayable(query, where=where)
                with self._lock:
                    self._rows[ask] = known
                    self._new.add(ask.stage)
                    self.fetched += 1
        return known

    def take(self, asks: Sequence[StageQuery]) -> Candidates:
        """Return the candidates of all these, one row each, in this order."""
        return Candidates.stack([self._rows[ask] for ask in asks])

    def gathered(
        self,
        stage: RetrievalStage,
        queries: Sequence[str],
        *,
        progress: StageProgress | None = None,
        save_every: int = 0,
    ) -> Candidates:
        """Ask a stage all these, and return its candidates, one row each.

        With `save_every`, what was searched for is written after so many questions, too.
        """
        found = []
        for done, query in enumerate(queries, 1):
            found.append(self.candidates(stage, query, None))
            if save_every and done % save_every == 0:
                self.save()
            if progress:
                progress("pool", done, len(queries))
        return Candidates.stack(found)

    def save(self) -> None:
        """Write what was searched for since the last time."""
        with self._lock:
            for identity in self._new:
                rows = {_name(ask): row for ask, row in self._rows.items() if ask.stage == identity}
                file = self._files[identity]
                file.parent.mkdir(parents=True, exist_ok=True)
                _write(file, rows)
            self._new.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> CandidatePool:
        """The many copies of a program share one pool."""
        return self

    def _load(self, identity: str, signals: Sequence[Signal]) -> None:
        stored, warning = _read(self._files[identity])
        if warning:
            self.warnings.append(warning)
        for name, row in stored.items():
            query, where = json.loads(name)
            self._rows[StageQuery(identity, query, where)] = row.declaring(*signals)

    def _fingerprint(self, path: str) -> str:
        with self._lock:
            if path not in self._indexes:
                self._indexes[path] = open_index(path).fingerprint
            return self._indexes[path]


def stage_identity(stage: RetrievalStage, fingerprint: Callable[[str], str]) -> str:
    """Return what a stage's candidates depend on, besides the query: never on what only ranks.

    That is: its class and settings, those of the parts that it holds, the contents of the index;
    where it has queries written, the prompts and the language model; and where what was found
    decides what is asked next, the knobs.

    Args:
        stage: Any stage.
        fingerprint: Gives the fingerprint of an index by its folder.
    """
    return "\n".join(_described(stage, fingerprint))


def _described(part: object, fingerprint: Callable[[str], str]) -> Iterator[str]:
    yield f"{type(part).__module__}.{type(part).__qualname__}"
    yield from _written(type(part))
    if isinstance(part, dspy.Predict):
        yield json.dumps({**part.dump_state(), "lm": None}, sort_keys=True)
        yield lm_identity(part.lm or dspy.settings.lm)
        return
    if isinstance(part, RetrievalStage):
        yield from _known_of(part)
    for name, value in _held(part):
        if name == "path" and isinstance(value, str):
            yield fingerprint(value)
        elif isinstance(value, str | int | float) and not name.startswith("_"):
            yield f"{name}={value!r}"
        elif isinstance(value, Knobs | Retriever) or not _replayed(value):
            continue
        elif isinstance(value, dspy.Module | Parameter):
            yield from (f"{name}.{line}" for line in _described(value, fingerprint))


def _held(part: object) -> Iterator[tuple[str, Any]]:
    """What a part holds, by name; what lists and tables of it hold, one by one."""
    for name, value in sorted(vars(part).items()):
        if name in _DSPY_OWN:
            continue
        if isinstance(value, list | tuple):
            yield from ((f"{name}[{place}]", one) for place, one in enumerate(value))
        elif isinstance(value, dict):
            yield from ((f"{name}[{key!r}]", one) for key, one in value.items())
        else:
            yield name, value


def _written(kind: type) -> Iterator[str]:
    """The file of a class from outside: what it finds changes with its code.

    Ours and DSPy's change with their releases, which is what a pool's version is for.
    """
    if kind.__module__.partition(".")[0] in {"ragwright", "dspy"}:
        return
    try:
        file = inspect.getsourcefile(kind)
    except TypeError:  # written nowhere, as in a console
        return
    if file and Path(file).is_file():
        yield content_hash(Path(file).read_text(encoding="utf-8", errors="replace"))


def _known_of(stage: RetrievalStage) -> Iterator[str]:
    """What the knobs of a stage say that candidates depend on."""
    if stage.follows:
        yield stage.knobs.values.model_dump_json()
    yield from (part.fingerprint for part in stage.knobs.learned)


def _replayed(part: object) -> bool:
    """Whether candidates depend on a part: not on a reranker whose scores a pool does not store."""
    return not isinstance(part, Reranker) or part.signal.replayed


def _name(ask: StageQuery) -> str:
    return json.dumps([ask.query, ask.where])


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


def _near_table(around: Surroundings) -> Integers:
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


def _near(ids: Sequence[str], table: Integers) -> Surroundings:
    pieces, sides = {}, {}
    for id, (tokens, text, *places) in zip(ids, table.tolist(), strict=True):
        pieces[id] = ChunkFacts(tokens, text)
        if places[0] != -2:
            before, after = places[:MOST_NEIGHBOURS], places[MOST_NEIGHBOURS:]
            sides[id] = (_named(ids, before), _named(ids, after))
    return Surroundings(sides, pieces)


def _named(ids: Sequence[str], rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(ids[row] for row in rows if row >= 0)
