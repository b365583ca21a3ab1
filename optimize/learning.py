"""Learns search sources and a ranker on top of tuned knobs, and keeps those shown to help.

Every source of `[compile] learn` is learned from train and dev questions, and once more without
each fold of them; retrieval is replayed with the latter (`crossfit.py`), and the gate says which
are kept (`gate.py`). The order of `SOURCES` is the order they are tried in, each over what was kept
before; a ranker comes last, over all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.learned_sources import takes_learned_sources
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.retrieval.crossfit import (
    CrossFitted,
    CrossFittedRanker,
    CrossFittedSource,
    Folds,
    Lists,
    crossfit_ranker,
    crossfit_source,
    make_folds,
)
from ragwright.optimize.retrieval.gate import GateData, GatedSource, gate_part
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.setting import Setting
from ragwright.optimize.workbench import Workbench
from ragwright.programs.learned import SOURCES, ChunkPlace, LabelledQuestion, LearnedPart, Ranker
from ragwright.retrievers.index import open_index

FEWEST = 20
"""Fewer questions than these whose documents are known, and nothing is learned."""
FEWEST_RANKED = 40
"""The same for a ranker, of what is among the candidates: four fifths of them teach each fold."""


@dataclass(frozen=True)
class LearningOutcome:
    """What learning came to.

    Attributes:
        bench: Knows the sources that were kept.
        best: The knobs of every stage, those of the sources included.
        searches: The search of each stage, its settings with the sources laid over them.
        sources: What became of each.
    """

    bench: Workbench
    best: Setting
    searches: Mapping[str, Search]
    sources: tuple[GatedSource, ...]


def learn(
    bench: Workbench, best: Setting, searches: Mapping[str, Search], *, live: bool
) -> LearningOutcome:
    """Learn what the recipe asks for at every stage that was searched: sources, then a ranker.

    Args:
        bench: Its program has learned nothing yet, or what is forgotten now.
        best: The tuned knobs.
        searches: How they were found.
        live: Whether the language model is asked when questions are asked again.
    """
    lessons = {place: _Lesson.of(bench, place) for place in searches}
    wanted = bench.recipe.compile.learn
    done = LearningOutcome(bench, best, searches, ())
    if any(name in SOURCES for name in wanted):
        done = _with_sources(done, lessons, live=live)
    if Ranker.signal.name in wanted:
        done = _with_rankers(_kept_alone(done, live=live), lessons, live=live)
    return done


def _with_sources(
    before: LearningOutcome, lessons: Mapping[str, _Lesson], *, live: bool
) -> LearningOutcome:
    """Learn sources over the tuned knobs, one after the other."""
    bench, best, searches = before.bench, before.best, before.searches
    ready = {place: one.taught() for place, one in lessons.items() if not one.why}
    made = tuple(
        GatedSource(name, place, kept=False, why=one.why)
        for place, one in lessons.items() if one.why
        for name in bench.recipe.compile.learn if name in SOURCES
    )  # fmt: skip
    if not ready:
        return LearningOutcome(bench, best, searches, made)
    taught = replace(bench, sources=ready).with_asked(
        bench.learned_from, Variant("pool", bench.start), live=live
    )
    found, laid, sources = best, dict(searches), list(made)
    for place, parts in ready.items():
        for part in parts:
            one = _judged(taught, lessons[place], part, found)
            sources.append(one)
            if one.kept:
                laid[place] = _laid(laid[place], part.whole, one.choice)
                found = found.having(place, laid[place].best)
    if not any(one.kept for one in sources):
        return LearningOutcome(bench, best, searches, tuple(sources))
    return LearningOutcome(taught, found, laid, tuple(sources))


def _with_rankers(
    before: LearningOutcome, lessons: Mapping[str, _Lesson], *, live: bool
) -> LearningOutcome:
    """Learn a ranker over all that was tuned and kept, at every stage that can have one."""
    bench = before.bench
    found, laid, sources = before.best, dict(before.searches), list(before.sources)
    made: dict[str, tuple[CrossFitted[Any], ...]] = {**bench.sources}
    for place, lesson in lessons.items():
        labelled, why = _rankable(bench, lesson, found)
        if labelled is None:
            sources.append(GatedSource(Ranker.signal.name, place, kept=False, why=why))
            continue
        lists, seed = lesson.lists(labelled), bench.recipe.compile.seed
        part = crossfit_ranker(lists, found[place], fewest=FEWEST, seed=seed)
        one = _judged(bench, lesson, part, found, _scored(labelled, lists, part))
        sources.append(one)
        if one.kept:
            laid[place] = _laid(laid[place], part.whole, one.choice)
            found = found.having(place, laid[place].best)
            made[place] = (*made.get(place, ()), part)
    if found == before.best:
        return replace(before, sources=tuple(sources))
    asked = replace(bench, sources=made).with_asked(
        bench.learned_from, Variant("pool", bench.start), live=live
    )
    return LearningOutcome(asked, found, laid, tuple(sources))


def _rankable(
    bench: Workbench, lesson: _Lesson, setting: Setting
) -> tuple[LabelledCandidates | None, str]:
    """What a ranker can be learned from, or why there is nothing."""
    if lesson.why:
        return None, lesson.why
    if not bench.learned_together.single:
        return None, "a question asks several times"
    if not all(one.replayed for one in bench.stages[lesson.place].signals):
        return None, "no pool stores what a language model reranks"
    labelled = bench.learned_together.of_stage(lesson.place, setting)
    count = int(labelled.relevance.facts.any(axis=(1, 2)).sum())
    if count < FEWEST_RANKED:
        return None, (f"what {count} questions want is among their candidates, {FEWEST_RANKED} "
                      "are needed")  # fmt: skip
    return labelled, ""


def _scored(
    labelled: LabelledCandidates, lists: Lists, part: CrossFittedRanker
) -> LabelledCandidates:
    """The same candidates, each question's scored by the ranker of its fold."""
    found = labelled.candidates
    scores = np.full(found.tokens.shape, np.nan, dtype=np.float32)
    for row, query in enumerate(lists.queries):
        own = part.ranks(query, found.take([row]))
        if own is not None:
            scores[row] = own[0]
    signals = {**found.signals, part.signal.name: scores}
    return replace(labelled, candidates=found.declaring(part.signal, signals=signals))


