"""A language model that stops a program at its first call, to see what it asks without paying."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dspy
from dspy.lm15 import Request, Response


class HaltSignal(BaseException):
    """A program came to its first call of a language model. A signal and no error: a program's own
    `except Exception` must not take it for one.
    """


class _HaltEngine:
    """Answers nothing."""

    def complete(self, request: Request) -> Response:
        raise HaltSignal

    def stream(self, request: Request) -> Iterator[Any]:
        raise HaltSignal

    def close(self) -> None:
        """Nothing is open."""


class _AsyncHaltEngine:
    """The same for `acall`."""

    async def complete(self, request: Request) -> Response:
        raise HaltSignal

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        raise HaltSignal
        yield

    async def aclose(self) -> None:
        """Nothing is open."""


def halting_lm() -> dspy.LM:
    """Return a language model whose every call raises `HaltSignal`."""
    engines = {"engine": _HaltEngine(), "async_engine": _AsyncHaltEngine()}
    return dspy.LM("local/halt", cache=False, num_retries=0, **engines)


@contextmanager
def halt_at_first_call() -> Iterator[None]:
    """Catch the `HaltSignal` of the block: whoever reaches a language model stops there."""
    with suppress(HaltSignal):
        yield
