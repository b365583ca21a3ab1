"""Makes chunks: chooses the rule that cuts, and notes what a chunk knows of itself.

A chunk is what is searched. What is returned for it is its parent: a larger piece around it, or
the chunk itself.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from ragwright.retrievers.chunking.code import definition_starts
from ragwright.retrievers.chunking.cutting import (
    Span,
    cut_by_separators,
    cut_by_tokens,
    cut_recursively,
)
from ragwright.retrievers.chunking.markdown import markdown_sections
from ragwright.retrievers.chunking.outside import cut_by_custom_chunker
from ragwright.retrievers.chunking.rows import TableSpan, markdown_tables, table_columns_at
from ragwright.retrievers.chunking.semantic import Embed, cut_by_meaning
from ragwright.retrievers.chunking.settings import ChunkSettings
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text import normalize_text
from ragwright.retrievers.trust import is_reference
from ragwright.retrievers.types import (
    TABLE_HEADER,
    Chunk,
    Document,
    Metadata,
    Scalar,
    Value,
)

HEADINGS = "headings"
log = logging.getLogger(__name__)
_JOINT = " > "
_LONGEST_TITLE = 300
"""Characters: a longer one is no name."""
_MOST_REPEATED = 4_000_000
"""Characters of metadata in all chunks of a document: some ten megabytes on disk."""
_BEFORE_TITLE = 8
"""Characters in which a text may begin before its title: marks of a heading, say."""


def chunk(
    document: Document, settings: ChunkSettings, *, embed: Embed | None = None
) -> list[Chunk]:
    """Cut a document into chunks, in order; pieces of white space alone are left out.

    Args:
        document: What to cut.
        settings: How.
        embed: Texts in, vectors out; needed by the kind "semantic" alone.

    Raises:
        InputError: The kind is "semantic", and there is no `embed`.
    """
    whole = parent_chunks(document, settings, embed=embed)
    return [piece for parent in whole for piece in child_chunks(parent, settings)]


def parent_chunks(
    document: Document, settings: ChunkSettings, *, embed: Embed | None = None
) -> list[Chunk]:
    """Cut a document into what is returned for its chunks: they themselves, or their parents.

    Arguments and errors are those of `chunk`.
    """
    inside = max(1, settings.parent_size // settings.size)
    if settings.parent_size:
        settings = settings.of_parents
    pieces = list(_pieces(document, settings, embed))
    shared = _repeated(document, inside * len(pieces))
    found = (
        () if settings.kind == "code" or TABLE_HEADER in shared else markdown_tables(document.text)
    )
    return [
        Chunk(
            document.id,
            start,
            end,
            document.text[start:end],
            {**shared, **_at(document, start), **own, **_columns(found, start)},
        )
        for (start, end), own in pieces
        if document.text[start:end].strip()
    ]


def child_chunks(parent: Chunk, settings: ChunkSettings) -> list[Chunk]:
    """Cut a parent into the chunks that are searched for it; without parents, it is the chunk."""
    if not settings.parent_size:
        return [parent]
    at, text = parent.start, parent.text
    facts = dict(parent.metadata)
    found = (
        [] if settings.kind == "code" else markdown_tables(text, str(facts.pop(TABLE_HEADER, "")))
    )
    return [
        Chunk(
            parent.document_id,
            at + start,
            at + end,
            text[start:end],
            {**facts, **_columns(found, start)},
        )
        for start, end in _spans(text, settings)
        if text[start:end].strip()
    ]


def text_to_search(piece: Chunk, settings: ChunkSettings) -> str:
    """Return what a chunk is found by: its text, after title and headings if settings say so.

    A title with which the text or the headings begin is not said twice. Rows of a table come after
    the names of its columns.
    """
    if not settings.headers:
        return piece.text
    title = str(piece.metadata.get("title", ""))[:_LONGEST_TITLE]
    headings = str(piece.metadata.get(HEADINGS, ""))
    beginning = normalize_text(piece.text[: len(title) + _BEFORE_TITLE])
    said = normalize_text(title) in beginning or headings.startswith(title)
    header = _JOINT.join(name for name in ("" if said else title, headings) if name)
    return f"{header}\n{piece.shown}" if header else piece.shown


def _repeated(document: Document, times: int) -> dict[str, Value]:
    """Return the metadata that every chunk repeats, without what would fill the disk.

    A row may hold a page beside its text; of a million characters each, their copies are gigabytes.
    """
    title = {"title": document.title[:_LONGEST_TITLE]} if document.title else {}
    kept: dict[str, Value] = {**title, **document.metadata}
    sizes = {key: len(key) + _characters(value) for key, value in kept.items()}
    total = sum(sizes.values())
    for key in sorted(sizes, key=lambda key: (-sizes[key], key)):
        if times < 2 or times * total <= _MOST_REPEATED:
            break
        total -= sizes[key]
        del kept[key]
        log.warning(
            "%r: the metadata %r have %d characters, and are not kept with each of %d chunks.",
            document.id, key, sizes[key], times,
        )  # fmt: skip
    return kept


def _characters(value: Value) -> int:
    return len(value) if isinstance(value, str) else len(repr(value))


def _columns(found: Sequence[TableSpan], start: int) -> Metadata:
    """Return the names of columns, if a chunk starts below them, among the rows of a table."""
    names = table_columns_at(found, start)
    return {TABLE_HEADER: names} if names else {}


def _at(document: Document, start: int) -> Metadata:
    """Return what is known of a character: its page, say."""
    at = bisect_right(document.places, start, key=lambda place: place.start)
    return document.places[at - 1].metadata if at else {}


def _pieces(
    document: Document, settings: ChunkSettings, embed: Embed | None
) -> Iterator[tuple[Span, dict[str, Scalar]]]:
    text = document.text
    match settings.kind:
        case "markdown":
            for section in markdown_sections(text):
                own: dict[str, Scalar] = {HEADINGS: _JOINT.join(section.headings)}
                facts = own if section.headings else {}
                yield from ((span, facts) for span in cut_recursively(text, section.span, settings))
        case "code" | "semantic":
            for part in _parts(document, settings, embed):
                yield from ((span, {}) for span in cut_recursively(text, part, settings))
        case _:
            yield from ((span, {}) for span in _spans(text, settings))


def _spans(text: str, settings: ChunkSettings) -> Iterator[Span]:
    """Cut a text by its characters alone; kinds that know its structure fill up recursively."""
    match settings.kind:
        case "token":
            return cut_by_tokens(text, settings)
        case "levels":
            return cut_by_separators(text, (0, len(text)), settings)
        case kind if is_reference(kind):
            return cut_by_custom_chunker(text, settings)
        case _:
            return cut_recursively(text, (0, len(text)), settings)


def _parts(document: Document, settings: ChunkSettings, embed: Embed | None) -> Iterator[Span]:
    """Cut a document where no chunk may go across."""
    text = document.text
    if settings.kind == "code":
        suffix = str(document.metadata.get("suffix", ""))
        yield from pairwise([0, *definition_starts(text, suffix), len(text)])
    elif embed is None:
        raise InputError(
            'Chunking of kind "semantic" needs a function that embeds texts.',
            hint="Pass embed=..., or take another kind.",
        )
    else:
        yield from cut_by_meaning(text, settings, embed)