def _kept_alone(before: LearningOutcome, *, live: bool) -> LearningOutcome:
    """Without the sources that were not kept: they will find nothing where the ranker ranks."""
    kept = {(one.place, one.name) for one in before.sources if one.kept}
    bench = before.bench
    left = {place: tuple(part for part in parts if (place, part.signal.name) in kept)
            for place, parts in bench.sources.items()}  # fmt: skip
    if left == dict(bench.sources):
        return before
    asked = replace(bench, sources=left).with_asked(
        bench.learned_from, Variant("pool", bench.start), live=live
    )
    return replace(before, bench=asked)


@dataclass(frozen=True)
class _Lesson:
    """What one stage can learn from.

    Attributes:
        bench: Of the compile.
        place: The stage's knobs.
        known: Of every train and dev question what it asked the stage, and what answers that.
        folds: Of the same questions.
        why: Why nothing can be learned; "" if it can.
    """

    bench: Workbench
    place: str
    known: tuple[LabelledQuestion, ...] = ()
    folds: Folds = field(default_factory=lambda: Folds(()))
    why: str = ""

    @classmethod
    def of(cls, bench: Workbench, place: str) -> _Lesson:
        stage = bench.stages[place]
        if stage.follows:
            return cls(bench, place, why="what the program finds decides what it asks next")
        if not takes_learned_sources(bench.student, place):
            return cls(bench, place, why="it takes a hybrid retriever to weigh it")
        known = _known(bench, place)
        count = sum(bool(one.chunks) for one in known)
        if count < FEWEST:
            why = f"the documents of {count} questions are known, {FEWEST} are needed"
            return cls(bench, place, why=why)
        data = bench.recipe.data
        folds = make_folds(bench.learned_from, data.split, bench.recipe.compile.seed)
        return cls(bench, place, known, folds)

    def lists(self, labelled: LabelledCandidates) -> Lists:
        """What the stage found; one row for every question that asked it."""
        rows = self.bench.learned_together.stages[self.place].questions
        return Lists(
            queries=[self.known[row].question for row in rows],
            candidates=labelled.candidates,
            wanted=np.asarray(labelled.relevance.facts.any(axis=2), dtype=np.bool_),
            folds=replace(self.folds, numbers=tuple(self.folds.numbers[row] for row in rows)),
        )

    def taught(self) -> tuple[CrossFittedSource, ...]:
        """Learn every source that is asked for."""
        section, path = self.bench.recipe.compile, self.bench.stages[self.place].path
        return tuple(
            crossfit_source(kind, path, self.known, self.folds, seed=section.seed)
            for name, kind in SOURCES.items()
            if name in section.learn
        )

    def seen(self) -> NDArray[np.bool_]:
        """Whether what a question's source is learned from names its documents, shape (Q,)."""
        named = [{place.document for place in one.chunks.values()} for one in self.known]
        table = {}
        for fold in set(self.folds.numbers):
            table[fold] = set().union(*(named[row] for row in self.folds.learned_from(fold)))
        pairs = zip(named, self.folds.numbers, strict=True)
        return np.array([bool(own & table[fold]) for own, fold in pairs], dtype=np.bool_)


