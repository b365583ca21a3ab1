"""Separates the front matter of a Markdown text from the text."""

from __future__ import annotations

import re
from typing import Any

from ragwright.retrievers.safe_yaml import parse_yaml
from ragwright.retrievers.toml import parse_toml

_FENCES = {
    "---": re.compile(r"^(---|\.\.\.)[ \t]*$", re.M),
    "+++": re.compile(r"^\+\+\+[ \t]*$", re.M),
}
_MOST = 16_000
_DEEP = re.compile(r"(?:[\[{?-][ \t]*){30}")
"""So much nesting in a row, which costs a reader of YAML time that grows with its square."""


class BadFrontMatter(ValueError):
    """What stands between the fences cannot be read; the message says why."""


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return what front matter says, in YAML or TOML, and the text behind it.

    Raises:
        BadFrontMatter: It begins like front matter, and is none that can be read.
    """
    first, _, rest = text.partition("\n")
    fence = _FENCES.get(first.rstrip())
    end = fence.search(rest[:_MOST]) if fence else None
    if end is None:
        return {}, text
    written, body = rest[: end.start()], rest[end.end() :].lstrip("\n")
    values = _yaml(written) if first.startswith("-") else _toml(written)
    if values is None:
        return {}, body
    if not isinstance(values, dict):  # a rule, and another rule below
        return {}, text
    return {str(key): value for key, value in values.items()}, body


def _yaml(written: str) -> Any:
    if written.count("[") + written.count("{") > 500 or _DEEP.search(written):
        raise BadFrontMatter("its front matter is nested too deeply")
    try:
        return parse_yaml(written)
    except ValueError as error:
        raise BadFrontMatter(f"its front matter {str(error).removeprefix('it ')}") from error


def _toml(written: str) -> Any:
    try:
        return parse_toml(written)
    except ValueError as error:
        raise BadFrontMatter(f"its front matter is not TOML: {error}") from error
