"""Compiles a recipe's program on a training set, and proves on held-out questions what it gained.

Checks everything that can be checked before anything is spent, and puts the language model under
an account; the stages are in `stages.py`. Nothing is tuned on test. Knows nothing of
artifacts, MLflow or how a report looks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import dspy
from dspy.teleprompt import Teleprompter

from ragwright.optimize.accounts import RunModels, adapter_of_compile
from ragwright.optimize.disk import translate_disk_errors
from ragwright.optimize.journal import Journal, Origin, lock_run_folder
from ragwright.optimize.pace import Pace, PaceChanged
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.lesson import OptimizerSettings
from ragwright.optimize.prompts.optimizers import check_optimizer, optimizer_settings
from ragwright.optimize.prompts.state import prompts_of
from ragwright.optimize.prompts.teleprompters import custom_optimizer_settings
from ragwright.optimize.questions.checking import refuse_unknown
from ragwright.optimize.questions.columns import Columns
from ragwright.optimize.questions.data import (
    Question,
    Splits,
    TrainingSet,
    read_questions,
)
from ragwright.optimize.questions.splitting import split
from ragwright.optimize.result import CompileResult
from ragwright.optimize.retrieval.labels import LabelledCorpus
from ragwright.optimize.run_callbacks import ForeignPredictors, PastAccount, RunCallbacks
from ragwright.optimize.scoring.metrics import Metric, build_metric
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.scoring.statistics import Power
from ragwright.optimize.setting import Setting, setting_of
from ragwright.optimize.spending.budget import Account, Caps
from ragwright.optimize.spending.estimate import Estimate, estimate_calls
from ragwright.optimize.spending.patience import resuming, translate_server_away
from ragwright.optimize.spending.spend import SpendMeter
from ragwright.optimize.spending.unread import UnreadMarks
from ragwright.optimize.stages import Stages
from ragwright.optimize.summary import summarize
from ragwright.optimize.variant_answers import ByAnswers
from ragwright.optimize.variants import choose_variant
from ragwright.optimize.workbench import Workbench, copy_with_named_knobs
from ragwright.programs.anatomy import stages_of
from ragwright.programs.build import (
    build_program,
    build_recipe_lm,
    build_writer,
    index_settings,
)
from ragwright.programs.lm import lm_identity
from ragwright.programs.recipe import Recipe
from ragwright.programs.sandbox import check_sandbox
from ragwright.retrievers.argument_checks import check_list, check_path, check_type
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.errors import IdentityError, InputError
from ragwright.retrievers.extras import require
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import content_hash

SLOWER = "slower"
"""The event of a run whose questions have more time from then on."""


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
        crew: Workers that ask the recipe's language models. Caps and ledger stay in this process;
            at least as many questions are answered at a time as there are workers.
    """

    folder: Path
    caps: Caps = field(default_factory=Caps)
    resume: bool = False
    optimizer: Teleprompter | None = None
    calls: Path | None = None
    progress: StageProgress | None = None
    crew: Crew | None = None


