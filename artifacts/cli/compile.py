"""Does what `rag compile` promises: artifact, report and MLflow run from a recipe and questions.

The one place where compiling and keeping meet: `optimize` knows nothing of artifacts, and they
know nothing of it. Knows nothing of terminals.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from ragwright.artifacts.addresses import MODELS
from ragwright.artifacts.cli.actions import read_recipe
from ragwright.artifacts.cli.store import quiet_mlflow
from ragwright.artifacts.cli.terminal import escape_controls
from ragwright.artifacts.golden import GoldenQuestion, sample_questions
from ragwright.artifacts.manifest import Provenance, TrackingRun
from ragwright.artifacts.model_prompts import register_prompts
from ragwright.artifacts.registry import log_artifact
from ragwright.artifacts.store import save
from ragwright.artifacts.writer import check_home, check_room
from ragwright.optimize.accounts import CALLS
from ragwright.optimize.compile import (
    Run,
    compile_program,
    estimate_compile,
    power_of_test,
)
from ragwright.optimize.disk import translate_disk_errors
from ragwright.optimize.journal import RECORDED, Journal
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.optimizers import optimizer_settings
from ragwright.optimize.questions.columns import Columns
from ragwright.optimize.questions.data import TrainingSet, read_questions
from ragwright.optimize.questions.remarks import left_out, remarks_on
from ragwright.optimize.report.mlflow_answers import log_answers
from ragwright.optimize.report.mlflow_copy import check_target, copy_run
from ragwright.optimize.report.mlflow_run import track
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.result import CompileResult
from ragwright.optimize.spending.budget import Caps
from ragwright.optimize.spending.estimate import Estimate
from ragwright.programs.lm import EXTRACTIVE
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.errors import InputError, RagError, RecordFault


@dataclass(frozen=True)
class CompileRequest:
    """What a compile was asked for; what is None stays as the recipe says."""

    recipe: Path
    trainset: Path | None = None
    output: Path | None = None
    workspace: Path | None = None
    index: Path | None = None
    lm: str | None = None
    optimizer: str | None = None
    resume: Path | None = None
    caps: Caps = field(default_factory=Caps)
    tracking_uri: str = ""
    experiment: str = ""
    crew: Crew | None = None


@dataclass(frozen=True)
class Places:
    """Where everything that a compile makes goes."""

    home: Path
    run: Path
    store: str
    files: Path

    @classmethod
    def of(cls, wanted: CompileRequest, recipe: Recipe) -> Places:
        """Choose the places, without making any of them.

        Raises:
            InputError: There is no run to resume.
        """
        workspace = (wanted.workspace or wanted.recipe.parent / ".rag").resolve()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        run = workspace / "runs" / f"{stamp}-{recipe.name}"
        if wanted.resume is not None:
            named = [wanted.resume, workspace / "runs" / wanted.resume]
            run = next((path for path in named if path.is_dir()), wanted.resume).resolve()
        return cls(
            home=wanted.output or Path("artifacts/compiled") / recipe.name,
            run=run,
            store=f"sqlite:///{workspace / 'mlflow.db'}",
            files=workspace / "mlartifacts",
        )


@dataclass(frozen=True)
class CompileOutput:
    """What a compile made, and where it lies.

    Attributes:
        result: The measured facts.
        artifact: The artifact's folder, and the version's inside it.
        report: The folder of the report.
        tracking: The MLflow run.
        model: The address of the program as an MLflow model.
        again: Whether the run had been finished and recorded before.
        target: A team's MLflow server that the run is to be copied to, and its experiment there.
    """

    result: CompileResult
    artifact: Path
    version: Path
    report: Path
    tracking: TrackingRun
    model: str
    again: bool = False
    target: tuple[str, str] = ("", "")


def compile_recipe(wanted: CompileRequest, progress: StageProgress) -> CompileOutput:
    """Compile a recipe, write the report, record the run and save the artifact.

    Raises:
        RagError: Something is wrong with the input; nothing has been written then.
    """
    recipe = _overridden(read_recipe(wanted.recipe, wanted.index), wanted)
    places = Places.of(wanted, recipe)
    check_home(places.home)
    check_room(places.home)
    check_target(wanted.tracking_uri or recipe.tracking.uri)
    questions = _questions(recipe)
    _tell(str(power_of_test(recipe, questions)), *_remarks(recipe, questions))
    if wanted.resume is not None:
        return _run(wanted, progress, recipe, questions, places)
    with _claimed(places) as claimed:
        return _run(wanted, progress, recipe, questions, claimed)


def _remarks(recipe: Recipe, questions: TrainingSet) -> list[str]:
    return left_out(questions) + remarks_on(questions, recipe.compile.metric)


def _tell(*notes: str) -> None:
    """Say what to know before anything is spent."""
    for note in notes:
        print(escape_controls(f"note: {note}"), file=sys.stderr)


def _run(
    wanted: CompileRequest,
    progress: StageProgress,
    recipe: Recipe,
    questions: TrainingSet,
    places: Places,
) -> CompileOutput:
    run = Run(
        places.run,
        caps=wanted.caps,
        resume=wanted.resume is not None,
        calls=places.run.parent / CALLS,
        progress=progress,
        crew=wanted.crew,
    )
    try:
        done = _kept(compile_program(recipe, questions, run=run), places)
    except KeyboardInterrupt:
        print(escape_controls(interruption_message(wanted, places.run)), file=sys.stderr)
        raise
    except RagError as error:
        if "--resume" in error.hint:  # said where nothing is known of folders and commands
            more = replace(wanted, caps=Caps())  # with the same ones it may end at once
            print(escape_controls(f"note: {_go_on(more, places.run)}"), file=sys.stderr)
        raise
    server = wanted.tracking_uri or recipe.tracking.uri
    return replace(done, target=(server, wanted.experiment or recipe.tracking.experiment))


def push_record(done: CompileOutput, wanted: CompileRequest) -> None:
    """Copy the run to a team's server, if there is one; where it is down, a note says so.

    MLflow's client asks for minutes, so that what the compile found should be shown before.
    """
    tracking, (target, experiment) = done.tracking, done.target
    if not target or done.again:
        return
    print("note: the run is copied to the MLflow server that was named ...", file=sys.stderr)
    try:
        copy_run(tracking.run_id, source=tracking.uri, target=target, experiment=experiment)
    except RecordFault as error:
        place = str(wanted.workspace or wanted.recipe)
        words = ["rag", "mlflow", "push", tracking.run_id, place, "--tracking-uri", target]
        again = shlex.join([*words, *(["--experiment", experiment] if experiment else [])])
        print(escape_controls(f"note: {error}\nLater: {again}"), file=sys.stderr)


def estimate_recipe(wanted: CompileRequest) -> Estimate:
    """Say what compiling a recipe would take; a few questions are answered for it.

    Raises:
        RagError: Something is wrong with the input.
    """
    recipe = _overridden(read_recipe(wanted.recipe, wanted.index), wanted)
    places = Places.of(wanted, recipe)
    check_home(places.home)
    questions = _questions(recipe)
    _tell(*_remarks(recipe, questions))
    return estimate_compile(recipe, questions, calls=places.run.parent / CALLS)


def interruption_message(wanted: CompileRequest, run: Path) -> str:
    """Return what to tell after Ctrl-C: the best so far, and how to go on."""
    best = Journal(run).last("best")
    found = f"the best so far is {best['name']!r} ({best['dev']:.3f} on dev)" if best else ""
    told = f"Stopped; {found or 'nothing has been judged yet'}."
    return f"{told}\n{_go_on(wanted, run)}"


def _go_on(wanted: CompileRequest, run: Path) -> str:
    """Return the command that goes on: with what was given, or it would be another compile."""
    caps = wanted.caps
    options = {
        "--output": wanted.output,
        "--workspace": wanted.workspace,
        "--index": wanted.index,
        "--lm": wanted.lm,
        "--optimizer": wanted.optimizer,
        "--max-calls": caps.calls,
        "--max-tokens": caps.tokens,
        "--max-cost": caps.cost,
        "--max-seconds": caps.seconds,
    }
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    trainset = [str(wanted.trainset)] if wanted.trainset else []
    words = ["rag", "compile", str(wanted.recipe), *trainset, "--resume", str(run)]
    return f"Go on with: {shlex.join([*words, *chain.from_iterable(given)])}"


def _kept(result: CompileResult, places: Places) -> CompileOutput:
    with translate_disk_errors(places.run), _recorded(places):
        return _written(result, places)


@contextmanager
def _recorded(places: Places) -> Iterator[None]:
    """Translate what MLflow raises where it cannot keep a run.

    Raises:
        RecordFault: It cannot; the run's folder has everything, so that it can go on.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise RecordFault(
            f"The compile cannot be recorded in {places.store!r}: {reason}.",
            hint=f"Make room, or move that file away, and go on with --resume {places.run}: "
            "no call is paid for twice.",
        ) from error


