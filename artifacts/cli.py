"""The `rag` command: what can be asked of it. What each command does is in `cli_actions.py` and
`cli_compile.py`, how it looks in `cli_view.py`; both are imported by the command that runs.

An error that ragwright raises on purpose is one line and exit code 2; Ctrl-C is exit code 130.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from artifacts import cli_artifacts, cli_index, cli_serve
from retrievers.errors import InputError, RagError


class _Group(TyperGroup):
    """Turns every `RagError` into one line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RagError as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="rag",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compile retrieval-augmented programs against your own questions, and use them.",
)

app.add_typer(cli_index.app, name="index")

RecipePath = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE", help="A recipe in TOML; RECIPE#NAME takes that variant of its index."
    ),
]
ArtifactOption = Annotated[
    Path | None, typer.Option("--artifact", help="A compiled artifact, instead of a recipe.")
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", help="The index's folder, if not the recipe's.")
]
LMOption = Annotated[
    str | None,
    typer.Option("--lm", help="A language model, e.g. extractive or openai/gpt-4o-mini."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ragwright {version('ragwright')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the release."),
    ] = False,
) -> None:
    """Compile retrieval-augmented programs against your own questions, and use them."""


@app.command()
def ingest(
    recipe: RecipePath,
    documents: Annotated[
        str | None, typer.Option(help="A JSONL file or a folder, if not the recipe's.")
    ] = None,
    index: IndexOption = None,
    on_error: Annotated[
        Literal["fail", "skip"], typer.Option(help="What to do about a file that cannot be read.")
    ] = "fail",
    include: Annotated[
        list[str] | None, typer.Option(help="Read only files like this; as in .gitignore.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Do not read files like this; as in .gitignore.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make an index hold exactly the documents of a source; unchanged ones cost nothing."""
    from artifacts import cli_actions, cli_view
    from retrievers.documents import ReadOptions

    options = ReadOptions(tuple(include or ()), tuple(exclude or ()), on_error)
    with cli_view.progress() as progress:
        done = cli_actions.ingest(recipe, documents, index, progress, options)
    cli_view.show_ingest(done, json)


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="[RECIPE] QUESTION")],
    artifact: ArtifactOption = None,
    index: IndexOption = None,
    k: Annotated[int | None, typer.Option("-k", help="How many passages.")] = None,
    mode: Annotated[
        Literal["dense", "bm25", "hybrid", "rerank"] | None,
        typer.Option(help="How to search; by default as the recipe or the artifact says."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Find passages, with their scores by every signal."""
    from artifacts import cli_actions, cli_search, cli_view

    recipe, question = _split(words, "QUESTION", given=bool(artifact or index))
    stage = cli_search.search_stage(cli_actions.Source(recipe, artifact, index), mode)
    cli_view.show_passages(question, cli_search.search(stage, question, k), json)


@app.command()
def ask(
    words: Annotated[list[str], typer.Argument(metavar="[RECIPE] QUESTION")],
    artifact: ArtifactOption = None,
    index: IndexOption = None,
    lm: LMOption = None,
    server: Annotated[
        str | None, typer.Option("--server", help="The address of a `rag serve` to ask instead.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Answer a question, with citations."""
    if server is not None:
        cli_serve.ask_server(server, _split(words, "QUESTION", given=True)[1], json)
        return
    from artifacts import cli_actions, cli_view

    recipe, question = _split(words, "QUESTION", given=bool(artifact))
    ready = cli_actions.ready(cli_actions.Source(recipe, artifact, index), lm)
    cli_view.show_notes(ready.notes)
    cli_view.show_answer(question, cli_actions.ask(ready, question), json)


@app.command("compile")
def compile_(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipePath,
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
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="LM calls at most, retries included.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Prompt and completion tokens at most.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="US dollars at most.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=0, help="No LM call goes out after this time.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Answer 5 questions and estimate the rest.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Tune retrieval and prompts on a training set, and measure the gain on held-out questions."""
    from artifacts import cli_compile, cli_verdict, cli_view
    from optimize.budget import Caps

    caps = Caps(max_calls, max_tokens, max_cost, max_seconds)
    wanted = cli_compile.Wanted(
        recipe, trainset, output, workspace, index, lm, optimizer, resume, caps
    )
    if dry_run:
        cli_verdict.show_estimate(cli_compile.estimated(wanted), json)
        return
    with cli_view.progress() as progress:
        done = cli_compile.compile_recipe(wanted, progress)
    cli_verdict.show_compiled(done, json)


@app.command()
def evaluate(  # noqa: PLR0913, PLR0917 (one parameter per option)
    words: Annotated[list[str], typer.Argument(metavar="[RECIPE] DATA")],
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
    json: JsonOption = False,
) -> None:
    """Answer every question of a training set and score the answers."""
    from artifacts import cli_actions, cli_view

    recipe, data = _split(words, "DATA", given=bool(artifact))
    ready = cli_actions.ready(cli_actions.Source(recipe, artifact, index), lm)
    cli_view.show_notes(ready.notes)
    questions = cli_actions.questions_of(ready.recipe, Path(data), split)
    with cli_view.progress() as progress, cli_actions.tracing(traces, ready.recipe.name):
        done = cli_actions.evaluate(ready, questions, threads=threads, progress=progress)
    if rows is not None:
        done.write(rows)
    cli_view.show_evaluation(done, ready.recipe.compile.metric, json)


@app.command()
def show(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|ARTIFACT")],
    tree: Annotated[
        bool, typer.Option("--tree", help="The program alone: modules, knobs and predictors.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show settings, knobs with their ranges, predictors and scores."""
    from artifacts import cli_actions, cli_program, cli_show

    found = cli_actions.described(source)
    if tree:
        cli_program.show_tree(found.program, json)
    else:
        cli_show.show(found, json)


@app.command()
def prompt(
    source: Annotated[Path, typer.Argument(metavar="RECIPE|ARTIFACT")],
    question: str,
    against: Annotated[
        Path | None, typer.Option(help="Another recipe or artifact: show what differs.")
    ] = None,
    index: IndexOption = None,
    lm: LMOption = None,
    json: JsonOption = False,
) -> None:
    """Print exactly what the language model is sent for a question, or how two programs differ."""
    from artifacts import cli_program

    sent = cli_program.prompt_of(source, question, index, lm)
    other = cli_program.prompt_of(against, question, index, lm) if against else None
    cli_program.show_prompt(sent, other, json)


cli_serve.register(app)
cli_artifacts.register(app)


def _split(words: list[str], last: str, *, given: bool) -> tuple[Path | None, str]:
    """Read `[RECIPE] LAST`: the recipe is left out where something else was given."""
    expected = 1 if given else 2
    if len(words) != expected:
        wanted = last if given else f"RECIPE {last}"
        raise InputError(
            f"Expected {wanted}, got {len(words)} words.",
            hint="Put a question in quotes; give a recipe, or else --artifact.",
        )
    return (None if given else Path(words[0])), words[-1]


def main() -> None:
    """Run the command."""
    app(prog_name="rag")
