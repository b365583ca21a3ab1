"""Writes answers as MLflow traces, after the fact and off the request's way.

MLflow is imported when tracing is switched on, and not otherwise. With
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` in the environment MLflow sends the same spans to an
OpenTelemetry collector.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ragwright.artifacts.server.answering import FinishedAnswer
from ragwright.artifacts.server.feedback import FeedbackStore
from ragwright.artifacts.server.metrics import Metrics
from ragwright.artifacts.wire import AskReply
from ragwright.retrievers.mlflow_database import make_database

log = logging.getLogger("ragwright.server")

EXPERIMENT = "ragwright-serve"
BACKLOG = 256
"""Traces that may wait to be written; more are dropped rather than held in memory."""


class Tracer:
    """Writes a share of the answers as traces, in one thread of its own.

    Args:
        share: From 0 to 1; a request may ask for its own trace besides.
        tracking_uri: The MLflow store.
        metrics: Where traces that could not be written are counted.
    """

    def __init__(self, share: float, tracking_uri: str, metrics: Metrics) -> None:
        # The thread here is the background: a trace must be there before feedback comes to it.
        os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
        import mlflow

        mlflow.tracing.reset()
        self._mlflow: Any = mlflow
        self._share = share
        self._waiting = 0
        self._counting = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="traces")
        mlflow.set_tracking_uri(tracking_uri)
        self._tracking_uri = tracking_uri
        self._experiment = ""
        self._metrics = metrics
        # A store that is down now must not keep the server from starting.
        self._submit(self._place)

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to be written."""
        return self._waiting == 0

    def wanted(self, asked_for: bool) -> bool:
        """Decide whether one more answer is traced."""
        chosen = asked_for or random.random() < self._share
        if chosen and self._waiting >= BACKLOG:
            self._metrics.dropped.labels("trace").inc()
        return chosen and self._waiting < BACKLOG

    def trace(self, reply: AskReply, found: FinishedAnswer, feedback: FeedbackStore | None) -> None:
        """Write a trace in the background, and note its id beside the answer."""
        self._submit(self._write, reply, found, feedback)

    def assess(self, trace: str, rating: str, comment: str) -> None:
        """Attach feedback to a trace, in the background."""
        self._submit(self._assess, trace, rating, comment)

    def close(self) -> None:
        """Write what is waiting."""
        self._thread.shutdown()

    def _write(
        self, reply: AskReply, found: FinishedAnswer, feedback: FeedbackStore | None
    ) -> None:
        # A program of one's own may have no stage of which anybody knows.
        last = max((end for _, _, end in found.spans), default=time.time())
        taken = reply.timings_ms.get("total", 0.0) / 1000
        begin = min((start for _, start, _ in found.spans), default=last - taken)
        root = self._mlflow.start_span_no_context(
            "ask",
            span_type="CHAIN",
            inputs={"question": reply.question},
            start_time_ns=_nanoseconds(begin),
            experiment_id=self._place(),
            tags={"answer": reply.id, "version": reply.source.version},
        )
        for stage, start, end in found.spans:
            child = self._mlflow.start_span_no_context(
                stage,
                span_type="RETRIEVER" if stage == "retrieve" else "LLM",
                parent_span=root,
                start_time_ns=_nanoseconds(start),
            )
            outputs = _pages(reply) if stage == "retrieve" else {"answer": reply.answer}
            child.end(outputs=outputs, end_time_ns=_nanoseconds(end))
        root.end(outputs=reply.model_dump(mode="json"), end_time_ns=_nanoseconds(last))
        if feedback is not None:
            feedback.trace(reply.id, root.trace_id)

    def _submit(self, work: Callable[..., object], *arguments: object) -> None:
        with self._counting:
            self._waiting += 1
        self._thread.submit(work, *arguments).add_done_callback(self._done)

    def _place(self) -> str:
        if not self._experiment:
            make_database(self._tracking_uri)
            self._experiment = _experiment(self._mlflow, self._tracking_uri)
        return self._experiment

    def _assess(self, trace: str, rating: str, comment: str) -> None:
        source = self._mlflow.entities.AssessmentSource(source_type="HUMAN", source_id="user")
        self._mlflow.log_feedback(
            trace_id=trace, name="rating", value=rating, rationale=comment or None, source=source
        )

    def _done(self, done: Any) -> None:
        with self._counting:
            self._waiting -= 1
        if error := done.exception():
            self._metrics.dropped.labels("trace").inc()
            log.warning("a trace was not written: %s", " ".join(str(error).split())[:500])


def _experiment(mlflow: Any, tracking_uri: str) -> str:
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    # Without a place of its own, MLflow would put files under the current folder.
    local = tracking_uri.startswith("sqlite:///")
    database = Path(tracking_uri.removeprefix("sqlite:///")).resolve()
    place = (database.parent / "mlartifacts").as_uri() if local else None
    return str(mlflow.create_experiment(EXPERIMENT, artifact_location=place))


def _pages(reply: AskReply) -> list[dict[str, Any]]:
    """The form that MLflow's document view and its RAG judges read."""
    return [
        {
            "page_content": passage.text,
            "id": passage.id,
            "metadata": {"doc_uri": passage.document, "score": passage.score},
        }
        for passage in reply.passages
    ]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
