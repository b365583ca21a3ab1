"""The commands about one program, in the order of its life: ingest, search, ask, compile, evaluate,
show, prompt. What each of them does is in `actions.py` and the modules named after them, how it
looks in `view.py`; both are imported by the command that runs, so that `rag --help` stays quick.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragwright.artifacts.cli.options import (
    EngineOption,
    IndexOption,
    JsonOption,
    MaxCalls,
    MaxCost,
    MaxTokens,
    RecipeArgument,
    WorkersOption,
    crew_of,
)
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text.numbers import count_with_noun

ArtifactOption = Annotated[
    Path | None, typer.Option("--artifact", help="A compiled artifact, instead of a recipe.")
]
LMOption = Annotated[
    str | None,
    typer.Option("--lm", help="A language model, e.g. extractive or openai/gpt-4o-mini."),
]
InputOption = Annotated[
    list[str] | None,
    typer.Option("--input", metavar="NAME=VALUE", help="Another input of your own program."),
]
WhereOption = Annotated[
    str | None,
    typer.Option("--where", metavar="JSON", help="""A filter: '{"lang": "de"}'."""),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(ingest)
    app.command()(search)
    app.command()(ask)
    app.command("compile")(compile_)
    app.command()(evaluate)
    app.command()(show)
    app.command()(prompt)


def ingest(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    documents: Annotated[
        str | None, typer.Option(help="A JSONL file or a folder, if not the recipe's.")
    ] = None,
    index: IndexOption = None,
    on_error: Annotated[
        Literal["fail", "skip"] | None,
        typer.Option(
            help="What to do about a file or row that cannot be read.  "
            "[default: the recipe's, or skip in a folder and fail otherwise]"
        ),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Read only files like this; as in .gitignore.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Do not read files like this; as in .gitignore.")
    ] = None,
    upsert: Annotated[
        bool, typer.Option("--upsert", help="Delete nothing: what the source lacks stays.")
    ] = False,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Make an index hold exactly the documents of a source; unchanged ones cost nothing."""
    from ragwright.artifacts.cli import view
    from ragwright.artifacts.cli.ingest import ReadingChoices, after_ingest, ingest_recipe

    wanted = ReadingChoices(tuple(include or ()), tuple(exclude or ()), on_error, upsert)
    with view.progress_bars() as progress, crew_of(engine, workers) as crew:
        done = ingest_recipe(recipe, documents, index, progress, wanted, crew)
    view.show_ingest(done, json)
    if not json:
        view.show_next(*after_ingest(recipe))


def search(
    words: Annotated[list[str], typer.Argument(metavar="[RECIPE] QUESTION")],
    artifact: ArtifactOption = None,
    index: IndexOption = None,
    k: Annotated[int | None, typer.Option("-k", help="How many passages.")] = None,
    mode: Annotated[
        Literal["dense", "bm25", "hybrid", "rerank"] | None,
        typer.Option(help="How to search; by default as the recipe or the artifact says."),
    ] = None,
    where: WhereOption = None,
    json: JsonOption = False,
) -> None:
    """Find passages, with their scores by every signal."""
    from ragwright.artifacts.cli import actions, view
    from ragwright.artifacts.cli.search import filter_notes, run_search, search_stage
    from ragwright.artifacts.cli.sources import ProgramSource

    # An index alone has a search too, and a recipe may be given beside it.
    given = bool(artifact or (index and len(words) == 1))
    recipe, question = _split(words, "QUESTION", given=given)
    passing = actions.parse_filter_option(where)
    stage = search_stage(ProgramSource.of(recipe, artifact, index), mode)
    found = run_search(stage, question, k, passing)
    view.show_passages(question, found, json, where=passing)
    if not found.passages:
        view.show_notes(filter_notes(stage, passing))


