"""What the stages of one question put before a reader together, judged as one ranking.

A program may ask several stages, and one stage several times, for one question. Each such list of
passages is ranked by its stage's knobs; the lists are then read in turns, first places first, and
judged like a single one. With one list per question that is what `LabelledCandidates` does by
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.labels import Labels
from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.optimize.retrieval.relevance import Relevance, facts_at_ranks, first_gains
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.scoring.attribution import Failure, first_losses, seen_by_stage
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Scores
from ragwright.optimize.setting import Setting
from ragwright.programs.fusion import Booleans
from ragwright.programs.knobs import KnobValues
from ragwright.programs.replaying import StageQuery
from ragwright.programs.selection import select
from ragwright.retrievers.embedding.base import Integers

Asked = Mapping[str, Sequence[tuple[str, StageQuery]]]
"""By question: the place of a stage's knobs and what it was asked, in order."""


@dataclass(frozen=True)
class StageLists:
    """All lists of one stage.

    Attributes:
        questions: The question of each list, by its number, shape (R,).
        labelled: Candidates and labels, one row per list.
        units: Numbers of what counts as one result, the same in all lists, shape (R, C).
    """

    questions: tuple[int, ...]
    labelled: LabelledCandidates
    units: Integers


@dataclass(frozen=True)
class JointLists:
    """Everything that some questions asked of the stages of a program.

    Attributes:
        questions: Which.
        labels: What they want found.
        stages: The lists of every stage that was asked, by the place of its knobs.
        places: For each question the numbers of its lists, all stages' counted on, shape (Q, L),
            -1 where there are fewer.
    """

    questions: tuple[Question, ...]
    labels: Labels
    stages: Mapping[str, StageLists]
    places: Integers

    @classmethod
    def of(
        cls, questions: Sequence[Question], labels: Labels, asked: Asked, pool: CandidatePool
    ) -> JointLists:
        """Take everything from a pool. `labels` are of the same questions, in order."""
        lists: dict[str, list[tuple[int, StageQuery]]] = {}
        for number, question in enumerate(questions):
            for place, ask in asked.get(question.id, ()):
                lists.setdefault(place, []).append((number, ask))
        units: dict[str, int] = {}
        stages = {place: _stage(pairs, labels, pool, units) for place, pairs in lists.items()}
        return cls(
            tuple(questions), labels, stages, _places(len(questions), stages, asked, questions)
        )

    @property
    def single(self) -> bool:
        """Whether no question asked for more than one list."""
        return bool(self.places.shape[1] <= 1)

    def of_stage(self, place: str, setting: Setting) -> LabelledCandidates:
        """Return what to judge one stage's knobs by, the others' being set; one row per list."""
        stage = self.stages[place]
        if self.single:
            return stage.labelled
        return ListsBeside(
            stage.labelled.candidates, stage.labelled.relevance, self, place, setting
        )

    def scores(self, setting: Setting, metric: RankingMetric) -> Scores:
        """Score each question under a program's knobs, shape (Q,); NaN where no label."""
        read = {place: self.read(place, setting[place], metric) for place in self.stages}
        return self.joined(read, metric)

    def read(
        self, place: str, knobs: KnobValues, metric: RankingMetric
    ) -> tuple[Booleans, Integers]:
        """Facts (R, k, F) and units (R, k) of a stage's lists; see `LabelledCandidates.scores`."""
        stage = self.stages[place]
        wide = knobs.replaced(k=metric.cutoff, score_threshold=0.0)
        labelled = stage.labelled
        seen = labelled.packed(select(labelled.candidates, wide), wide)
        answers = labelled.relevance.answers
        beside = labelled.beside(seen, wide) if answers.any() else None
        if beside is not None:
            beside &= answers[:, None, None]
        real = seen >= 0
        units = np.take_along_axis(stage.units, np.where(real, seen, 0), axis=1)
        return _to(metric.cutoff, facts_at_ranks(labelled.relevance, seen, beside),
                   np.where(real, units, -1))  # fmt: skip

    def joined(
        self, read: Mapping[str, tuple[Booleans, Integers]], metric: RankingMetric
    ) -> Scores:
        """Read the lists of each question in turns, and score that."""
        ideal = self.labels.ideal
        if not read:
            return np.where(ideal.any(axis=1), 0.0, np.nan)
        held = np.concatenate([read[place][0] for place in self.stages])
        units = np.concatenate([read[place][1] for place in self.stages])
        there = self.places >= 0
        at = np.where(there, self.places, 0)
        facts = held[at] & there[:, :, None, None]
        names = np.where(there[:, :, None], units[at], -1)
        count, lists, ranks, width = facts.shape
        facts = facts.swapaxes(1, 2).reshape(count, lists * ranks, width)
        names = names.swapaxes(1, 2).reshape(count, lists * ranks)
        return metric(first_gains(facts, names), ideal)

    def failures(self, setting: Setting) -> tuple[Failure, ...]:
        """Say for each question where it fails, if its answer is wrong; see `attribute`."""
        shape = (len(self.questions), self.labels.ideal.shape[1])
        seen = [np.zeros(shape, dtype=np.bool_) for _ in range(3)]
        for place, stage in self.stages.items():
            tables = seen_by_stage(stage.labelled, setting[place])
            for total, table in zip(seen, tables, strict=True):
                np.logical_or.at(total, list(stage.questions), table)
        return first_losses(self.labels.wanted, *seen)


