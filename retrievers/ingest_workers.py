"""Workers of an ingest: they read, cut and embed; one writer writes what they return.

`LocalWorker` does it in this process; `ClusterWorkers` (`distributed.py`) has the workers of a
cluster do it. Both keep the order, so that the writer writes the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ragwright.retrievers.chunking import ChunkSettings, Embed, child_chunks, parent_chunks
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.late import TokenCodes
from ragwright.retrievers.parts import Parts
from ragwright.retrievers.types import Chunk, Document


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document as the index will know it.

    Attributes:
        id: The document's id.
        fingerprint: And its fingerprint.
        parents: What is returned for it.
        pieces: What is searched, by id.
    """

    id: str
    fingerprint: str
    parents: list[Chunk]
    pieces: dict[str, Chunk]

    @classmethod
    def of(cls, document: Document, settings: ChunkSettings, embed: Embed) -> CutDocument:
        """Cut a document."""
        whole = parent_chunks(document, settings, embed=embed)
        pieces = {piece.id: piece for parent in whole for piece in child_chunks(parent, settings)}
        return cls(document.id, document.fingerprint, whole, pieces)


@dataclass(slots=True)
class Batch:
    """What is written in one step: documents, chunks that are new, ids of those they replace."""

    documents: list[CutDocument] = field(default_factory=list)
    new: list[Chunk] = field(default_factory=list)
    old: list[str] = field(default_factory=list)


class IngestWorker(Protocol):
    """Does the work, lazily and in order."""

    @property
    def embedded(self) -> int:
        """How many texts were embedded so far, and not found in a cache."""
        ...

    def read(self, documents: Iterable[Document]) -> Iterator[Document]: ...

    def cut(self, documents: Iterable[Document]) -> Iterator[CutDocument]: ...

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, TokenCodes | None]]:
        """Yield batches with the vectors of their chunks; None leaves it to who writes them."""
        ...


class LocalWorker:
    """Does the work in this process."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def embedded(self) -> int:
        return self._parts.embedder.computed if self._parts.loaded else 0

    def read(self, documents: Iterable[Document]) -> Iterator[Document]:
        return iter(documents)

    def cut(self, documents: Iterable[Document]) -> Iterator[CutDocument]:
        settings = self._parts.stamp.settings.chunking
        return (CutDocument.of(document, settings, self._embed) for document in documents)

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, TokenCodes | None]]:
        return ((batch, None) for batch in batches)

    def _embed(self, texts: Sequence[str]) -> Floats:
        return self._parts.embedder.encode(texts).vectors
