"""Finds the places where a source file's top-level definitions start."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from itertools import accumulate


def definition_starts(text: str, suffix: str = "") -> list[int]:
    """Return where a source text may be cut so that definitions stay whole, ascending.

    Python is cut by its syntax tree: before every function and class of the module and every
    method, decorators and the comment lines above included. Anything else, and Python that does
    not parse, is cut where an unindented line follows an empty one.
    """
    if suffix in {"", ".py", ".pyi"}:
        try:
            return _python(text)
        # What nests deeper than the parser's own stack is a MemoryError. The last is Python 3.11's,
        # where a garbage collection came between.
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
            pass
    return list(_after_empty_lines(text))


def _after_empty_lines(text: str) -> Iterator[int]:
    """Yield where an unindented line that opens something follows an empty one."""
    at, empty = 0, False
    for line in text.split("\n"):
        if empty and line and not line[0].isspace() and line[0] not in ")]}":
            yield at
        at, empty = at + len(line) + 1, not line.strip(" \t")


def _python(text: str) -> list[int]:
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(len(line) for line in lines)]
    # The parser counts other line ends than splitlines does: form feeds and the like.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it thinks of somebody's escapes
        tree = ast.parse(text)
    if text.count("\n") + (not text.endswith("\n")) != len(lines):
        raise ValueError("line ends that only one of the two counts")
    found = sorted({_first_line(node, lines) for node in _definitions(tree)})
    return [starts[line] for line in found if 0 < starts[line] < len(text)]


def _definitions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds)]
    inner = [
        node
        for owner in top
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, kinds)
    ]
    return [*top, *inner]


def _first_line(
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, lines: list[str]
) -> int:
    """Return the index of a definition's first line, with its decorators and comments."""
    line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line
