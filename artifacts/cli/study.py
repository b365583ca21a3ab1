"""`rag study`: what can be measured without compiling, and without any language model."""

from __future__ import annotations

import json as json_format
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import IndexOption, JsonOption, RecipeArgument
from ragwright.artifacts.cli.study_view import show_study, write_study_report
from ragwright.retrievers.errors import InputError

if TYPE_CHECKING:
    from ragwright.optimize.progress import StageProgress
    from ragwright.optimize.study.pooling import StudyQuestions
    from ragwright.optimize.study.retrieval import RetrievalStudy
    from ragwright.programs.knobs import KnobValues
    from ragwright.programs.recipe import Recipe

group = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Measure retrieval, rerankers or the context on labelled questions, without compiling.",
)

Trainset = Annotated[Path | None, typer.Argument(help="A training set, if not the recipe's.")]
Output = Annotated[
    Path | None, typer.Option(help="Where the report goes.  [default: .rag/studies by the recipe]")
]
TrackOption = Annotated[
    bool, typer.Option("--track/--no-track", help="Keep a run in MLflow, where that is installed.")
]
MetricOption = Annotated[str, typer.Option(help="What ways are compared on.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="study")


@group.command()
def retrieval(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    trainset: Trainset = None,
    index: IndexOption = None,
    artifact: Annotated[
        list[Path] | None, typer.Option(help="Measure a compiled artifact's knobs too.")
    ] = None,
    metric: MetricOption = "ndcg@10",
    metrics: Annotated[
        str, typer.Option(help="What is measured, with commas.")
    ] = "ndcg@10,recall@5,recall@10,precision@5,hit@5,mrr@10,map@10",
    reference: Annotated[
        str, typer.Option(help="The way that others are compared with.")
    ] = "dense",
    time: Annotated[int, typer.Option(min=0, help="Time so many live searches of every way.")] = 0,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(help="Exit with 1 where the recipe's own way scores less: recall@5=0.8."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="An earlier study.json: exit with 1 on a significant drop."),
    ] = None,
    trec: Annotated[
        Path | None, typer.Option(help="Write runs and judgements in TREC's formats here.")
    ] = None,
    output: Output = None,
    json: JsonOption = False,
    track: TrackOption = True,
) -> None:
    """Compare ways of retrieving: by chunk, by document, and as a program reads them."""
    from ragwright.artifacts.cli import view
    from ragwright.optimize.retrieval.replay import standard_settings
    from ragwright.optimize.study.findings import retrieval_findings
    from ragwright.optimize.study.retrieval import study_retrieval, time_searches
    from ragwright.programs.build import starting_knobs

    names = [name.strip() for name in metrics.split(",") if name.strip()]
    gates = [_gate(text, [metric, *names]) for text in fail_under or ()]
    before = None if against is None else _earlier(against, metric)
    with view.progress_bars() as progress:
        read, studied = _studied(recipe, trainset, index, progress)
        taken = ("recipe", *standard_settings(studied.candidates))
        named = {"recipe": starting_knobs(read), **_compiled(artifact or (), taken)}
        found = study_retrieval(studied, named, metrics=names, metric=metric, reference=reference)
        if time:
            asked = [question.question for question in studied.questions[:time]]
            found = time_searches(found, _stages(read, found), asked)
    if trec is not None:
        _write_trec(trec, studied, found)
    done = write_study_report(
        found, retrieval_findings(found, read.name), _folder(recipe, output) / "retrieval"
    )
    show_study(done, json, recipe, read if track else None, refused=_refused(read, studied))
    broken = [*_under(found, gates), *_dropped(found, before)]
    if broken:
        view.show_notes(broken)
        raise typer.Exit(1)


@group.command()
def rerankers(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    trainset: Trainset = None,
    reranker: Annotated[
        list[str] | None,
        typer.Option(help='As in a recipe: a cross-encoder\'s name, "library:NAME".'),
    ] = None,
    index: IndexOption = None,
    depths: Annotated[str, typer.Option(help="Candidates scored, with commas.")] = "10,20,50,100",
    metric: MetricOption = "ndcg@10",
    margin: Annotated[float, typer.Option(min=0, help="A loss that does not matter.")] = 0.01,
    output: Output = None,
    json: JsonOption = False,
    track: TrackOption = True,
) -> None:
    """Have rerankers score the same candidates: quality, time and cost by depth."""
    from ragwright.artifacts.cli import view
    from ragwright.optimize.study.findings import reranker_findings
    from ragwright.optimize.study.rerankers import study_rerankers

    with view.progress_bars() as progress:
        read, studied = _studied(recipe, trainset, index, progress)
        parts = {name: _reranker(read, name) for name in reranker or [read.program.reranker]}
        found = study_rerankers(
            studied, parts, depths=_numbers(depths), metric=metric, margin=margin, progress=progress
        )
    done = write_study_report(
        found, reranker_findings(found, read.name), _folder(recipe, output) / "rerankers"
    )
    show_study(done, json, recipe, read if track else None, refused=_refused(read, studied))


@group.command()
def context(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    trainset: Trainset = None,
    index: IndexOption = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Measure this variant of the index too.")
    ] = None,
    budgets: Annotated[
        str, typer.Option(help="Tokens for the passages, with commas.")
    ] = "256,512,1024,2048,4096",
    margin: Annotated[float, typer.Option(min=0, help="A loss that does not matter.")] = 0.01,
    output: Output = None,
    json: JsonOption = False,
    track: TrackOption = True,
) -> None:
    """Find the smallest context that still holds what is wanted."""
    from ragwright.artifacts.cli import view
    from ragwright.optimize.study.context import study_context
    from ragwright.optimize.study.findings import context_findings

    with view.progress_bars() as progress:
        read, studied = _studied(recipe, trainset, index, progress)
        indexes = {"recipe": studied}
        for name in variant or ():
            indexes[name] = _studied(Path(f"{recipe}#{name}"), trainset, None, progress)[1]
        found = study_context(
            indexes, read.knobs, budgets=_numbers(budgets), margin=margin, prompt=_prompt(read)
        )
    done = write_study_report(
        found, context_findings(found, read.name), _folder(recipe, output) / "context"
    )
    show_study(done, json, recipe, read if track else None, refused=_refused(read, studied))


