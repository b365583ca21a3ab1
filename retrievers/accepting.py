"""Checks and cleans a document, so that every part of an index can hold it."""

from __future__ import annotations

from dataclasses import replace

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import (
    Nested,
    clean_text,
    has_unstorable_characters,
    normalize_metadata,
)
from ragwright.retrievers.types import Document, Place


def accept_document(document: object, *, nested: Nested = "refuse") -> Document:
    """Return a document with its text and metadata as stores keep them.

    Raises:
        InputError: It is no document, or holds what cannot be kept; it names the document.
    """
    if not isinstance(document, Document):
        raise InputError(
            f"{type(document).__name__} is no document.", hint="Give Document(id, text, ...)."
        )
    place = f"The document {document.id!r}"
    if (
        not isinstance(document.id, str)
        or not document.id
        or has_unstorable_characters(document.id)
    ):
        raise InputError(
            f"{place} has an id that is not text, is empty, or holds NUL or a lone surrogate.",
            hint="Give each document an id of its own, as text.",
        )
    for name, value in (("text", document.text), ("title", document.title)):
        if not isinstance(value, str):
            raise InputError(f"{place}: its {name} is {type(value).__name__}, not text.")
    return replace(
        document,
        id=clean_text(document.id),
        text=clean_text(document.text),
        title=clean_text(document.title),
        metadata=normalize_metadata(document.metadata, place, nested=nested),
        places=tuple(
            Place(one.start, normalize_metadata(one.metadata, place, nested=nested))
            for one in document.places or ()
        ),
    )
