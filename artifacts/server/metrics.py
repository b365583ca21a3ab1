"""What Prometheus reads. One registry per app, so that two servers in a process do not mix."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus_client shares counts among processes."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_answers()
        self._count_work()

    def _count_answers(self) -> None:
        self.requests = self._counter("requests", "Requests.", "route", "status")
        self.request_seconds = self._histogram(
            "request_seconds", "From the request's first byte to the answer's last.", "route"
        )
        self.stage_seconds = self._histogram(
            "stage_seconds", "Per stage of an answer: queue, retrieve, generate, total.", "stage"
        )
        self.tokens = self._counter("tokens", "Tokens of the language model.", "direction")
        self.context_passages = self._histogram(
            "context_passages",
            "Passages that the language model read for an answer.",
            buckets=(0, 1, 2, 3, 5, 8, 13, 20, 50),
        )
        self.context_tokens = self._histogram(
            "context_tokens",
            "Tokens of the passages that the language model read, about (a quarter of the bytes).",
            buckets=(0, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536),
        )
        self.answers = self._counter("answers", "Answers by outcome.", "outcome")
        self.replies = self._counter(
            "replies", "Replies of the language model by how they were read.", "read"
        )
        self.degraded = self._counter("degraded", "Stages done without.", "stage")

    def _count_work(self) -> None:
        self.cache = self._counter("cache", "Looks into the cache.", "result")
        self.feedback = self._counter("feedback", "Feedback given.", "rating")
        self.swaps = self._counter("swaps", "Versions swapped in.", "outcome")
        self.background_failures = self._counter(
            "background_failures", "Failed rounds of work beside the requests.", "task"
        )
        self.dropped = self._counter(
            "dropped", "Side records that could not be kept; no answer failed for it.", "record"
        )
        self.problems = self._gauge(
            "problems", "What /readyz has to say against the server; 0 when all is well.", "livemax"
        )
        self.waiting = self._gauge("queue", "Questions that wait.", "livesum")
        self.inside = self._gauge("in_work", "Questions being answered.", "livesum")

    def _counter(self, name: str, told: str, *labels: str) -> Counter:
        return Counter(f"ragwright_{name}", told, labels, registry=self.registry)

    def _histogram(
        self, name: str, told: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(f"ragwright_{name}", told, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, told: str, among_workers: Literal["livemax", "livesum"]) -> Gauge:
        return Gauge(
            f"ragwright_{name}", told, registry=self.registry, multiprocess_mode=among_workers
        )

    def observe_answer(self, timings_ms: Mapping[str, float], tokens: Mapping[str, int]) -> None:
        """Count one answer's stages and tokens."""
        for stage, milliseconds in timings_ms.items():
            self.stage_seconds.labels(stage).observe(milliseconds / 1000)
        for direction, count in tokens.items():
            self.tokens.labels(direction).inc(count)

    def observe_context(self, passages: Sequence[str]) -> None:
        """Count what the language model read for one answer."""
        self.context_passages.observe(len(passages))
        self.context_tokens.observe(sum(len(text.encode()) for text in passages) / 4)

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes; of all workers, where there are several."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        _forget_dead(Path(os.environ[MULTIPROCESS]))
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _forget_dead(folder: Path) -> None:
    """Drop what workers that are gone said of their present; what they counted stays.

    A killed worker cannot take back that it was answering a question.
    """
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*_*.db")}:
        if not _alive(pid):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
