"""The work of an ingest, done by the workers of a Ray cluster: documents out, vectors back in.

The driver walks folders, streams rows, compares fingerprints and writes; workers open and convert
files, cut documents and embed chunks. What comes back comes in order, so that the index is written
as it would be alone. A worker that dies loses nothing: its piece of work is given to another one.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np

from ragwright.retrievers.cache import CachedEmbedder, with_cache
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.documents.archives import is_archive
from ragwright.retrievers.documents.files import FolderDocuments, read_files
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.documents.rows import holds_rows
from ragwright.retrievers.embedding import EmbedderIdentity, Floats, Prompt, load_embedder
from ragwright.retrievers.embedding.hosted import BATCH, is_hosted
from ragwright.retrievers.errors import IdentityError, InputError
from ragwright.retrievers.ingest_workers import Batch, CutDocument
from ragwright.retrievers.late import TokenCodes
from ragwright.retrievers.parts import Parts
from ragwright.retrievers.seen import batches
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.stores.base import slices
from ragwright.retrievers.token_codes import encode_token_vectors
from ragwright.retrievers.trust import import_allowed, is_reference
from ragwright.retrievers.types import Document

FILES = 16
"""Files that a worker reads at a time."""
CHARACTERS = 200_000
"""Of documents that a worker cuts at a time: some 200 chunks; a longer document is cut alone."""
TEXTS = 32
"""Chunks that a worker embeds at a time; of a hosted model as many as it is asked at once."""

File = tuple[Path, str]
"""Where a file lies, and its name in the folder."""


@dataclass(frozen=True)
class Task:
    """What a worker has to know to cut and embed as the driver would.

    Attributes:
        release: The driver's version of this package.
        settings: How the index is made.
        identity: Of the embedder.
        rotation: Of the token vectors, shape (d, d).
        prompt: What the embedder is told about the texts of documents.
        outside: Each `module:Class` that the driver was allowed to import, and where it found it.
    """

    release: str
    settings: IndexSettings
    identity: EmbedderIdentity
    rotation: Floats
    prompt: Prompt
    outside: tuple[tuple[str, Path | None], ...]

    @classmethod
    def of(cls, parts: Parts) -> Task:
        settings = parts.stamp.settings
        named = [name for name in (settings.embedder, settings.chunking.kind) if is_reference(name)]
        return cls(
            version("ragwright"),
            settings,
            parts.stamp.identity,
            parts.vectors.rotation,
            parts.stamp.prompts.of("document"),
            tuple((name, _home(name)) for name in named),
        )

    def embedder(self) -> CachedEmbedder:
        """Load the embedder, on the worker.

        Raises:
            IdentityError: The worker has another release, or another embedder of that name.
        """
        for reference, home in self.outside:
            import_allowed(reference, [reference.partition(":")[0]], beside=home)
        asked = self.settings
        loaded = load_embedder(asked.embedder, asked.engine, self.prompt)
        embedder = with_cache(loaded, self.prompt)
        there, here = (self.release, self.identity), (version("ragwright"), embedder.identity)
        if there != here:
            raise IdentityError(
                f"The worker on {socket.gethostname()!r} has {here}, and not {there}.",
                hint="Give every machine of the cluster the same release of ragwright, the same "
                "model, and the same RAGWRIGHT_EMBEDDING_API_BASE.",
            )
        return embedder


@dataclass(frozen=True, slots=True)
class FilesRead:
    """The documents of some files, and what there is to say about them."""

    documents: list[Document]
    problems: list[Problem]
    notes: list[Problem]


class ClusterWorkers:
    """Has the workers of a crew do the work.

    Args:
        parts: The open parts of the index.
        crew: The workers.
    """

    def __init__(self, parts: Parts, crew: Crew) -> None:
        self._searched = parts.searched
        self._crew = crew
        self._task = crew.share(Task.of(parts))
        self._at_once = BATCH if is_hosted(parts.stamp.settings.embedder) else TEXTS
        self.embedded = 0

    def read(self, documents: Iterable[Document]) -> Iterator[Document]:
        return read_with_workers(self._crew, documents)

    def cut(self, documents: Iterable[Document]) -> Iterator[CutDocument]:
        calls = ((self._task, parcel) for parcel in _parcels(documents))
        for cuts, embedded in self._crew.in_order(cut_documents_on_worker, calls):
            self.embedded += embedded
            yield from cuts

    def embed(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, TokenCodes | None]]:
        held: deque[Batch] = deque()
        calls = ((self._task, texts) for texts in self._texts(batches, held))
        made: list[TokenCodes] = []
        for one, embedded in self._crew.in_order(embed_texts_on_worker, calls):
            self.embedded += embedded
            made.append(one)
            if len(made) == len(self._parts_of(held[0])):
                yield held.popleft(), _joined(made)
                made = []

    def _texts(self, batches: Iterable[Batch], held: deque[Batch]) -> Iterator[list[str]]:
        for batch in batches:
            held.append(batch)
            texts = self._searched(batch.new)
            yield from (texts[part] for part in self._parts_of(batch))

    def _parts_of(self, batch: Batch) -> list[slice]:
        """Return which chunks are embedded together; at least once, be it none."""
        return list(slices(max(1, len(batch.new)), self._at_once))


def read_with_workers(crew: Crew, documents: Iterable[Document]) -> Iterator[Document]:
    """Yield documents; the files of a folder are read by a crew.

    Files of rows are read here: their ids are told apart over the whole folder, and a large one
    is never held as a whole.

    Raises:
        InputError: A file cannot be read, or a worker does not find it.
    """
    if not isinstance(documents, FolderDocuments):
        yield from documents
        return
    options, taken = documents.options, set[str]()
    silent = replace(options, on_problem=_unsaid, on_note=_unsaid)
    files = ((path.absolute(), name) for path, name in documents.files())
    for rows, group in groupby(files, key=lambda file: _may_hold_rows(file[0], options)):
        if rows:
            yield from read_files(group, options, taken)
            continue
        calls = ((parcel, silent) for parcel in batches(group, FILES))
        for read in crew.in_order(read_files_on_worker, calls):
            for problem in read.problems:
                options.on_problem(problem)
            for note in read.notes:
                options.on_note(note)
            yield from read.documents


def _may_hold_rows(path: Path, options: ReadOptions) -> bool:
    return is_archive(path) or holds_rows(path, options)


def _unsaid(_: Problem) -> None:
    """Tell nobody: what is to be said is sent to the driver."""


def read_files_on_worker(files: Sequence[File], options: ReadOptions) -> FilesRead:
    """Read files, on a worker.

    Raises:
        InputError: One is not there, or cannot be read and is not to be skipped.
    """
    for path, name in files:
        if not path.is_file():
            raise InputError(
                f"The worker on {socket.gethostname()!r} does not find {name!r} at {str(path)!r}.",
                hint="A folder must lie at the same path on every machine of the cluster.",
            )
    found = FilesRead([], [], [])
    told = replace(options, on_problem=found.problems.append, on_note=found.notes.append)
    found.documents.extend(read_files(files, told, set()))
    return found


def cut_documents_on_worker(
    task: Task, documents: Sequence[Document]
) -> tuple[list[CutDocument], int]:
    """Cut documents, on a worker; with how many texts were embedded for it."""
    embedder = task.embedder()

    def embed(texts: Sequence[str]) -> Floats:
        return embedder.encode(texts).vectors

    cuts = [CutDocument.of(document, task.settings.chunking, embed) for document in documents]
    return cuts, embedder.computed


def embed_texts_on_worker(task: Task, texts: Sequence[str]) -> tuple[TokenCodes, int]:
    """Embed texts, on a worker; with how many were in no cache."""
    if not texts:
        return TokenCodes(np.zeros((0, task.identity.dimension), dtype=np.float32)), 0
    embedder = task.embedder()
    encoded = embedder.encode(texts, tokens=True)
    if encoded.tokens is None:
        return TokenCodes(encoded.vectors), embedder.computed
    codes = encode_token_vectors(encoded.tokens, task.rotation, task.settings.tokens)
    return TokenCodes(encoded.vectors, codes), embedder.computed


def _home(reference: str) -> Path | None:
    """Return the folder that a module was found in, with the packages around it left out."""
    module = reference.partition(":")[0].partition(".")[0]
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return None
    path = Path(file).absolute()
    return path.parent.parent if path.stem == "__init__" else path.parent


def _parcels(documents: Iterable[Document]) -> Iterator[list[Document]]:
    parcel: list[Document] = []
    size = 0
    for document in documents:
        parcel.append(document)
        size += len(document.text)
        if size >= CHARACTERS:
            yield parcel
            parcel, size = [], 0
    if parcel:
        yield parcel


def _joined(made: Sequence[TokenCodes]) -> TokenCodes:
    tokens = [rows for one in made for rows in one.tokens or ()]
    vectors = np.concatenate([one.vectors for one in made])
    return TokenCodes(vectors, None if made[0].tokens is None else tokens)
