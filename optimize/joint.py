"""`JointOptimizer`: tunes the prompts and the retrieval of any `dspy.Module` on examples.

`JointOptimizer` is a DSPy teleprompter. It takes what DSPy takes (examples of any fields, any
metric, any other teleprompter for the prompts) and goes the one way that recipes go, too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dspy
from dspy.teleprompt import Teleprompter

from ragwright.optimize.accounts import RunModels
from ragwright.optimize.compile import Job, Run, answers_for_variants, compile_job
from ragwright.optimize.journal import RECORDED, Journal
from ragwright.optimize.own_variants import Variants, choose_own_variant, parse_variant_request
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.optimizers import optimizer_settings, settings_with_options
from ragwright.optimize.questions.columns import answers_of
from ragwright.optimize.questions.data import (
    SIDES,
    Question,
    Side,
    Splits,
    TrainingSet,
    from_examples,
)
from ragwright.optimize.questions.splitting import SplitBy, assign_sides, splits_of
from ragwright.optimize.result import CompileResult
from ragwright.optimize.scoring.metrics import NEEDS_ANSWERS, Metric, as_metric, build_metric
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.spending.budget import Caps
from ragwright.programs.adopting import with_stages_of_its_own
from ragwright.programs.interface import ProgramInputs, call_signature
from ragwright.programs.lm import build_lm, section_of_lm
from ragwright.programs.lm_wrapper import as_lm
from ragwright.programs.plain_retrievers import with_stages_for_retrievers
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.argument_checks import check_callable, check_path, check_type
from ragwright.retrievers.errors import CompileError, InputError, RecipeError

_STORES = ("file", "sqlite", "postgresql", "mysql", "mssql", "http", "https")
LEAST = 2
"""Fewer examples than these on a side, and there is nothing to compare."""

Examples = Sequence[dspy.Example]

Program = TypeVar("Program", bound=dspy.Module)


@dataclass(frozen=True)
class Tracking:
    """Where a compile is recorded in MLflow.

    Attributes:
        uri: The store, such as "sqlite:////home/me/mlflow.db".
        files: The folder for files of a new experiment; beside the runs by default.
    """

    uri: str
    files: Path | None = None


class JointOptimizer(Teleprompter):
    """Tunes the retrieval stages and the prompts of any program together, and proves the gain.

    Args:
        metric: Any metric that DSPy takes (2 to 5 arguments; a bool, a number, or a
            `dspy.Prediction` with `score` and `feedback`), or the name of one of ours, such as
            "answer_f1".
        prompts: What learns the prompts: a teleprompter, the name of one ("mipro", "gepa",
            "bootstrap-random-search", ...), or None to leave prompts as they are.
        lm: Answers while compiling; by default the language model that DSPy is configured with.
            Predictors that have one of their own keep it. What is returned has none that it had
            not: `compiled.set_lm(lm)`, or configure DSPy.
        caps: What may be spent at most.
        split: How the trainset is dealt out, as the future is expected to come: by "document" (no
            group on two sides), by "question" (every one for itself), or by "time" (the latest are
            the test set; examples have a `time`).
        variants: Other ways to cut the documents, to choose the index from: by name, the keys of
            a recipe's [index] table that differ (`{"small": {"chunking": {"size": 60}}}`), or
            "auto". The program then searches one index; the compiled one searches the best.
        documents: The file or folder that the index was made from, for `variants`.
        run_dir: Where journal, LM calls and evaluations go, and from where a compile that was
            interrupted goes on; by default a new folder under `.rag/runs`.
        progress: Told what is being done: `progress(stage, done, total)`.
        track: The MLflow store to record the compile in, if any.
        settings: Keys of a recipe's [compile] table: `seed`, `threads`, `retrieval_trials`,
            `shortlist`, `finalists`, `timeout`, `threshold`, `retrieval_metric`, `writer` (a model
            that writes instructions, by name), `options`, `learn` (sources to learn, such as
            `["questions", "adapter"]`), ...
    """

    def __init__(  # noqa: PLR0913 (one parameter per setting)
        self,
        *,
        metric: Callable[..., Any] | str,
        prompts: Teleprompter | str | None = "bootstrap-random-search",
        lm: dspy.LM | None = None,
        caps: Caps | None = None,
        split: SplitBy = "document",
        variants: Variants | None = None,
        documents: str | Path = "",
        run_dir: str | Path | None = None,
        progress: StageProgress | None = None,
        track: str | Tracking | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        check_type("caps", caps, Caps, none=True)
        check_type("track", track, str, Tracking, none=True)
        check_type("prompts", prompts, Teleprompter, str, none=True)
        check_type("lm", lm, dspy.BaseLM, none=True)
        check_type("threshold", settings.get("threshold", 0.6), int, float)
        check_callable("progress", progress, none=True)
        if run_dir is not None:
            check_path("run_dir", run_dir)
        self.metric = metric
        self.prompts = prompts
        self.lm = lm
        self.caps = caps or Caps()
        self.split = split
        self.variants = parse_variant_request(variants, documents)
        self.run_dir = run_dir
        self.progress = progress
        self.track = Tracking(track) if isinstance(track, str) else track
        if self.track is not None:
            _check_store(self.track.uri)
        named = "none" if prompts is None or isinstance(prompts, Teleprompter) else prompts
        self.settings = {"optimizer": named, **settings}
        self._metric = self._read_metric()
        section = self._table("program").compile
        RankingMetric.parse(section.retrieval_metric)
        optimizer_settings(section)

    def compile(
        self,
        student: Program,
        *,
        trainset: Examples,
        valset: Examples | None = None,
        testset: Examples | None = None,
        teacher: dspy.Module | None = None,
        **options: Any,
    ) -> Program:
        """Compile a program; it stays as it is.

        Args:
            student: Any program: nested, with several stages on several indexes, awaited only.
            trainset: Examples, with their inputs named. `evidence` or `documents` on them are
                labels to judge retrieval by; those of one `group` never stand on two sides.
            valset: What everything is chosen on; by default a part of the trainset.
            testset: What is reported on, once; by default a part of the trainset.
            teacher: A program to take demonstrations from, for optimizers that heed one.
            options: What the `compile` of a teleprompter that was given as `prompts` takes besides.

        Returns:
            A program of the student's own class with its prompts and knobs set, and with
            `compile_result`: the verdict, the measurements, and what was tried. The report is
            under `report/` in the run's folder.

        Raises:
            InputError: An example names no inputs, or the folder holds another run.
            CompileError: Too few examples, an optimizer's needs are not met, or a cap leaves too
                little.
            IndexFault: A stage's index is not there.
        """
        check_type("student", student, dspy.Module)
        check_type("teacher", teacher, dspy.Module, none=True)
        student = with_stages_for_retrievers(with_stages_of_its_own(student))
        if teacher is not None:
            _check_teacher(student, teacher)
        recipe = self._recipe(student)
        splits = _splits(recipe, trainset, valset, testset)
        questions = TrainingSet((*splits.train, *splits.dev, *splits.test))
        _check_inputs(student, questions.questions)
        _check_answers(self._metric, questions.questions)
        given = self.prompts if isinstance(self.prompts, Teleprompter) else None
        optimizer = settings_with_options(recipe.compile, given, options)
        run, chosen = self._run(recipe.name, given), None
        writer = build_lm(recipe.compile.writer) if recipe.compile.writer else None
        models = RunModels(self._answering(), writer)
        if self.variants:
            student, chosen = choose_own_variant(
                student, self.variants, recipe, splits, folder=run.folder, progress=run.progress,
                by=lambda moved: answers_for_variants(moved, models, self._metric, run),
            )  # fmt: skip
        job = Job(
            student=student,
            recipe=recipe,
            trainset=questions,
            splits=splits,
            metric=self._metric,
            optimizer=optimizer,
            lm=models.lm,
            writer=models.writer,
            answers=False,
            teacher=teacher,
        )
        result = self._recorded(replace(compile_job(job, run), variants=chosen), run)
        compiled: Program = result.program
        compiled.compile_result = result
        return compiled

    def _read_metric(self) -> Metric:
        threshold = float(self.settings.get("threshold", 0.6))
        if isinstance(self.metric, str):
            return build_metric(self.metric, threshold=threshold)
        return as_metric(self.metric, threshold=threshold)

    def _recipe(self, student: dspy.Module) -> Recipe:
        """The settings of the compile, in the form that recipes have them."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", type(student).__name__).strip("-") or "program"
        return self._table(name[:64], lm=section_of_lm(self._answering()))

    def _table(self, name: str, **sections: Any) -> Recipe:
        """The same without what only a program and its language model tell.

        Raises:
            RecipeError: A setting is unknown, of a wrong type or out of range.
        """
        section = {**self.settings, "metric": self._metric.name}
        seed = self.settings.get("seed", 0)
        data = {"split": self.split, **({"seed": seed} if isinstance(seed, int) else {})}
        table = {"name": name, "compile": section, "data": data, **sections}
        try:
            return Recipe.checked(table, source="the settings")
        except RecipeError as error:
            said = error.what.removeprefix("Wrong recipe the settings: ").replace("compile.", "")
            raise RecipeError(
                f"JointOptimizer: {said.replace('data.split', 'split')}",
                hint="docs/recipe.md lists the keys of [compile].",
            ) from error

    def _run(self, name: str, given: Teleprompter | None) -> Run:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        folder = Path(self.run_dir) if self.run_dir else Path(".rag/runs") / f"{stamp}-{name}"
        return Run(
            folder,
            caps=self.caps,
            resume=bool(Journal(folder).entries),  # a crash may have left an empty one
            optimizer=given,
            progress=self.progress,
        )

    def _answering(self) -> dspy.LM:
        found = self.lm or dspy.settings.lm
        if found is not None and not isinstance(found, dspy.BaseLM):
            raise CompileError(
                f"The language model that DSPy is configured with is {type(found).__name__!r}, "
                "which is no dspy.BaseLM: its calls cannot be counted.",
                hint="Derive it from dspy.BaseLM, or give lm=.",
            )
        if found is None:
            raise CompileError(
                "There is no language model to answer with.",
                hint="Call dspy.configure(lm=...), or give lm=.",
            )
        return as_lm(found)

    def _recorded(self, result: CompileResult, run: Run) -> CompileResult:
        """Write the report into the run's folder, and record the compile where that is wanted."""
        from ragwright.optimize.report.writing import write_report

        report = write_report(result, run.folder / "report")
        if self.track is None:
            return result
        from ragwright.optimize.report.mlflow_answers import log_answers
        from ragwright.optimize.report.mlflow_run import track

        files = self.track.files or run.folder.parent / "mlartifacts"
        uri, journal = self.track.uri, Journal(run.folder)
        said = {"result": result.identity, "uri": uri}
        if (known := journal.last(RECORDED, **said)) is not None:
            return replace(result, tracking={"uri": uri, "run_id": known["run_id"]})
        run_id = track(result, tracking_uri=uri, artifact_location=files, report=report)
        log_answers(result, tracking_uri=uri, run_id=run_id)
        journal.add(RECORDED, {**said, "run_id": run_id})
        return replace(result, tracking={"uri": uri, "run_id": run_id})