def _studied(
    recipe: Path, trainset: Path | None, index: Path | None, progress: StageProgress
) -> tuple[Recipe, StudyQuestions]:
    from ragwright.artifacts.cli.actions import read_recipe
    from ragwright.optimize.questions.columns import Columns
    from ragwright.optimize.questions.data import read_questions
    from ragwright.optimize.study.pooling import fetch_study_questions

    read = read_recipe(recipe, index)
    source = trainset or (Path(read.data.trainset) if read.data.trainset else None)
    if source is None:
        raise InputError(
            "There are no questions to study.",
            hint="Set trainset in the recipe's [data] table, or make some: rag questions RECIPE.",
        )
    questions = read_questions(source, Columns.of(read), answered=False).questions
    return read, fetch_study_questions(read, questions, progress=progress)


def _refused(recipe: Recipe, studied: StudyQuestions) -> str:
    """Why a compile would refuse the questions; "" too where some of them were not studied."""
    from ragwright.optimize.questions.splitting import split_refusal

    return "" if studied.unlabelled else split_refusal(studied.questions, recipe.data)


def _compiled(artifacts: Sequence[Path], taken: Collection[str]) -> dict[str, KnobValues]:
    """The knobs of artifacts, by their names; of several stages each, of what is taken the place.

    Raises:
        InputError: One has no knobs.
    """
    from ragwright.artifacts.addresses import address_of
    from ragwright.artifacts.state import load_state
    from ragwright.artifacts.store import read_artifact
    from ragwright.optimize.setting import setting_of, short_stage_name

    found: dict[str, KnobValues] = {}
    for path in artifacts:
        stored = read_artifact(address_of(str(path)))
        load_state(stored.program, stored.state)
        setting = setting_of(stored.program)
        if not setting:
            raise InputError(
                f"The artifact {str(path)!r} has no retrieval stage with knobs.",
                hint="Leave it out.",
            )
        for place, values in setting.items():
            stage = f" {short_stage_name(place)}" if len(setting) > 1 else ""
            name = f"{path.name}{stage}"
            free = name not in taken and name not in found
            found[name if free else f"artifact {path}{stage}"] = values
    return found


def _stages(recipe: Recipe, study: RetrievalStudy) -> dict[str, Any]:
    """Live stages of every way, to be timed."""
    from ragwright.programs.hybrid import HybridRetriever
    from ragwright.programs.knobs import Knobs
    from ragwright.programs.rerank import RerankRetriever, reranker_named
    from ragwright.programs.sections import DEFAULT_RERANKER

    path = recipe.index.path
    reranker = reranker_named(path, DEFAULT_RERANKER)
    stages: dict[str, Any] = {}
    for way in study.ways:
        stage: Any = HybridRetriever(path, knobs=Knobs(way.knobs))
        if way.knobs.weight(reranker.signal.name):
            stage = RerankRetriever(stage, reranker)
        stages[way.name] = stage
    return stages


def _reranker(recipe: Recipe, name: str) -> Any:
    from ragwright.programs.build import build_reranker

    section = recipe.program.model_copy(update={"kind": "rerank", "reranker": name})
    return build_reranker(recipe.model_copy(update={"program": section}))


