"""Tells which candidates are relevant, by their labels, and what a ranking of them gains.

`gains` turns any ranking into the numbers that `ranking.py` takes. Knows nothing of how labels are
found or candidates ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ragwright.optimize.retrieval.labels import Labels, count_wanted
from ragwright.optimize.scoring.ranking import Gains
from ragwright.optimize.scoring.statistics import Scores
from ragwright.programs.candidates import Candidates
from ragwright.programs.fusion import Booleans
from ragwright.retrievers.embedding.base import Integers


@dataclass(frozen=True)
class Relevance:
    """Labels laid over candidates.

    Attributes:
        facts: Which candidate holds which fact, shape (Q, C, F).
        units: What counts as one result, shape (Q, C): the chunk, or its document where documents
            are wanted, so that its further chunks neither gain nor take up a rank.
        ideal: As in `Labels`.
        held: For each question the facts of every chunk of the index that holds any.
        answers: Of which questions the facts are answers, shape (Q,).
    """

    facts: Booleans
    units: Integers
    ideal: Gains
    held: tuple[Mapping[str, frozenset[int]], ...] = ()
    answers: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    @property
    def wanted(self) -> Scores:
        """How many facts each question wants; see `count_wanted`."""
        return count_wanted(self.ideal, self.answers)

    @classmethod
    def of(cls, labels: Labels, candidates: Candidates) -> Relevance:
        """Look up every candidate; both must hold the same questions in the same order.

        A candidate that holds nothing, but has the text of one that does, is as good as that one.
        """
        shape = candidates.tokens.shape
        facts = np.zeros((*shape, labels.ideal.shape[1]), dtype=bool)
        units = np.tile(np.arange(shape[1]), (shape[0], 1))
        for row, (ids, kind) in enumerate(zip(candidates.ids, labels.kinds, strict=True)):
            held = labels.facts[row]
            for column, chunk in enumerate(ids):
                if chunk in held:
                    facts[row, column, list(held[chunk])] = True
            if kind == "documents":
                names = [labels.documents.get(chunk, chunk) for chunk in ids]
                first = {name: place for place, name in reversed(list(enumerate(names)))}
                units[row, : len(ids)] = [first[name] for name in names]
        _share_between_copies(facts, candidates)
        answers = np.array([kind == "answer" for kind in labels.kinds], dtype=np.bool_)
        return cls(facts, units, labels.ideal, labels.facts, answers)


def _share_between_copies(facts: Booleans, candidates: Candidates) -> None:
    """Give what has no fact those of the first candidate with its text that has some."""
    if candidates.texts is None:
        return
    for row in candidates.with_copies.tolist():
        texts = candidates.texts[row, : len(candidates.ids[row])].tolist()
        held = {text: column for column, text in reversed(list(enumerate(texts)))
                if facts[row, column].any()}  # fmt: skip
        for column, text in enumerate(texts):
            if text in held and not facts[row, column].any():
                facts[row, column] = facts[row, held[text]]


def gains(relevance: Relevance, columns: Integers, beside: Booleans | None = None) -> Gains:
    """New facts at each rank, shape (Q, k), for ranked columns of shape (Q, k), -1 where none.

    `beside`, of shape (Q, k, F), are facts that count with those at a rank.
    """
    held, real = facts_at_ranks(relevance, columns, beside), columns >= 0
    at = np.where(real, columns, 0)
    units = np.where(real, np.take_along_axis(relevance.units, at, axis=1), -1)
    return first_gains(held, units)


def facts_at_ranks(
    relevance: Relevance, columns: Integers, beside: Booleans | None = None
) -> Booleans:
    """Return the facts that the ranked columns hold, shape (Q, k, F); see `gains`."""
    real = columns >= 0
    at = np.where(real, columns, 0)
    held = np.take_along_axis(relevance.facts, at[:, :, None], axis=1)
    return np.asarray((held if beside is None else held | beside) & real[:, :, None])


def first_gains(held: Booleans, units: Integers) -> Gains:
    """Count at each rank the facts that no rank before it has, shape (Q, k).

    Args:
        held: The facts at each rank, shape (Q, k, F).
        units: What counts as one result, shape (Q, k), -1 where there is none; what repeats one
            takes up no rank.
    """
    real = units >= 0
    new = (held & (np.cumsum(held, axis=1) == 1)).sum(axis=2)
    repeated = np.tril(units[:, :, None] == units[:, None, :], k=-1).any(axis=2) & real
    rows, ranks = np.nonzero(real & ~repeated)
    result = np.zeros(units.shape)
    result[rows, (np.cumsum(real & ~repeated, axis=1) - 1)[rows, ranks]] = new[rows, ranks]
    return result
