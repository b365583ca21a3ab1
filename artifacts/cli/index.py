"""The `rag index` commands: what an index holds, whether it is sound, and moving its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import JsonOption
from ragwright.retrievers.errors import InputError

if TYPE_CHECKING:
    from ragwright.retrievers.graph import GraphChoice, GraphTrial
    from ragwright.retrievers.migrate import CopyReport
    from ragwright.retrievers.stores.base import GraphSettings
    from ragwright.retrievers.upkeep import Verification

group = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look after indexes: attach, list, delete, verify, repair, copy and more.",
)


def _folder_of(index: Path) -> Path:
    """Return an index's folder, also where its recipe is given, or the documents it was made of.

    Raises:
        InputError: The recipe is malformed.
    """
    from ragwright.retrievers.stamp import STAMP

    named = index.name.partition("#")[0].endswith(".toml")
    if not named and ((index / STAMP).exists() or not index.is_dir()):
        return index
    from ragwright.artifacts.cli.actions import read_recipe

    found = Path(read_recipe(index).index.path)
    return found if named or (found / STAMP).exists() else index


Folder = Annotated[
    Path,
    typer.Argument(
        metavar="INDEX", callback=_folder_of, help="The index's folder, or the recipe it is of."
    ),
]


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

    with view.progress_bars() as bars:
        done = upkeep.repair(index, progress=partial(bars, "repair"))
    _show(asdict(done), json)


@group.command()
def compact(index: Folder, json: JsonOption = False) -> None:
    """Free the room of token vectors and texts that were deleted."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import upkeep

    with view.progress_bars() as bars:
        done = upkeep.compact(index, progress=partial(bars, "restore vectors"))
    _show(asdict(done), json)