def _check_store(uri: str) -> None:
    """Refuse what MLflow has no store for before anything is spent, not when all is done."""
    scheme = uri.partition("://")[0].partition("+")[0] if "://" in uri else "file"
    if not (scheme in _STORES or uri.startswith("databricks")):
        raise InputError(
            f"`track` is {uri!r}, which MLflow has no store for.",
            hint='Give "sqlite:////home/me/mlflow.db", the address of a server, or a folder.',
        )


def _check_teacher(student: dspy.Module, teacher: dspy.Module) -> None:
    """Refuse a teacher that DSPy's optimizers would refuse once most is spent."""
    ours, theirs = (
        {name: part.signature.signature for name, part in one.named_predictors()}
        for one in (student, teacher)
    )
    if ours != theirs:
        raise CompileError(
            f"The teacher has other predictors ({theirs}) than the student ({ours}).",
            hint="Give a program of the same class, with better prompts or another model.",
        )


def _check_inputs(student: dspy.Module, questions: Sequence[Question]) -> None:
    """Make sure that the program can be called with what the examples name as inputs.

    Raises:
        InputError: It cannot, as Python would say of the call.
    """
    called = call_signature(student)
    for question in questions:
        given = dict(question.example.inputs().items()) if question.example else {}
        try:
            inspect.signature(called).bind(student, **given)
        except TypeError as error:
            inputs = ProgramInputs.of(student)
            names = ", ".join(f'"{name}"' for name in (inputs.question, *inputs.required))
            raise InputError(
                f"{type(student).__name__} cannot be called with the inputs of the examples "
                f"({', '.join(map(repr, given))}): {error}.",
                hint="Name the fields as the program does: "
                f"dspy.Example(...).with_inputs({names}).",
            ) from error


