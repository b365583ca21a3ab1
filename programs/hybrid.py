"""Dense and BM25 retrieval over one index, fused: the stage that others build on."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from pathlib import Path

from ragwright.programs.candidates import Candidates
from ragwright.programs.context import NUMBER_TOKENS
from ragwright.programs.fallback import note_degradation
from ragwright.programs.knobs import POOL_DEPTH, Knobs, KnobValues
from ragwright.programs.learned.base import sources_in
from ragwright.programs.limits import FallbackStage
from ragwright.programs.neighbours import hash_text
from ragwright.programs.selection import Ranking, select
from ragwright.programs.signals import BM25, DENSE, SOURCES, Signal
from ragwright.programs.source import SearchSource, build_search_sources
from ragwright.programs.stage import RetrievalStage
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import StageError
from ragwright.retrievers.index import Index, aopen_index, open_index
from ragwright.retrievers.ledger import Length
from ragwright.retrievers.sparse import KeywordRetriever
from ragwright.retrievers.types import Where

Hits = dict[str, float]
BySource = dict[Signal, Hits]
"""What sources found, by their declarations."""


class DenseRetriever(RetrievalStage):
    """Plain vector search as a stage: the k nearest passages, and no other knob of ranking.

    Args:
        path: The folder of the index.
        knobs: How many passages; shared with the program that holds it.
    """

    def __init__(self, path: str | Path, *, knobs: Knobs | None = None) -> None:
        super().__init__(path, knobs=knobs or Knobs(KnobValues.dense()))
        self.dense = ChromaRetriever(path)

    @property
    def signals(self) -> tuple[Signal, ...]:
        return (DENSE,)

    @property
    def threaded(self) -> bool:
        return True

    def gather(self, query: str, *, where: Where | None = None) -> Candidates:
        return self._found(query, where, POOL_DEPTH)

    def ranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        candidates = self._found(query, where, knobs.k)
        return candidates, select(candidates, knobs)

    async def aranked(
        self, query: str, knobs: KnobValues, where: Where | None
    ) -> tuple[Candidates, Ranking]:
        hits = await self.guard.acall(
            "dense", self.path, lambda: self.dense.ahits(query, knobs.k, where)
        )
        candidates = await asyncio.to_thread(_tabled, self.path, {DENSE: hits, BM25: {}})
        return candidates, select(candidates, knobs)

    def _found(self, query: str, where: Where | None, depth: int) -> Candidates:
        hits = self.guard.call("dense", self.path, lambda: self.dense.hits(query, depth, where))
        return _tabled(self.path, {DENSE: hits, BM25: {}})

    def _values(self, k: int | None) -> KnobValues:
        return KnobValues.dense(super()._values(k).k).replaced(depth_dense=POOL_DEPTH)


class HybridRetriever(RetrievalStage):
    """Asks a dense and a keyword retriever over one index, and fuses what they find.

    Sources of one's own, and what a compile learned, find candidates too.

    Args:
        path: The folder of the index.
        sources: Further sources, or their classes.
        knobs: Weights, depths, fusion and k; shared with the program that holds it. Without them,
            further sources weigh as much as each of the two.

    Raises:
        InputError: A source is none, is over another index, or has the name of another.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sources: Iterable[SearchSource | type[SearchSource]] = (),
        knobs: Knobs | None = None,
    ) -> None:
        super().__init__(path, knobs=knobs)
        self.dense = ChromaRetriever(path)
        self.keyword = KeywordRetriever(path)
        self.sources = build_search_sources(self.path, sources)
        given = [source.signal for source in self.sources]
        self.knobs.declare(*given)
        if knobs is None:
            self.knobs.values = self.knobs.values.starting(*given)

    @property
    def signals(self) -> tuple[Signal, ...]:
        given = (source.signal for source in self.sources)
        return (*SOURCES, *given, *(part.signal for part in self.knobs.learned))

    @property
    def threaded(self) -> bool:
        return not self.sources  # what another's source does may be worth awaiting

    def gather(
        self, query: str, *, where: Where | None = None, dense_query: str = ""
    ) -> Candidates:
        """Return what all sources find, before any choice.

        All are asked whatever their weights, so that a stored pool and a live search hold the
        same candidates in the same order.

        Args:
            query: What is looked for.
            where: A filter on metadata.
            dense_query: What the dense retriever is asked instead, if anything.
        """
        dense, keyword = self._both(dense_query or query, query, where)
        given = [self._given(source, query, where) for source in self.sources]
        return self._joined(dense, keyword, given, self._learned(query, where))

    async def agather(
        self, query: str, *, where: Where | None = None, dense_query: str = ""
    ) -> Candidates:
        """Like `gather`, without blocking the event loop; a server is awaited without a thread."""
        if self.threaded and not (await aopen_index(self.path)).awaited:
            return await asyncio.to_thread(self.gather, query, where=where, dense_query=dense_query)
        dense, keyword, learned, given = await asyncio.gather(
            self._ahits("dense", self.dense, query=dense_query or query, where=where),
            self._ahits("keyword", self.keyword, query=query, where=where),
            asyncio.to_thread(self._learned, query, where),
            asyncio.gather(*(self._agiven(source, query, where) for source in self.sources)),
        )
        return await asyncio.to_thread(self._joined, dense, keyword, given, learned)

    def _both(
        self, dense_query: str, query: str, where: Where | None
    ) -> tuple[Hits | StageError, Hits | StageError]:
        """Ask both retrievers, of a large index at the same time."""
        ask_dense = partial(self._hits, "dense", self.dense, query=dense_query, where=where)
        ask_keyword = partial(self._hits, "keyword", self.keyword, query=query, where=where)
        if not open_index(self.path).is_large:
            return ask_dense(), ask_keyword()
        words = _threads().submit(copy_context().run, ask_keyword)
        dense = ask_dense()
        # Where every thread is taken by other searches, this one does not wait for them.
        return dense, ask_keyword() if words.cancel() else words.result()

    def _given(self, source: SearchSource, query: str, where: Where | None) -> Hits:
        """Return what a source of the user's finds; nothing if it fails."""
        try:
            found = self.guard.call(
                "source", _backend(source), lambda: source(query, POOL_DEPTH, where)
            )
        except StageError as error:
            note_degradation("source", error, used="the other sources")
            return {}
        return source.passed(found, POOL_DEPTH, where)

    async def _agiven(self, source: SearchSource, query: str, where: Where | None) -> Hits:
        try:
            found = await self.guard.acall(
                "source", _backend(source), lambda: source.acall(query, POOL_DEPTH, where)
            )
        except StageError as error:
            note_degradation("source", error, used="the other sources")
            return {}
        return await asyncio.to_thread(source.passed, found, POOL_DEPTH, where)

    def _learned(self, query: str, where: Where | None) -> BySource:
        """What the learned sources find; one that fails finds nothing."""
        found: BySource = {}
        for part in sources_in(self.knobs.learned):
            try:
                found[part.signal] = self.guard.call(
                    "dense", self.path, partial(part.hits, self.path, query, POOL_DEPTH, where)
                )
            except StageError as error:
                note_degradation("dense", error, used="the other sources")
                found[part.signal] = {}
        return found

    def _hits(
        self, stage: FallbackStage, source: Retriever, *, query: str, where: Where | None
    ) -> Hits | StageError:
        try:
            return self.guard.call(stage, self.path, lambda: source.hits(query, POOL_DEPTH, where))
        except StageError as error:
            return error

    async def _ahits(
        self, stage: FallbackStage, source: Retriever, *, query: str, where: Where | None
    ) -> Hits | StageError:
        try:
            return await self.guard.acall(
                stage, self.path, lambda: source.ahits(query, POOL_DEPTH, where)
            )
        except StageError as error:
            return error

    def _joined(
        self,
        dense: Hits | StageError,
        keyword: Hits | StageError,
        given: Sequence[Hits],
        learned: BySource,
    ) -> Candidates:
        near, worded = self._whichever(dense, keyword)
        own = {source.signal: hits for source, hits in zip(self.sources, given, strict=True)}
        return _tabled(self.path, {DENSE: near, BM25: worded, **own, **learned})

    def _whichever(self, dense: Hits | StageError, keyword: Hits | StageError) -> tuple[Hits, Hits]:
        """Do with one source if the other failed.

        Raises:
            StageError: Both failed.
        """
        if isinstance(dense, StageError):
            if isinstance(keyword, StageError):
                raise dense
            note_degradation("dense", dense, used="the keyword index alone")
            return {}, keyword
        if isinstance(keyword, StageError):
            note_degradation("keyword", keyword, used="the vector store alone")
            return dense, {}
        return dense, keyword


