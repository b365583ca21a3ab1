"""The way of a question through the server: cache, queue, program, record."""

from __future__ import annotations

import asyncio
import logging
import random
import time
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
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.gate import Gate
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.server.opinions import CANDIDATE, INCUMBENT, AnswerRecord
from ragwright.artifacts.server.replies import (
    answer_reply,
    degraded_reply,
    new_answer_id,
    passage_reply,
    source_reply,
)
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.artifacts.server.swap import ServedVersion, VersionSwap
from ragwright.artifacts.server.tracing import Tracer
from ragwright.artifacts.wire import (
    MOST_PASSAGES,
    AskReply,
    DocumentReply,
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
from ragwright.retrievers.types import Passage

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
        served, called, arm = self._drawn(asked)
        state = await _state_of(served)
        key, kept = self._kept(served, state, asked)
        if kept is not None:
            return await self._repeated(kept, asked, started, arm, sink)
        waited, found = await self._answered(served, asked, called, sink)
        timings = {"queue": 1000 * waited, **found.milliseconds}
        timings["total"] = 1000 * (time.perf_counter() - started)
        reply = answer_reply(asked.question, found, source_reply(served, state[1]), timings)
        if not found.degraded:  # what was made without a part is not repeated once it is back
            self._cache.put(key, reply)
        await self._record(reply, asked, arm)
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
        _, generation = await _state_of(served)
        return SearchReply(
            passages=[passage_reply(passage) for passage in found.passages[offset:]],
            degraded=degraded_reply(answering.degradations_of(found)),
            source=source_reply(served, generation),
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
        _, generation = await _state_of(served)
        return source_reply(served, generation)

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

    def _drawn(self, asked: AdmittedQuestion) -> tuple[ServedVersion, dict[str, Any], str]:
        """Return what answers this question, called with what, and as which arm of a comparison.

        A candidate that is not loaded, or takes other inputs, answers nothing: a trial never costs
        an answer.
        """
        trial, arm = self.trial, ""
        if trial is not None and trial.ready:
            arm = INCUMBENT
            if self._draw.random() < self.settings.share:
                try:
                    return trial.current, _called(trial.current, asked), CANDIDATE
                except InputError:
                    arm = ""  # it was not dealt by chance
        served = self.serving.current
        return served, _called(served, asked), arm

    def _kept(
        self, served: ServedVersion, state: tuple[str, int], asked: AdmittedQuestion
    ) -> tuple[CacheKey, AskReply | None]:
        """Return the question's key, and the answer if one is kept."""
        # Of two who ask within one filter, only the answer to who must was checked against it.
        rest = {"where": asked.allowed, "history": asked.turns if served.converses else (),
                "inputs": asked.inputs, "scope": asked.access.scope}  # fmt: skip
        version = f"{served.folder} {served.edition}"
        key = CacheKey.of(version, f"{state[0]} {state[1]}", asked.question, rest)
        kept = self._cache.get(key)
        self._metrics.cache.labels("hit" if kept else "miss").inc()
        return key, kept

    async def _repeated(
        self, kept: AskReply, asked: AdmittedQuestion, started: float, arm: str,
        sink: EarlySink | None,
    ) -> AskReply:  # fmt: skip
        """Give an answer once more: under an id of its own, which feedback may name."""
        update = {"id": new_answer_id(), "cached": True, "usage": Usage()}
        timings = {"total": 1000 * (time.perf_counter() - started)}
        reply = kept.model_copy(update={**update, "timings_ms": timings})
        self._metrics.answers.labels("ok").inc()
        await self._record(reply, asked, arm)
        if sink is not None:
            sink(Token(reply.answer))
        return reply

    async def _record(self, reply: AskReply, asked: AdmittedQuestion, arm: str) -> None:
        if self.feedback is None:
            return
        cited = [reply.passages[number - 1].document for number in reply.citations]
        given = AnswerRecord(
            reply.id, reply.question, reply.answer, tuple(dict.fromkeys(cited)),
            reply.source.artifact, reply.source.version, scope=asked.access.scope, arm=arm,
        )  # fmt: skip
        try:
            if not self.feedback.record_at_once(given):
                await asyncio.to_thread(self.feedback.record, given)
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


async def _state_of(served: ServedVersion) -> tuple[str, int]:
    """Return what answers stand on; a step to a thread costs more than the look itself."""
    found = served.state_at_once()
    return await asyncio.to_thread(lambda: served.state) if found is None else found


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
