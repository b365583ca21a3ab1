"""Copies objects of any kind; what cannot be copied, or must not be, is shared with the copy."""

from __future__ import annotations

import copy
import sys
from asyncio import AbstractEventLoop
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from queue import Queue, SimpleQueue
from threading import Thread
from types import FunctionType, MethodType, ModuleType
from typing import Any

from pydantic import BaseModel

Refers = Callable[[object], bool]
"""Whether something leads to a part of a program, which is copied whatever else holds it."""

_INSIDES = frozenset({"ragwright", "dspy", "litellm", "builtins"})
"""Packages whose own objects are no user's."""

_UNCOPIED = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, OSError, copy.Error)
"""What copying raises for what cannot be copied: locks, connections, generators."""

_LIVING = (Thread, Queue, SimpleQueue, Executor, Future, AbstractEventLoop)
"""What works or waits while a program runs: a copy of it would be waited for in vain."""

_ATOMS = (str, bytes, int, float, type(None), type, FunctionType, ModuleType)
"""What holds nothing that a copy is made of; a program may hold millions."""

_HOLDERS = (dict, list, tuple, set, frozenset, MethodType, partial)


def deep_copy(part: Any, memo: dict[int, Any], refers: Refers) -> Any:
    """Like `copy.deepcopy`; threads, locks, connections and the like in it are shared.

    Args:
        part: Anything.
        memo: What was copied, by the id of the original; added to.
        refers: Whether something leads to a part of a program.
    """
    _share_living(part, memo, refers)
    known = dict(memo)
    try:
        twin = copy.deepcopy(part, known)
    except _UNCOPIED:
        _share_uncopied(part, memo, refers)
        return copy.deepcopy(part, memo)
    memo.update(known)
    return twin


def _share_living(root: Any, memo: dict[int, Any], refers: Refers) -> None:
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
    return isinstance(part, _LIVING) or hasattr(type(part), "__del__")


def _share_uncopied(
    part: Any, memo: dict[int, Any], refers: Refers, seen: set[int] | None = None
) -> None:
    """Note in the memo of `copy.deepcopy` what is to be shared since it cannot be copied.

    A lock beside a part of a program, or in an object of a user's, then keeps nothing from being
    copied but itself. An object of an installed package (an engine of a database, say) is shared
    as a whole: it would not work with other insides than its own.
    """
    seen = set() if seen is None else seen
    seen.add(id(part))
    if isinstance(part, ModuleType):  # what is in it is not the program's
        memo[id(part)] = part
        return
    if _copies(part, memo):
        return
    if isinstance(part, _HOLDERS) or is_users_class(type(part)) or refers(part):
        for held in _inside(part):
            if id(held) not in seen:
                _share_uncopied(held, memo, refers, seen)
    if not _copies(part, memo):
        memo[id(part)] = part


def _copies(part: Any, memo: dict[int, Any]) -> bool:
    try:
        copy.deepcopy(part, dict(memo))
    except _UNCOPIED:
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


def is_users_class(kind: type[Any]) -> bool:
    """Whether a class is a user's: a dataclass or the like, or from no installed package."""
    package = kind.__module__.partition(".")[0]
    if package in _INSIDES or package in sys.stdlib_module_names:
        return False
    kept = is_dataclass(kind) or hasattr(kind, "__attrs_attrs__") or issubclass(kind, BaseModel)
    return kept or not _is_installed(package)


def is_users_module(name: str) -> bool:
    """Whether a module is a user's: of no installed package, nor of Python itself."""
    package = name.partition(".")[0]
    return not (package in _INSIDES or package in sys.stdlib_module_names or _is_installed(package))


@lru_cache(maxsize=1024)
def _is_installed(package: str) -> bool:
    file = getattr(sys.modules.get(package), "__file__", None) or ""
    return bool({"site-packages", "dist-packages"} & set(Path(file).parts))


def attributes_of(part: Any) -> dict[str, Any]:
    """Return what an object keeps by name, in slots or without; nothing of it is run."""
    try:
        kept = object.__getattribute__(part, "__dict__")
    except AttributeError:
        kept = {}
    return {**_kept_in_slots(part), **kept}


def slots_of(part: Any) -> list[str]:
    """Return the names of the slots in which an object keeps something."""
    return list(_kept_in_slots(part))


def _kept_in_slots(part: Any) -> dict[str, Any]:
    # Not by `getattr`: a library's `__getattr__` may make what is not there yet, or fail at it.
    found: dict[str, Any] = {}
    for kind in type(part).__mro__:
        for name in _slots(kind):
            with suppress(KeyError, AttributeError):  # it is empty
                found.setdefault(name, vars(kind)[name].__get__(part))
    return found


def _slots(kind: type[Any]) -> tuple[str, ...]:
    named = vars(kind).get("__slots__", ())
    names = (named,) if isinstance(named, str) else tuple(named)
    return tuple(name for name in names if not name.startswith("__"))