def ask(
    words: Annotated[list[str], typer.Argument(metavar="[RECIPE] QUESTION")],
    artifact: ArtifactOption = None,
    index: IndexOption = None,
    lm: LMOption = None,
    server: Annotated[
        str | None, typer.Option("--server", help="The address of a `rag serve` to ask instead.")
    ] = None,
    given: InputOption = None,
    where: WhereOption = None,
    json: JsonOption = False,
) -> None:
    """Answer a question, with citations."""
    from ragwright.artifacts.cli import actions, view
    from ragwright.artifacts.cli.search import filter_notes
    from ragwright.artifacts.cli.sources import ProgramSource
    from ragwright.programs.outputs import find_prediction

    passing = actions.parse_filter_option(where)
    if server is not None:
        from ragwright.artifacts.cli.inputs import written_inputs
        from ragwright.artifacts.cli.serve import ask_server
        from ragwright.retrievers.metadata import clean_text

        if artifact or index or lm:
            raise InputError(
                "A server answers by its own artifact, index and model.",
                hint="Leave --artifact, --index and --lm out beside --server.",
            )
        question = clean_text(_split(words, "QUESTION", given=True)[1])
        ask_server(server, question, json, passing, written_inputs(given or ()))
        return
    recipe, question = _split(words, "QUESTION", given=bool(artifact))
    ready = actions.load_ready_program(ProgramSource.of(recipe, artifact, index), lm)
    view.show_notes(ready.notes)
    with view.show_waiting(f"asking {ready.lm.model if ready.lm else 'the program'}"):
        found = actions.ask_program(ready, question, given or (), passing)
    view.show_answer(question, found, json)
    if passing and not find_prediction(found).get("passages"):
        why = filter_notes(ready.program, passing)
        view.show_notes(why or ["The filter lets no passage pass, perhaps."])


def compile_(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    trainset: Annotated[
        Path | None, typer.Argument(help="A training set in JSONL, if not the recipe's.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The artifact's folder.  [default: artifacts/compiled/NAME]"),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(help="Where runs and the MLflow store go.  [default: .rag by the recipe]"),
    ] = None,
    index: IndexOption = None,
    lm: LMOption = None,
    optimizer: Annotated[
        str | None, typer.Option(help="How prompts are learned, if not as the recipe says.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a run that was interrupted: its folder.")
    ] = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="No LM call goes out after this time.")
    ] = None,
    tracking_uri: Annotated[
        str,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI", help="A team's MLflow server: the run is copied there."
        ),
    ] = "",
    experiment: Annotated[
        str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="Its experiment there.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Answer 5 questions and estimate the rest.")
    ] = False,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Tune retrieval and prompts on a training set, and measure the gain on held-out questions."""
    from ragwright.artifacts.cli import verdict, view
    from ragwright.artifacts.cli.compile import (
        CompileRequest,
        compile_recipe,
        estimate_recipe,
        push_record,
    )
    from ragwright.optimize.spending.budget import Caps

    caps = Caps(max_calls, max_tokens, max_cost, max_seconds)
    wanted = CompileRequest(
        recipe, trainset, output, workspace, index, lm, optimizer, resume, caps, tracking_uri,
        experiment,
    )  # fmt: skip
    if dry_run:
        if engine != "local" or workers is not None:
            raise InputError(
                "--dry-run asks from this process alone.", hint="Leave out --engine and --workers."
            )
        verdict.show_estimate(estimate_recipe(wanted), json)
        return
    with view.progress_bars() as progress, crew_of(engine, workers) as crew:
        done = compile_recipe(replace(wanted, crew=crew), progress)
    verdict.show_compiled(done, json)
    push_record(done, wanted)


def evaluate(  # noqa: PLR0913, PLR0917 (one parameter per option)
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] [DATA]", help="DATA is a training set, if not the recipe's."
        ),
    ] = None,
    artifact: ArtifactOption = None,
    index: IndexOption = None,
    lm: LMOption = None,
    split: Annotated[
        Literal["all", "train", "dev", "test"],
        typer.Option(help="Which questions, divided as the recipe says."),
    ] = "all",
    threads: Annotated[int, typer.Option(min=1, help="Questions answered at once.")] = 4,
    rows: Annotated[
        Path | None, typer.Option(help="Write every answer, with score, time and tokens, as JSONL.")
    ] = None,
    traces: Annotated[
        Path | None, typer.Option(help="Workspace whose MLflow store gets a trace per question.")
    ] = None,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    json: JsonOption = False,
) -> None:
    """Answer every question of a training set and score the answers."""
    from ragwright.artifacts.cli import actions, view
    from ragwright.artifacts.cli.sources import ProgramSource

    recipe, data = _split_data(words or [], given=bool(artifact))
    if rows is not None:  # found before anything is paid for
        if rows.is_dir():
            raise InputError(f"{str(rows)!r} is a folder.", hint="Give --rows a file.")
        rows.parent.mkdir(parents=True, exist_ok=True)
    with crew_of(engine, workers) as crew:
        ready = actions.load_ready_program(ProgramSource.of(recipe, artifact, index), lm, crew)
        view.show_notes(ready.notes)
        questions = actions.read_question_side(ready.recipe, data, split)
        pace = actions.pace_of(ready, threads, crew)
        view.show_notes(pace.told)
        with view.progress_bars() as progress, actions.write_traces_to(traces, ready.recipe.name):
            done = actions.evaluate_program(ready, questions, pace=pace, progress=progress)
    if rows is not None:
        done.write(rows)
    view.show_evaluation(done, ready.recipe.compile.metric, json)


def show(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|ARTIFACT")],
    tree: Annotated[
        bool, typer.Option("--tree", help="The program alone: modules, knobs and predictors.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show settings, knobs with their ranges, predictors and scores."""
    from ragwright.artifacts.cli import actions, program
    from ragwright.artifacts.cli.show import show_described

    found = actions.load_description(source)
    if tree:
        program.show_tree(found.program, json)
    else:
        show_described(found, json)


