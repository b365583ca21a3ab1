"""The way of a question through the server: cache, queue, program, record."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ragwright.artifacts.server import answering
from ragwright.artifacts.server.access import Access
from ragwright.artifacts.server.answering import EarlySink, FinishedAnswer
from ragwright.artifacts.server.cache import AnswerCache, CacheKey
from ragwright.artifacts.server.errors import RefusedRequest, refused_request
from ragwright.artifacts.server.feedback import CANDIDATE, AnswerRecord, FeedbackStore
from ragwright.artifacts.server.gate import Gate
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.artifacts.server.swap import ServedVersion, VersionSwap
from ragwright.artifacts.server.tracing import Tracer
from ragwright.artifacts.wire import (
    MOST_PASSAGES,
    AskReply,
    Degraded,
    DocumentReply,
    PassageReply,
    Piece,
    SearchReply,
    Source,
    Usage,
    reply_bytes,
)
from ragwright.programs.streaming import Token
from ragwright.retrievers.errors import InputError, RecordFault
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.types import Passage, describe_place

log = logging.getLogger("ragwright.server")

PAGE = 10
"""Passages of a later page of a search, if its request does not say."""


@dataclass(frozen=True)
class AdmittedQuestion:
    """A question that was let in.

    Attributes:
        access: Who asks, and what it may see.
        where: A filter on the passages' metadata.
        turns: Earlier questions with their answers; heeded by programs that hold conversations.
        trace: Whether it asks to be traced.
        inputs: What else the program is to be called with.
    """

    question: str
    access: Access
    where: Mapping[str, Any] | None = None
    turns: tuple[tuple[str, str], ...] = ()
    trace: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def allowed(self) -> Mapping[str, Any] | None:
        """The filter that is applied: what was asked for, within what the caller may see."""
        return self.access.narrowed(self.where)

    @property
    def history(self) -> dspy.History | None:
        """The earlier turns, as programs read them."""
        messages = [{"question": question, "answer": answer} for question, answer in self.turns]
        return dspy.History(messages=messages) if messages else None


class Service:
    """Answers questions with whatever version is served, within the limits that are set."""

    def __init__(
        self,
        settings: ServerSettings,
        serving: VersionSwap,
        *,
        metrics: Metrics,
        feedback: FeedbackStore | None,
        tracer: Tracer | None,
        trial: VersionSwap | None = None,
    ) -> None:
        self.settings = settings
        self.serving = serving
        self.feedback = feedback
        self.tracer = tracer
        self.trial = trial
        self._draw = random.Random()
        self._metrics = metrics
        self._gate = Gate(settings.concurrency, settings.queue, metrics)
        self._cache: AnswerCache[AskReply] = AnswerCache(
            settings.cache_entries, settings.cache_seconds, reply_bytes
        )

    async def ask(self, asked: AdmittedQuestion, sink: EarlySink | None = None) -> AskReply:
        """Answer a question.

        Raises:
            Refused: It is too long, the queue is full, or no version is ready.
            RagError, DSPyError, TimeoutError: It cannot be answered now.
        """
        started = time.perf_counter()
        self._check(asked)
        served, arm = self._drawn()
        called = _called(served, asked)
        key, generation, kept = await asyncio.to_thread(self._kept, served, asked, started, arm)
        if kept is not None and sink is not None:
            sink(Token(kept.answer))
        if kept is not None:
            return kept
        waited, found = await self._answered(served, asked, called, sink)
        timings = {"queue": 1000 * waited, **found.milliseconds}
        timings["total"] = 1000 * (time.perf_counter() - started)
        reply = _reply(asked, found, _source(served, generation), timings)
        if not found.degraded:  # what was made without a part is not repeated once it is back
            self._cache.put(key, reply)
        if self.feedback is not None:
            await asyncio.to_thread(self._record, reply, asked, arm)
        self._observe(asked, reply, found)
        return reply

    async def search(self, asked: AdmittedQuestion, k: int | None, offset: int = 0) -> SearchReply:
        """Find passages, within the same limits; those after the best `offset`."""
        self._check(asked)
        if offset:
            k = min(MOST_PASSAGES, offset + (k or PAGE))
        served = self.serving.current
        async with self._working():
            found = await self._searched(served, asked, k)
        generation = await asyncio.to_thread(lambda: served.generation)
        return SearchReply(
            passages=[passage_reply(passage) for passage in found.passages[offset:]],
            degraded=_degraded(answering.degradations_of(found)),
            source=_source(served, generation),
        )

    async def document(self, id: str, access: Access) -> DocumentReply | None:
        """Return a document's chunks in order; None if there is none, or the caller may not see it.

        Where it may see some of the chunks, it is given those.
        """
        served = self.serving.current
        chunks = await asyncio.to_thread(served.document, id, access.where)
        if not chunks:
            return None
        return DocumentReply(
            document=id,
            title=str(chunks[0].metadata.get("title", "")),
            pieces=[Piece(id=c.id, start=c.start, end=c.end, text=c.text) for c in chunks],
        )

    async def source(self) -> Source:
        """Return what answers now.

        Raises:
            RagError: No version does, or its index cannot be read.
        """
        served = self.serving.current
        generation = await asyncio.to_thread(lambda: served.generation)
        return _source(served, generation)

    def rated(self, given: AnswerRecord, rating: str, comment: str) -> None:
        """Count feedback that was given, and attach it to the answer's trace if there is one."""
        self._metrics.feedback.labels(rating).inc()
        if self.tracer is not None and given.trace:
            self.tracer.assess(given.trace, rating, comment)

    def _check(self, asked: AdmittedQuestion) -> None:
        """Refuse what is wrong before a backend, the cache or the queue sees it."""
        parse_filter(asked.allowed)
        question, most = asked.question, self.settings.max_question
        if len(question) > most:
            raise InputError(
                f"The question has {len(question)} characters, and {most} are allowed.",
                hint="Ask a shorter one.",
            )

    def _drawn(self) -> tuple[ServedVersion, str]:
        """Return what answers this question, and as which arm of a comparison.

        A candidate that is not loaded answers nothing: a trial never costs an answer.
        """
        trial = self.trial
        if trial is not None and trial.ready and self._draw.random() < self.settings.share:
            return trial.current, CANDIDATE
        return self.serving.current, ""

    def _kept(
        self, served: ServedVersion, asked: AdmittedQuestion, started: float, arm: str
    ) -> tuple[CacheKey, int, AskReply | None]:
        """Return the question's key, the index's generation, and the answer if one is kept."""
        indexes, generation = served.state
        # Of two who ask within one filter, only the answer to who must was checked against it.
        rest = {"where": asked.allowed, "history": asked.turns if served.converses else (),
                "inputs": asked.inputs, "scope": asked.access.scope}  # fmt: skip
        key = CacheKey.of(str(served.folder), f"{indexes} {generation}", asked.question, rest)
        kept = self._cache.get(key)
        self._metrics.cache.labels("hit" if kept else "miss").inc()
        if kept is None:
            return key, generation, None
        update = {"id": _new_id(), "cached": True, "usage": Usage()}
        timings = {"total": 1000 * (time.perf_counter() - started)}
        reply = kept.model_copy(update={**update, "timings_ms": timings})
        self._metrics.answers.labels("ok").inc()
        self._record(reply, asked, arm)  # another step to a thread would cost more than this
        return key, generation, reply

    def _record(self, reply: AskReply, asked: AdmittedQuestion, arm: str) -> None:
        if self.feedback is None:
            return
        cited = [reply.passages[number - 1].document for number in reply.citations]
        given = AnswerRecord(
            reply.id, reply.question, reply.answer, tuple(dict.fromkeys(cited)),
            reply.source.artifact, reply.source.version, scope=asked.access.scope, arm=arm,
        )  # fmt: skip
        try:
            self.feedback.record(given)
        except RecordFault:  # the store has logged it
            self._metrics.dropped.labels("answer").inc()

    async def _answered(
        self,
        served: ServedVersion,
        asked: AdmittedQuestion,
        called: Mapping[str, Any],
        sink: EarlySink | None,
    ) -> tuple[float, FinishedAnswer]:
        async with self._working() as waited:

            async def check(passages: Sequence[Passage]) -> None:
                await self._check_seen(served, asked, passages)

            shown: list[answering.Early] = []

            def show(event: answering.Early) -> None:
                shown.append(event)
                if sink is not None:
                    sink(event)

            async def answered() -> FinishedAnswer:
                return await answering.answer_question(
                    served.program,
                    called,
                    sink=sink and show,
                    check=check if asked.access.where else None,
                    where=asked.allowed,
                )

            try:
                return waited, await answered()
            except _Changed:
                if shown:
                    raise
                return waited, await answered()

    async def _searched(
        self, served: ServedVersion, asked: AdmittedQuestion, k: int | None
    ) -> RetrievalResult:
        for last in (False, True):
            found = await answering.search_passages(
                served.program, asked.question, k=k, where=asked.allowed
            )
            try:
                await self._check_seen(served, asked, found.passages)
            except _Changed:
                if last:
                    raise
            else:
                break
        return found

    async def _check_seen(
        self, served: ServedVersion, asked: AdmittedQuestion, passages: Sequence[Passage]
    ) -> None:
        """Make sure that a caller sees what it may see, whatever the program did with the filter.

        Raises:
            Refused: A passage does not pass (500), or is gone meanwhile (503): nothing of the
                answer is shown.
        """
        where = asked.access.where
        if not where or not passages:
            return
        ids = [passage.id for passage in passages]
        passed = await asyncio.to_thread(served.passing, ids, where)
        failed = [id for id in ids if id not in passed]
        if failed and not await asyncio.to_thread(served.holding, failed):
            raise _Changed
        if failed:
            log.error("the program found what its caller may not see")
            raise RefusedRequest(500, "internal", "The answer cannot be shown.")

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[float]:
        """Hold a place, within the time allowed; yields the seconds waited for it."""
        outcome = "cancelled"
        try:
            async with asyncio.timeout(self.settings.timeout), self._gate.place() as waited:
                yield waited
            outcome = "ok"
        except Exception as error:
            outcome = refused_request(error).code
            if isinstance(error, AdapterParseError):
                self._metrics.replies.labels("unreadable").inc()
            raise
        finally:
            self._metrics.answers.labels(outcome).inc()

    def _observe(self, asked: AdmittedQuestion, reply: AskReply, found: FinishedAnswer) -> None:
        self._metrics.observe_answer(reply.timings_ms, found.tokens)
        self._metrics.observe_context(found.passages)
        if found.read:
            self._metrics.replies.labels(found.read).inc()
        for stage, _ in found.degraded:
            self._metrics.degraded.labels(stage).inc()
        if self.tracer is not None and self.tracer.wanted(asked.trace):
            self.tracer.trace(reply, found, self.feedback)


