"""The documents of a source, and what of it could not be read while they were."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.types import Document

_BORDERS = re.compile(r"[:/]|\Z")
"""What lies in a file is named behind a colon, what lies in a folder behind a slash."""


class SourceDocuments(Iterator[Document]):
    """The documents of a source, read as they are asked for.

    Args:
        options: How they are read.
        read: Reads them with such options.
    """

    def __init__(
        self, options: ReadOptions, read: Callable[[ReadOptions], Iterator[Document]]
    ) -> None:
        self._unread = set[str]()
        self._listener = options.on_problem
        self.options = replace(options, on_problem=self._note)
        self._documents = read(self.options)

    def __next__(self) -> Document:
        return next(self._documents)

    @property
    def all_read(self) -> bool:
        """Whether everything could be read so far."""
        return not self._unread

    def is_unread(self, name: str) -> bool:
        """Tell of the id or the path of a document whether it lies in what could not be read."""
        ends = (border.start() for border in _BORDERS.finditer(name))
        return any(name[:end] in self._unread for end in ends)

    def _note(self, problem: Problem) -> None:
        if not problem.read:
            self._unread.add(problem.place)
        self._listener(problem)
