"""What every stage of a compile works with: recipe, index, splits, metrics, pool.

Builds the programs that are compared, live or over the pool. Knows nothing of the order of the
stages or of what they choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optimize.budget import Meter
from optimize.data import Question, Splits, TrainingSet
from optimize.labels import Labels, Relevance, label
from optimize.metrics import Metric
from optimize.optimizers import Lesson
from optimize.pool import Pool, PoolKey, Progress, build_pool
from optimize.pooled import pooled, teach
from optimize.ranking import RankingMetric
from optimize.replay import Labelled
from programs.build import build_program, gather, pool_identity, tunable_knobs
from programs.knobs import KnobValues
from programs.rag import RAG
from programs.recipe import Recipe
from programs.selection import RERANKERS, SOURCES
from retrievers.errors import CompileError
from retrievers.index import Index


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
    pool: Pool | None = None
    warnings: tuple[str, ...] = ()

    @property
    def log(self) -> Path:
        """Where DSPy's optimizers print to."""
        return self.folder / "optimizer.log"

    @property
    def lesson(self) -> Lesson:
        """What optimizers learn from: train and dev, never test."""
        threads = self.recipe.compile.threads
        train, dev = self.splits.train, self.splits.dev
        return Lesson(train, dev, self.metric, threads, self.progress)

    def with_pool(self, questions: Sequence[Question]) -> Bench:
        """Return a bench whose pool holds the candidates of these questions."""
        program = build_program(self.recipe)
        pool = build_pool(
            [question.question for question in questions],
            lambda question: gather(program, question),
            key=PoolKey(self.index.fingerprint, pool_identity(self.recipe)),
            folder=self.index.folder / "pools",
            progress=self.progress,
        )
        warnings = (*self.warnings, pool.warning) if pool.warning else self.warnings
        return replace(self, pool=pool, warnings=warnings)

    def labels(self, questions: Sequence[Question]) -> Labels:
        """Find what the index holds for these questions."""
        return label(questions, self.index.chunks())

    def labelled(self, questions: Sequence[Question]) -> Labelled:
        """Lay the labels of these questions over their candidates in the pool."""
        candidates = self._pool.take([question.question for question in questions])
        return Labelled(candidates, Relevance.of(self.labels(questions), candidates))

    def program(self, knobs: KnobValues, teacher: RAG | None = None, *, live: bool = False) -> RAG:
        """Build a program with these knobs and the teacher's prompts, over the pool or live."""
        recipe = self.recipe.model_copy(update={"knobs": self.usable(knobs)})
        program = build_program(recipe)
        if teacher is not None:
            teach(program, teacher)
        return program if live else pooled(program, recipe.index.path, self._pool)

    def usable(self, knobs: KnobValues) -> KnobValues:
        """Drop the weights that the program's kind has no use for."""
        if self.recipe.program.kind == "rag":
            none = dict.fromkeys(("weight_bm25", *(f"weight_{name}" for name in RERANKERS)), 0.0)
            return knobs.replaced(weight_dense=1.0, **none)
        return knobs

    @property
    def signals(self) -> tuple[str, ...]:
        """The signals that the program can weigh."""
        tunable = tunable_knobs(self.recipe)
        return tuple(name for name in (*SOURCES, *RERANKERS) if f"weight_{name}" in tunable)

    @property
    def _pool(self) -> Pool:
        if self.pool is None:
            raise CompileError("No pool has been fetched.", hint="Call with_pool first.")
        return self.pool
