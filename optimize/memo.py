"""What retrievers that are not ours returned, by what they were asked, for the length of a compile.

Their numbers are not tuned; prompts are compiled without searching again.
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

_MEMO = "ragwright_memo"


class Memo:
    """What was returned, by retriever and arguments."""

    def __init__(self) -> None:
        self.searched = 0
        self._found: dict[str, Any] = {}
        self._lock = threading.Lock()

    def known(self, key: str) -> tuple[bool, Any]:
        """Whether something is known, and what; a copy, since programs may change what they get."""
        with self._lock:
            if key not in self._found:
                return False, None
            return True, copy.deepcopy(self._found[key])

    def keep(self, key: str, found: Any) -> None:
        """Keep what a search returned."""
        with self._lock:
            self.searched += 1
            self._found[key] = copy.deepcopy(found)

    def __deepcopy__(self, memo: dict[int, Any]) -> Memo:
        """DSPy may copy its context; all threads share one memo."""
        return self


@contextmanager
def recalling(memo: Memo) -> Iterator[None]:
    """Let memoised retrievers answer from the memo inside."""
    with dspy.context(**{_MEMO: memo}):
        yield


def memoised(program: dspy.Module) -> None:
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
            found = forward(self.retriever, *args, **named)
            memo.keep(key, found)
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
            found = await aforward(self.retriever, *args, **named)
            memo.keep(key, found)
        return found
