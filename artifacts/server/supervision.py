"""Work that goes on beside the requests: repeated for ever, watched, never silently gone.

A step that fails, however it fails, is logged at once, counted, shown by `/readyz`, and tried again
after a pause that grows. Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from ragwright.artifacts.server.metrics import Metrics

log = logging.getLogger("ragwright.server")

Step = Callable[[], Coroutine[None, None, float]]
"""One round of the work; returns in how many seconds the next one is due."""
LONGEST_PAUSE = 60.0


class Supervisor:
    """Runs background work.

    Args:
        metrics: Where failures are counted.
        pause: Seconds before a failed step is tried again; doubles up to a minute.

    Attributes:
        failing: The names of work whose last step failed.
    """

    def __init__(self, metrics: Metrics, *, pause: float = 1.0) -> None:
        self._metrics = metrics
        self._pause = pause
        self._tasks: list[asyncio.Task[None]] = []
        self._beside: set[asyncio.Task[object]] = set()
        self.failing: set[str] = set()

    def start(self, name: str, step: Step) -> None:
        """Repeat a step until `close`."""
        self._tasks.append(asyncio.create_task(self._repeat(name, step), name=name))

    def once(self, name: str, step: Callable[[], Coroutine[None, None, object]]) -> None:
        """Do something one time, soon; where it fails it counts as the work of this name."""
        task = asyncio.create_task(step(), name=name)
        self._beside.add(task)
        task.add_done_callback(partial(self._ended, name))

    def _ended(self, name: str, task: asyncio.Task[object]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failed(name, error)

    async def close(self) -> None:
        """Stop all work, and wait for it."""
        every: list[asyncio.Task[Any]] = [*self._tasks, *self._beside]
        for task in every:
            task.cancel()
        await asyncio.gather(*every, return_exceptions=True)

    async def _repeat(self, name: str, step: Step) -> None:
        pause = self._pause
        while True:
            # Of a task every end can be seen, a Rust library's panic too, which no `except
            # Exception` catches.
            task = asyncio.ensure_future(step())
            try:
                await asyncio.wait([task])
            finally:
                task.cancel()
            if error := self._error(task):
                self._failed(name, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            self.failing.discard(name)
            pause = self._pause
            await asyncio.sleep(task.result())

    def _error(self, task: asyncio.Task[float]) -> BaseException | None:
        return asyncio.CancelledError() if task.cancelled() else task.exception()

    def _failed(self, name: str, error: BaseException) -> None:
        self.failing.add(name)
        self._metrics.background_failures.labels(name).inc()
        log.error("%s failed and is tried again", name, exc_info=error)
