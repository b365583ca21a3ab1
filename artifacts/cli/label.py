"""The command `rag label`: a person says of some answers of a run how right they are.

Loads nothing heavy until it is called; what it does is in `labelling.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ragwright.artifacts.cli import view
from ragwright.artifacts.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(label)


def label(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a compile's run.")],
    number: Annotated[int, typer.Option(min=1, help="Questions to label, drawn at random.")] = 40,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say of some answers how right they are; see the run's scores corrected by that."""
    from ragwright.artifacts.cli import labelling

    questions = labelling.read_run_answers(run)
    labelling.ask_for_labels(questions, run, number=number, seed=seed)
    found = labelling.corrected_means(questions, labelling.read_labels(run))
    if as_json:
        view.print_json({name: asdict(one) for name, one in found.items()})
        return
    for name, one in found.items():
        view.stdout_console().print(
            f"{name}: {one.mean:.3f}, 95 % interval {one.low:.3f} to {one.high:.3f} "
            f"({one.labels} of {one.n} labelled; the metric alone says {one.judged:.3f})",
            soft_wrap=True,
        )
