"""A recipe and a training set in, a compiled program and the proof of what it gained out.

Checks everything that can be checked before anything is spent, and puts the language model under
an account; the stages are in `stages.py`. Nothing is ever selected on test. Knows nothing of
artifacts, MLflow or how a report looks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dspy
from dspy.teleprompt import Teleprompter

from ragwright.optimize.bench import Bench
from ragwright.optimize.journal import Journal, Origin, only_process
from ragwright.optimize.progress import Progress
from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.prompts.optimizers import check, given_optimizer, optimizer_settings
from ragwright.optimize.questions.checking import refuse_unknown
from ragwright.optimize.questions.data import Question, TrainingSet, read_questions, split
from ragwright.optimize.result import CompileResult
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Power
from ragwright.optimize.spending.budget import Account, Caps
from ragwright.optimize.spending.estimate import Estimate, estimate
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM, Prices, known_prices
from ragwright.optimize.spending.spend import Meter
from ragwright.optimize.spending.unread import Unread
from ragwright.optimize.stages import Stages
from ragwright.optimize.summary import summarize
from ragwright.programs.build import (
    build_program,
    build_recipe_lm,
    build_writer,
    index_settings,
)
from ragwright.programs.lm import lm_identity
from ragwright.programs.recipe import Recipe
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.sections import ModelSection
from ragwright.retrievers.errors import IdentityError, InputError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import content_hash

CALLS = "calls.sqlite"
"""The ledger of LM calls in a run's folder."""


@dataclass(frozen=True)
class Run:
    """How a compile is run.

    Attributes:
        folder: Where journal, LM calls, evaluations, search study and logs go.
        caps: What may be spent at most.
        resume: Go on with the run that the folder holds.
        optimizer: A teleprompter of the user's own, instead of the recipe's.
        calls: Where LM calls are kept, to share them between runs; by default in the folder.
        progress: Told what is being done.
    """

    folder: Path
    caps: Caps = field(default_factory=Caps)
    resume: bool = False
    optimizer: Teleprompter | None = None
    calls: Path | None = None
    progress: Progress | None = None


def compile_program(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None = None,
    *,
    lm: dspy.LM | None = None,
    run_dir: str | Path | None = None,
    progress: Progress | None = None,
    run: Run | None = None,
) -> CompileResult:
    """Tune retrieval and prompts together and measure the gain on held-out questions.

    Args:
        recipe: What to build, where it starts and what may be tried; its index must exist.
        questions: The training set; read from `recipe.data.trainset` if not given.
        lm: The language model; the recipe's if not given. The compiled program does not hold it.
        run_dir: Where everything of this run goes; short for `run=Run(folder)`.
        progress: Told what is being done.
        run: Where and how: caps, resuming, a teleprompter of your own.

    Raises:
        InputError: The training set, a metric's name or the run's folder is wrong.
        CompileError: Too few questions, an optimizer's needs are not met, a cap leaves too little,
            or a run to resume was made from something else.
        IndexFault: There is no index, or (IdentityError) it was made otherwise.
        KeyboardInterrupt: Ctrl-C; the run's journal holds the best so far and can be resumed.
    """
    if run is None:
        if run_dir is None:
            raise InputError("A compile needs a folder for its run.", hint="Give run_dir.")
        run = Run(Path(run_dir), progress=progress)
    bench = _prepared(recipe, questions, run, lm or build_recipe_lm(recipe))
    optimizer = _optimizer(recipe, run)
    check(optimizer, bench.lesson)
    origin = _origin(bench, run)
    with only_process(run.folder):
        bench.journal.begin(origin, resume=run.resume)
        bench = _metered(bench, run)
        try:
            callbacks = [*dspy.settings.callbacks, Unread(bench.meter.account.ledger)]
            adapter = ReplyAdapter(recipe.lm.format, learns=False)
            with dspy.context(lm=bench.lm, callbacks=callbacks, adapter=adapter):
                stages = Stages(bench, optimizer)
                outcome = stages.run()
                result = summarize(stages.bench, outcome, origin.lm)
        finally:
            bench.meter.account.close()
        bench.journal.add("done", {"chosen": result.chosen, "dev": result.dev[result.chosen].mean})
    return result


