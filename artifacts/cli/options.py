"""The arguments and options that several groups of commands have, each written once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragwright.retrievers.errors import InputError

if TYPE_CHECKING:
    from ragwright.retrievers.cluster import Crew

Engine = Literal["local", "ray"]

RecipeArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe in TOML, or documents for a first look (a folder, a file); RECIPE#NAME "
        "takes that variant of its index.",
    ),
]
IndexOption = Annotated[
    Path | None, typer.Option("--index", help="The index's folder, if not the recipe's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
MaxCalls = Annotated[
    int | None, typer.Option("--max-calls", min=1, help="LM calls at most, retries included.")
]
MaxTokens = Annotated[
    int | None,
    typer.Option("--max-tokens", min=1, help="Prompt and completion tokens at most."),
]
MaxCost = Annotated[float | None, typer.Option("--max-cost", min=0, help="US dollars at most.")]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="What works: this process, or the workers of a Ray cluster (of RAY_ADDRESS, or one "
        "that is started here and stopped again).",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        help="Workers of a Ray cluster that is started here.  [default: one a processor]",
    ),
]


@contextmanager
def crew_of(engine: Engine, workers: int | None) -> Iterator[Crew | None]:
    """Have the crew that a command was asked to work with; None to do without.

    Raises:
        InputError: Workers were given without an engine that has any.
    """
    if engine == "ray":
        from ragwright.retrievers.cluster import ray_cluster

        # Ray prints what becomes of workers; standard output is for results.
        with redirect_stdout(sys.stderr), ray_cluster(workers) as crew:
            yield crew
        return
    if workers is not None:
        raise InputError("--workers is for --engine ray.", hint="Add --engine ray.")
    yield None