def _prompt(recipe: Recipe) -> dict[str, int]:
    """Tokens of the prompt's other parts, for a question of no words and no passages."""
    from ragwright.programs.build import build_program
    from ragwright.retrievers.chunking import count_tokens

    program: Any = build_program(recipe)
    respond = getattr(program, "respond", None)
    if respond is None:
        return {}
    import dspy

    adapter = dspy.settings.adapter or dspy.ChatAdapter()
    inputs = dict.fromkeys(respond.signature.input_fields, "")
    with_demos = adapter.format(respond.signature, list(respond.demos), inputs)
    bare = adapter.format(respond.signature, [], inputs)
    sizes = [
        sum(count_tokens(str(part["content"])) for part in said) for said in (bare, with_demos)
    ]
    return {"instructions and fields": sizes[0], "demonstrations": sizes[1] - sizes[0]}


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise InputError(f"{text!r} is no list of numbers.", hint="Write 10,20,50.") from error
    if not numbers or min(numbers) < 1:
        raise InputError(f"{text!r} has no number above 0.", hint="Write 10,20,50.")
    return numbers


def _folder(recipe: Path, output: Path | None) -> Path:
    from ragwright.programs.variants import parse_recipe_reference

    file, variant = parse_recipe_reference(recipe)
    home = file if file.is_dir() else file.parent
    return output or home.resolve() / ".rag" / "studies" / f"{file.stem}{variant and '-'}{variant}"


def _write_trec(folder: Path, studied: StudyQuestions, study: RetrievalStudy) -> None:
    from ragwright.optimize.study.trec import (
        trec_judgements,
        trec_run,
        write_judgements,
        write_trec_run,
    )

    folder.mkdir(parents=True, exist_ok=True)
    write_judgements(trec_judgements(studied), folder / "qrels.txt")
    for way in study.ways:
        name = "".join(letter if letter.isalnum() else "-" for letter in way.name)
        write_trec_run(trec_run(studied, way.knobs), folder / f"{name}.run", tag=name)


def _gate(text: str, names: Sequence[str]) -> tuple[str, float]:
    """Read a metric with what it is to reach, before anything is asked.

    Raises:
        InputError: It is written otherwise, or the study will not measure it.
    """
    name, _, least = (part.strip() for part in text.partition("="))
    try:
        floor = float(least)
    except ValueError as error:
        raise InputError(f"{text!r} is no gate.", hint="Write METRIC=NUMBER.") from error
    known = [*dict.fromkeys(names), *(f"document {one}" for one in dict.fromkeys(names)),
             "read recall", "read precision", "passages"]  # fmt: skip
    if name not in known:
        raise InputError(
            f"The study does not measure {name!r}.",
            hint=f"It measures {', '.join(known)}; --metrics names others.",
        )
    if name != "passages" and not 0 <= floor <= 1:
        raise InputError(
            f"{name} lies between 0 and 1 (got {floor:g}).", hint="Write 0.8 for 80 %."
        )
    return name, floor


def _under(study: RetrievalStudy, gates: Sequence[tuple[str, float]]) -> list[str]:
    """The gates that the recipe's own way does not pass."""
    scores = [(name, study.score("recipe", name), floor) for name, floor in gates]
    return [f"{name} is {score:.3f}, less than {floor:g}"
            for name, score, floor in scores if score < floor]  # fmt: skip


def _dropped(study: RetrievalStudy, before: Sequence[float] | None) -> list[str]:
    """Whether the recipe's own way ranks significantly worse than in an earlier study."""
    import numpy as np

    from ragwright.optimize.scoring.statistics import paired_gain

    if before is None:
        return []
    now = next(way for way in study.ways if way.name == "recipe").scores[study.metric]
    if len(before) != len(now):
        raise InputError(
            f"The earlier study holds {len(before)} questions, this one {len(now)}.",
            hint="Compare studies of the same questions.",
        )
    gain = paired_gain(np.array(before), now)
    if gain.high >= 0:
        return []
    said = f"{gain.gain:+.3f}, 95 % interval {gain.low:+.3f} to {gain.high:+.3f}"
    return [f"{study.metric} has dropped: {said}"]


def _earlier(file: Path, metric: str) -> list[float]:
    try:
        facts: Mapping[str, Any] = json_format.loads(file.read_text(encoding="utf-8"))
        found: list[float] = facts["ways"]["recipe"]["scores"][metric]
    except OSError as error:
        raise InputError(
            f"Cannot read {str(file)!r}: {error.strerror}.",
            hint="Give a study.json of this command.",
        ) from error
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{str(file)!r} is no study of {metric!r}.", hint="Give a study.json of this command."
        ) from error
    return found