@dataclass(frozen=True)
class ListsBeside(LabelledCandidates):
    """One stage's lists, judged beside those of the others, whose knobs are set.

    Attributes:
        together: All lists.
        place: The stage's.
        setting: The others' knobs.
    """

    together: JointLists
    place: str
    setting: Setting

    def scores(self, knobs: KnobValues, metric: RankingMetric) -> Scores:
        others = self._others.setdefault(str(metric), {})
        if not others:
            others.update(
                (place, self.together.read(place, self.setting[place], metric))
                for place in self.together.stages
                if place != self.place
            )
        read = {**others, self.place: self.together.read(self.place, knobs, metric)}
        scores = self.together.joined(read, metric)
        return np.asarray(scores[list(self.together.stages[self.place].questions)])

    @cached_property
    def _others(self) -> dict[str, dict[str, tuple[Booleans, Integers]]]:
        """What the other stages bring, by metric: their knobs do not change."""
        return {}


def _stage(
    pairs: Sequence[tuple[int, StageQuery]],
    labels: Labels,
    pool: CandidatePool,
    units: dict[str, int],
) -> StageLists:
    rows = [number for number, _ in pairs]
    candidates = pool.take([ask for _, ask in pairs])
    own = labels.take(rows)
    table = np.zeros(candidates.tokens.shape, dtype=np.int64)
    for row, (ids, kind) in enumerate(zip(candidates.ids, own.kinds, strict=True)):
        names = [own.documents.get(id, id) if kind == "documents" else id for id in ids]
        table[row, : len(ids)] = [units.setdefault(name, len(units)) for name in names]
    return StageLists(
        tuple(rows), LabelledCandidates(candidates, Relevance.of(own, candidates)), table
    )


def _places(
    count: int, stages: Mapping[str, StageLists], asked: Asked, questions: Sequence[Question]
) -> Integers:
    """Number all lists, stage after stage; each question's in the order they were asked for."""
    first = 0
    numbers: dict[str, dict[int, list[int]]] = {}
    for place, stage in stages.items():
        own = numbers.setdefault(place, {})
        for list_, number in enumerate(stage.questions):
            own.setdefault(number, []).append(first + list_)
        first += len(stage.questions)
    rows: list[list[int]] = []
    for number in range(count):
        left = {place: iter(numbers[place].get(number, ())) for place in stages}
        rows.append([next(left[place]) for place, _ in asked.get(questions[number].id, ())])
    width = max(map(len, rows), default=0)
    table = np.full((count, width), -1, dtype=np.int64)
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table


def _to(ranks: int, held: Booleans, units: Integers) -> tuple[Booleans, Integers]:
    """Fill up to so many ranks: a stage with few candidates has fewer."""
    missing = max(0, ranks - units.shape[1])
    return (
        np.pad(held, ((0, 0), (0, missing), (0, 0))),
        np.pad(units, ((0, 0), (0, missing)), constant_values=-1),
    )
