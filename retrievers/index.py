"""An index on disk, opened for reading: questions in, scored chunk ids and passages out.

An index is a folder with a stamp (how it was made), a ledger (what it holds), a vector store, a
keyword index and token vectors. `ingest.py` writes it. This module knows no program.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from retrievers.chunking import ChunkSettings
from retrievers.embedding import MINILM, EmbedderIdentity, Encoded, load_embedder
from retrievers.errors import IdentityError, IndexFault
from retrievers.filters import matches
from retrievers.keyword import KeywordIndex
from retrievers.late import TokenVectors
from retrievers.ledger import Ledger, Record
from retrievers.stores.base import Where
from retrievers.stores.chroma import ChromaStore
from retrievers.types import Chunk, Passage, Scalar, content_hash

FORMAT = 1


class IndexSettings(BaseModel):
    """How an index is made: by which embedder, from chunks cut how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str = MINILM
    chunking: ChunkSettings = ChunkSettings()


class Stamp(BaseModel):
    """What is written on an index so that it is never read with the wrong embedder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    settings: IndexSettings
    identity: EmbedderIdentity

    @classmethod
    def of(cls, settings: IndexSettings) -> Self:
        identity = load_embedder(settings.embedder).identity
        return cls(format=FORMAT, settings=settings, identity=identity)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the stamp of an index.

        Raises:
            IndexFault: There is no index, or it is of another format.
        """
        try:
            stamp = cls.model_validate_json((folder / "stamp.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise IndexFault(
                f"There is no index at {str(folder)!r}.", hint="Build it with `rag ingest`."
            ) from error
        except ValidationError as error:
            raise IndexFault(
                f"The stamp of the index {str(folder)!r} is damaged.", hint="Build it again."
            ) from error
        if stamp.format != FORMAT:
            raise IndexFault(
                f"The index {str(folder)!r} has format {stamp.format}, not {FORMAT}.",
                hint="Build it again with `rag ingest`.",
            )
        return stamp


class Index:
    """An index, open for reading. Safe to use from several threads.

    It notices what another process writes, at the next call.

    Args:
        folder: The folder of the index.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stamp = Stamp.read(folder)
        self._embedder = load_embedder(self.stamp.settings.embedder)
        if self._embedder.identity != self.stamp.identity:
            raise IdentityError(
                f"The index {str(folder)!r} was made with {_shown(self.stamp.identity)}, "
                f"but {self.stamp.settings.embedder!r} is now {_shown(self._embedder.identity)}.",
                hint="Install the embedder it was made with, or ingest into a new folder.",
            )
        self._ledger = Ledger(folder / "ledger.sqlite")
        self._store = ChromaStore(folder / "chroma")
        self._keyword = KeywordIndex(folder / "keyword")
        self._tokens = TokenVectors(folder, self.stamp.identity.dimension)
        self._seen = self._ledger.generation
        self._lock = threading.Lock()
        self._encoded = lru_cache(maxsize=4096)(self._encode)

    @property
    def settings(self) -> IndexSettings:
        return self.stamp.settings

    @property
    def generation(self) -> int:
        """Grows with every change of the index."""
        return self._ledger.generation

    @property
    def fingerprint(self) -> str:
        """A hash of how the index was made and of every chunk it holds."""
        return content_hash(self.stamp.model_dump_json(), self._ledger.content_hash())

    @property
    def count(self) -> int:
        """How many chunks it holds."""
        return self._ledger.counts()[1]

    @property
    def document_count(self) -> int:
        """How many documents it holds."""
        return self._ledger.counts()[0]

    def dense(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n chunk ids with the cosine of their vector to the query's, best first."""
        self._refresh()
        return self._store.query(self._encoded(query).vectors[0], n, where)

    def keyword(self, query: str, n: int, where: Where | None = None) -> dict[str, float]:
        """Return up to n chunk ids with their BM25 scores, best first."""
        self._refresh()
        if not where:
            return self._keyword.query(query, n)
        depth = n
        while True:
            hits = self._keyword.query(query, depth)
            records = self._ledger.records(list(hits))
            kept = [id for id in hits if id in records and matches(_facts(records[id]), where)]
            if len(kept) >= n or len(hits) < depth:
                return {id: hits[id] for id in kept[:n]}
            depth *= 4

    def maxsim(self, query: str, ids: Sequence[str]) -> list[float]:
        """Score chunks by late interaction with the query's token vectors; 0 for unknown ids."""
        self._refresh()
        rows = self._encoded(query).tokens or (np.zeros((0, 0), dtype=np.float32),)
        spans = self._ledger.spans(ids)
        places = [spans.get(id, (0, 0)) for id in ids]
        return [float(score) for score in self._tokens.maxsim(rows[0], places)]

    def tokens(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the length in tokens of those ids that the index holds."""
        return self._ledger.tokens(ids)

    def passages(self, ids: Sequence[str]) -> list[Passage]:
        """Return the passages of those ids that the index holds, in the order of `ids`."""
        records = self._ledger.records(ids)
        return [
            Passage(records[id].chunk.text, id=id, metadata=_facts(records[id]))
            for id in ids
            if id in records
        ]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every chunk, in the order of documents and offsets."""
        return (record.chunk for record in self._ledger.all_records())

    def close(self) -> None:
        """Let go of files."""
        self._store.close()
        self._keyword.close()
        self._ledger.close()

    def _encode(self, query: str) -> Encoded:
        return self._embedder.encode([query], tokens=True)

    def _refresh(self) -> None:
        """Open anew what does not see another process's writes by itself."""
        generation = self._ledger.generation
        if generation == self._seen:
            return
        with self._lock:
            if generation != self._seen:
                self._store.reload()
                self._keyword.reload()
                self._tokens.reload()
                self._seen = generation


_LOCK = threading.Lock()
_OPEN: dict[Path, Index] = {}


def open_index(path: str | Path) -> Index:
    """Return the index in a folder, opened once per process.

    Raises:
        IndexFault: There is no index, or a part of it is missing or damaged.
        IdentityError: The embedder of that name is not the one the index was made with.
    """
    folder = Path(path).resolve()
    with _LOCK:
        if folder not in _OPEN:
            _OPEN[folder] = Index(folder)
        return _OPEN[folder]


def close_index(path: str | Path) -> None:
    """Close an index that `open_index` opened, if it did; the next call opens it anew."""
    with _LOCK:
        index = _OPEN.pop(Path(path).resolve(), None)
    if index is not None:
        index.close()


def _facts(record: Record) -> dict[str, Scalar]:
    return {**record.chunk.facts, "tokens": record.tokens}


def _shown(identity: EmbedderIdentity) -> str:
    return json.dumps(identity.as_dict())
