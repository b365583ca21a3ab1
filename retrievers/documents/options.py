"""What to read of a source, and what to do about a file that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ragwright.retrievers.errors import InputError

MAX_BYTES = 50_000_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or row that gave no document, and why."""

    place: str
    reason: str


def _nowhere(_: Problem) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a source is read.

    Attributes:
        include: Patterns as in a `.gitignore` file; of a folder only what they match is read.
        exclude: Patterns of files not to read.
        on_error: "fail" raises at the first file that cannot be read, "skip" goes on.
        on_problem: Told of every file that is skipped.
        max_bytes: A larger file is a problem.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    on_error: Literal["fail", "skip"] = "fail"
    on_problem: Callable[[Problem], None] = field(default=_nowhere, compare=False)
    max_bytes: int = MAX_BYTES

    def handle(self, problem: Problem) -> None:
        """Raise a problem, or report it and return.

        Raises:
            InputError: Problems are not to be skipped.
        """
        if self.on_error == "fail":
            raise InputError(
                f"Cannot read {problem.place!r}: {problem.reason}.",
                hint="Convert, exclude or remove it, or go on without it: --on-error skip",
            )
        self.on_problem(problem)