@group.command()
def attach(
    source: Annotated[
        str,
        typer.Argument(
            help="The collection: chroma:PATH#NAME, chroma+http://HOST:PORT#NAME, or of qdrant."
        ),
    ],
    index: Folder,
    embedder: Annotated[
        str, typer.Option(help="What made its vectors.  [default: what its configuration says]")
    ] = "",
    document: Annotated[
        str, typer.Option(help="The metadata key that names a row's document.")
    ] = "",
    tokens: Annotated[
        bool, typer.Option(help="Make token vectors, for reranking by late interaction.")
    ] = True,
    trust: Annotated[
        list[str] | None, typer.Option(help="A module that may be imported for the embedder.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make an index on somebody else's collection, of Chroma or Qdrant: searched where it is.

    Nothing in it is written. What it lacks is built beside it: keyword index, token vectors,
    ledger. Called again, it reads what was written since.
    """
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import attach as attaching

    options = attaching.AttachOptions(embedder, document, tokens, tuple(trust or ()))
    with view.progress_bars() as bars:
        done = attaching.attach(source, index, options, progress=partial(bars, "read"))
    _show(asdict(done), json)


@group.command()
def delete(
    index: Folder,
    documents: Annotated[list[str], typer.Argument(metavar="ID...", help="Their ids.")],
    missing_ok: Annotated[
        bool, typer.Option("--missing-ok", help="Pass over ids that it does not hold.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Delete documents from an index; the next `rag ingest` reads those that its source has."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers.ingest import delete_documents

    done = delete_documents(documents, index, missing_ok=missing_ok)
    if json:
        view.print_json(asdict(done))
        return
    view.stdout_console().print(
        f"{done.deleted:,} documents deleted, {done.chunks_deleted:,} chunks"
    )


@group.command()
def sync(index: Folder, json: JsonOption = False) -> None:
    """Read what the owner of an attached collection wrote since it was read last."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import attach as attaching

    with view.progress_bars() as bars:
        done = attaching.sync(index, progress=partial(bars, "read"))
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
    with view.progress_bars() as bars:

        def show(rows: int, total: int) -> None:
            bars("copy", rows, total)

        if index is not None:
            report = migrate.move_index(index, target, progress=show)
        else:
            report = migrate.copy_collection(source or "", target, progress=show)
    _show(_copied(report) if not json else asdict(report), json)


@group.command("list")
def list_(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Where to look.  [default: this folder]")
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the indexes below folders: what each holds, what embedded it, where its vectors lie."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import upkeep

    found = [
        upkeep.stats(path)
        for folder in folders or [Path()]
        for path in upkeep.indexes_below(folder)
    ]
    if json:
        view.print_json([asdict(one) for one in found])
        return
    if not found:
        view.stdout_console().print("There is no index here. Make one: rag ingest RECIPE")
        return
    rows = [
        (view.short_path(Path(one.path)), f"{one.documents:,}", f"{one.chunks:,}", one.embedder,
         f"{one.bytes / 1e6:,.1f}", _short(one.store, one.path))
        for one in found
    ]  # fmt: skip
    _table(("index", "documents", "chunks", "embedder", "MB", "store"), rows)


@group.command()
def optimize(
    index: Folder,
    target: Annotated[
        float, typer.Option("--target-recall", min=0, max=1, help="Recall@10 that is enough.")
    ] = 0.98,
    compacted: Annotated[
        bool, typer.Option("--compact", help="Free the room of what was deleted, too.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Try settings of the search graph on an index's own vectors, against exact search.

    The cheapest that finds enough is printed as lines for the recipe. The index is only read, but
    for --compact.
    """
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import graph, upkeep

    with view.progress_bars() as bars:
        found = graph.optimize_graph(index, target=target, progress=partial(bars, "graphs"))
        freed = upkeep.compact(index, progress=partial(bars, "compact")) if compacted else None
    if json:
        tried = [
            {**one.graph.model_dump(exclude_defaults=True), **_measured(one)} for one in found.tried
        ]
        chosen = found.chosen.graph.model_dump(exclude_defaults=True)
        view.print_json(
            {"target": target, "vectors": found.vectors, "queries": found.queries, "tried": tried,
             "chosen": chosen, "recipe": found.recipe_lines, "freed_bytes": found.freed_bytes,
             "compacted": asdict(freed) if freed else None}
        )  # fmt: skip
        return
    _show_optimized(found)
    if freed:
        view.stdout_console().print(f"{freed.freed:,} token vectors freed, {freed.rows:,} left")


@group.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    index: Annotated[Path | None, typer.Option(help="An index: its store is read.")] = None,
    source: Annotated[
        str | None, typer.Option("--from", help="The URL of the store to read.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Write vectors, texts, metadata and identity of a store to a Parquet file."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import parquet
    from ragwright.retrievers.stores.base import StoreURL

    if (source is None) == (index is None):
        raise InputError("Give either --from or --index.", hint="--index reads an index's store.")
    place = parquet.index_store_url(index) if index is not None else StoreURL.parse(source or "")
    with view.progress_bars() as bars:
        moved = parquet.export_rows(place, file, progress=partial(bars, "export"))
    _show(asdict(moved), json)


@group.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A Parquet file of `rag index export`.")],
    target: Annotated[str, typer.Option("--to", help="The URL of the store to write.")],
    json: JsonOption = False,
) -> None:
    """Write the rows of a Parquet file to a store, which then can be copied or searched."""
    from ragwright.artifacts.cli import view
    from ragwright.retrievers import parquet
    from ragwright.retrievers.stores.base import StoreURL

    with view.progress_bars() as bars:
        moved = parquet.import_rows(file, StoreURL.parse(target), progress=partial(bars, "import"))
    _show(asdict(moved), json)


def _show_optimized(found: GraphChoice) -> None:
    from ragwright.artifacts.cli import view

    rows = []
    for one in found.tried:
        values = _numbers(one.graph).values()
        mark = "*" if one is found.chosen else ""
        rows.append((
            *map(str, values), f"{one.recall:.4f}", f"{one.p50:.2f}", f"{one.p95:.2f}",
            f"{one.build:.1f}", mark,
        ))  # fmt: skip
    _table(
        ("neighbors", "construction", "search", "recall@10", "ms p50", "ms p95", "build s", ""),
        rows,
    )
    out = view.stdout_console()
    out.print(f"{found.queries} searches of {found.vectors:,} vectors, against exact search.")
    reached = found.chosen.recall >= found.target
    said = "the cheapest that reaches" if reached else "none reaches"
    out.print(f"* {said} {found.target:g}. For the recipe:\n")
    out.print(found.recipe_lines, markup=False)
    out.print(f"\nrag index compact would free {found.freed_bytes / 1e6:.1f} MB.")


def _numbers(graph: GraphSettings) -> dict[str, Any]:
    return graph.model_dump(exclude_defaults=True)


def _measured(one: GraphTrial) -> dict[str, float]:
    return {"recall": one.recall, "p50_ms": one.p50, "p95_ms": one.p95, "build_seconds": one.build}


def _short(store: str, path: str) -> str:
    """Where vectors lie, seen from their index."""
    return store.replace(f"{path}/", "")


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ragwright.artifacts.cli import view

    table = Table(*columns, box=None, padding=(0, 1))
    for row in rows:
        table.add_row(*map(escape, row))
    view.stdout_console().print(table)


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
    view.stdout_console().print(table)
