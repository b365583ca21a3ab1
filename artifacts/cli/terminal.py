"""Escapes text of documents, models and strangers, so that a terminal only shows it.

An escape sequence in a passage could clear the screen, set the clipboard or forge what stands above
it. Colours of our own are added after this.
"""

from __future__ import annotations

import codecs
import io
import json
import logging
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

NARROWEST = 20
"""Columns of a terminal: fewer (`COLUMNS=0`) are of none, and leave no room for a letter."""
USUAL = 80
_NUMBERED = "ragwright.numbered"
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and line feed, what turns the direction of writing, half pairs."""


def escape_controls(text: str) -> str:
    """Return a text with every character that could steer a terminal written out."""
    return _UNSAFE.sub(_written, text)


def escape_json_controls(text: str) -> str:
    """Return JSON with such characters as JSON's own escapes: it says the same."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable(text: str) -> str:
    """Return a text in one line, without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _written(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


class SafeConsole(Console):
    """A console that shows texts and never obeys them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if self.width < NARROWEST:
            self.width = USUAL

    def on_broken_pipe(self) -> None:
        """Let the command say with which code it ends; rich would end it with 1."""
        raise BrokenPipeError

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(escape_controls(segment.text), segment.style)


class _NeutralFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record))


def write_in_any_encoding() -> None:
    """Have letters that an output's encoding lacks written as their numbers, as JSON escapes them.

    Of a locale that is not UTF-8 (`LC_ALL=C`, Latin-1), one such letter would end the command.
    """
    codecs.register_error(_NUMBERED, _as_numbers)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_NUMBERED)


def _as_numbers(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return json.dumps(signs)[1:-1], error.end


def quiet_warnings() -> None:
    """Let what is logged without a handler of its own reach the terminal as text alone."""
    last: Any = logging.lastResort
    if last is not None:
        last.setFormatter(_NeutralFormatter())
