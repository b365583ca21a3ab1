"""A language model that stops a program at its first call, to see what it asks without paying."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from ragwright.optimize.workers import run_tasks
from ragwright.programs.anatomy import replace_models
from ragwright.retrievers.errors import CompileError


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


def check_answer_is_made(program: dspy.Module, inputs: Mapping[str, Any], timeout: float) -> None:
    """Make sure that a program which asked a language model for an answer asks for it again.

    Raises:
        CompileError: It has the answer already, and would have it with any knobs and prompts.
    """
    replace_models(program, lambda _: halting_lm())

    def answered(_: int) -> bool:
        with halt_at_first_call():
            program(**inputs)
            return True
        return False

    with dspy.context(lm=halting_lm(), callbacks=[]):
        if run_tasks(answered, 1, threads=1, timeout=timeout) == [True]:
            raise CompileError(
                "A question that came again was answered without a call: the program keeps its "
                "answers where every copy of it finds them (around `forward`, on its class, in "
                "its module), so that no knob and no prompt shows in them.",
                hint="Take that cache out for the compile, or keep it in the program itself.",
            )


@contextmanager
def halt_at_first_call() -> Iterator[None]:
    """Catch the `HaltSignal` of the block: whoever reaches a language model stops there."""
    with suppress(HaltSignal):
        yield
