"""Functions that refer to parts of a program, made anew so that they refer to those of its copy.

`copy.deepcopy` takes a function as it is: the tools of a copied agent would search with the stages
of the agent that it was copied from. Knows nothing of what programs are made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from types import CellType, FunctionType
from typing import Any

from ragwright.programs.copying import deep_copy

CachedFunction: Any = type(lru_cache(lambda: None))
"""What `lru_cache` and `cache` make of a function."""


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