def prompt(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|ARTIFACT")],
    question: str,
    against: Annotated[
        Path | None, typer.Option(help="Another recipe or artifact: show what differs.")
    ] = None,
    index: IndexOption = None,
    lm: LMOption = None,
    given: InputOption = None,
    json: JsonOption = False,
) -> None:
    """Print exactly what the language model is sent for a question, or how two programs differ."""
    from ragwright.artifacts.cli import program

    asked = program.PromptRequest(question, tuple(given or ()), index, lm)
    sent = program.prompt_of(source, asked)
    other = program.prompt_of(against, asked) if against else None
    program.show_prompt(sent, other, json)


def _split_data(words: list[str], *, given: bool) -> tuple[Path | None, Path | None]:
    """Read `[RECIPE] [DATA]`: data that are left out are the recipe's training set."""
    from ragwright.artifacts.cli.sources import named_artifact
    from ragwright.programs.variants import parse_recipe_reference

    if given and not words:
        return None, None
    if not given and len(words) == 1:
        only = Path(words[0])
        if parse_recipe_reference(only)[0].suffix == ".toml" or named_artifact(only):
            return only, None
    recipe, data = _split(words, "DATA", given=given)
    return recipe, Path(data)


def _split(words: list[str], last: str, *, given: bool) -> tuple[Path | None, str]:
    """Read `[RECIPE] LAST`: the recipe is left out where something else was given."""
    expected = 1 if given else 2
    if len(words) != expected:
        wanted = last if given else f"RECIPE {last}"
        raise InputError(
            f"Expected {wanted}, got {count_with_noun(len(words), 'word')}.",
            hint="Put a question in quotes; give a recipe, or else --artifact."
            if last == "QUESTION"
            else "Give a recipe, or else --artifact, and a file of questions.",
        )
    if not given and words[0].startswith(("http://", "https://")):
        raise InputError(
            f"{words[0]!r} is the address of a server, not a recipe.",
            hint=f"rag ask --server {words[0]} QUESTION",
        )
    return (None if given else Path(words[0])), words[-1]