def estimate_compile(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None = None,
    *,
    lm: dspy.LM | None = None,
    optimizer: Teleprompter | None = None,
) -> Estimate:
    """Say how many calls and tokens a compile will take, after answering a few questions.

    Nothing is left behind. Raises what `compile_program` raises before it spends anything.
    """
    with TemporaryDirectory() as folder:
        run = Run(Path(folder), optimizer=optimizer)
        bench = _prepared(recipe, questions, run, lm or build_recipe_lm(recipe))
        settings = _optimizer(recipe, run)
        check(settings, bench.lesson)
        bench = _metered(bench, run)
        with dspy.context(lm=bench.lm, adapter=ReplyAdapter(recipe.lm.format, learns=False)):
            return estimate(bench, settings)


def power_of(recipe: Recipe, questions: TrainingSet | Sequence[Question] | None = None) -> Power:
    """Say what the test side of a training set can show, before anything is spent."""
    data = recipe.data
    asked = _trainset(recipe, questions).questions
    splits = split(asked, train=data.train, dev=data.dev, seed=data.seed)
    return Power.of([question.group for question in splits.test])


def _optimizer(recipe: Recipe, run: Run) -> OptimizerSettings:
    if run.optimizer:
        return given_optimizer(run.optimizer)
    return optimizer_settings(recipe.compile, recipe.part)


def _metered(bench: Bench, run: Run) -> Bench:
    """Put the language models under an account, whose ledger lies in the run's folder."""
    given = _prices(bench.recipe.lm)
    # A local engine costs nothing, and may change without its name changing.
    shared = run.calls if isinstance(bench.lm.engine, str) else None
    ledger = CallLedger(shared or run.folder / CALLS, run=run.folder.name)
    account = Account(ledger, caps=run.caps)
    lm = MeteredLM(bench.lm, account, known_prices(bench.lm, account, given))
    writer = None
    if bench.writer is not None:
        priced = _prices(bench.recipe.writer)
        writer = MeteredLM(bench.writer, account, known_prices(bench.writer, account, priced))
    metric = replace(bench.metric, judge=writer)
    return replace(bench, lm=lm, writer=writer, metric=metric, meter=Meter(account))


def _prices(section: ModelSection) -> Prices | None:
    if section.prompt_price is None or section.completion_price is None:
        return None
    return Prices(section.prompt_price, section.completion_price)


def _origin(bench: Bench, run: Run) -> Origin:
    recipe = bench.recipe
    table = recipe.model_dump(mode="json")
    for section in ("index", "fallback", "lm", "writer"):
        table.pop(section)
    table["data"].pop("trainset")
    for key in ("threads", "timeout"):
        table["compile"].pop(key)
    given = type(run.optimizer).__qualname__ if run.optimizer else ""
    names = [lm_identity(lm) for lm in (bench.lm, bench.writer) if lm is not None]
    return Origin(
        data=bench.trainset.fingerprint,
        program=content_hash(json.dumps(build_program(recipe).dump_state(), sort_keys=True)),
        recipe=content_hash(json.dumps(table, sort_keys=True), given),
        index=bench.index.fingerprint,
        lm=" ".join(names),
    )


def _prepared(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None,
    run: Run,
    lm: dspy.LM,
) -> Bench:
    """Check everything that can be checked before anything is spent."""
    index = open_index(recipe.index.path)
    if index.settings.manner != index_settings(recipe).like(index.settings).manner:
        raise IdentityError(
            f"The index {recipe.index.path!r} was made with {index.settings.embedder!r} and "
            f"{index.settings.chunking!r}, the recipe wants others.",
            hint="Change [index] in the recipe, or run `rag ingest` again.",
        )
    trainset = _trainset(recipe, questions)
    refuse_unknown(trainset.questions, index)
    data, section = recipe.data, recipe.compile
    splits = split(trainset.questions, train=data.train, dev=data.dev, seed=data.seed)
    return Bench(
        recipe=recipe,
        index=index,
        trainset=trainset,
        splits=splits,
        metric=build_metric(section.metric, threshold=section.threshold, load=recipe.part),
        ranking=RankingMetric.parse(section.retrieval_metric),
        folder=run.folder,
        progress=run.progress,
        meter=Meter(),
        journal=Journal(run.folder),
        lm=lm,
        writer=build_writer(recipe),
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