def _known(bench: Workbench, place: str) -> tuple[LabelledQuestion, ...]:
    """What every train and dev question asks a stage first, and the chunks that answer it."""
    questions, index = bench.learned_from, open_index(bench.stages[place].path)
    labels = bench.corpus.of(questions)
    # An answer's words may stand anywhere: only what is named is learned from.
    held = [facts if kind != "answer" else {}
            for kind, facts in zip(labels.kinds, labels.facts, strict=True)]  # fmt: skip
    wanted = {id for facts in held for id in facts}
    places = {chunk.id: ChunkPlace(chunk.document_id, chunk.start, chunk.end)
              for chunk in index.chunks() if chunk.id in wanted}  # fmt: skip
    return tuple(
        LabelledQuestion(
            _asked(bench, question, place), {id: places[id] for id in facts if id in places}
        )
        for question, facts in zip(questions, held, strict=True)
    )


def _asked(bench: Workbench, question: Question, place: str) -> str:
    """What a question asks of a stage first; as it stands if it asks nothing."""
    asks = (ask.query for name, ask in bench.asked.get(question.id, ()) if name == place)
    return next(asks, question.question)


def _judged(
    bench: Workbench,
    lesson: _Lesson,
    part: CrossFitted[Any],
    setting: Setting,
    labelled: LabelledCandidates | None = None,
) -> GatedSource:
    """Send one part through the gate, by what its stage found or by what is given instead."""
    together = bench.learned_together
    rows = list(together.stages[lesson.place].questions)
    questions: Sequence[Question] = bench.learned_from
    judged = GateData(
        labelled=labelled or together.of_stage(lesson.place, setting),
        folds=np.array(lesson.folds.numbers)[rows],
        seen=lesson.seen()[rows],
        groups=[questions[row].group for row in rows],
        metric=bench.ranking,
        seed=bench.recipe.compile.seed,
    )
    ruling = gate_part(type(part.whole), setting[lesson.place], judged)
    return GatedSource(
        name=part.signal.name,
        place=lesson.place,
        kept=ruling.kept,
        why=ruling.why,
        described=part.whole.described,
        metric=bench.ranking.name,
        gain=ruling.gain,
        familiar=ruling.familiar,
        choice=dict(ruling.choice or {}) if ruling.kept else {},
    )


def _laid(found: Search, part: LearnedPart, choice: Mapping[str, float]) -> Search:
    """Lay a source over what goes on to the answers; the best without it stays among these."""
    best, *others = (part.laid(knobs, choice) for knobs in found.shortlist)
    shortlist = tuple(dict.fromkeys([best, *others, found.best]))
    return replace(found, best=best, shortlist=shortlist)
