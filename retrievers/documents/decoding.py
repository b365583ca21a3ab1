"""Bytes of text in, the text out: by its byte order mark, as UTF-8, as it declares, or as guessed.

A guess is taken only where it is sure enough, and whoever reads is told of it; other bytes are
refused.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from ragwright.retrievers.metadata import clean

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']"""
    rb"""|<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_HEAD = 4096
_SAMPLE = 1 << 20
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_WESTERN = "cp1252"


class Undecodable(ValueError):
    """Bytes that are no text, or of an encoding that cannot be told; the message says which."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, and the encoding that was guessed for it; empty if it was known."""

    text: str
    guess: str = ""


def decoded(data: bytes, *, markup: bool = False) -> Decoded:
    """Return the text of a file, line ends as `\\n`, without a byte order mark.

    Args:
        data: The bytes.
        markup: Whether it is HTML or XML, which may declare its encoding.

    Raises:
        Undecodable: It is binary, or its encoding cannot be told.
    """
    encoding, guessed = encoding_of(data, markup=markup)
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise Undecodable(_reason(error)) from error
    lines = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return Decoded(clean(lines), encoding if guessed else "")


def encoding_of(data: bytes, *, markup: bool = False) -> tuple[str, bool]:
    """Return the encoding of bytes, and whether it is a guess.

    Raises:
        Undecodable: They are binary, or it cannot be told.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name, False
    if b"\0" in data:
        return _wide(data), True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        declared = _declared(data) if markup else ""
        return (declared, False) if declared else (_guessed(data, error), True)
    # A document in ISO-2022-JP is ASCII to the letter, so what it declares comes first.
    declared = _declared(data) if markup else ""
    seven_bit = declared.startswith(("iso-2022", "iso2022", "hz", "utf-7"))
    return (declared if seven_bit and declared != "utf-7" else "utf-8"), False


def _declared(data: bytes) -> str:
    """Return the encoding that HTML or XML says it is in; empty if the bytes are not."""
    found = _DECLARED.search(data[:_HEAD])
    if not found:
        return ""
    name = (found[1] or found[2]).decode("ascii").lower()
    # Browsers read these labels as Windows-1252, which has printable characters more.
    name = _WESTERN if name in {"iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii"} else name
    try:
        if not codecs.lookup(name)._is_text_encoding:  # base64 and its kind are codecs too
            return ""
        data.decode(name)
    except (LookupError, UnicodeDecodeError):
        return ""
    return name


def _wide(data: bytes) -> str:
    """Return UTF-16 or UTF-32 for text without a mark, whose NULs stand in one place of each."""
    sample = data[: _SAMPLE & ~3]
    for name, width, at in (
        ("utf-32-le", 4, 0),
        ("utf-32-be", 4, 3),
        ("utf-16-le", 2, 0),
        ("utf-16-be", 2, 1),
    ):
        rest = b"".join(sample[place::width] for place in range(width) if place != at)
        zeros = rest.count(0) / max(1, len(rest))
        if len(data) % width == 0 and zeros > 0.9 and 0 not in sample[at::width]:
            try:
                data.decode(name)
            except UnicodeDecodeError:
                continue
            return name
    raise Undecodable("it is binary")


def _guessed(data: bytes, error: UnicodeDecodeError) -> str:
    if _CONTROLS.search(data):
        raise Undecodable("it is binary") from error
    from charset_normalizer import from_bytes

    end = data.rfind(b"\n", 0, _SAMPLE) + 1 or _SAMPLE
    sample = data if len(data) <= _SAMPLE else data[:end]
    best = from_bytes(sample).best()
    if best is not None and (best.coherence > 0 or _one_script(str(best))):
        # Where Western text and another guess give the same, it is the commoner name.
        western = _in(data, _WESTERN)
        if western is None or western != _in(data, best.encoding):
            return str(best.encoding)
    if _looks_western(data):
        return _WESTERN
    raise Undecodable(_reason(error)) from error


def _in(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None


def _one_script(text: str) -> bool:
    """Tell whether a text's letters beyond ASCII are many and of one script."""
    letters = [char for char in text[:10_000] if ord(char) > 127 and char.isalpha()]
    scripts = {_script(char) for char in letters}
    if len(letters) < 8 or "LATIN" in scripts:
        return False
    return len(scripts) == 1 or (scripts <= _JAPANESE and len(letters) >= 8)


_JAPANESE = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}


def _script(char: str) -> str:
    return unicodedata.name(char, "?").split()[0]


def _looks_western(data: bytes) -> bool:
    """Tell whether bytes are, in Windows-1252, words with some accents and typographic marks."""
    text = _in(data, _WESTERN)
    if text is None:
        return False
    beyond = [char for char in text if ord(char) > 127]
    words = sum(char.isalpha() for char in text)
    odd = sum(not char.isalpha() and char not in _MARKS_OF_TEXT for char in beyond)
    return len(beyond) <= 0.3 * max(words, 1) and odd <= 0.1 * len(beyond)


_MARKS_OF_TEXT = frozenset(  # quotes, dashes, signs of money, of law and of fractions
    "\u2018\u2019\u201c\u201d\u201e\u201a«»\u2039\u203a\u2013\u2014…•€£¥§©®°·¿¡†‡¶±²³¼½¾\xd7÷\xb4¨"
    "\u00a0\u00ad™ªº"
)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start}), and its encoding cannot be told"
    return f"it is not UTF-8 text: {error}"


__all__ = ["Decoded", "Undecodable", "decoded", "encoding_of"]