@contextmanager
def _claimed(places: Places) -> Iterator[Places]:
    """Make the folder of a new run, under a name of its own: two may begin in one second.

    One that nothing was written to goes away again.
    """
    run = _made(places.run)
    try:
        yield replace(places, run=run)
    finally:
        for folder in (run, run.parent):
            with suppress(OSError):
                folder.rmdir()


def _made(folder: Path) -> Path:
    with translate_disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            name = folder.name if number == 1 else f"{folder.name}-{number}"
            with suppress(FileExistsError):
                folder.with_name(name).mkdir(0o700)  # as a compile makes it
                break
    return folder.with_name(name)


def _written(result: CompileResult, places: Places) -> CompileOutput:
    quiet_mlflow()
    journal, home = Journal(places.run), str(places.home.resolve())
    said = {"result": result.identity, "home": home, "uri": places.store}
    known = journal.last(RECORDED, **said)
    if known is not None and Path(known["version"]).is_dir():
        return _as_recorded(result, places, known)
    report = write_report(result, places.run / "report")
    run_id = track(result, tracking_uri=places.store, artifact_location=places.files, report=report)
    tracking = TrackingRun(uri=places.store, run_id=run_id)
    facts = replace(result, tracking=tracking.model_dump()).provenance
    version = save(
        result.program,
        places.home,
        recipe=result.recipe,
        provenance=Provenance.model_validate(facts),
        report=report,
        golden=sample_questions([GoldenQuestion.model_validate(one) for one in result.golden]),
    )
    model = log_artifact(version, tracking_uri=places.store, run_id=run_id)
    _told(result, tracking, model)
    places_of_it = {"run_id": run_id, "version": str(version.resolve()), "model": model}
    journal.add(RECORDED, {**said, **places_of_it})
    return CompileOutput(result, places.home, version, report, tracking, model)