class _Changed(RefusedRequest):
    """What was found is gone: documents were ingested meanwhile. Asked again it is answered."""

    def __init__(self) -> None:
        what = "The index changed while it was searched."
        super().__init__(503, "index_changed", what, hint="Ask again.", retry_after=1)


def _called(served: ServedVersion, asked: AdmittedQuestion) -> dict[str, Any]:
    """Return what the program is called with; a filter holds for its stages, whatever it takes.

    Raises:
        InputError: An input is missing, unknown or of another type.
    """
    inputs = served.inputs
    called = inputs.call(asked.question, asked.inputs)
    if "where" in inputs.takes and asked.allowed:
        called["where"] = asked.allowed
    history = asked.history if served.converses else None
    return called if history is None else {**called, "history": history}


def passage_reply(passage: Passage, number: int | None = None) -> PassageReply:
    """Return a passage as it goes over the wire."""
    facts = passage.metadata
    return PassageReply(
        number=number,
        id=passage.id,
        document=passage.document,
        title=str(facts.get("title", "")),
        text=str(passage),
        start=int(facts.get("start", 0)),
        end=int(facts.get("end", 0)),
        place=describe_place(facts),
        score=passage.score,
        signals=dict(passage.signals),
    )


def _reply(
    asked: AdmittedQuestion, found: FinishedAnswer, source: Source, timings: dict[str, float]
) -> AskReply:
    tokens = found.tokens
    return AskReply(
        id=_new_id(),
        question=asked.question,
        answer=found.text,
        citations=list(found.citations),
        passages=[passage_reply(p, number) for number, p in enumerate(found.passages, start=1)],
        degraded=_degraded(found.degraded),
        timings_ms={stage: round(value, 3) for stage, value in timings.items()},
        outputs=dict(found.outputs),
        usage=Usage(input_tokens=tokens["input"], output_tokens=tokens["output"]),
        source=source,
    )


def _degraded(parts: Sequence[tuple[str, str]]) -> list[Degraded]:
    return [Degraded(stage=stage, used=used) for stage, used in parts]


def _source(served: ServedVersion, generation: int) -> Source:
    return Source(artifact=served.name, version=served.version, generation=generation)


def _new_id() -> str:
    return uuid.uuid4().hex
