"""Which version is served: loaded in the background, swapped whole, the old one finishing its work.

A request takes `current` once and keeps it to its end, so that a swap never changes an answer
half-way. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.manifest import MANIFEST
from ragwright.artifacts.server.errors import RETRY_SECONDS, RefusedRequest
from ragwright.artifacts.server.logs import FACTS
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.artifacts.server.stage_times import watch_stages
from ragwright.artifacts.store import open_artifact, read_artifact
from ragwright.artifacts.versions import resolve_version
from ragwright.programs.anatomy import searchers_of
from ragwright.programs.build import build_recipe_lm, protect_program
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.rag import RAG
from ragwright.retrievers.errors import RagError
from ragwright.retrievers.index import Index, already_open, index_files_exist, open_index
from ragwright.retrievers.types import Chunk

log = logging.getLogger("ragwright.server")

REFUSED_SECONDS = 10.0
"""After which a version that could not be loaded is tried again: what it lacked may be back."""

Edition = tuple[int, int, int]
"""A manifest's file, time and size: a folder that is replaced by a copy has others."""


@dataclass(frozen=True)
class ServedVersion:
    """A version that answers.

    Attributes:
        name: The artifact's name, which OpenAI clients call the model.
        version: The version's number.
        notes: What has changed since it was saved, in words that may name paths.
        edition: What tells it from another one that is put into the same folder.
    """

    folder: Path
    name: str
    version: str
    program: Any
    index_paths: tuple[str, ...]
    notes: tuple[str, ...]
    inputs: ProgramInputs = field(default_factory=ProgramInputs)
    edition: Edition = (0, 0, 0)

    @property
    def converses(self) -> bool:
        """Whether the program reads earlier turns of a conversation."""
        if isinstance(self.program, RAG):
            return self.program.options.conversation
        return "history" in self.inputs.takes

    @property
    def indexes(self) -> list[Index]:
        """What the program searches, each once."""
        return [open_index(path) for path in self.index_paths]

    @property
    def state(self) -> tuple[str, int]:
        """Which indexes it searches, and how often they were written to: what answers stand on.

        Another index in the same folder may have been written to as often.
        """
        # The generation is asked first: it notices an index that is new.
        return _joined([(index.generation, index.stamp.id) for index in self.indexes])

    def state_at_once(self) -> tuple[str, int] | None:
        """Return the same where that takes no waiting, for an event loop; None where it may."""
        found: list[tuple[int, str]] = []
        for index in map(already_open, self.index_paths):
            state = index.state_at_once() if index is not None else None
            if state is None:
                return None
            found.append(state)
        return _joined(found)

    def passing(self, ids: Sequence[str], where: Mapping[str, Any]) -> set[str]:
        """Return those chunks that an index holds and that pass a filter."""
        return {id for index in self.indexes for id in index.passing(list(ids), where)}

    def holding(self, ids: Sequence[str]) -> set[str]:
        """Return those passages that an index holds now."""
        return {id for index in self.indexes for id in index.tokens(list(ids))}

    def document(self, id: str, where: Mapping[str, Any] | None) -> list[Chunk]:
        """Return a document's chunks in order, those alone that pass the filter if there is one.

        It is looked for in one index after the other.
        """
        for index in self.indexes:
            chunks = index.document(id)
            if chunks and where:
                passed = index.passing([chunk.id for chunk in chunks], where)
                chunks = [chunk for chunk in chunks if chunk.id in passed]
            if chunks:
                return chunks
        return []

    def missing(self) -> list[str]:
        """Say which of its files are gone from the disk, in words that tell no path."""
        parts = {
            "the artifact's files are gone": (self.folder / MANIFEST).is_file(),
            "the index's files are gone": all(map(index_files_exist, self.index_paths)),
        }
        return [what for what, stands in parts.items() if not stands]


def _joined(states: Sequence[tuple[int, str]]) -> tuple[str, int]:
    return "+".join(id for _, id in states), sum(generation for generation, _ in states)


