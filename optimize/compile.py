"""A recipe and a training set in, a compiled program and the proof of what it gained out.

The stages: split, pool, retrieval knobs by replay, prompts by a DSPy optimizer, the shortlisted
knobs judged by answers under these prompts, choice on dev, and one look at test. Nothing is ever
selected on test. Knows nothing of artifacts, MLflow or how a report looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dspy
import numpy as np

from optimize.bench import Bench
from optimize.budget import Meter
from optimize.data import Question, TrainingSet, read_questions, split
from optimize.evaluate import Evaluation, evaluate
from optimize.metrics import build_metric
from optimize.optimizers import (
    OptimizerSettings,
    check,
    optimizer_settings,
    run_optimizer,
)
from optimize.pool import Progress
from optimize.ranking import RankingMetric
from optimize.result import (
    BASELINE,
    BOTH,
    KNOBS_ONLY,
    PROMPTS_ONLY,
    START,
    CompileResult,
    Variant,
)
from optimize.retrieval import Search, search
from optimize.space import SearchSettings
from optimize.summary import Outcome, summarize
from programs.build import build_recipe_lm, index_settings
from programs.knobs import KnobValues
from programs.lm import lm_identity
from programs.rag import RAG
from programs.recipe import Recipe
from retrievers.errors import IdentityError, InputError
from retrievers.index import open_index


def compile_program(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None = None,
    *,
    lm: dspy.LM | None = None,
    run_dir: str | Path,
    progress: Progress | None = None,
) -> CompileResult:
    """Tune retrieval and prompts together and measure the gain on held-out questions.

    Args:
        recipe: What to build, where it starts and what may be tried; its index must exist.
        questions: The training set; read from `recipe.data.trainset` if not given.
        lm: The language model; the recipe's if not given. The compiled program does not hold it.
        run_dir: Where pool, search study and logs of this run go.
        progress: Told what is being done.

    Raises:
        InputError: The training set or a metric's name is wrong.
        CompileError: Too few questions, or an optimizer's needs are not met.
        IndexFault: There is no index, or (IdentityError) it was made otherwise.
    """
    bench = _prepared(recipe, questions, Path(run_dir), progress)
    lm = lm or build_recipe_lm(recipe)
    with dspy.context(lm=lm):
        return _run(bench, optimizer_settings(recipe.compile), lm_identity(lm))


def _run(bench: Bench, optimizer: OptimizerSettings, lm_name: str) -> CompileResult:
    lesson = bench.lesson
    check(optimizer, lesson)
    with bench.meter.stage("pool"):
        bench = bench.with_pool([*bench.splits.train, *bench.splits.dev])
    with bench.meter.stage("retrieval"):
        found = _search(bench)
    with bench.meter.stage("prompts"):
        learned = run_optimizer(optimizer, bench.program(found.best), lesson, log=bench.log)
    with bench.meter.stage("shortlist"):
        best, judged = _judged(bench, found, learned)
    with bench.meter.stage("choice"):
        variants = _variants(bench.recipe, best, learned)
        others = [item for item in variants if item.name != BOTH]
        dev = {item.name: _scored(bench, item, live=False) for item in others} | {BOTH: judged}
        chosen = max(variants, key=lambda item: dev[item.name].mean)
    with bench.meter.stage("test"):
        reported = [item for item in variants if item.name != "start" or item is chosen]
        test = {item.name: _scored(bench, item, live=True) for item in reported}
        bench = bench.with_pool(bench.splits.test)
    outcome = Outcome(found, best, chosen, dev, test)
    return summarize(bench, outcome, lm_name)


def _prepared(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None,
    folder: Path,
    progress: Progress | None,
) -> Bench:
    """Check everything that can be checked before anything is spent."""
    index = open_index(recipe.index.path)
    if index.settings.manner != index_settings(recipe).manner:
        raise IdentityError(
            f"The index {recipe.index.path!r} was made with {index.settings.embedder!r} and "
            f"{index.settings.chunking!r}, the recipe wants others.",
            hint="Change [index] in the recipe, or run `rag ingest` again.",
        )
    trainset = _trainset(recipe, questions)
    data, section = recipe.data, recipe.compile
    splits = split(trainset.questions, train=data.train, dev=data.dev, seed=data.seed)
    return Bench(
        recipe=recipe,
        index=index,
        trainset=trainset,
        splits=splits,
        metric=build_metric(section.metric, threshold=section.threshold),
        ranking=RankingMetric.parse(section.retrieval_metric),
        folder=folder,
        progress=progress,
        meter=Meter(),
    )


def _trainset(recipe: Recipe, questions: TrainingSet | Sequence[Question] | None) -> TrainingSet:
    if isinstance(questions, TrainingSet):
        return questions
    if questions is not None:
        return TrainingSet(tuple(questions))
    if not recipe.data.trainset:
        raise InputError(
            "There is no training set.", hint="Set trainset in the recipe's [data] table."
        )
    return read_questions(recipe.data.trainset)


def _search(bench: Bench) -> Search:
    section, questions = bench.recipe.compile, [*bench.splits.train, *bench.splits.dev]
    settings = SearchSettings(
        metric=bench.ranking,
        trials=section.retrieval_trials,
        shortlist=section.shortlist,
        signals=bench.signals,
        seed=section.seed,
    )
    return search(
        bench.labelled(questions),
        bench.usable(bench.recipe.knobs),
        bench.usable(bench.recipe.baseline),
        settings,
        groups=[question.group for question in questions],
        folder=bench.folder,
        progress=bench.progress,
    )


def _judged(bench: Bench, found: Search, learned: RAG) -> tuple[KnobValues, Evaluation]:
    """Of the shortlist, the setting with the best answers on dev under the learned prompts."""
    settings = [
        Variant(f"shortlist {n}", knobs, learned) for n, knobs in enumerate(found.shortlist)
    ]
    judged = [_scored(bench, item, live=False) for item in settings]
    place = int(np.argmax([evaluation.mean for evaluation in judged]))
    return found.shortlist[place], judged[place]


def _variants(recipe: Recipe, best: KnobValues, learned: RAG) -> list[Variant]:
    """What is compared, from the least changed to the most; of equals the first is chosen."""
    start = [Variant(START, recipe.knobs)] if recipe.knobs != recipe.baseline else []
    return [
        Variant(BASELINE, recipe.baseline),
        *start,
        Variant(KNOBS_ONLY, best),
        Variant(PROMPTS_ONLY, recipe.baseline, learned),
        Variant(BOTH, best, learned),
    ]


def _scored(bench: Bench, variant: Variant, *, live: bool) -> Evaluation:
    return evaluate(
        bench.program(variant.knobs, variant.teacher, live=live),
        bench.splits.test if live else bench.splits.dev,
        bench.metric,
        threads=bench.recipe.compile.threads,
        progress=bench.progress,
        stage=f"{'test' if live else 'dev'}: {variant.name}",
    )
