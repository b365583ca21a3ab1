"""How many questions are worked on at once, and how many may wait. Knows nothing of questions."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.metrics import Metrics

LONGEST_RETRY = 60


class Gate:
    """A bounded queue before a bounded number of places.

    Args:
        places: How many may be inside.
        queue: How many may wait; the next one is refused.
        metrics: Where both counts are shown.
    """

    def __init__(self, places: int, queue: int, metrics: Metrics) -> None:
        self._places = asyncio.Semaphore(places)
        self._count = places
        self._queue = queue
        self._metrics = metrics
        self._seconds = 0.1
        self._waiting = 0
        self._inside = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[float]:
        """Wait for a place and hold it; yields the seconds waited.

        Raises:
            Refused: The queue is full (429).
        """
        if self._places.locked() and self._waiting >= self._queue:
            raise RefusedRequest(
                429,
                "queue_full",
                f"{self._waiting} questions are waiting already.",
                hint="Try again later.",
                retry_after=self.retry_after(),
            )
        arrived = time.perf_counter()
        await self._enter()
        entered = time.perf_counter()
        try:
            yield entered - arrived
        finally:
            self._inside -= 1
            self._metrics.inside.dec()
            self._places.release()
            # An exponential mean over about the last ten: what the next one will take.
            self._seconds += 0.1 * (time.perf_counter() - entered - self._seconds)

    def retry_after(self) -> int:
        """Return in how many seconds the queue that stands now is worked off, 1 to 60."""
        seconds = (self._waiting + self._inside) / self._count * self._seconds
        return min(max(math.ceil(seconds), 1), LONGEST_RETRY)

    async def _enter(self) -> None:
        self._waiting += 1
        self._metrics.waiting.inc()
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
            self._metrics.waiting.dec()
        self._inside += 1
        self._metrics.inside.inc()
