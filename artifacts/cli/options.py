"""The arguments and options that several groups of commands have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
