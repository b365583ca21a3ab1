"""Functions that refer to parts of a program, made anew so that they refer to those of its copy.

`copy.deepcopy` takes a function as it is: the tools of a copied agent would search with the stages
of the agent that it was copied from. Knows nothing of what programs are made of.
"""

from __future__ import annotations

import copy
from asyncio import AbstractEventLoop
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import lru_cache, partial
from queue import Queue, SimpleQueue
from threading import Thread
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

CachedFunction: Any = type(lru_cache(lambda: None))
"""What `lru_cache` and `cache` make of a function."""

UNCOPIED = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, OSError, copy.Error)
"""What copying raises for what cannot be copied: locks, connections, generators."""


LIVING = (Thread, Queue, SimpleQueue, Executor, Future, AbstractEventLoop)
"""What works or waits while a program runs: a copy of it would be waited for in vain."""

_ATOMS = (str, bytes, int, float, type(None), type, FunctionType, ModuleType)
"""What holds nothing that a copy is made of; a program may hold millions."""


def deep_copy(part: Any, memo: dict[int, Any], refers: Callable[[object], bool]) -> Any:
    """Like `copy.deepcopy`; threads, locks, connections and the like in it are shared.

    Args:
        part: Anything.
        memo: What was copied, by the id of the original; added to.
        refers: Whether something leads to a part of a program.
    """
    share_living(part, memo, refers)
    known = dict(memo)
    try:
        twin = copy.deepcopy(part, known)
    except UNCOPIED:
        share_uncopied(part, memo)
        return copy.deepcopy(part, memo)
    memo.update(known)
    return twin


def share_living(root: Any, memo: dict[int, Any], refers: Callable[[object], bool]) -> None:
    """Note in the memo of `copy.deepcopy` what lives, and what holds it, to be shared.

    `dspy.retrievers.Embeddings` hands each question to a thread by a queue: a copy of the queue is
    read by nobody. What cleans up after itself (`__del__`) would close, with a copy that is thrown
    away, what the original still uses. What leads to a part of the program is copied all the same.
    """
    living, holders, todo, seen = [], defaultdict[int, list[Any]](list), [root], {id(root)}
    while todo:
        part = todo.pop()
        if _lives(part) and not refers(part):
            living.append(part)
        for held in _inside(part):
            if isinstance(held, _ATOMS):
                continue
            holders[id(held)].append(part)
            if id(held) not in seen:
                seen.add(id(held))
                todo.append(held)
    while living:
        part = living.pop()
        if id(part) not in memo:
            memo[id(part)] = part
            living += [holder for holder in holders[id(part)] if not refers(holder)]


def _lives(part: Any) -> bool:
    return isinstance(part, LIVING) or hasattr(type(part), "__del__")


def share_uncopied(part: Any, memo: dict[int, Any], seen: set[int] | None = None) -> None:
    """Note in the memo of `copy.deepcopy` what is to be shared since it cannot be copied.

    A lock beside a part of a program then keeps nothing from being copied but itself.
    """
    seen = set() if seen is None else seen
    seen.add(id(part))
    if isinstance(part, ModuleType):  # what is in it is not the program's
        memo[id(part)] = part
        return
    if _copies(part, memo):
        return
    for held in _inside(part):
        if id(held) not in seen:
            share_uncopied(held, memo, seen)
    if not _copies(part, memo):
        memo[id(part)] = part


def _copies(part: Any, memo: dict[int, Any]) -> bool:
    try:
        copy.deepcopy(part, dict(memo))
    except UNCOPIED:
        return False
    return True


def _inside(part: Any) -> list[Any]:
    match part:
        case dict():
            return [*part, *part.values()]
        case list() | tuple() | set() | frozenset():
            return list(part)
        case MethodType():
            return [part.__self__]
        case partial():
            return [part.func, *part.args, *part.keywords.values()]
    return list(attributes_of(part).values())


def attributes_of(part: Any) -> dict[str, Any]:
    """Return what an object keeps by name, in slots or without."""
    kept = {name: getattr(part, name) for name in slots_of(part)}
    return {**kept, **getattr(part, "__dict__", {})}


