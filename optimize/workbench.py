"""The workbench of a compile: program, splits, metrics and pool, which every stage works with.

Runs the program under any knobs and prompts, live or over the pool. Knows nothing of the order of
the stages or of what they choose.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dspy
import numpy as np

from ragwright.optimize.accounts import count_held_models
from ragwright.optimize.halting import check_answer_is_made, halt_at_first_call, halting_lm
from ragwright.optimize.journal import Journal
from ragwright.optimize.learned_sources import (
    CrossFittedSources,
    drop_unweighted_sources,
    weighted_fingerprints,
    with_learned_sources,
)
from ragwright.optimize.memo import Memo, answer_from_memo, memoize_retrievers
from ragwright.optimize.pace import Pace
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.feedback import Feedback
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.prompts.state import Prompts, prompts_of, set_prompts
from ragwright.optimize.prompts.worked import worked_examples
from ragwright.optimize.questions.data import Question, Splits, TrainingSet, to_examples
from ragwright.optimize.result import BASELINE, Variant
from ragwright.optimize.retrieval.labels import LabelledCorpus
from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.optimize.retrieval.together import Asked, JointLists
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.metrics import Metric
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.setting import Setting, set_setting
from ragwright.optimize.spending.metered import ask_anew
from ragwright.optimize.spending.spend import SpendMeter
from ragwright.optimize.workers import run_tasks
from ragwright.programs.anatomy import (
    copy_program,
    knobs_of,
    make_savable,
    name_knobs,
    replace_models,
    stages_of,
)
from ragwright.programs.context import build_context
from ragwright.programs.knobs import KnobValues, hold_knobs
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.replaying import Trails, question_being_asked, replay_from_pool
from ragwright.programs.selection import select
from ragwright.programs.signals import DENSE, Signal
from ragwright.programs.stage import RetrievalStage, fetch_passages
from ragwright.retrievers.errors import CompileError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import Passage, content_hash

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workbench:
    """The unchanging parts of one compile, and what the program has asked so far.

    Attributes:
        student: What is compiled; never changed.
        recipe: The settings.
        start: The knobs that the search starts from.
        baseline: The knobs of the program that everything is compared with.
        trainset: All questions.
        splits: The questions by side.
        metric: Judges answers.
        ranking: Judges retrieval.
        folder: The run's folder.
        progress: Told what is being done.
        meter: Counts what is spent.
        pace: How many questions are answered at a time, and how long each may take.
        journal: What the run has come to.
        lm: Answers; metered.
        writer: Writes instructions and judges; None if the one that answers does.
        corpus: Knows what questions want found.
        teacher: Demonstrations are taken from its answers, by optimizers that heed one.
        pool: What stages found for what they were asked.
        memo: What retrievers that are not ours returned.
        asked: What each question asked of the stages.
        warnings: What went otherwise than wanted.
        sources: What was learned, by the place of the knobs that hold it: each source as often as
            there are folds, so that nothing that is replayed rests on its own label.
        whole: Whether questions are asked that nothing was learned from: of what all folds taught.
    """

    student: dspy.Module
    recipe: Recipe
    start: Setting
    baseline: Setting
    trainset: TrainingSet
    splits: Splits
    metric: Metric
    ranking: RankingMetric
    folder: Path
    progress: StageProgress | None
    meter: SpendMeter
    pace: Pace
    journal: Journal
    lm: dspy.LM
    corpus: LabelledCorpus
    writer: dspy.LM | None = None
    teacher: dspy.Module | None = None
    pool: CandidatePool = field(default_factory=CandidatePool)
    memo: Memo = field(default_factory=Memo)
    asked: Asked = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    sources: CrossFittedSources = field(default_factory=dict)
    whole: bool = False

    @property
    def log(self) -> Path:
        """Where DSPy's optimizers print to."""
        return self.folder / "optimizer.log"

    @property
    def lesson(self) -> Lesson:
        """What optimizers learn from: train and dev, never test."""
        section = self.recipe.compile
        return Lesson(
            self.splits.train,
            self.splits.dev,
            self.metric,
            self.pace.threads,
            self.progress,
            lm=self.lm,
            writer=self.writer,
            teacher=self.teacher,
            seed=section.seed,
        )

    def lesson_at(self, setting: Setting) -> Lesson:
        """The same, with words about what retrieval loses at these knobs."""
        questions = self.learned_from
        failures = self.learned_together.failures(self.usable(setting))
        places: dict[str, Failure] = {
            question.id: place for question, place in zip(questions, failures, strict=True)
        }
        worked = worked_examples(self.splits.train, lambda asked: self._packed(asked, setting))
        return replace(self.lesson, feedback=Feedback(places), worked=worked)

    def _packed(self, asked: str, setting: Setting) -> Sequence[Passage]:
        """The passages that `RAG` would read for a question; none for a program of other shape."""
        places = list(setting)
        if len(places) != 1 or not self.packs(places[0]):
            return ()
        stage, knobs = self.stages[places[0]], self.usable(setting)[places[0]]
        known = [ask for asks in self.asked.values() for _, ask in asks if ask.query == asked]
        if not known:
            return ()
        candidates = self.pool.take(known[:1])
        found = fetch_passages(stage.path, candidates, select(candidates, knobs))
        return build_context(found.passages, knobs.context_tokens, order=knobs.order).passages

    @property
    def learned_from(self) -> list[Question]:
        """Train and dev."""
        return [*self.splits.train, *self.splits.dev]

    @cached_property
    def stages(self) -> dict[str, RetrievalStage]:
        """The outermost stage at every place that has knobs."""
        return {place: stages[0] for place, stages in stages_of(self._equipped).items()}

    @cached_property
    def _equipped(self) -> dspy.Module:
        """The student with what was learned."""
        return with_learned_sources(self.student, self.sources, whole=self.whole)

    def for_test(self) -> Workbench:
        """Return a bench that asks what nothing was learned from."""
        return replace(self, whole=True)

    @property
    def index_fingerprint(self) -> str:
        """Of all indexes together."""
        found = [open_index(path).fingerprint for path in self.corpus.paths]
        return found[0] if len(found) == 1 else content_hash(*found)

    def with_asked(
        self, questions: Sequence[Question], variant: Variant, *, live: bool
    ) -> Workbench:
        """Return a bench that knows what these questions ask of the stages, and what is found.

        Args:
            questions: Asked once each.
            variant: The knobs and prompts that they are asked with.
            live: Whether the language model is asked too; without, a question counts as far as it
                goes without one.
        """
        trails = self.trails(questions, variant, live=live)
        for once in () if live else questions[:1]:
            trails.compare(self.trails([once], variant, live=False), once.id)
        return self._noting(trails)

    def trails(
        self, questions: Sequence[Question], variant: Variant, *, live: bool = True
    ) -> Trails:
        """Ask these questions once each, and return what they asked of the stages."""
        program, trails = self.program(variant.prompts), Trails()
        if not live:
            replace_models(program, lambda _: halting_lm())
        examples, before = to_examples(questions), self.pool.fetched

        def ask(number: int) -> None:
            with question_being_asked(questions[number].id), halt_at_first_call():
                program(**examples[number].inputs())
            if self.progress and self.pool.fetched > before:
                self.progress("pool", number + 1, len(questions))

        pace = self.pace
        ending: dict[str, Any] = {} if live else {"lm": halting_lm(), "callbacks": []}
        with self.under(variant.setting, trails=trails), dspy.context(**ending):
            run_tasks(ask, len(questions), threads=pace.threads, timeout=pace.timeout)
        return trails

    def answered(
        self,
        variant: Variant,
        questions: Sequence[Question],
        *,
        live: bool,
        trails: Trails | None = None,
        run: int = 0,
    ) -> Evaluation:
        """Answer questions and score the answers; what has been done before is read from disk.

        `trails` note what is asked of the stages, where anything is; language models are asked
        anew in every `run`.
        """
        program = self.program(variant.prompts)
        knobs = self.usable(variant.setting)
        if live:
            drop_unweighted_sources(program, knobs)
        asked = [question.id for question in questions]
        told = [knobs.dump(), prompts_of(program), *weighted_fingerprints(self.sources, knobs)]
        state = json.dumps(told, sort_keys=True, default=str)
        adapter = dspy.settings.adapter
        form = getattr(adapter, "wanted", "" if adapter is None else type(adapter).__name__)
        again = [f"run {run}"] * bool(run) + ["slowly"] * self.pace.relaxed
        name = content_hash(state, json.dumps(asked), self.metric.name, str(live), form, *again)
        file = self.folder / "evaluations" / f"{name}.jsonl"
        if known := _known(file):
            return known
        with (
            self._asked_again(),
            self.under(variant.setting, live=live, trails=trails),
            ask_anew(run),
        ):
            done = evaluate(
                program, questions, self.metric, progress=self.progress, stage=variant.name,
                pace=self.pace, proven=variant.name != BASELINE,
            )  # fmt: skip
        done.write(file, checksum=True)
        return done

    def refuse_kept_answers(self, variant: Variant, done: Evaluation) -> None:
        """Ask a question of dev that a language model has answered again, without one.

        Raises:
            CompileError: It is answered all the same.
        """
        answered = {row.id for row in done.rows if row.completion_tokens}
        for question in [one for one in self.splits.dev if one.id in answered][:1]:
            inputs = to_examples([question])[0].inputs()
            with self.under(variant.setting):
                check_answer_is_made(self.program(), inputs, self.pace.timeout)

    def together(self, questions: Sequence[Question]) -> JointLists:
        """Lay the labels of these questions over what their stages found."""
        return JointLists.of(questions, self.corpus.of(questions), self.asked, self.pool)

    @cached_property
    def learned_together(self) -> JointLists:
        """The same for what is learned from; the labels of a bench do not change."""
        return self.together(self.learned_from)

    def ranking_score(self, setting: Setting) -> float:
        """How well knobs rank the passages of train and dev questions; NaN without labels."""
        scores = self.learned_together.scores(self.usable(setting), self.ranking)
        known = scores[~np.isnan(scores)]
        return float(known.mean()) if len(known) else float("nan")

    def program(self, prompts: Prompts | None = None) -> dspy.Module:
        """Return a copy of the program with other prompts, to be run in a block of `under`."""
        program = copy_program(self._equipped)
        if prompts is not None:
            set_prompts(program, prompts)
        memoize_retrievers(program)
        return count_held_models(program, self.meter.account)

    def finished(self, variant: Variant) -> dspy.Module:
        """Return the program with knobs and prompts set, as it is handed out and saved."""
        program = copy_program(self.for_test()._equipped)
        if variant.prompts is not None:
            set_prompts(program, variant.prompts)
        setting = self.usable(variant.setting)
        set_setting(program, setting)
        drop_unweighted_sources(program, setting)
        make_savable(program)
        return program

    @contextmanager
    def under(
        self, setting: Setting, *, live: bool = False, trails: Trails | None = None
    ) -> Iterator[None]:
        """Let knobs hold inside, and unless `live`, retrieval be replayed."""
        with hold_knobs(self.usable(setting)):
            if live:
                yield
                return
            with replay_from_pool(self.pool, trails), answer_from_memo(self.memo):
                yield

    def usable(self, setting: Setting) -> Setting:
        """Drop the weights that a stage has no use for."""
        stages = self.stages
        return Setting.of(
            {place: _usable(stages[place], values) for place, values in setting.items()}
        )

    def packs(self, place: str) -> bool:
        """Whether a stage's passages are packed and ordered by its knobs, as `RAG` does."""
        leaf = knobs_of(self.student)[place]
        modules = (part for _, part in self.student.named_sub_modules(RAG))
        return any(part.knobs is leaf for part in modules)

    def signals(self, place: str) -> tuple[Signal, ...]:
        """The signals that a stage can weigh and a pool stores."""
        return signals_of(self.stages[place])

    def _noting(self, trails: Trails) -> Workbench:
        self.pool.save()
        return replace(self.warned(trails), asked={**self.asked, **trails.asked})

    def warned(self, trails: Trails) -> Workbench:
        """Return a bench that warns of stages that were asked and are not found in the program."""
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *trails.told))))

    @contextmanager
    def _asked_again(self) -> Iterator[None]:
        """Where a failure ends the compile, have a resumed run ask again what could not be read.

        In whatever stage: a reply that is fatal here may have been one failed question before, and
        stages that were finished do not ask again.
        """
        try:
            yield
        except CompileError:
            self.meter.account.ledger.drop_unread()
            raise


def signals_of(stage: RetrievalStage) -> tuple[Signal, ...]:
    """The signals that a stage can weigh and a pool stores, sources first."""
    return tuple(signal for signal in stage.signals if signal.replayed)


def _known(file: Path) -> Evaluation | None:
    """Read an evaluation; what is damaged is done again, from the ledger of calls."""
    try:
        return Evaluation.read(file) if file.exists() else None
    except ValueError as error:
        log.warning("%s It is evaluated again.", error)
        return None


def _usable(stage: RetrievalStage, knobs: KnobValues) -> KnobValues:
    if signals_of(stage) == (DENSE,):
        return knobs.replaced(weight_dense=1.0).weighing(DENSE)
    return knobs


def copy_with_named_knobs(program: dspy.Module) -> dspy.Module:
    """Return a copy of a program whose knobs know their places."""
    twin = copy_program(program)
    name_knobs(twin)
    return twin