@cache
def _threads() -> ThreadPoolExecutor:
    """Of its own: a search that waits for one of its threads may have to be limited in time too."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="keyword")


def _backend(source: SearchSource) -> str:
    return f"{source.path}: {source.signal.name}"


def merge_candidates(path: str, parts: Sequence[Candidates]) -> Candidates:
    """Join what several queries found for one question, and see which hold the same text."""
    if len(parts) == 1:
        return parts[0]
    joined, index = Candidates.merged(parts), open_index(path)
    return joined.with_texts(_texts(index, index.lengths(joined.ids[0])))


def _texts(index: Index, lengths: Mapping[str, Length]) -> dict[str, int]:
    """Number the texts that may be another's copy: those of the same length as another."""
    alike = Counter(lengths.values())
    wanted = [id for id, length in lengths.items() if alike[length] > 1]
    return {id: hash_text(text) for id, text in index.texts(wanted).items()} if wanted else {}


def _tabled(path: str, found: BySource) -> Candidates:
    """Put all sources' hits into one table, with what each costs in a prompt."""
    index = open_index(path)
    lengths = index.lengths(list(dict.fromkeys(id for hits in found.values() for id in hits)))
    tokens = {id: count + NUMBER_TOKENS for id, (count, _) in lengths.items()}
    return Candidates.found(found, tokens).with_texts(_texts(index, lengths))
