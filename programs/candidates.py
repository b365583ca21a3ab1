"""`Candidates`, a table of what retrieval found: ids, scores, lengths, texts and vectors.

Joins what two sources, several queries or several questions found: the same for the live program
and for the tuner's stored pool. Pure NumPy; knows no database, no model, and nothing of what is
chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ragwright.programs.diversity import SignedCodes, encode_vector
from ragwright.programs.fusion import ranks_by_row
from ragwright.programs.knobs import POOL_DEPTH
from ragwright.programs.neighbours import Surroundings
from ragwright.programs.signals import SOURCES, Signal, signals_by_name
from ragwright.retrievers.embedding.base import Floats, Integers


@dataclass(frozen=True)
class Candidates:
    """What retrieval found for Q questions, before any choice is made.

    Attributes:
        ids: For each question its candidates' ids: those of the first source in rank order, then
            those that only the next one found. No id occurs twice in a question.
        signals: Raw scores by each source, and by each reranker that gave some: shape (Q, C).
        tokens: Tokens of each candidate's text, shape (Q, C); 0 where there is none.
        texts: A number per text, shape (Q, C), the same for the same text; None if not known.
        vectors: Candidates' dense vectors by id, in 8 bits; those missing are unlike all others.
        around: What stands around candidates in their documents; nothing where not known.
        declared: What signals besides those of every index say of themselves.
    """

    ids: tuple[tuple[str, ...], ...]
    signals: Mapping[str, Floats]
    tokens: Integers
    texts: Integers | None = None
    vectors: Mapping[str, SignedCodes] = field(default_factory=dict)
    around: Surroundings = field(default_factory=Surroundings)
    declared: tuple[Signal, ...] = ()

    @classmethod
    def union(
        cls, dense: Mapping[str, float], bm25: Mapping[str, float], tokens: Mapping[str, int]
    ) -> Candidates:
        """Join what the sources of every index found for one question."""
        return cls.found(dict(zip(SOURCES, (dense, bm25), strict=True)), tokens)

    @classmethod
    def found(
        cls, found: Mapping[Signal, Mapping[str, float]], tokens: Mapping[str, int]
    ) -> Candidates:
        """Join what sources found for one question; only ids in `tokens` are kept."""
        seen = dict.fromkeys(key for scores in found.values() for key in scores)
        ids = tuple(key for key in seen if key in tokens)
        table = {
            signal.name: np.array([[scores.get(key, np.nan) for key in ids]], dtype=np.float32)
            for signal, scores in found.items()
        }
        counts = np.array([[tokens[key] for key in ids]], dtype=np.int64)
        own = tuple(signal for signal in found if signal not in SOURCES)
        return cls((ids,), table, counts, declared=own)

    @cached_property
    def by_signal(self) -> Mapping[str, Signal]:
        """What each signal says of itself; those of every index say it without being asked."""
        known = signals_by_name([*SOURCES, *self.declared])
        return {name: known.get(name) or Signal(name) for name in self.signals}

    @cached_property
    def with_copies(self) -> Integers:
        """The questions that have two candidates of one text."""
        if self.texts is None:
            return np.zeros(0, dtype=np.int64)
        seen = [self.texts[row, : len(ids)].tolist() for row, ids in enumerate(self.ids)]
        return np.array([row for row, texts in enumerate(seen) if len(set(texts)) < len(texts)],
                        dtype=np.int64)  # fmt: skip

    @classmethod
    def merged(cls, parts: Sequence[Candidates]) -> Candidates:
        """Join what several queries found for one question.

        A candidate keeps its best score by each signal (CombMAX; Fox and Shaw, TREC-2, 1994).
        Relative scores, such as BM25's, are first scaled, since those of a long query are higher.
        Which of them hold the same text is to be said anew.
        """
        if len(parts) == 1:
            return parts[0]
        declared = signals_by_name(signal for part in parts for signal in part.by_signal.values())
        best: dict[str, dict[str, float]] = {name: {} for name in sorted(declared)}
        tokens: dict[str, int] = {}
        for part in parts:
            tokens |= zip(part.ids[0], part.tokens[0].tolist(), strict=True)
            for name, table in part.signals.items():
                scores = declared[name].scaled(table) if declared[name].relative else table
                _keep_best(best[name], part.ids[0], scores)
        sources = [signal for signal in declared.values() if signal.source]
        joined = cls.found({one: _sorted(best.pop(one.name)) for one in sources}, tokens)
        columns = np.arange(len(joined.ids[0]), dtype=np.int64)[None, :]
        for name, scored in best.items():
            row = [[scored.get(id, np.nan) for id in joined.ids[0]]]
            joined = joined.with_signal(declared[name], columns, np.array(row, dtype=np.float32))
        return joined

    @classmethod
    def stack(cls, parts: Sequence[Candidates]) -> Candidates:
        """Put several questions' candidates into one padded table."""
        width = max((part.tokens.shape[1] for part in parts), default=0)
        names = sorted({name for part in parts for name in part.signals})
        signals = {
            name: np.concatenate([_padded(part, name, width) for part in parts]) for name in names
        }
        tokens = np.concatenate([_widened(part.tokens, width) for part in parts])
        known = [part.texts for part in parts if part.texts is not None]
        texts = [_widened(table, width) for table in known] if len(known) == len(parts) else []
        ids = tuple(ids for part in parts for ids in part.ids)
        vectors = {id: vector for part in parts for id, vector in part.vectors.items()}
        around = Surroundings.joined(part.around for part in parts)
        table = np.concatenate(texts) if texts else None
        declared = signals_by_name(signal for part in parts for signal in part.declared)
        return cls(ids, signals, tokens, table, vectors, around, tuple(declared.values()))

    def take(self, questions: Sequence[int]) -> Candidates:
        """Return the candidates of these questions, in this order."""
        rows = list(questions)
        signals = {name: table[rows] for name, table in self.signals.items()}
        ids = tuple(self.ids[row] for row in rows)
        texts = None if self.texts is None else self.texts[rows]
        return replace(self, ids=ids, signals=signals, tokens=self.tokens[rows], texts=texts)

    def with_texts(self, numbers: Mapping[str, int]) -> Candidates:
        """Say which candidates hold the same text, by a number per text, for one question.

        A candidate without a number is no other's copy; it gets one of its own below 0.
        """
        texts = [numbers.get(id, -1 - column) for column, id in enumerate(self.ids[0])]
        return replace(self, texts=np.array([texts], dtype=np.int64))

    def with_around(self, around: Surroundings) -> Candidates:
        """Say what stands around candidates, and which hold the same text, for one question."""
        numbers = {id: piece.text for id, piece in around.pieces.items()}
        return replace(self.with_texts(numbers), around=around)

    def with_vectors(self, vectors: Mapping[str, Floats]) -> Candidates:
        """Add dense vectors of shape (d,), for diversity."""
        return replace(self, vectors={id: encode_vector(vector) for id, vector in vectors.items()})

    def codes(self, columns: Integers) -> SignedCodes:
        """The vectors of some candidates, shape (Q, R, d), for columns of shape (Q, R)."""
        blank = np.zeros_like(next(iter(self.vectors.values())))
        found = [
            [self.vectors.get(ids[column], blank) if column >= 0 else blank for column in row]
            for ids, row in zip(self.ids, columns.tolist(), strict=True)
        ]
        return np.array(found, dtype=np.int8).reshape(*columns.shape, len(blank))

    def with_signal(self, signal: Signal, columns: Integers, scores: Floats) -> Candidates:
        """Add a reranker's scores for some candidates; `columns` and `scores` are (Q, R)."""
        table = np.full(self.tokens.shape, np.nan, dtype=np.float32)
        rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
        real = columns >= 0
        table[rows[real], columns[real]] = scores[real]
        return self.declaring(signal, signals={**self.signals, signal.name: table})

    def declaring(self, *signals: Signal, **changes: Any) -> Candidates:
        """Add what signals say of themselves, as after reading scores from a file."""
        known = signals_by_name([*self.declared, *signals])
        declared = tuple(signal for signal in known.values() if signal not in SOURCES)
        return replace(self, declared=declared, **changes)

    def seen(self, column: int) -> dict[str, float]:
        """Return the scores that the first question's candidate in a column has."""
        row = {name: float(table[0, column]) for name, table in self.signals.items()}
        return {name: score for name, score in row.items() if not np.isnan(score)}

    @cached_property
    def ranks(self) -> Mapping[str, Integers]:
        """Rank of each candidate by the score of each source, from 0; C where unseen."""
        sources = [name for name, signal in self.by_signal.items() if signal.source]
        return {name: ranks_by_row(self.signals[name]) for name in sources}


def _keep_best(best: dict[str, float], ids: Sequence[str], table: Floats) -> None:
    for id, score in zip(ids, table[0].tolist(), strict=True):
        if not np.isnan(score):
            best[id] = max(score, best.get(id, score))


def _sorted(scores: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:POOL_DEPTH])


def _widened(table: Integers, width: int) -> Integers:
    wide = np.zeros((len(table), width), dtype=table.dtype)
    wide[:, : table.shape[1]] = table
    return wide


def _padded(part: Candidates, name: str, width: int) -> Floats:
    table = part.signals.get(name)
    kind = np.float32 if table is None else table.dtype
    wide = np.full((len(part.tokens), width), np.nan, dtype=kind)
    if table is not None:
        wide[:, : table.shape[1]] = table
    return wide