def _as_recorded(result: CompileResult, places: Places, known: Mapping[str, Any]) -> CompileOutput:
    """Where everything lies that a run was recorded as, which was finished before."""
    print(escape_controls("note: this run was finished before; nothing is recorded twice."),
          file=sys.stderr)  # fmt: skip
    tracking = TrackingRun(uri=places.store, run_id=known["run_id"])
    version, report = Path(known["version"]), places.run / "report"
    return CompileOutput(
        replace(result, tracking=tracking.model_dump()), places.home, version, report, tracking,
        known["model"], again=True,
    )  # fmt: skip


def _told(result: CompileResult, tracking: TrackingRun, model: str) -> None:
    """Put the prompts and the answers into MLflow too, tied to the run and to the model."""
    from mlflow import MlflowClient

    register_prompts(
        MlflowClient(tracking_uri=tracking.uri),
        result.program,
        name=result.recipe.name,
        run_id=tracking.run_id,
        before=result.student,
    )
    model_id = model.removeprefix(MODELS)
    log_answers(result, tracking_uri=tracking.uri, run_id=tracking.run_id, model_id=model_id)


def _overridden(recipe: Recipe, wanted: CompileRequest) -> Recipe:
    """Put what the command line says over what the recipe says, and check it again."""
    changes: dict[str, dict[str, Any]] = {
        "data": {"trainset": str(wanted.trainset.resolve()) if wanted.trainset else None},
        "lm": {"model": wanted.lm},
        "compile": {"optimizer": wanted.optimizer},
    }
    table = recipe.model_dump()
    if wanted.lm == EXTRACTIVE != recipe.lm.model:
        table["lm"] = {}  # a server's address and limits are not the offline model's
    for section, values in changes.items():
        table[section] |= {name: value for name, value in values.items() if value is not None}
    changed = recipe.like(Recipe.checked(table, source=str(wanted.recipe)))
    optimizer_settings(changed.compile, changed.part)
    return changed


def _questions(recipe: Recipe) -> TrainingSet:
    if not recipe.data.trainset:
        raise InputError(
            "There is no training set.",
            hint="Give one after the recipe, or set `trainset` under [data].",
        )
    return read_questions(recipe.data.trainset, Columns.of(recipe))
