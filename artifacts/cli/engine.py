"""`--engine` and `--workers`: who works for a command that has much to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ragwright.retrievers.errors import InputError

if TYPE_CHECKING:
    from ragwright.retrievers.cluster import Crew

Engine = Literal["local", "ray"]

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
