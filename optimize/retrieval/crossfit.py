"""A learned source that is judged on questions which it was not learned from.

Questions are dealt out to folds as the future is expected to come; a source is learned without
each fold, and a question is answered by the one that was learned without its own. What no fold
knows, such as queries that a language model wrote meanwhile, finds nothing: so that nothing which
is scored ever rests on its own label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ragwright.optimize.questions.data import Question
from ragwright.optimize.questions.splitting import SplitBy, asked_at
from ragwright.programs.learned import Known, LearnedPart
from ragwright.programs.signals import Signal
from ragwright.retrievers.stores.base import Where
from ragwright.retrievers.types import content_hash

FOLDS = 5


@dataclass(frozen=True)
class Folds:
    """Which questions stand together.

    Attributes:
        numbers: The fold of every question, from 0.
        later: Whether only earlier folds are learned from, as where the future comes in time.
    """

    numbers: tuple[int, ...]
    later: bool = False

    def learned_from(self, fold: int) -> list[int]:
        """The places of the questions that a fold's source is learned from."""
        return [
            place
            for place, one in enumerate(self.numbers)
            if (one < fold if self.later else one != fold)
        ]


def folds_of(questions: Sequence[Question], by: SplitBy, seed: int) -> Folds:
    """Deal questions out as `[data] split` says: whole groups, single ones, or in order of time.

    Raises:
        InputError: By time, and a question has none.
    """
    if by == "time":
        order = np.argsort([asked_at(one) for one in questions], kind="stable")
        numbers = np.empty(len(questions), dtype=np.int64)
        numbers[order] = np.arange(len(questions)) * FOLDS // max(1, len(questions))
        return Folds(tuple(numbers.tolist()), later=True)
    names = [one.id if by == "question" else one.group for one in questions]
    _, codes = np.unique(np.array(names), return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(codes.max(initial=-1)) + 1) % FOLDS
    return Folds(tuple(drawn[codes].tolist()))


@dataclass(frozen=True, eq=False)
class CrossFitted:
    """One source, learned as often as there are folds; a `LearnedSource` for the compile alone.

    Attributes:
        whole: Learned from all questions: what is kept in the end.
        folds: By what is asked, the source that was learned without it.
    """

    whole: LearnedPart
    folds: Mapping[str, LearnedPart]

    @property
    def signal(self) -> Signal:
        return self.whole.signal

    @cached_property
    def fingerprint(self) -> str:
        parts = {id(part): part.fingerprint for part in self.folds.values()}
        asked = [f"{query} {parts[id(part)]}" for query, part in sorted(self.folds.items())]
        return content_hash("crossfitted", self.whole.fingerprint, *asked)

    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        part = self.folds.get(query)
        return {} if part is None else part.hits(path, query, n, where)

    def __deepcopy__(self, memo: dict[int, object]) -> CrossFitted:
        """Nothing in it changes."""
        return self


def crossfitted(
    kind: type[LearnedPart], path: str, known: Sequence[Known], folds: Folds, *, seed: int = 0
) -> CrossFitted:
    """Learn a source from all questions, and once more without each fold.

    Args:
        kind: Of source.
        path: The folder of the index.
        known: One for each question of `folds`; without chunks where they are not known.
        folds: Of the same questions.
        seed: Of what is drawn in learning.
    """
    own: dict[str, set[int]] = {}
    for one, number in zip(known, folds.numbers, strict=True):
        own.setdefault(one.question, set()).add(number)
    parts = {
        number: kind.learned(path, [known[place] for place in folds.learned_from(number)],
                             seed=seed)
        for number in sorted(set(folds.numbers))
    }  # fmt: skip
    # What is asked in two folds has been learned from in both.
    asked = {query: parts[min(numbers)] for query, numbers in own.items() if len(numbers) == 1}
    return CrossFitted(kind.learned(path, known, seed=seed), asked)
