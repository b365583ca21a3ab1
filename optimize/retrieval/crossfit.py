"""A learned source, or ranker, that is judged on questions which it was not learned from.

Questions are dealt out to folds as the future is expected to come; a source is learned without
each fold, and a question is answered by the one that was learned without its own. What no fold
knows, such as queries that a language model wrote meanwhile, finds nothing: so that nothing which
is scored ever rests on its own label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.questions.data import Question
from ragwright.optimize.questions.splitting import SplitBy, question_time
from ragwright.programs.candidates import Candidates
from ragwright.programs.knobs import KnobValues
from ragwright.programs.learned import LabelledQuestion, LearnedPart, Ranker, SourcePart
from ragwright.programs.signals import Signal
from ragwright.retrievers.embedding.base import Floats
from ragwright.retrievers.types import Where, content_hash

FOLDS = 5
FittedPart = TypeVar("FittedPart", bound=LearnedPart)


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


def make_folds(questions: Sequence[Question], by: SplitBy, seed: int) -> Folds:
    """Deal questions out as `[data] split` says: whole groups, single ones, or in order of time.

    Raises:
        InputError: By time, and a question has none.
    """
    if by == "time":
        order = np.argsort([question_time(one) for one in questions], kind="stable")
        numbers = np.empty(len(questions), dtype=np.int64)
        numbers[order] = np.arange(len(questions)) * FOLDS // max(1, len(questions))
        return Folds(tuple(numbers.tolist()), later=True)
    names = [one.id if by == "question" else one.group for one in questions]
    _, codes = np.unique(np.array(names), return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(codes.max(initial=-1)) + 1) % FOLDS
    return Folds(tuple(drawn[codes].tolist()))


@dataclass(frozen=True, eq=False)
class CrossFitted(Generic[FittedPart]):
    """One part, learned as often as there are folds; for the compile alone.

    Attributes:
        whole: Learned from all questions: what is kept in the end.
        folds: By what is asked, the part that was learned without it.
    """

    whole: FittedPart
    folds: Mapping[str, FittedPart]

    @property
    def signal(self) -> Signal:
        return self.whole.signal

    @cached_property
    def fingerprint(self) -> str:
        parts = {id(part): part.fingerprint for part in self.folds.values()}
        asked = [f"{query} {parts[id(part)]}" for query, part in sorted(self.folds.items())]
        return content_hash("crossfitted", self.whole.fingerprint, *asked)

    def __deepcopy__(self, memo: dict[int, object]) -> CrossFitted[FittedPart]:
        """Nothing in it changes."""
        return self


class CrossFittedSource(CrossFitted[SourcePart]):
    """A `LearnedSource`."""

    def hits(self, path: str, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        part = self.folds.get(query)
        return {} if part is None else part.hits(path, query, n, where)


class CrossFittedRanker(CrossFitted[Ranker]):
    """A `LearnedRanker`."""

    def ranks(self, query: str, candidates: Candidates) -> Floats | None:
        part = self.folds.get(query)
        return None if part is None else part.ranks(query, candidates)


def crossfit_source(
    kind: type[SourcePart],
    path: str,
    known: Sequence[LabelledQuestion],
    folds: Folds,
    *,
    seed: int = 0,
) -> CrossFittedSource:
    """Learn a source from all questions, and once more without each fold.

    Args:
        kind: Of source.
        path: The folder of the index.
        known: One for each question of `folds`; without chunks where they are not known.
        folds: Of the same questions.
        seed: Of what is drawn in learning.
    """
    parts = {
        number: kind.learned(path, [known[place] for place in folds.learned_from(number)],
                             seed=seed)
        for number in sorted(set(folds.numbers))
    }  # fmt: skip
    asked = _by_query([one.question for one in known], folds, parts)
    return CrossFittedSource(kind.learned(path, known, seed=seed), asked)


@dataclass(frozen=True)
class Lists:
    """What a stage found for questions, and what of it they want.

    Attributes:
        queries: What each asked.
        candidates: Of the same questions.
        wanted: Shape (Q, C).
        folds: Of the same questions.
    """

    queries: Sequence[str]
    candidates: Candidates
    wanted: NDArray[np.bool_]
    folds: Folds


def crossfit_ranker(
    lists: Lists, knobs: KnobValues, *, fewest: int, seed: int = 0
) -> CrossFittedRanker:
    """Learn a ranker over tuned knobs from all questions, and once more without each fold.

    Args:
        lists: What is learned from.
        knobs: What the ranker goes on from.
        fewest: Questions with something wanted among the candidates; a fold that leaves fewer to
            learn from has no ranker.
        seed: Of what is drawn in learning.
    """

    def learned(rows: Sequence[int]) -> Ranker:
        taken = lists.candidates.take(rows)
        return Ranker.learned(taken, lists.wanted[list(rows)], knobs, seed=seed)

    parts: dict[int, Ranker] = {}
    for number in sorted(set(lists.folds.numbers)):
        rows = lists.folds.learned_from(number)
        if lists.wanted[rows].any(axis=1).sum() >= fewest:
            parts[number] = learned(rows)
    whole = learned(range(len(lists.queries)))
    return CrossFittedRanker(whole, _by_query(lists.queries, lists.folds, parts))


def _by_query(
    queries: Sequence[str], folds: Folds, parts: Mapping[int, FittedPart]
) -> dict[str, FittedPart]:
    """By what is asked, the part of its fold; none for what is asked in two: both know it."""
    own: dict[str, set[int]] = {}
    for query, number in zip(queries, folds.numbers, strict=True):
        own.setdefault(query, set()).add(number)
    return {query: parts[min(numbers)] for query, numbers in own.items()
            if len(numbers) == 1 and min(numbers) in parts}  # fmt: skip
