"""Does what `rag ingest` promises: brings a recipe's index up to date with its documents.

Everything that can be wrong with the input is found before anything is created. Knows nothing of
terminals.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ragwright.artifacts.cli.actions import read_recipe
from ragwright.artifacts.cli.first_look import are_documents
from ragwright.optimize.progress import StageProgress
from ragwright.programs.build import index_settings
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.distributed import read_with_workers
from ragwright.retrievers.documents import (
    STDIN,
    Problem,
    ReadOptions,
    is_folder,
    read_documents,
)
from ragwright.retrievers.embedding import load_embedder
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.ingest import IngestProgress, IngestReport, upsert_documents
from ragwright.retrievers.ingest import ingest as run_ingest
from ragwright.retrievers.seen import SeenIds


@dataclass(frozen=True)
class IngestOutput:
    """Where an index is, what was done to it, and which files were skipped.

    Attributes:
        notes: What was read with a reservation, and which.
    """

    index: Path
    report: IngestReport
    skipped: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ReadingChoices:
    """What a command says of how to read documents; the recipe says the rest.

    Attributes:
        upsert: Whether documents of the index stay that are not among those that are read.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_error: Literal["fail", "skip"] | None = None
    upsert: bool = False


def ingest_recipe(
    recipe_path: Path,
    documents: str | None,
    index: Path | None,
    progress: StageProgress,
    wanted: ReadingChoices | None = None,
    crew: Crew | None = None,
) -> IngestOutput:
    """Bring a recipe's index up to date with its documents, with the help of a crew if given.

    Raises:
        InputError: The recipe or a document is malformed; nothing has been written then.
    """
    recipe = read_recipe(recipe_path, index)
    source = documents or recipe.index.documents
    if not source:
        raise InputError(
            f"{str(recipe_path)!r} names no documents.",
            hint="Set `documents` under [index], or give --documents.",
        )
    skipped: list[Problem] = []
    notes: list[Problem] = []
    wanted = wanted or ReadingChoices()
    reading = _reading(recipe, source, wanted, skipped, notes)
    # Standard input can be read once only; everything else is checked before anything is written.
    total = 0 if source == STDIN else _count_documents(source, reading, crew)
    if source != STDIN and not total:
        raise _nothing(source, skipped)
    skipped.clear()
    notes.clear()
    load_embedder(recipe.index.embedder, recipe.index.engine)
    progress("ingest", 0, total)

    def show(done: IngestProgress) -> None:
        if done.restored:
            progress("restore vectors", done.restored, done.to_restore)
        else:
            progress("ingest", done.documents, total)

    settings = index_settings(recipe)
    write = upsert_documents if wanted.upsert else run_ingest
    found = read_documents(source, reading)
    report = write(found, recipe.index.path, settings, progress=show, crew=crew)
    return IngestOutput(
        Path(recipe.index.path), report, tuple(skipped), tuple(dict.fromkeys(notes))
    )


def after_ingest(recipe: Path) -> tuple[str, ...]:
    """Return the commands to go on with: the first depends on whether there are questions yet."""
    place = shlex.quote(str(recipe))
    ask = f'rag ask {place} "..."'
    if are_documents(recipe):
        return (ask,)
    trainset = read_recipe(recipe).data.trainset
    asked = bool(trainset) and Path(trainset).exists()
    measure = f"rag study retrieval {place}" if asked else f"rag questions {place}"
    return measure, f"{ask}        # a question of yours"


def _reading(
    recipe: Recipe,
    source: str,
    wanted: ReadingChoices,
    skipped: list[Problem],
    notes: list[Problem],
) -> ReadOptions:
    section = recipe.index.reading
    default: Literal["fail", "skip"] = "skip" if is_folder(source) else "fail"
    return ReadOptions(
        wanted.include,
        wanted.exclude,
        on_error=wanted.on_error or section.on_error or default,
        on_problem=skipped.append,
        on_note=notes.append,
        **section.model_dump(exclude={"on_error"}),
    )


def _nothing(source: str, skipped: Sequence[Problem]) -> InputError:
    """The error for a source of which nothing could be read."""
    some = "; ".join(f"{problem.place}: {problem.reason}" for problem in skipped[:3])
    return InputError(
        f"Nothing in {source!r} can be read: {len(skipped)} skipped, such as {some}."
        if skipped
        else f"There are no documents in {source!r}.",
        hint="See what --include and --exclude, .gitignore and .ragignore leave of it.",
    )


def _count_documents(source: str, options: ReadOptions, crew: Crew | None) -> int:
    """Read all documents once, so that a malformed one is found before the index is touched."""
    with SeenIds() as seen:
        found = read_documents(source, options)
        for document in read_with_workers(crew, found) if crew else found:
            if not seen.add(document.id):
                raise InputError(
                    f"Two documents in {source!r} have the id {document.id!r}.",
                    hint="Make the ids unique.",
                )
        return len(seen)
