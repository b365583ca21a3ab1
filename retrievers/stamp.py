"""The stamp on an index: how it was made, by which embedder, and where its vectors lie.

Comes in: settings, or the folder of an index. Goes out: a `Stamp`, or an error if a vector store
holds something else. Opens neither index nor store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from ragwright.retrievers.bounded_read import read_bounded
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.embedding import (
    MINILM,
    UNPROMPTED,
    Embedder,
    EmbedderIdentity,
    EngineSettings,
    PromptSettings,
    Role,
    is_hosted,
    load_embedder,
    model_prompts,
)
from ragwright.retrievers.errors import IdentityError, IndexFault
from ragwright.retrievers.settings import Settings
from ragwright.retrievers.stores.attachment import Attachment
from ragwright.retrievers.stores.base import GraphSettings, StoreURL, VectorStore
from ragwright.retrievers.text import Language
from ragwright.retrievers.token_codes import FOUR_BITS, TokenSettings

FORMAT = 2
STAMP = "stamp.json"
_SOME = 20
"""Rows of a store that are looked at to tell whose they are."""


class IndexSettings(Settings):
    """How an index is made: by which embedder, from chunks cut how, and where vectors lie.

    Attributes:
        engine: What runs the embedder; vectors do not depend on it.
        language: What keyword search stems words in: a language, "none", or "auto" for what the
            texts show. Another one has the keyword index built anew, and nothing embedded.
        store: The URL of the vector store; empty for Chroma inside the index's folder.
        graph: How the store's graph is made and searched.
        tokens: How token vectors are kept.
        prompts: What the embedder is told about questions and documents.
    """

    embedder: str = MINILM
    engine: EngineSettings = EngineSettings()
    chunking: ChunkSettings = ChunkSettings()
    language: Language | Literal["auto", "none"] = "auto"
    store: str = ""
    graph: GraphSettings = GraphSettings()
    tokens: TokenSettings = TokenSettings()
    prompts: PromptSettings = PromptSettings()

    @model_validator(mode="after")
    def _kept_by_the_store(self) -> Self:
        if not self.graph.plain and not self.store.startswith("qdrant+http"):
            raise ValueError(
                "graph.quantization and graph.on_disk are of a Qdrant server alone: "
                'store = "qdrant+http://localhost:6333"'
            )
        if (self.prompts.query_type or self.prompts.document_type) and not is_hosted(self.embedder):
            raise ValueError(
                "prompts.query_type and prompts.document_type are of models behind an API; "
                "before a text of others stands prompts.query or prompts.document"
            )
        return self

    def like(self, present: IndexSettings) -> Self:
        """Return these settings with what they leave open as an index has it: its headers."""
        chunking = self.chunking
        if "headers" in chunking.model_fields_set:
            return self
        kept = {**chunking.model_dump(exclude_unset=True), "headers": present.chunking.headers}
        return self.model_copy(update={"chunking": ChunkSettings(**kept)})

    @property
    def manner(self) -> Self:
        """What decides chunks and vectors: neither where they lie nor what computed them."""
        plain = {"store": "", "engine": EngineSettings(), "language": "auto"}
        return self.model_copy(update={**plain, "graph": GraphSettings()})


class Stamp(BaseModel):
    """What is written on an index so that it is never read with the wrong embedder.

    Attributes:
        id: Of this one index; its vector store carries it too, so that no two share one.
        prompts: What the embedder is told about texts; nothing in indexes of older versions.
        attached: How the collection of somebody else, which is its store, is read; None if the
            store is its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    settings: IndexSettings
    identity: EmbedderIdentity
    id: str = ""
    prompts: PromptSettings = UNPROMPTED
    attached: Attachment | None = None

    @classmethod
    def of(cls, settings: IndexSettings) -> Self:
        prompts = prompts_in_force(settings)
        prompt = prompts.of("document")
        identity = load_embedder(settings.embedder, settings.engine, prompt).identity
        return cls(format=FORMAT, settings=settings, identity=identity, prompts=prompts)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the stamp of an index.

        Raises:
            IndexFault: There is no index, it is of another format, or holds what is no file.
        """
        _check_plain(folder)
        try:
            stamp = cls.model_validate_json(read_bounded(folder / STAMP))
        except OSError as error:
            raise IndexFault(
                f"There is no index at {str(folder)!r}.",
                hint="Build it: rag ingest RECIPE, or rag ingest FOLDER.",
            ) from error
        except ValueError as error:  # of another shape, or not UTF-8
            raise IndexFault(
                f"The stamp of the index {str(folder)!r} is damaged.", hint="Build it again."
            ) from error
        if stamp.format != FORMAT:
            raise IndexFault(
                f"The index {str(folder)!r} has format {stamp.format}, not {FORMAT}.",
                hint="Build it again with `rag ingest`.",
            )
        return stamp

    def write(self, folder: Path) -> None:
        """Put the stamp on an index, in place of the one before, in one step."""
        temporary = folder / f"{STAMP}.tmp"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(self.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / STAMP)

    @property
    def manner(self) -> str:
        """How the index was made, wherever it lies: equal texts then give equal chunks.

        A setting that came later is left out at its default: what was made before says the same.
        """
        later = set() if self.settings.chunking.parent_size else {"parent_size"}
        places: dict[str, bool | set[str]] = {
            "store": True, "engine": True, "language": True, "graph": True, "prompts": True,
            "chunking": later,
        }  # fmt: skip
        excluded: dict[str, bool | dict[str, bool | set[str]]] = {"id": True, "settings": places}
        if self.settings.tokens == FOUR_BITS:
            places["tokens"] = True
        if self.attached is None:
            excluded["attached"] = True
        if self.prompts == UNPROMPTED:
            excluded["prompts"] = True
        return self.model_dump_json(exclude=excluded)

    def embedder(self, role: Role) -> Embedder:
        """Return what embeds questions, or documents; loaded once per process.

        Raises:
            ModelError: It cannot be loaded.
        """
        settings = self.settings
        return load_embedder(settings.embedder, settings.engine, self.prompts.of(role))

    def like(self, present: Stamp) -> Self:
        """Return this stamp with what its settings leave open as an index has it."""
        settings = self.settings.like(present.settings)
        prompts = settings.prompts.filled(present.prompts)
        return self.model_copy(update={"settings": settings, "prompts": prompts})

    def store(self, folder: Path) -> StoreURL:
        """Return where the vectors of the index in a folder lie."""
        place = StoreURL.parse(self.settings.store or "chroma:chroma").beside(folder)
        return replace(place, graph=self.settings.graph)

    @property
    def note(self) -> str:
        """What the vector store carries: whose vectors it holds."""
        return json.dumps({"index": self.id, **self.identity.as_dict()})


def prompts_in_force(settings: IndexSettings) -> PromptSettings:
    """Return what the embedder of a new index is told: what its files say, where nothing is set.

    Raises:
        ModelError: It cannot be loaded.
    """
    asked = settings.prompts
    if asked.query is not None and asked.document is not None:
        return asked
    return asked.filled(model_prompts(settings.embedder, settings.engine))


def unfinished_note(note: str) -> str:
    """Return the note for a store that does not hold all the vectors yet."""
    return json.dumps({**json.loads(note), "whole": False})


def read_note(note: str) -> dict[str, Any]:
    """Return what a note says; nothing of what was not written by an index, as a description."""
    try:
        said = json.loads(note)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def noted_dimension(note: str) -> int | None:
    """Return the length of the vectors of which a note tells; None if it is no note of an index."""
    dimension = read_note(note).get("dimension")
    return dimension if type(dimension) is int and dimension > 0 else None


def claim_store(store: VectorStore, place: StoreURL, note: str) -> None:
    """Say on a store whose vectors it is to hold, unless it is another's.

    Raises:
        IndexFault: It holds another index's, or somebody else's rows.
    """
    if store.stamp() not in {"", note, unfinished_note(note)}:
        raise IndexFault(
            f"The vector store {str(place)!r} holds another index's vectors.",
            hint="Choose another collection: append #NAME to its URL.",
        )
    refuse_foreign_rows(store, place)
    store.set_stamp(unfinished_note(note))


def refuse_foreign_rows(
    store: VectorStore, place: StoreURL, known: Callable[[Sequence[str]], int] = lambda _: 0
) -> None:
    """Make sure that a store without a note is nobody's: before its first row, an index notes it.

    Args:
        store: The store, which is to be written.
        place: Where it is.
        known: How many of some ids are the index's own.

    Raises:
        IndexFault: It holds rows of somebody else's, which would be searched, and deleted.
    """
    if store.stamp():
        return
    some = list(islice(store.ids(), _SOME))
    if some and not known(some):
        raise IndexFault(
            f"The vector store {str(place)!r} holds rows that no index of ours wrote.",
            hint="Choose another collection: append #NAME to its URL. What is in this one can be "
            "searched as it is: rag index attach.",
        )


def check_note(store: VectorStore, stamp: Stamp, folder: Path, *, whole: bool = False) -> None:
    """Make sure that a vector store holds the vectors of this index.

    Args:
        store: The store.
        stamp: The stamp on the index.
        folder: The folder of the index.
        whole: Whether it must hold all of them. A store without a note may lack some.

    Raises:
        IdentityError: Its note says that another embedder made them.
        IndexFault: It is another index's, or may lack vectors.
    """
    note = store.stamp()
    if note == stamp.note:
        return
    if note in {"", unfinished_note(stamp.note)}:
        if whole:
            raise IndexFault(
                f"The vector store of {str(folder)!r} does not hold all its vectors yet.",
                hint="Run `rag ingest` or `rag index repair`, and let it finish.",
            )
        return
    if read_note(note).get("index") == stamp.id:
        raise IdentityError(
            f"The vector store of {str(folder)!r} holds vectors of {note}, not of {stamp.note}.",
            hint="Ingest into a new folder and collection.",
        )
    raise IndexFault(
        f"The vector store of the index {str(folder)!r} holds the vectors of another index.",
        hint="Give each index a collection of its own: append #NAME to the store's URL.",
    )


def _check_plain(folder: Path) -> None:
    """Make sure that an index that somebody sent holds nothing that is waited for without end.

    Raises:
        IndexFault: It holds a pipe, a socket or a device.
    """
    for file in (*folder.glob("*"), *folder.glob("keyword/*")):
        try:
            mode = file.stat().st_mode
        except OSError:  # an ingest took it away meanwhile, or it leads nowhere
            continue
        if not (S_ISREG(mode) or S_ISDIR(mode)):
            raise IndexFault(
                f"{str(file)!r} is no plain file.", hint="Delete it, or build the index again."
            )


def stamp_mark(folder: Path) -> tuple[int, ...] | None:
    """Return what changes when a stamp is written; None if there is none."""
    try:
        found = (folder / STAMP).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
