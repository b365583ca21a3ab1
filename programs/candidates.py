"""What retrieval found, before any choice is made: ids, scores, lengths, texts and vectors.

What two sources, several queries or several questions found goes in, one table goes out: the same
for the live program and for the tuner's stored pool. Pure NumPy; knows no database, no model, and
nothing of what is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ragwright.programs.diversity import Codes, coded
from ragwright.programs.fusion import SOURCES, Floats, Integers, ranked, scaled
from ragwright.programs.knobs import POOL_DEPTH
from ragwright.programs.neighbours import Around, text_number


@dataclass(frozen=True)
class Candidates:
    """What retrieval found for Q questions, before any choice is made.

    Attributes:
        ids: For each question its candidates' ids: dense ones first, in rank order, then those
            that only BM25 found. No id occurs twice in a question.
        signals: "dense", "bm25" and, where computed, "maxsim", "cross" and "lm": shape (Q, C).
        tokens: Tokens of each candidate's text, shape (Q, C); 0 where there is none.
        texts: A number per text, shape (Q, C), the same for the same text; None if not known.
        vectors: Candidates' dense vectors by id, in 8 bits; those missing are unlike all others.
        around: What stands around candidates in their documents; nothing where not known.
    """

    ids: tuple[tuple[str, ...], ...]
    signals: Mapping[str, Floats]
    tokens: Integers
    texts: Integers | None = None
    vectors: Mapping[str, Codes] = field(default_factory=dict)
    around: Around = field(default_factory=Around)

    @classmethod
    def union(
        cls,
        dense: Mapping[str, float],
        bm25: Mapping[str, float],
        tokens: Mapping[str, int],
    ) -> Candidates:
        """Join what two sources found for one question; only ids in `tokens` are kept."""
        ids = tuple(key for key in dict.fromkeys([*dense, *bm25]) if key in tokens)
        table = {
            name: np.array([[scores.get(key, np.nan) for key in ids]], dtype=np.float32)
            for name, scores in (("dense", dense), ("bm25", bm25))
        }
        counts = np.array([[tokens[key] for key in ids]], dtype=np.int64)
        return cls((ids,), table, counts)

    @classmethod
    def merged(cls, parts: Sequence[Candidates]) -> Candidates:
        """Join what several queries found for one question.

        A candidate keeps its best score by each signal (CombMAX; Fox and Shaw, TREC-2, 1994).
        BM25 scores are first divided by the best of their query, since those of a long query are
        higher.
        """
        if len(parts) == 1:
            return parts[0]
        names = sorted({name for part in parts for name in part.signals})
        best: dict[str, dict[str, float]] = {name: {} for name in names}
        tokens: dict[str, int] = {}
        for part in parts:
            tokens |= zip(part.ids[0], part.tokens[0].tolist(), strict=True)
            for name, table in part.signals.items():
                _keep_best(
                    best[name], part.ids[0], scaled(name, table) if name == "bm25" else table
                )
        dense, bm25 = (_sorted(best.pop(name)) for name in SOURCES)
        joined = cls.union(dense, bm25, tokens)
        columns = np.arange(len(joined.ids[0]), dtype=np.int64)[None, :]
        for name, scores in best.items():
            row = [[scores.get(id, np.nan) for id in joined.ids[0]]]
            joined = joined.with_signal(name, columns, np.array(row, dtype=np.float32))
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
        around = Around.joined(part.around for part in parts)
        table = np.concatenate(texts) if texts else None
        return cls(ids, signals, tokens, table, vectors, around)

    def take(self, questions: Sequence[int]) -> Candidates:
        """Return the candidates of these questions, in this order."""
        rows = list(questions)
        signals = {name: table[rows] for name, table in self.signals.items()}
        ids = tuple(self.ids[row] for row in rows)
        texts = None if self.texts is None else self.texts[rows]
        return Candidates(ids, signals, self.tokens[rows], texts, self.vectors, self.around)

    def with_around(self, around: Around) -> Candidates:
        """Say what stands around candidates, and which hold the same text, for one question."""
        known = around.pieces
        texts = [known[id].text if id in known else text_number(id) for id in self.ids[0]]
        return replace(self, texts=np.array([texts], dtype=np.int64), around=around)

    def with_vectors(self, vectors: Mapping[str, Floats]) -> Candidates:
        """Add dense vectors of shape (d,), for diversity."""
        return replace(self, vectors={id: coded(vector) for id, vector in vectors.items()})

    def codes(self, columns: Integers) -> Codes:
        """The vectors of some candidates, shape (Q, R, d), for columns of shape (Q, R)."""
        blank = np.zeros_like(next(iter(self.vectors.values())))
        found = [
            [self.vectors.get(ids[column], blank) if column >= 0 else blank for column in row]
            for ids, row in zip(self.ids, columns.tolist(), strict=True)
        ]
        return np.array(found, dtype=np.int8).reshape(*columns.shape, len(blank))

    def with_signal(self, name: str, columns: Integers, scores: Floats) -> Candidates:
        """Add a reranker's scores for some candidates; `columns` and `scores` are (Q, R)."""
        table = np.full(self.tokens.shape, np.nan, dtype=np.float32)
        rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
        real = columns >= 0
        table[rows[real], columns[real]] = scores[real]
        return replace(self, signals={**self.signals, name: table})

    def seen(self, column: int) -> dict[str, float]:
        """Return the scores that the first question's candidate in a column has."""
        row = {name: float(table[0, column]) for name, table in self.signals.items()}
        return {name: score for name, score in row.items() if not np.isnan(score)}

    @cached_property
    def ranks(self) -> Mapping[str, Integers]:
        """Rank of each candidate by dense and by BM25 score, from 0; C where unseen."""
        return {name: ranked(self.signals[name]) for name in SOURCES}


def _keep_best(best: dict[str, float], ids: Sequence[str], table: Floats) -> None:
    for id, score in zip(ids, table[0].tolist(), strict=True):
        if not np.isnan(score):
            best[id] = max(score, best.get(id, score))


def _sorted(scores: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(scores.items(), key=lambda item: -item[1])[:POOL_DEPTH])


def _widened(table: Integers, width: int) -> Integers:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))


def _padded(part: Candidates, name: str, width: int) -> Floats:
    table = part.signals.get(name)
    if table is None:
        table = np.full(part.tokens.shape, np.nan, dtype=np.float32)
    missing = width - table.shape[1]
    return np.pad(table, ((0, 0), (0, missing)), constant_values=np.float32(np.nan))
