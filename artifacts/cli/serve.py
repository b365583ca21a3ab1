"""`rag serve`, `rag feedback` and `rag ask --server`: an artifact as an application.

What these need is imported by the command that runs, so that `rag --help` stays quick.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import JsonOption
from ragwright.artifacts.cli.terminal import escape_controls, escape_json_controls
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.extras import require

if TYPE_CHECKING:
    from ragwright.artifacts.client import Client
    from ragwright.artifacts.server.opinions import Opinion
    from ragwright.artifacts.wire import AskReply
    from ragwright.retrievers.types import Where

STORE = ".rag/feedback.sqlite"

feedback = typer.Typer(
    cls=Group, no_args_is_help=True, rich_markup_mode=None, help="What people thought of answers."
)

FeedbackStoreOption = Annotated[
    Path, typer.Option("--store", help="The file that `rag serve` writes.")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command()(serve)
    app.command()(mcp)
    app.add_typer(feedback, name="feedback")


def serve(  # noqa: PLR0913, PLR0917 - one parameter per option
    artifact: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help="An artifact; @VERSION or @ALIAS may follow.")
    ],
    host: Annotated[str, typer.Option(help="Where to listen; public ones need a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8600,
    ab: Annotated[
        tuple[float, str] | None,
        typer.Option(
            "--ab",
            metavar="SHARE CANDIDATE",
            help="Let another artifact answer a share of the questions, from 0 to 1.",
        ),
    ] = None,
    index: Annotated[Path | None, typer.Option(help="The index, if it has moved.")] = None,
    lm: Annotated[str | None, typer.Option(help="A language model, if not the recipe's.")] = None,
    workers: Annotated[int, typer.Option(help="Processes on one port; they read one index.")] = 1,
    concurrency: Annotated[int, typer.Option(help="Questions worked on at once.")] = 32,
    queue: Annotated[int, typer.Option(help="Questions that may wait; then 429.")] = 128,
    timeout: Annotated[float, typer.Option(help="Seconds per question, waiting included.")] = 60,
    drain: Annotated[int, typer.Option(help="Seconds open answers get after SIGTERM.")] = 30,
    rate: Annotated[str, typer.Option(help='Per key, such as "60/minute"; none by default.')] = "",
    key_file: Annotated[
        Path | None, typer.Option("--keys", help="A TOML file: [[keys]], and what each may see.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="An address whose X-Ragwright-Where header says what callers may see."),
    ] = None,
    cache: Annotated[int, typer.Option(help="Answers kept for the same question; 0: none.")] = 1000,
    store: Annotated[str, typer.Option(help='Answers and feedback; "" keeps none.')] = STORE,
    reload: Annotated[float, typer.Option(help="Seconds between looks for a new version.")] = 2,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name that clients may call the server by.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help='A web page that may ask, such as "https://app.example".'),
    ] = None,
    trace: Annotated[float, typer.Option(help="Share of answers traced in MLflow.")] = 0,
    tracking_uri: Annotated[str, typer.Option(help="The MLflow store for traces.")] = (
        "sqlite:///mlflow.db"
    ),
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Tools for agents under /mcp (Model Context Protocol).")
    ] = False,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve an artifact: a page for people, an API for programs, OpenAI's chat for front ends.

    API keys are read from RAGWRIGHT_API_KEYS, separated by commas.
    """
    outlive_hangups()
    from ragwright.artifacts.server.run import serve as run
    from ragwright.artifacts.server.settings import ServerSettings

    share, candidate = ab or (0.0, "")
    if ab and not store:
        raise InputError(
            "A comparison needs a file for feedback.", hint="Leave out --store, or name a file."
        )
    settings = ServerSettings.checked(
        artifact=absolute_address(artifact),
        candidate=absolute_address(candidate) if candidate else "",
        share=share,
        index=None if index is None else str(index),
        lm=lm,
        host=host,
        port=port,
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
        workers=workers,
        concurrency=concurrency,
        queue=queue,
        timeout=timeout,
        drain=drain,
        key_file="" if key_file is None else str(key_file.absolute()),
        proxies=tuple(proxy or ()),
        rate=rate,
        cache_entries=cache,
        feedback=store,
        reload=reload,
        trace=trace,
        tracking_uri=tracking_uri,
        mcp=mcp,
        log_level=log_level,
    )
    if mcp:
        require("mcp")
    run(settings)


def outlive_hangups() -> None:
    """Have SIGHUP end nothing while the server starts; later on it is heeded."""
    if hangup := getattr(signal, "SIGHUP", None):
        signal.signal(hangup, signal.SIG_IGN)