class VersionSwap:
    """Holds the version that answers, looks for a newer one, and whether all of it is still there.

    Attributes:
        problem: Why the version that is wanted is not served; "" if it is.
        missing: Which files of the version that is served are gone.
    """

    def __init__(self, settings: ServerSettings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._served: ServedVersion | None = None
        self._loading = asyncio.Lock()
        self._refused: tuple[Path, Edition] | None = None
        self._retry_at = 0.0
        self.problem = ""
        self.missing: list[str] = []

    @property
    def ready(self) -> bool:
        return self._served is not None

    @property
    def current(self) -> ServedVersion:
        """The version that answers.

        Raises:
            Refused: None does yet (503).
        """
        if self._served is None:
            what = "The artifact cannot be loaded." if self.problem else "The server is starting."
            raise RefusedRequest(503, "not_ready", what, retry_after=RETRY_SECONDS)
        return self._served

    @property
    def problems(self) -> list[str]:
        """What is the matter, in words that tell nothing of the inside."""
        wanted = ["the wanted version cannot be loaded"] if self.problem else []
        return [*wanted, *self.missing]

    async def refresh(self) -> bool:
        """Load the version that the artifact's folder now means, if it is another one.

        A version that cannot be loaded is reported once and tried again now and then; the old one
        goes on. Whoever is told to look while one is loaded looks after that: of two loads at once,
        the one that ends last would win, whichever is wanted.
        """
        async with self._loading:
            return await self._refresh()

    async def _refresh(self) -> bool:
        try:
            wanted = await asyncio.to_thread(_wanted, self._settings.artifact)
        except (RagError, OSError) as error:
            self._fail(error)
            return False
        if self._served and wanted == (self._served.folder, self._served.edition):
            self._refused, self.problem = None, ""
            return False
        if wanted == self._refused and time.monotonic() < self._retry_at:
            return False
        return await self._swap(*wanted)

    async def look(self) -> float:
        """Look for a newer version and at the files of this one; return when to look again."""
        if self._settings.reload or not self.ready:
            await self.refresh()
        if self._served is not None:
            self._note(await asyncio.to_thread(self._served.missing))
        return self._settings.reload or RETRY_SECONDS

    async def _swap(self, folder: Path, edition: Edition) -> bool:
        try:
            loaded = await asyncio.to_thread(_load, folder, self._settings)
            self._served = replace(loaded, edition=edition)
        except (RagError, OSError) as error:
            self._refused = folder, edition
            self._retry_at = time.monotonic() + REFUSED_SECONDS
            self._fail(error)
            return False
        self._refused, self.problem = None, ""
        self._metrics.swaps.labels("done").inc()
        facts = {"artifact": self._served.name, "version": self._served.version}
        log.info("serving", extra={FACTS: facts})
        for note in self._served.notes:
            log.warning("%s", note)
        return True

    def _note(self, missing: list[str]) -> None:
        for what in missing:
            if what not in self.missing:
                log.error("%s", what)
        if self.missing and not missing:
            log.info("the files are back")
        self.missing = missing

    def _fail(self, error: Exception) -> None:
        what = " ".join(str(error).split())
        if what != self.problem:
            self.problem = what
            self._metrics.swaps.labels("failed").inc()
            log.error("cannot load: %s", what)


def _wanted(artifact: str) -> tuple[Path, Edition]:
    folder = resolve_version(artifact)
    found = (folder / MANIFEST).stat()
    return folder, (found.st_ino, found.st_mtime_ns, found.st_size)


def _load(folder: Path, settings: ServerSettings) -> ServedVersion:
    artifact = open_artifact(
        folder, lm=_lm(settings, folder), index=settings.index, trust=settings.trust
    )
    protect_program(artifact.program, artifact.recipe)
    watch_stages(artifact.program)
    searchers = list(searchers_of(artifact.program).values())
    _warm_up(searchers)
    return ServedVersion(
        folder=folder,
        name=artifact.manifest.name,
        version=folder.name,
        program=artifact.program,
        index_paths=tuple(dict.fromkeys(part.path for part in searchers)),
        notes=artifact.notes,
        inputs=ProgramInputs.of(artifact.program),
    )


def _lm(settings: ServerSettings, folder: Path) -> dspy.LM | None:
    if settings.lm is None:
        return None
    return build_recipe_lm(read_artifact(folder, trust=settings.trust).recipe, settings.lm)


def _warm_up(searchers: Sequence[Any]) -> None:
    """Search once, so that the first question does not pay for opening files and models."""
    for searcher in searchers:
        searcher("warm up", 1)
