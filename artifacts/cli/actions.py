"""Does what the `rag` commands promise, without their looks.

Everything that can be wrong with the input is found before anything is created. Knows nothing of
terminals.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dspy

from ragwright.artifacts.cli.first_look import are_documents, default_recipe
from ragwright.artifacts.cli.inputs import written_inputs
from ragwright.artifacts.cli.sources import ProgramSource, named_artifact, require_recipe
from ragwright.artifacts.manifest import Manifest
from ragwright.artifacts.state import load_state
from ragwright.artifacts.store import open_artifact, read_artifact
from ragwright.optimize.compile import split_questions
from ragwright.optimize.pace import Pace
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.optimizers import optimizer_settings
from ragwright.optimize.questions.columns import Columns
from ragwright.optimize.questions.data import Question, read_questions
from ragwright.optimize.report.traces import write_traces
from ragwright.optimize.scoring.evaluate import evaluate as run_evaluation
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.scoring.metrics import build_metric, metric_terms
from ragwright.optimize.scoring.ranking import RankingMetric
from ragwright.optimize.spending.patience import translate_server_away
from ragwright.optimize.spending.patient import make_patient
from ragwright.programs.anatomy import as_callable, predictors_of
from ragwright.programs.build import build_program, build_recipe_lm
from ragwright.programs.causes import cause_of
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.lm import given_lm_of
from ragwright.programs.recipe import Recipe
from ragwright.programs.sections import CompileSection
from ragwright.retrievers.advice import index_advice
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.documents.jsonl import decode_json
from ragwright.retrievers.errors import IndexFault, InputError, ModelError
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.metadata import clean_text
from ragwright.retrievers.narrowing import narrowing
from ragwright.retrievers.stamp import STAMP
from ragwright.retrievers.trust import is_importable
from ragwright.retrievers.types import Where


@dataclass(frozen=True)
class ReadyProgram:
    """A program that can answer, its recipe, and what there is to say about it."""

    program: dspy.Module
    recipe: Recipe
    notes: tuple[str, ...] = ()

    @property
    def lm(self) -> dspy.LM | None:
        """The language model of its first predictor, which answers for most."""
        return next((one.lm for one in predictors_of(self.program) if one.lm is not None), None)


@dataclass(frozen=True)
class ProgramToShow:
    """A program to look at; the manifest is there if it is a saved one.

    Attributes:
        notes: What to know of the recipe's index, if there is one.
    """

    program: dspy.Module
    recipe: Recipe
    manifest: Manifest | None = None
    notes: tuple[str, ...] = ()


def read_recipe(path: Path, index: Path | None = None) -> Recipe:
    """Read a recipe, with another index if one is given; documents do without a recipe.

    What a compile will look up by name is looked up now: before an ingest, not after it.
    """
    recipe = default_recipe(path) if are_documents(path) else Recipe.from_toml(path)
    _check_names(recipe.compile)
    if index is None:
        return recipe
    section = recipe.index.model_copy(update={"path": str(index.resolve())})
    return recipe.model_copy(update={"index": section})


def _check_names(section: CompileSection) -> None:
    metric_terms(section.metric)
    RankingMetric.parse(section.retrieval_metric)
    if not is_importable(section.optimizer):  # a class from outside is imported by a compile alone
        optimizer_settings(section)


def open_ingested_index(recipe: Recipe, given: Path) -> Index:
    """Return a recipe's index.

    Raises:
        IndexFault: There is none, or it holds nothing; the command that makes it is in the hint.
    """
    place, first = recipe.index.path, f"First: rag ingest {shlex.quote(str(given))}"
    if not Path(place, STAMP).exists():
        what = f"There is no index at {place!r}: {str(given)!r} is not ingested yet."
        raise IndexFault(what, hint=first)
    opened = open_index(place)
    if opened.count == 0:
        what = f"The index {place!r} holds no passage: its ingest was stopped, or read none."
        raise IndexFault(what, hint=first)
    return opened


def load_ready_program(
    source: ProgramSource, lm: str | None = None, crew: Crew | None = None
) -> ReadyProgram:
    """Build a recipe's program or load an artifact, with a language model that answers.

    Args:
        source: Which.
        lm: Another language model.
        crew: Workers that ask it.

    Raises:
        RagError: Any part of it is missing, damaged or does not fit.
    """
    if source.artifact is not None:
        chosen = None
        if lm or crew:
            chosen = build_recipe_lm(read_artifact(source.artifact).recipe, lm, crew=crew)
        opened = open_artifact(source.artifact, lm=chosen, index=source.index)
        return ReadyProgram(opened.program, opened.recipe, opened.notes)
    recipe = read_recipe(require_recipe(source.recipe), source.index)
    open_ingested_index(recipe, require_recipe(source.recipe))
    chosen = build_recipe_lm(recipe, lm, crew=crew)
    return ReadyProgram(build_program(recipe, lm=chosen), recipe)


def parse_filter_option(text: str | None) -> Where | None:
    """Read a filter that a command was given as JSON.

    Raises:
        InputError: It is no JSON, or no filter.
    """
    if text is None:
        return None
    try:
        where = decode_json(text)
    except ValueError as error:
        raise InputError(
            f"The filter cannot be read: {error}.", hint="""Such as --where '{"lang": "de"}'."""
        ) from error
    parse_filter(where)
    return cast(Where, where) or None


def ask_program(
    program: ReadyProgram, question: str, inputs: Sequence[str] = (), where: Where | None = None
) -> dspy.Prediction:
    """Answer one question; `inputs` are what else the program takes, each as NAME=VALUE.

    Everything that the program retrieves passes `where`, whether it takes a filter or not.

    Raises:
        ModelError: The language model fails, or its answer cannot be read.
    """
    if not question.strip():
        raise InputError("The question is empty.", hint="Ask something.")
    more = written_inputs(inputs)
    asked = ProgramInputs.of(program.program).call(clean_text(question), more, written=True)
    with _model_errors(program.lm), narrowing(where):
        return as_callable(program.program)(**asked)


def read_question_side(recipe: Recipe, data: Path | None, side: str) -> tuple[Question, ...]:
    """Read a training set, if not the recipe's: all of it or one side of the recipe's split."""
    place = data or recipe.data.trainset
    if not place:
        raise InputError(
            "There is no training set.", hint="Give its path, or set `trainset` under [data]."
        )
    questions = read_questions(place, Columns.of(recipe)).questions
    if side == "all":
        return questions
    sides = split_questions(recipe, questions)
    chosen: tuple[Question, ...] = getattr(sides, side)
    return chosen


def evaluate_program(
    program: ReadyProgram, questions: Sequence[Question], *, pace: Pace, progress: StageProgress
) -> Evaluation:
    """Score a program's answers by the recipe's metric; a server that is away is waited for."""
    section = program.recipe.compile
    load = program.recipe.part
    metric = build_metric(section.metric, threshold=section.threshold, load=load)
    make_patient(program.program)
    # Which a metric may ask, too.
    with dspy.context(lm=given_lm_of(program.program) or dspy.settings.lm), translate_server_away():
        return run_evaluation(
            as_callable(program.program), questions, metric, progress=progress, pace=pace
        )


def pace_of(program: ReadyProgram, threads: int, crew: Crew | None = None) -> Pace:
    """Return the pace of an evaluation: no more questions at a time than its server answers."""
    timeout = program.recipe.compile.timeout
    if crew is not None:
        return Pace(max(threads, crew.workers), timeout)
    return Pace.of_server(threads, timeout, program.lm)


def write_traces_to(workspace: Path | None, experiment: str) -> AbstractContextManager[None]:
    """Write a trace per answer into a workspace's MLflow store, if one is given."""
    if workspace is None:
        return nullcontext()
    place = workspace.resolve()
    place.mkdir(parents=True, exist_ok=True)
    return write_traces(f"sqlite:///{place / 'mlflow.db'}", experiment, place / "mlartifacts")


def load_description(path: Path) -> ProgramToShow:
    """Read a recipe or an artifact to look at; no program is run."""
    named = named_artifact(path)
    if named or path.is_dir():
        stored = read_artifact(named or path)
        load_state(stored.program, stored.state)
        return ProgramToShow(stored.program, stored.recipe, stored.manifest)
    recipe = read_recipe(path)
    return ProgramToShow(build_program(recipe), recipe, notes=index_advice(Path(recipe.index.path)))


@contextmanager
def _model_errors(lm: dspy.LM | None = None) -> Iterator[None]:
    try:
        yield
    except dspy.utils.exceptions.DSPyError as error:
        cause = cause_of(error, lm)
        raise ModelError(
            f"The language model failed ({type(error).__name__}, {cause.kind}): {cause.what}",
            hint=cause.hint,
        ) from error
