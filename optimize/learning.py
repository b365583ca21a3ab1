"""A bench and tuned knobs in, learned sources laid over them out, as far as they are shown to help.

Every source of `[compile] learn` is learned from train and dev questions, and once more without
each fold of them; retrieval is replayed with the latter (`crossfit.py`), and the gate says which
are kept (`gate.py`). The order of `PARTS` is the order they are tried in, each over what was kept
before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ragwright.optimize.equipped import takes_learned
from ragwright.optimize.questions.data import Question
from ragwright.optimize.result import Variant
from ragwright.optimize.retrieval.crossfit import CrossFitted, Folds, crossfitted, folds_of
from ragwright.optimize.retrieval.gate import HARM, NO_GAIN, GatedSource, Judged, gated
from ragwright.optimize.retrieval.search import Search
from ragwright.optimize.setting import Setting
from ragwright.optimize.workbench import Workbench
from ragwright.programs.learned import PARTS, Known, LearnedPart, Place
from ragwright.retrievers.index import open_index

FEWEST = 20
"""Fewer questions than these whose documents are known, and nothing is learned."""


@dataclass(frozen=True)
class Learned:
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
) -> Learned:
    """Learn what the recipe asks for at every stage that was searched.

    Args:
        bench: Its program has learned nothing yet, or what is forgotten now.
        best: The tuned knobs.
        searches: How they were found.
        live: Whether the language model is asked when questions are asked again.
    """
    lessons = {place: _Lesson.of(bench, place) for place in searches}
    ready = {place: one.taught() for place, one in lessons.items() if not one.why}
    made = tuple(
        GatedSource(name, place, kept=False, why=one.why)
        for place, one in lessons.items() if one.why
        for name in bench.recipe.compile.learn
    )  # fmt: skip
    if not ready:
        return Learned(bench, best, searches, made)
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
        return Learned(bench, best, searches, tuple(sources))
    return Learned(taught, found, laid, tuple(sources))


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
    known: tuple[Known, ...] = ()
    folds: Folds = field(default_factory=lambda: Folds(()))
    why: str = ""

    @classmethod
    def of(cls, bench: Workbench, place: str) -> _Lesson:
        stage = bench.stages[place]
        if stage.follows:
            return cls(bench, place, why="what the program finds decides what it asks next")
        if not takes_learned(bench.student, place):
            return cls(bench, place, why="it takes a hybrid retriever to weigh it")
        known = _known(bench, place)
        count = sum(bool(one.chunks) for one in known)
        if count < FEWEST:
            why = f"the documents of {count} questions are known, {FEWEST} are needed"
            return cls(bench, place, why=why)
        data = bench.recipe.data
        folds = folds_of(bench.learned_from, data.split, bench.recipe.compile.seed)
        return cls(bench, place, known, folds)

    def taught(self) -> tuple[CrossFitted, ...]:
        """Learn every source that is asked for."""
        section, path = self.bench.recipe.compile, self.bench.stages[self.place].path
        return tuple(
            crossfitted(kind, path, self.known, self.folds, seed=section.seed)
            for name, kind in PARTS.items()
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


def _known(bench: Workbench, place: str) -> tuple[Known, ...]:
    """What every train and dev question asks a stage first, and the chunks that answer it."""
    questions, index = bench.learned_from, open_index(bench.stages[place].path)
    labels = bench.corpus.of(questions)
    # An answer's words may stand anywhere: only what is named is learned from.
    held = [facts if kind != "answer" else {}
            for kind, facts in zip(labels.kinds, labels.facts, strict=True)]  # fmt: skip
    wanted = {id for facts in held for id in facts}
    places = {chunk.id: Place(chunk.document_id, chunk.start, chunk.end)
              for chunk in index.chunks() if chunk.id in wanted}  # fmt: skip
    return tuple(
        Known(_asked(bench, question, place), {id: places[id] for id in facts if id in places})
        for question, facts in zip(questions, held, strict=True)
    )


def _asked(bench: Workbench, question: Question, place: str) -> str:
    """What a question asks of a stage first; as it stands if it asks nothing."""
    asks = (ask.query for name, ask in bench.asked.get(question.id, ()) if name == place)
    return next(asks, question.question)


def _judged(bench: Workbench, lesson: _Lesson, part: CrossFitted, setting: Setting) -> GatedSource:
    """Send one source through the gate."""
    together = bench.learned_together
    rows = list(together.stages[lesson.place].questions)
    questions: Sequence[Question] = bench.learned_from
    judged = Judged(
        labelled=together.of_stage(lesson.place, setting),
        folds=np.array(lesson.folds.numbers)[rows],
        seen=lesson.seen()[rows],
        groups=[questions[row].group for row in rows],
        metric=bench.ranking,
        seed=bench.recipe.compile.seed,
    )
    gain, familiar, choice, harms = gated(type(part.whole), setting[lesson.place], judged)
    kept = gain.proven and choice is not None and not harms
    return GatedSource(
        name=part.signal.name,
        place=lesson.place,
        kept=kept,
        why="is kept" if kept else HARM if harms else NO_GAIN,
        described=part.whole.described,
        metric=bench.ranking.name,
        gain=gain,
        familiar=familiar,
        choice=dict(choice) if kept and choice is not None else {},
    )


def _laid(found: Search, part: LearnedPart, choice: Mapping[str, float]) -> Search:
    """Lay a source over what goes on to the answers; the best without it stays among these."""
    best, *others = (part.laid(knobs, choice) for knobs in found.shortlist)
    shortlist = tuple(dict.fromkeys([best, *others, found.best]))
    return replace(found, best=best, shortlist=shortlist)