def mcp(
    source: Annotated[
        str, typer.Argument(metavar="ARTIFACT|RECIPE", help="What answers; @ALIAS may follow.")
    ],
    index: Annotated[Path | None, typer.Option(help="The index, if it has moved.")] = None,
    lm: Annotated[str | None, typer.Option(help="A language model, if not the recipe's.")] = None,
) -> None:
    """Give agents tools over standard input and output (Model Context Protocol).

    An agent's configuration names this command; nothing is printed but the protocol.
    """
    require("mcp")
    import asyncio
    import logging
    import sys
    from tempfile import TemporaryDirectory

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with TemporaryDirectory() as scratch:
        asyncio.run(_speak(_saved(source, index, scratch), index, lm))


async def _speak(artifact: str, index: Path | None, lm: str | None) -> None:
    from ragwright.artifacts.server.agents import run_without_port
    from ragwright.artifacts.server.app import create_app
    from ragwright.artifacts.server.settings import ServerSettings

    settings = ServerSettings.checked(
        artifact=artifact, index=None if index is None else str(index), lm=lm, feedback=""
    )
    async with run_without_port(create_app(settings, keys=())) as server:
        await server.run_stdio_async()


def _saved(source: str, index: Path | None, scratch: str) -> str:
    """Return the address of an artifact; a recipe's program becomes one for as long as it runs."""
    if not source.partition("#")[0].endswith(".toml"):
        return absolute_address(source)
    from ragwright.artifacts.cli.actions import read_recipe
    from ragwright.artifacts.store import save
    from ragwright.programs.build import build_program

    recipe = read_recipe(Path(source), index)
    save(build_program(recipe), scratch, recipe=recipe)
    return scratch


@feedback.command("list")
def list_(store: FeedbackStoreOption = Path(STORE), as_json: JsonOption = False) -> None:
    """Show what people thought of answers, oldest first."""
    from ragwright.artifacts.server.feedback import FeedbackStore

    with closing(FeedbackStore(store)) as kept:
        opinions = kept.opinions()
    if as_json:
        from ragwright.artifacts.cli.view import print_json

        print_json([_flat(opinion) for opinion in opinions])
        return
    from rich.markup import escape
    from rich.table import Table

    from ragwright.artifacts.cli.view import stdout_console

    table = Table("when", "rating", "question", "answer", "comment", "correction", box=None)
    for opinion in opinions:
        given = opinion.given
        texts = (given.question, given.answer, opinion.comment, opinion.correction)
        table.add_row(opinion.at[:16], opinion.rating, *map(escape, texts))
    stdout_console().print(table)


