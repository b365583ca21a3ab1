"""Functions that refer to parts of a program, made anew so that they refer to those of its copy.

`copy.deepcopy` takes a function as it is: the tools of a copied agent would search with the stages
of the agent that it was copied from. Knows nothing of what programs are made of.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import CellType, FunctionType
from typing import Any

UNCOPIED = (TypeError, ValueError, AttributeError, LookupError, RuntimeError, OSError, copy.Error)
"""What copying raises for what cannot be copied: locks, connections, generators."""


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
        if not self.refers(held):
            return held
        try:
            return copy.deepcopy(held, self.memo)
        except UNCOPIED:
            return held

    def _function(self, function: FunctionType) -> FunctionType:
        if id(function) in self.memo or not self.refers(function):
            found: FunctionType = self.memo.get(id(function), function)
            return found
        cells = [self._cell(cell) for cell in function.__closure__ or ()]
        twin = FunctionType(
            function.__code__, function.__globals__, function.__name__, closure=tuple(cells)
        )
        self.memo[id(function)] = twin  # before its cells are filled: it may refer to itself
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
