"""What every stage of a compile works with: recipe, index, splits, metrics, pool.

Builds the programs that are compared, live or over the pool. Knows nothing of the order of the
stages or of what they choose.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import dspy
import numpy as np
from dspy.utils.exceptions import AdapterParseError, LMError

from ragwright.optimize.journal import Journal
from ragwright.optimize.progress import Progress
from ragwright.optimize.prompts.feedback import Feedback
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.prompts.state import prompts_of, set_prompts
from ragwright.optimize.prompts.worked import worked_examples
from ragwright.optimize.questions.data import Question, Splits, TrainingSet
from ragwright.optimize.result import Variant
from ragwright.optimize.retrieval.labels import Labels, label
from ragwright.optimize.retrieval.pool import Pool, PoolKey, build_pool
from ragwright.optimize.retrieval.pooled import pooled
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import Labelled
from ragwright.optimize.scoring.attribution import Failure, attribute
from ragwright.optimize.scoring.evaluate import Evaluation, evaluate
from ragwright.optimize.scoring.metrics import Metric
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.spending.spend import Meter
from ragwright.programs.build import build_program, gather, pool_identity, replayed_signals
from ragwright.programs.candidates import Candidates
from ragwright.programs.context import build_context
from ragwright.programs.fallback import one_line
from ragwright.programs.knobs import KnobValues
from ragwright.programs.rag import RAG
from ragwright.programs.recipe import Recipe
from ragwright.programs.sections import BY_LANGUAGE_MODEL
from ragwright.programs.selection import select
from ragwright.programs.signals import DENSE, Signal
from ragwright.programs.stage import passages_of
from ragwright.retrievers.errors import CompileError
from ragwright.retrievers.index import Index
from ragwright.retrievers.types import Passage, content_hash


@dataclass(frozen=True)
class Bench:
    """The unchanging parts of one compile, and the pool as far as it is filled.

    Attributes:
        recipe: What is compiled.
        index: What it retrieves from.
        trainset: All questions.
        splits: The questions by side.
        metric: Judges answers.
        ranking: Judges retrieval.
        folder: The run's folder.
        progress: Told what is being done.
        meter: Counts what is spent.
        journal: What the run has come to.
        lm: Answers; metered.
        writer: Writes instructions and judges; None if the one that answers does.
        pool: Candidates of the questions that have been fetched.
        warnings: What went wrong with pools on disk.
    """

    recipe: Recipe
    index: Index
    trainset: TrainingSet
    splits: Splits
    metric: Metric
    ranking: RankingMetric
    folder: Path
    progress: Progress | None
    meter: Meter
    journal: Journal
    lm: dspy.LM
    writer: dspy.LM | None = None
    pool: Pool | None = None
    warnings: tuple[str, ...] = ()

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
            section.threads,
            self.progress,
            lm=self.lm,
            writer=self.writer,
            seed=section.seed,
        )

    def lesson_at(self, knobs: KnobValues) -> Lesson:
        """The same, with words about what retrieval loses at these knobs."""
        questions = [*self.splits.train, *self.splits.dev]
        failures = attribute(self.labelled(questions), self.usable(knobs))
        places: dict[str, Failure] = {
            question.id: place for question, place in zip(questions, failures, strict=True)
        }
        worked = worked_examples(self.splits.train, lambda asked: self._packed(asked, knobs))
        return replace(self.lesson, feedback=Feedback(places), worked=worked)

    def _packed(self, question: str, knobs: KnobValues) -> Sequence[Passage]:
        """The passages that would be read for a question, as the pool has them."""
        candidates = self._pool.take([question])
        ranking = select(candidates, self.usable(knobs))
        found = passages_of(self.recipe.index.path, candidates, ranking)
        return build_context(found.passages, knobs.context_tokens, order=knobs.order).passages

    @property
    def writes_queries(self) -> bool:
        """Whether a language model writes queries, so that candidates depend on prompts."""
        section = self.recipe.program
        return section.kind == "multihop" or section.expansion != "none"

    def asks_live(self, knobs: KnobValues) -> bool:
        """Whether no pool can stand for the search: a language model writes queries, or reranks."""
        by_model = self.recipe.program.reranks and self.recipe.program.reranker in BY_LANGUAGE_MODEL
        return self.writes_queries or (by_model and bool(knobs.weight("lm")))

    def with_pool(self, questions: Sequence[Question], teacher: RAG | None = None) -> Bench:
        """Return a bench whose pool holds the candidates of these questions.

        A teacher's prompts write the queries, where a program writes any.

        Raises:
            CompileError: The language model failed to write them.
        """
        program = build_program(self.recipe)
        identity = pool_identity(self.recipe)
        if teacher is not None and self.writes_queries:
            set_prompts(program, prompts_of(teacher))
            identity += content_hash(json.dumps(prompts_of(program), sort_keys=True))
        pool = build_pool(
            [question.question for question in questions],
            lambda question: self._gathered(program, question),
            key=PoolKey(self.index.fingerprint, identity),
            folder=self.index.folder / "pools",
            signals=self.signals,
            progress=self.progress,
        )
        warnings = (*self.warnings, pool.warning) if pool.warning else self.warnings
        return replace(self, pool=pool, warnings=warnings)

    def answered(
        self, variant: Variant, questions: Sequence[Question], *, live: bool
    ) -> Evaluation:
        """Answer questions and score the answers; what has been done before is read from disk."""
        live = live or self.asks_live(variant.knobs)
        program = self.program(variant.knobs, variant.teacher, live=live)
        state = json.dumps(program.dump_state(), sort_keys=True, default=str)
        asked = [question.id for question in questions]
        form = getattr(dspy.settings.adapter, "wanted", "")
        name = content_hash(state, json.dumps(asked), self.metric.name, str(live), form)
        file = self.folder / "evaluations" / f"{name}.jsonl"
        if file.exists():
            return Evaluation.read(file)
        section = self.recipe.compile
        with self._asked_again():
            done = evaluate(
                program,
                questions,
                self.metric,
                threads=section.threads,
                timeout=section.timeout,
                progress=self.progress,
                stage=variant.name,
            )
        done.write(file)
        return done

    def labels(self, questions: Sequence[Question]) -> Labels:
        """Find what the index holds for these questions."""
        return label(questions, self.index.chunks())

    def labelled(self, questions: Sequence[Question]) -> Labelled:
        """Lay the labels of these questions over their candidates in the pool."""
        candidates = self._pool.take([question.question for question in questions])
        return Labelled(candidates, Relevance.of(self.labels(questions), candidates))

    def ranking_score(self, knobs: KnobValues) -> float:
        """How well knobs rank the passages of train and dev questions; NaN without labels."""
        labelled = self.labelled([*self.splits.train, *self.splits.dev])
        scores = labelled.scores(self.usable(knobs), self.ranking)
        known = scores[~np.isnan(scores)]
        return float(known.mean()) if len(known) else float("nan")

    def program(self, knobs: KnobValues, teacher: RAG | None = None, *, live: bool = False) -> RAG:
        """Build a program with these knobs and the teacher's prompts, over the pool or live."""
        recipe = self.recipe.model_copy(update={"knobs": self.usable(knobs)})
        program = build_program(recipe)
        if teacher is not None:
            set_prompts(program, prompts_of(teacher))
        return program if live else pooled(program, recipe.index.path, self._pool)

    def student(self, knobs: KnobValues) -> RAG:
        """Build what prompts are learned for: its predictors are those that can learn any."""
        return self.program(knobs, live=self.asks_live(knobs))

    def usable(self, knobs: KnobValues) -> KnobValues:
        """Drop the weights that the program's kind has no use for."""
        if self.recipe.program.kind == "rag":
            return knobs.replaced(weight_dense=1.0).weighing(DENSE)
        return knobs

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals that the program can weigh and a pool stores, sources first."""
        return replayed_signals(self.recipe)

    def _gathered(self, program: RAG, question: str) -> Candidates:
        """What is found for a question; a pool is shared, so no worse one is kept in its place."""
        with self._asked_again():
            try:
                return gather(program, question)
            except (LMError, AdapterParseError) as error:
                raise CompileError(
                    f"No queries could be written for {question!r} ({one_line(error)}).",
                    hint="Check the language model and go on with --resume: what could be read is "
                    "not paid for twice.",
                ) from error

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

    @property
    def _pool(self) -> Pool:
        if self.pool is None:
            raise CompileError("No pool has been fetched.", hint="Call with_pool first.")
        return self.pool