def compile_program(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None = None,
    *,
    lm: dspy.LM | None = None,
    run_dir: str | Path | None = None,
    progress: StageProgress | None = None,
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
    check_type("recipe", recipe, Recipe)
    if run is None:
        if run_dir is None:
            raise InputError("A compile needs a folder for its run.", hint="Give run_dir.")
        check_path("run_dir", run_dir)
        run = Run(Path(run_dir), progress=progress)
    trainset = _trainset(recipe, questions)
    _optimizer(recipe, run)  # a wrong one is refused before variants are ingested
    recipe = _busy(recipe, run.crew)
    models = RunModels(
        lm or build_recipe_lm(recipe, crew=run.crew), build_writer(recipe, crew=run.crew)
    )
    recipe, variants = choose_variant(
        recipe,
        split_questions(recipe, trainset.questions),
        folder=run.folder,
        by=answers_for_variants(build_program, models, _metric(recipe), run),
        progress=run.progress,
    )
    job = _recipe_job(recipe, trainset, run, models.lm)
    return replace(compile_job(job, run), variants=variants)


def answers_for_variants(
    build: Callable[[Recipe], dspy.Module], models: RunModels, metric: Metric, run: Run
) -> ByAnswers:
    """Return what answers questions over several indexes, on the account of the run."""
    return ByAnswers(build, models, metric, run.folder, run.caps, run.calls, run.progress)


@dataclass(frozen=True)
class Job:
    """One program to compile, and what to compile it with; `compile_job` does it.

    Attributes:
        student: The program; it stays as it is.
        recipe: The settings.
        trainset: All questions.
        splits: The same by side.
        metric: Judges answers.
        optimizer: Learns the prompts.
        lm: Answers.
        writer: Writes instructions and judges, if the one that answers does not.
        start: The knobs that the search starts from; by default those that the student has.
        baseline: Those of the program that it is compared with; by default the same.
        answers: Whether answers are labels where a question has no others.
        teacher: A program to take demonstrations from.
    """

    student: dspy.Module
    recipe: Recipe
    trainset: TrainingSet
    splits: Splits
    metric: Metric
    optimizer: OptimizerSettings
    lm: dspy.LM
    writer: dspy.LM | None = None
    start: Setting | None = None
    baseline: Setting | None = None
    answers: bool = True
    teacher: dspy.Module | None = None


def compile_job(job: Job, run: Run) -> CompileResult:
    """Compile any program: the one way through, whoever built it. Raises as `compile_program`."""
    with translate_disk_errors(run.folder), translate_server_away(resuming(run.folder)):
        return _compiled(job, run)


def _compiled(job: Job, run: Run) -> CompileResult:
    require("scipy", "mlflow", *(["lightgbm"] if "ranker" in job.recipe.compile.learn else []))
    bench = _workbench(job, run)
    check_optimizer(job.optimizer, bench.lesson)
    origin = _origin(bench, run)
    with lock_run_folder(run.folder):
        bench.journal.begin(origin, resume=run.resume)
        bench = _metered(bench, run)
        try:
            past = PastAccount()
            unread = UnreadMarks(bench.meter.account.ledger)
            ours = RunCallbacks(unread, ForeignPredictors(bench.student), past)
            with dspy.context(lm=bench.lm, callbacks=[*dspy.settings.callbacks, ours]):
                result = _staged(bench, job, origin)
            result = replace(result, notes=(*result.notes, *bench.pace.told, *past.told))
        finally:
            bench.meter.account.close()
        bench.journal.add("done", {"chosen": result.chosen, "dev": result.dev[result.chosen].mean})
    return result


def _staged(bench: Workbench, job: Job, origin: Origin) -> CompileResult:
    """Go through the stages, from the start again where the pace had to change on the way.

    What was answered in time comes from the ledger then, and all is measured at one pace.
    """
    if bench.journal.last(SLOWER) is not None:
        bench.pace.slow_down()
    while True:
        try:
            with dspy.context(adapter=adapter_of_compile(job.recipe, bench.meter.account)):
                stages = Stages(bench, job.optimizer)
                outcome = stages.run()
                return summarize(stages.bench, outcome, origin.lm)
        except PaceChanged:
            bench.journal.add(SLOWER, {"threads": bench.pace.threads})


def estimate_compile(
    recipe: Recipe,
    questions: TrainingSet | Sequence[Question] | None = None,
    *,
    lm: dspy.LM | None = None,
    optimizer: Teleprompter | None = None,
    calls: Path | None = None,
) -> Estimate:
    """Say how many calls and tokens a compile will take, after answering a few questions.

    Nothing is left behind but the replies, in the file `calls` if it is given: a compile that
    shares it (`Run.calls`) does not pay for them again. Raises what `compile_program` raises before
    it spends anything.
    """
    with TemporaryDirectory() as folder:
        run = Run(Path(folder), optimizer=optimizer, calls=calls)
        job = _recipe_job(recipe, questions, run, lm or build_recipe_lm(recipe))
        bench = _workbench(job, run)
        check_optimizer(job.optimizer, bench.lesson)
        bench = _metered(bench, run)
        adapter = adapter_of_compile(recipe, bench.meter.account)
        with dspy.context(lm=bench.lm, adapter=adapter), translate_server_away():
            return estimate_calls(bench, job.optimizer)


def power_of_test(
    recipe: Recipe, questions: TrainingSet | Sequence[Question] | None = None
) -> Power:
    """Say what the test side of a training set can show, before anything is spent."""
    splits = split_questions(recipe, _trainset(recipe, questions).questions)
    return Power.of([question.group for question in splits.test])


def split_questions(recipe: Recipe, questions: Sequence[Question]) -> Splits:
    """Deal questions out to the three sides, as `[data]` says."""
    data = recipe.data
    return split(questions, train=data.train, dev=data.dev, seed=data.seed, by=data.split)


def _metric(recipe: Recipe) -> Metric:
    section = recipe.compile
    return build_metric(section.metric, threshold=section.threshold, load=recipe.part)


def _busy(recipe: Recipe, crew: Crew | None) -> Recipe:
    """Return the recipe with as many threads as keep a crew busy: each waits for one worker."""
    threads = max(recipe.compile.threads, crew.workers if crew else 1)
    section = recipe.compile.model_copy(update={"threads": threads})
    return recipe.model_copy(update={"compile": section})


def _optimizer(recipe: Recipe, run: Run) -> OptimizerSettings:
    if run.optimizer:
        return custom_optimizer_settings(run.optimizer)
    return optimizer_settings(recipe.compile, recipe.part)


def _metered(bench: Workbench, run: Run) -> Workbench:
    """Put the language models under an account, whose ledger lies in the run's folder."""
    models = RunModels(bench.lm, bench.writer)
    account = Account(models.ledger(run.folder, run.calls), caps=run.caps)
    metered = models.metered(bench.recipe, account)
    metric = replace(bench.metric, judge=metered.writer)
    return replace(
        bench, lm=metered.lm, writer=metered.writer, metric=metric, meter=SpendMeter(account)
    )


def _origin(bench: Workbench, run: Run) -> Origin:
    recipe = bench.recipe
    table = recipe.model_dump(mode="json")
    for section in ("index", "fallback", "lm", "writer", "tracking"):
        table.pop(section)
    table["data"].pop("trainset")
    for key in ("threads", "timeout"):
        table["compile"].pop(key)
    given = type(run.optimizer).__qualname__ if run.optimizer else ""
    names = [lm_identity(lm) for lm in (bench.lm, bench.writer) if lm is not None]
    program = [type(bench.student).__qualname__, bench.start.dump(), bench.baseline.dump(),
               prompts_of(bench.student)]  # fmt: skip
    return Origin(
        data=bench.trainset.fingerprint,
        program=content_hash(json.dumps(program, sort_keys=True, default=str)),
        recipe=content_hash(json.dumps(table, sort_keys=True), given, bench.metric.name),
        index=bench.index_fingerprint,
        lm=" ".join(names),
    )


def _workbench(job: Job, run: Run) -> Workbench:
    """Check everything that can be checked before anything is spent."""
    student = copy_with_named_knobs(job.student)
    check_sandbox(student, start=True)
    own = setting_of(student)
    paths = dict.fromkeys(stage.path for parts in stages_of(student).values() for stage in parts)
    section, asked = job.recipe.compile, None if run.crew else job.lm
    return Workbench(
        student=student,
        recipe=job.recipe,
        start=job.start or own,
        baseline=job.baseline or own,
        trainset=job.trainset,
        splits=job.splits,
        metric=job.metric,
        ranking=RankingMetric.parse(job.recipe.compile.retrieval_metric),
        folder=run.folder,
        progress=run.progress,
        meter=SpendMeter(),
        pace=Pace.of_server(section.threads, section.timeout, asked, begins_anew=True),
        journal=Journal(run.folder),
        lm=job.lm,
        corpus=LabelledCorpus(job.trainset.questions, list(paths), answers=job.answers),
        writer=job.writer,
        teacher=job.teacher,
    )


def _recipe_job(
    recipe: Recipe, questions: TrainingSet | Sequence[Question] | None, run: Run, lm: dspy.LM
) -> Job:
    """Build program, metric and data of a recipe."""
    index = open_index(recipe.index.path)
    if index.settings.manner != index_settings(recipe).like(index.settings).manner:
        raise IdentityError(
            f"The index {recipe.index.path!r} was made with {index.settings.embedder!r} and "
            f"{index.settings.chunking!r}, the recipe wants others.",
            hint="Change [index] in the recipe, or run `rag ingest` again.",
        )
    trainset = _trainset(recipe, questions)
    refuse_unknown(trainset.questions, index)
    student = build_program(recipe)
    places = setting_of(student)
    said = recipe.program.own and "knobs" in recipe.model_fields_set
    return Job(
        student=student,
        recipe=recipe,
        trainset=trainset,
        splits=split_questions(recipe, trainset.questions),
        metric=_metric(recipe),
        optimizer=_optimizer(recipe, run),
        lm=lm,
        writer=build_writer(recipe, crew=run.crew),
        start=Setting.of(dict.fromkeys(places, recipe.knobs)) if said else places,
        baseline=Setting.of(dict.fromkeys(places, recipe.baseline)),
    )


def _trainset(recipe: Recipe, questions: TrainingSet | Sequence[Question] | None) -> TrainingSet:
    if isinstance(questions, TrainingSet):
        return questions
    if questions is not None:
        check_list("questions", questions)
        return TrainingSet(tuple(questions))
    if not recipe.data.trainset:
        raise InputError(
            "There is no training set.", hint="Set trainset in the recipe's [data] table."
        )
    return read_questions(recipe.data.trainset, Columns.of(recipe))
