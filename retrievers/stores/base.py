"""What an index asks of a vector store, and how one is named. Knows no particular one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, Self

from pydantic import Field

from ragwright.retrievers.database import what_helps
from ragwright.retrievers.embedding import Floats
from ragwright.retrievers.errors import DamagedStore, IndexFault, InputError
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.settings import Settings, address_names_user
from ragwright.retrievers.trust import is_reference
from ragwright.retrievers.types import Metadata

ROWS_PER_CALL = 1000
COLLECTION = "passages"
FORMS = (
    "chroma:PATH, chroma+http://HOST:PORT, qdrant:PATH, qdrant+http://HOST:PORT, "
    "weaviate+http://HOST:PORT, pinecone:INDEX, module:Class:ADDRESS; each with #COLLECTION if it "
    "is not 'passages'"
)


class GraphSettings(Settings):
    """The graph that a store searches vectors by (HNSW); None leaves a number to the store.

    Yu. A. Malkov and D. A. Yashunin, 2016 (https://arxiv.org/abs/1603.09320) call them M,
    efConstruction and ef.

    Attributes:
        neighbors: Edges of a vector; more find more, and take room.
        construction: Candidates that are looked at when a vector is added.
        search: Candidates that are looked at by a search; more find more, and take time.
        quantization: What vectors are compared as, first: "scalar", a byte a coordinate, or
            "binary", a bit; twice as many as are wanted are compared anew as they are.
        on_disk: Keep vectors as they are on disk instead of in memory.
    """

    neighbors: int | None = Field(default=None, ge=2, le=512)
    construction: int | None = Field(default=None, ge=4, le=4096)
    search: int | None = Field(default=None, ge=1, le=4096)
    quantization: Literal["none", "scalar", "binary"] = "none"
    on_disk: bool = False

    def named(self, neighbors: str, construction: str, search: str) -> dict[str, int]:
        """Return what is given, under the names that a store has for it."""
        values = {
            neighbors: self.neighbors, construction: self.construction, search: self.search
        }  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}

    @property
    def plain(self) -> bool:
        """Whether vectors are kept and compared as they are, in memory."""
        return self.quantization == "none" and not self.on_disk


@dataclass(frozen=True, slots=True)
class StoreURL:
    """Where vectors lie.

    Attributes:
        kind: "chroma", "qdrant", "weaviate" or "pinecone"; for a store of your own `module:Class`,
            which is called as `Class(url, dimension=..., create=...)`.
        address: A path, a server's URL without the kind, or the name of a Pinecone index; for a
            store of your own what it takes, a path if it starts with ".", "/" or "~".
        remote: Whether `address` is a server's URL.
        collection: What the collection is called there (at Pinecone, the namespace).
        graph: How a collection that is made there is searched; no part of where it is.
    """

    kind: str
    address: str
    remote: bool
    collection: str = COLLECTION
    graph: GraphSettings = field(default=GraphSettings(), compare=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a store's URL.

        Raises:
            InputError: It is of no known form.
        """
        place, _, collection = url.partition("#")
        if "/" in collection and not url.startswith("pinecone:"):  # a folder has a # in its name
            place, _, collection = url.rpartition("#")
            place, collection = (url, "") if "/" in collection else (place, collection)
        if outside := _outside(place):
            return cls(*outside, remote=False, collection=collection or COLLECTION)
        scheme, _, rest = place.partition(":")
        kind, _, transport = scheme.partition("+")
        remote = transport in {"http", "https"}
        known = kind in {"chroma", "qdrant"} or (kind, remote) in _ONE_WAY
        if not rest or not known or (transport and not remote):
            raise InputError(f"{url!r} names no vector store.", hint=f"Use one of {FORMS}.")
        if remote and address_names_user(place):
            raise InputError(
                "A store's address holds no user and password: it is written into the index.",
                hint=f"Leave them out; {kind.upper()}_API_KEY in the environment holds a key.",
            )
        address = f"{transport}:{rest}".rstrip("/") if remote else rest
        return cls(kind, address, remote, collection or COLLECTION)

    @property
    def embedded(self) -> bool:
        """Whether it lies in a folder and is searched in this process, by a store that is ours."""
        return self.kind in {"chroma", "qdrant"} and not self.remote

    def __str__(self) -> str:
        joint = ("+" if self.remote else ":") if self.address else ""
        place = f"{self.kind}{joint}{self.address}"
        plain = self.collection == COLLECTION and "#" not in place
        return place if plain else f"{place}#{self.collection}"

    def beside(self, folder: Path) -> Self:
        """Return a copy whose path, if it has one, is absolute, counted from `folder`."""
        opaque = is_reference(self.kind) and not self.address.startswith((".", "/", "~"))
        if self.remote or self.kind == "pinecone" or opaque:
            return self
        address = str((folder / Path(self.address).expanduser()).resolve())
        return replace(self, address=address)


def _outside(place: str) -> tuple[str, str] | None:
    """Read `module:Class:ADDRESS`, where the address may be missing; None for a store of ours."""
    module, _, rest = place.partition(":")
    name, _, address = rest.partition(":")
    reference = f"{module}:{name}"
    ours = module in {"chroma", "qdrant", "weaviate", "pinecone"}
    return None if ours or not is_reference(reference) else (reference, address)


_ONE_WAY = {("weaviate", True), ("pinecone", False)}


@dataclass(frozen=True, slots=True)
class StoreRow:
    """What a store holds of a chunk; `vector` has shape (d,)."""

    vector: Floats
    text: str
    metadata: Metadata


class AwaitedStore(Protocol):
    """A store's own asynchronous client, for any event loop; it answers and fails as the store."""

    async def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        """See `VectorStore.query`."""
        ...

    async def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """See `VectorStore.fetch`."""
        ...


class VectorStore(Protocol):
    """One collection of vectors. Writes are durable and idempotent when they return.

    Ids are chunk ids: 32 hexadecimal digits. Every method raises `IndexFault` when the store
    cannot be reached or fails; `DamagedStore` when only `mend` helps.
    """

    @property
    def awaited(self) -> AwaitedStore | None:
        """What an event loop awaits; None if it has to ask from a thread."""
        ...

    def upsert(
        self,
        ids: Sequence[str],
        vectors: Floats,
        texts: Sequence[str],
        metadata: Sequence[Metadata],
    ) -> None:
        """Add rows, or replace those whose id exists. `vectors` has shape (len(ids), d).

        A replaced row may keep metadata keys that the new one lacks (Chroma merges them): chunk
        ids depend on the metadata, so a row never comes again with other keys.
        """
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Remove rows; ids that do not exist are no error."""
        ...

    def query(self, vector: Floats, n: int, where: Filter | None = None) -> dict[str, float]:
        """Return up to n ids with their cosine to `vector` (shape (d,)), best first."""
        ...

    def ids(self) -> Iterator[str]:
        """Yield every id in the collection, once."""
        ...

    def fetch(self, ids: Sequence[str]) -> dict[str, StoreRow]:
        """Return the rows of those ids that exist."""
        ...

    def stamp(self) -> str:
        """Return the note on the collection; empty if there is none."""
        ...

    def set_stamp(self, text: str) -> None:
        """Put a note on the collection, in place of the one before."""
        ...

    def reload(self) -> None:
        """See what another process wrote."""
        ...

    def mend(self, *, broken: bool = False) -> None:
        """Make a collection of damaged files an empty one without a note; leave a sound one.

        Args:
            broken: It is known to be damaged: its files must not be read.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def slices(count: int, size: int = ROWS_PER_CALL) -> Iterator[slice]:
    """Yield slices that cover `count` things, `size` at a time."""
    return (slice(start, start + size) for start in range(0, count, size))


@contextmanager
def translate_client_errors(place: StoreURL, *errors: type[Exception]) -> Iterator[None]:
    """Turn a client's errors into an `IndexFault` that names the store."""
    try:
        yield
    except errors as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise IndexFault(
            f"The vector store {str(place)!r} failed: {reason}",
            hint=what_helps(error, "Make sure that it runs and has room.")
            + " An ingest goes on where it stopped.",
        ) from error


def damaged_store(place: StoreURL, reason: str) -> DamagedStore:
    """The error for a store that cannot read its own files."""
    return DamagedStore(
        f"The vector store {str(place)!r} cannot read its own files: {reason}.",
        hint="Make sure that it has room, then ingest again or run `rag index repair`: both write "
        "its vectors anew. If they cannot open it either, delete its folder or its collection.",
    )


def missing_client(package: str, extra: str) -> IndexFault:
    """The error for a client library that is not installed."""
    return IndexFault(
        f"The Python package {package!r} is not installed.",
        hint=f"Install it with: pip install 'ragwright[{extra}]'",
    )


def closed_store(place: StoreURL) -> IndexFault:
    """The error for a store that was closed before it was asked."""
    return IndexFault(
        f"The vector store {str(place)!r} is closed.",
        hint="Ask again: the index may have been moved to another store meanwhile.",
    )


def deleted_collection(place: StoreURL) -> IndexFault:
    """The error for a collection that was deleted while it was open."""
    return IndexFault(
        f"The collection {place.collection!r} of the vector store {str(place)!r} was deleted.",
        hint="If it is being filled again, wait for that to end; otherwise run `rag ingest`.",
    )


def missing_collection(place: StoreURL) -> IndexFault:
    """The error for a collection that should be there."""
    return IndexFault(
        f"The vector store {str(place)!r} has no collection {place.collection!r}.",
        hint="Build it with `rag ingest`.",
    )