@feedback.command()
def export(
    output: Annotated[Path, typer.Argument(help="The training set to write, in JSONL.")],
    store: FeedbackStoreOption = Path(STORE),
    per_caller: Annotated[
        int | None, typer.Option(min=1, help="At most so many questions of one caller.")
    ] = None,
    split: Annotated[
        Literal["train", "dev", "test"] | None,
        typer.Option(help="The side that all of them go to, such as train."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a training set from feedback, which `rag compile` takes as it is.

    Answers rated "up" and corrections go in, the latest word on each question; none on which
    callers contradict each other. A caller is a key, or an address where there are none.
    """
    from ragwright.artifacts.server.feedback import FeedbackStore
    from ragwright.artifacts.server.opinions import contradicted_questions, training_set

    with closing(FeedbackStore(store)) as kept:
        opinions = kept.opinions()
    side = {} if split is None else {"split": split}
    lines = [{**line, **side} for line in training_set(opinions, per_caller=per_caller)]
    if not lines:
        raise InputError(
            f"None of {len(opinions)} opinions approves or corrects an answer.",
            hint="Collect more feedback first.",
        )
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    output.write_text(text, encoding="utf-8")
    ids = {str(line["id"]) for line in lines}
    callers = Counter(one.caller for one in opinions if one.given.id in ids)
    left = len(contradicted_questions(opinions))
    if as_json:
        facts = {"opinions": len(opinions), "questions": len(lines), "contradicted": left}
        print(json.dumps({**facts, "callers": callers}))
        return
    print(f"{len(lines)} questions from {len(opinions)} opinions in {output}")
    if left:
        print(f"{left} questions are left out: callers contradict each other on them.")
    if len(callers) > 1:
        (name, most), *_ = callers.most_common(1)
        print(f"{len(callers)} callers; {most} of the questions are from {escape_controls(name)}.")


@feedback.command()
def compare(
    store: FeedbackStoreOption = Path(STORE),
    level: Annotated[
        float, typer.Option(min=0.0001, max=0.5, help="Chance of a false find that is allowed.")
    ] = 0.05,
    as_json: JsonOption = False,
) -> None:
    """Judge the candidate of `rag serve --ab` by thumbs; look as often as you like.

    The figures are good at any time: stopping at the first decided look is no mistake. They are of
    the two versions that were served last so; thumbs on others do not count.
    """
    from ragwright.artifacts.cli.view import print_json, stdout_console
    from ragwright.artifacts.server.feedback import FeedbackStore
    from ragwright.artifacts.server.opinions import CANDIDATE
    from ragwright.optimize.scoring.anytime import compare_thumbs

    with closing(FeedbackStore(store)) as kept:
        opinions = kept.trial()
    thumbs = [(one.given.arm == CANDIDATE, one.rating == "up") for one in opinions]
    if not any(candidate for candidate, _ in thumbs):
        raise InputError(
            f"None of {len(opinions)} opinions is about an answer of the candidate.",
            hint="Serve with --ab SHARE CANDIDATE, and let people rate the answers.",
        )
    found = compare_thumbs(thumbs, level=level)
    if as_json:
        print_json({**asdict(found), "p": found.p, "verdict": found.verdict})
        return
    for name, arm in (("incumbent", found.incumbent), (CANDIDATE, found.candidate)):
        share = f", {arm.share:.1%}" if arm.ratings else ""
        stdout_console().print(f"{name:<10}{arm.up} of {arm.ratings} thumbs up{share}")
    stdout_console().print(
        f"The candidate is {found.verdict}: {found.difference:+.3f} "
        f"(interval {found.low:+.3f} to {found.high:+.3f}, p = {found.p:.4f}, good at any time).",
        soft_wrap=True,
    )


def ask_server(
    url: str,
    question: str,
    as_json: bool,
    where: Where | None = None,
    inputs: Mapping[str, str] | None = None,
) -> None:
    """Ask a running server, and print the answer as it comes.

    Raises:
        ServerError: The server refused, failed, or cannot be reached.
    """
    from ragwright.artifacts.cli.inputs import sent_inputs
    from ragwright.artifacts.cli.view import show_outputs
    from ragwright.artifacts.client import Client

    with Client(url) as client:
        ask = client.ask if as_json else partial(_printed, client)
        reply = ask(question, where=where, **sent_inputs(inputs or {}))
    if as_json:
        print(escape_json_controls(reply.model_dump_json(indent=2)))
        return
    show_outputs(reply.outputs, reply.answer)
    for number in reply.citations:
        passage = reply.passages[number - 1]
        place = f"{passage.document}, characters {passage.start}-{passage.end}"
        print(f"[{number}] {escape_controls(place)}")
    for part in reply.degraded:
        typer.echo(
            escape_controls(f"note: {part.stage} failed, {part.used} was used instead"), err=True
        )


def absolute_address(artifact: str) -> str:
    """Return the absolute address of what is to be served: a folder, or one with `@ALIAS`.

    Raises:
        ArtifactError: There is no such artifact or version.
        InputError: It is a model of a registry.
    """
    from ragwright.artifacts.addresses import MODELS, address_of
    from ragwright.artifacts.versions import resolve_version

    if artifact.startswith(MODELS):
        raise InputError(
            "A server looks for new versions in a folder, not in MLflow's registry.",
            hint="`rag artifacts pull MODEL` brings a model here; serve it by its name.",
        )
    found = address_of(artifact)
    resolve_version(found)
    return str(Path(found).absolute())


def _printed(client: Client, question: str, where: Where | None, **inputs: Any) -> AskReply:
    """Print an answer as it comes: people see its beginning, what is piped is the answer alone."""
    from ragwright.artifacts.wire import AskReply, RestartEvent, TokenEvent

    said, last = "", None
    for event in client.stream(question, where=where, **inputs):
        if isinstance(event, TokenEvent) and sys.stdout.isatty():
            said += event.text
            print(escape_controls(event.text), end="", flush=True)
        elif isinstance(event, RestartEvent) and said:
            said = ""
            print(" ... (begins anew)")
        elif isinstance(event, AskReply):
            last = event
    assert last is not None, "a stream that ends without an answer raises"
    if said and said != last.answer:
        print()
    print("" if said == last.answer else escape_controls(last.answer))
    return last


def _flat(opinion: Opinion) -> dict[str, Any]:
    facts = asdict(opinion)
    return {**facts.pop("given"), **facts}
