"""The `rag index` commands: what an index holds, whether it is sound, and moving its vectors."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragwright.retrievers.errors import InputError

if TYPE_CHECKING:
    from ragwright.retrievers.migrate import CopyReport
    from ragwright.retrievers.upkeep import Verification

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look after an index: count, verify, repair, compact, copy to another vector store.",
)

Folder = Annotated[Path, typer.Argument(metavar="INDEX", help="The index's folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="index")


@group.command()
def stats(index: Folder, json: JsonOption = False) -> None:
    """Count what an index holds, and what it costs on disk."""
    from ragwright.retrievers import upkeep

    _show(asdict(upkeep.stats(index)), json)


@group.command()
def verify(index: Folder, json: JsonOption = False) -> None:
    """Compare vector store, keyword index and token vectors with the ledger, id by id.

    The exit code is 1 if they differ.
    """
    from ragwright.retrievers import upkeep

    found = upkeep.verify(index)
    _show(_verified(found) if not json else {**asdict(found), "sound": found.sound}, json)
    if not found.sound:
        raise typer.Exit(1)


@group.command()
def repair(index: Folder, json: JsonOption = False) -> None:
    """Write anew what verify finds missing or wrong, and remove what does not belong."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import upkeep

    with view.progress() as bars:
        done = upkeep.repair(index, progress=partial(bars, "repair"))
    _show(asdict(done), json)


@group.command()
def compact(index: Folder, json: JsonOption = False) -> None:
    """Free the room of token vectors and texts that were deleted."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import upkeep

    with view.progress() as bars:
        done = upkeep.compact(index, progress=partial(bars, "restore vectors"))
    _show(asdict(done), json)


@group.command()
def copy(
    target: Annotated[str, typer.Option("--to", help="The URL of the store to write.")],
    source: Annotated[
        str | None, typer.Option("--from", help="The URL of the store to read.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="An index: copy from its store, and let it use the new one."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Copy vectors, texts, metadata and identity to another store, and prove them equal."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import migrate

    if (source is None) == (index is None):
        raise InputError("Give either --from or --index.", hint="--index moves an index's store.")
    with view.progress() as bars:

        def show(rows: int, total: int) -> None:
            bars("copy", rows, total)

        if index is not None:
            report = migrate.move(index, target, progress=show)
        else:
            report = migrate.copy(source or "", target, progress=show)
    _show(_copied(report) if not json else asdict(report), json)


def _verified(found: Verification) -> dict[str, object]:
    lines: dict[str, object] = {"chunks": found.chunks, "half-written": found.unsettled}
    if found.files:
        lines["damaged files"] = " ".join(found.files[:10])
    for part, difference in found.parts.items():
        counts = (f"{getattr(difference, kind)} {kind}" for kind in ("missing", "extra", "wrong"))
        lines[part] = "sound" if difference.none else ", ".join(counts)
        if difference.examples:
            lines[f"{part}: some of them"] = " ".join(difference.examples)
    return lines


def _copied(report: CopyReport) -> dict[str, object]:
    lines: dict[str, object] = dict(asdict(report))
    lines["checksums"] = f"equal ({report.checksums[0]})"
    lines["overlap"] = "{:.3f} source, {:.3f} target".format(*report.overlap)
    return lines


def _show(values: dict[str, object], as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ragwright.artifacts.cli import view

    if as_json:
        view.print_json(values)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in values.items():
        table.add_row(name.replace("_", " "), escape(str(value)))
    view.out().print(table)