def _check_answers(metric: Metric, questions: Sequence[Question]) -> None:
    """Make sure that a metric that compares answers has some to compare with.

    Raises:
        InputError: Not one example has an answer.
    """
    wanted = [name for _, name in metric.terms if name in NEEDS_ANSWERS]
    if wanted and not any(one.example and answers_of(one.example) for one in questions):
        raise InputError(
            f"No example has an answer, and {wanted[0]} compares with it: every answer would be "
            "wrong.",
            hint="Call the field `answer` (or `answers`, a list), or give a metric of your own.",
        )


def _splits(
    recipe: Recipe, trainset: Examples, valset: Examples | None, testset: Examples | None
) -> Splits:
    """Take the sides that are given, and deal the trainset out to those that are not.

    Raises:
        CompileError: A side has fewer than `LEAST` examples.
    """
    sides: dict[Side, list[Question]] = {}
    if valset is not None:
        sides["dev"] = from_examples(valset, "dev")
    if testset is not None:
        sides["test"] = from_examples(testset, "test")
    left = from_examples(trainset)
    if any(question.split for question in left):
        chosen = {one.id: one.split or "train" for one in left}
    else:
        chosen = assign_sides(left, _shares(recipe, sides), recipe.data.seed, recipe.data.split)
    for side in SIDES:
        if side not in sides:
            sides[side] = [replace(one, split=side) for one in left if chosen[one.id] == side]
        if len(sides[side]) < LEAST:
            raise CompileError(
                f"Too few {side} examples: {len(sides[side])}, at least {LEAST} are needed.",
                hint="Give more examples, or give valset and testset.",
            )
    return splits_of(sides)


def _shares(recipe: Recipe, sides: Mapping[Side, list[Question]]) -> dict[Side, float]:
    """How the trainset is divided among the sides that are not given."""
    data = recipe.data
    rest = 1 - data.train - data.dev
    shares: dict[Side, float] = {"train": data.train, "dev": data.dev, "test": rest}
    left = {side: share for side, share in shares.items() if side not in sides}
    return {side: share / sum(left.values()) for side, share in left.items()}
