"""Caches what retrievers that are not ours returned, for the length of a compile.

Their numbers are not tuned; prompts are compiled without searching again. One that asks a stage of
ours, such as `dspy.Retrieve` where `dspy.settings.rm` is one, is asked every time: what it returns
changes with the stage's knobs, and the stage is replayed.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from ragwright.programs.anatomy import foreign_retrievers
from ragwright.programs.replaying import notice_stage_use

_MEMO = "ragwright_memo"


class Memo:
    """What was returned, by retriever and arguments.

    Attributes:
        searched: How often a search was made.
        led_on: The retrievers that asked a stage of ours, by their number in the program.
    """

    def __init__(self) -> None:
        self.searched = 0
        self.led_on: set[int] = set()
        self._found: dict[str, Any] = {}
        self._lock = threading.Lock()

    def known(self, key: str) -> tuple[bool, Any]:
        """Whether something is known, and what; a copy, since programs may change what they get."""
        with self._lock:
            if key not in self._found:
                return False, None
            return True, copy.deepcopy(self._found[key])

    def keep(self, key: str, found: Any, *, number: int, by_stage: bool) -> None:
        """Keep what a search returned, unless a stage of ours found it."""
        with self._lock:
            self.searched += 1
            if by_stage:
                self.led_on.add(number)
            else:
                self._found[key] = copy.deepcopy(found)

    def __deepcopy__(self, memo: dict[int, Any]) -> Memo:
        """DSPy may copy its context; all threads share one memo."""
        return self


@contextmanager
def answer_from_memo(memo: Memo) -> Iterator[None]:
    """Let memoized retrievers answer from the memo inside the block."""
    with dspy.context(**{_MEMO: memo}):
        yield


def memoize_retrievers(program: dspy.Module) -> None:
    """Have every retriever of a program that is not part of a stage ask the memo, if there is one.

    The program is one of the compile's own copies.
    """
    for number, retriever in enumerate(foreign_retrievers(program)):
        retriever.forward = _Remembered(retriever, number)
        if hasattr(type(retriever), "aforward"):
            retriever.aforward = _AsyncRemembered(retriever, number)


class _Remembered:
    """Stands in for the `forward` of one retriever."""

    def __init__(self, retriever: Any, number: int) -> None:
        self.retriever = retriever
        self.number = number

    def key(self, args: tuple[Any, ...], named: dict[str, Any]) -> str:
        kind = type(self.retriever)
        own = (self.number, kind.__module__, kind.__qualname__, getattr(self.retriever, "k", None))
        return repr((own, args, sorted(named.items())))

    def __call__(self, *args: Any, **named: Any) -> Any:
        memo: Memo | None = dspy.settings.get(_MEMO)
        forward = type(self.retriever).forward
        if memo is None:
            return forward(self.retriever, *args, **named)
        key = self.key(args, named)
        known, found = memo.known(key)
        if not known:
            with notice_stage_use() as asked:
                found = forward(self.retriever, *args, **named)
            memo.keep(key, found, number=self.number, by_stage=asked.stage)
        return found


class _AsyncRemembered(_Remembered):
    """The same for `aforward`."""

    async def __call__(self, *args: Any, **named: Any) -> Any:
        memo: Memo | None = dspy.settings.get(_MEMO)
        aforward = type(self.retriever).aforward
        if memo is None:
            return await aforward(self.retriever, *args, **named)
        key = self.key(args, named)
        known, found = await asyncio.to_thread(memo.known, key)
        if not known:
            with notice_stage_use() as asked:
                found = await aforward(self.retriever, *args, **named)
            memo.keep(key, found, number=self.number, by_stage=asked.stage)
        return found