def slots_of(part: Any) -> list[str]:
    """Return the names of the slots in which an object keeps something."""
    slots = (name for kind in type(part).__mro__ for name in _slots(kind))
    return [name for name in slots if hasattr(part, name)]


def _slots(kind: type[Any]) -> tuple[str, ...]:
    named = vars(kind).get("__slots__", ())
    names = (named,) if isinstance(named, str) else tuple(named)
    return tuple(name for name in names if not name.startswith("__"))


@dataclass(frozen=True)
class Rebinding:
    """One copying of a program.

    Attributes:
        memo: What was copied, by the id of the original, as `copy.deepcopy` keeps it.
        refers: Whether something leads to a part of a program.
    """

    memo: dict[int, Any]
    refers: Callable[[object], bool]

    def __call__(self, held: Any) -> Any:
        """Return what stands in the copy for what stood in the original."""
        if isinstance(held, FunctionType):
            return self._function(held)
        if isinstance(held, partial):
            named = {name: self(value) for name, value in held.keywords.items()}
            return partial(self(held.func), *map(self, held.args), **named)
        if isinstance(held, CachedFunction):
            return self._cached(held)
        if not self.refers(held) or any(held is copied for copied in self.memo.values()):
            return held
        return deep_copy(held, self.memo, self.refers)

    def inside(self, held: Any, seen: frozenset[int] = frozenset()) -> Any:
        """Put what stands in the copy into its tables and lists, in place; return the same.

        A tuple is made anew.
        """
        if isinstance(held, (FunctionType, partial, CachedFunction)):
            return self(held)
        if not isinstance(held, dict | list | tuple) or id(held) in seen:
            return held
        if self.memo.get(id(held)) is held and not isinstance(held, tuple):
            return held  # of the original too
        within = seen | {id(held)}
        if type(held) is tuple:
            parts = [self.inside(one, within) for one in held]
            same = all(new is old for new, old in zip(parts, held, strict=True))
            return held if same else tuple(parts)
        if isinstance(held, dict | list):
            for key, one in list(held.items() if isinstance(held, dict) else enumerate(held)):
                if (new := self.inside(one, within)) is not one:
                    held[key] = new
        return held

    def _cached(self, function: Any) -> Any:
        """The copy keeps results of its own: the original's were found by other knobs."""
        if id(function) in self.memo or not self.refers(function):
            return self.memo.get(id(function), function)
        twin = lru_cache(**function.cache_parameters())(self(function.__wrapped__))
        self.memo[id(function)] = self.memo[id(twin)] = twin
        return twin

    def _function(self, function: FunctionType) -> FunctionType:
        if id(function) in self.memo or not self.refers(function):
            found: FunctionType = self.memo.get(id(function), function)
            return found
        cells = [self._cell(cell) for cell in function.__closure__ or ()]
        twin = FunctionType(
            function.__code__, function.__globals__, function.__name__, closure=tuple(cells)
        )
        # Before its cells are filled: it may refer to itself, and to what holds it.
        self.memo[id(function)] = self.memo[id(twin)] = twin
        twin.__dict__.update(function.__dict__)
        twin.__doc__, twin.__qualname__ = function.__doc__, function.__qualname__
        twin.__annotations__, twin.__module__ = function.__annotations__, function.__module__
        twin.__defaults__ = tuple(map(self, function.__defaults__ or ())) or None
        named = function.__kwdefaults__
        twin.__kwdefaults__ = named and {name: self(value) for name, value in named.items()}
        for old, new in zip(function.__closure__ or (), cells, strict=True):
            if new is not old and not _is_filled(new):
                new.cell_contents = self(old.cell_contents)
        return twin

    def _cell(self, cell: CellType) -> CellType:
        """A new cell for what refers to the program; the same one for all functions that had it."""
        if not _is_filled(cell) or not self.refers(cell.cell_contents):
            return cell
        found: CellType = self.memo.setdefault(id(cell), CellType())
        return found


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (asked for its error)
    except ValueError:  # not yet bound
        return False
    return True
