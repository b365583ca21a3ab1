"""Decodes text: by its byte order mark, as UTF-8, as it declares, or as guessed.

A guess is taken only where it is sure enough, and whoever reads is told of it; other bytes are
refused.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import IO

from ragwright.retrievers.documents.binary import describe_binary
from ragwright.retrievers.metadata import clean_text

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARKED = tuple(mark for mark, _ in _MARKS)
_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{1,40})["']"""
    rb"""|<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{1,40})""",
    re.IGNORECASE,
)
_CODING = re.compile(rb"""\A(?:[^\n]{0,200}\n)?[^\n]{0,200}?coding[:=]\s*([\w.-]{1,40})""")
"""What programs say in one of their first two lines, as PEP 263 and editors have it."""
_HEAD = 4096
_SAMPLE = 1 << 20
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_ESCAPED = re.compile(rb"\x1b\$(?:[@B]|\([@BCD]|\)[CAG])")
_WESTERN = "cp1252"
WESTERN = dict.fromkeys(("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii"), _WESTERN)
"""Labels that browsers read as Windows-1252, which has printable characters more."""
_WIDE = (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2))
_RARE = (
    "mac-greek", "mac-iceland", "koi8-t", "kz1048", "ptcp154", "hp-roman8", "cp037", "cp500",
    "cp875", "cp1026", "cp1140", "cp273", "cp424", "cp1006", "cp1125", "cp720",
    "iso8859-10", "iso8859-13", "iso8859-14", "iso8859-16", "iso8859-4", "iso8859-3", "utf-7",
)  # fmt: skip
"""Encodings that others are mistaken for more often than they are met."""
_SUPERSETS = {
    "gb2312": "gb18030", "gbk": "gb18030", "euc_kr": "cp949", "shift_jis": "cp932",
    "iso8859-1": _WESTERN, "iso8859-9": "cp1254", "tis-620": "cp874", "iso8859-11": "cp874",
}  # fmt: skip
_JUDGED = 10_000
_SCRIPTS = 3
_LEAST_TEXT = 0.9
_FEW = 0.01
_LEAST_SURE = 0.004
_SURE_OF_UTF8 = 4
_BEYOND = re.compile(r"[^\x00-\x7f]+")
_MIXED = re.compile(
    r"[a-z][\u0370-\u06ff\u0e01-\u0e2e]|[\u0370-\u06ff\u0e01-\u0e2e][a-z]", re.IGNORECASE
)
"""A letter of the alphabet beside one that is Greek, Cyrillic, Hebrew, Arabic or Thai."""


class UndecodableText(ValueError):
    """Bytes that are no text, or of an encoding that cannot be told; the message says which."""


@dataclass(frozen=True, slots=True)
class DecodedText:
    """A text, and the encoding that was guessed for it; empty if it was known."""

    text: str
    guess: str = ""


def decode_text(data: bytes, *, markup: bool = False, told: str = "") -> DecodedText:
    """Return the text of a file, line ends as `\\n`, without a byte order mark.

    Args:
        data: The bytes.
        markup: Whether it is HTML or XML, which may declare its encoding.
        told: The encoding of what has no mark and is not UTF-8, where the user knows it.

    Raises:
        Undecodable: It is binary, or its encoding cannot be told.
    """
    if not told and (damaged := _damaged_utf8(data)):
        text, bad = damaged
        return DecodedText(_lined(text), f"UTF-8 with {bad} damaged characters")
    encoding, guessed = detect_encoding(data, markup=markup, told=told)
    try:
        text = data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise UndecodableText(_reason(error)) from error
    return DecodedText(_lined(text), encoding if guessed else "")


def _lined(text: str) -> str:
    lines = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return clean_text(lines)


def _damaged_utf8(data: bytes) -> tuple[str, int] | None:
    """Return UTF-8 of which some bytes are wrong, or cut off, and how many places are damaged.

    What else would have so many of its sequences?
    """
    if b"\0" in data or _in(data, "utf-8") is not None:
        return None
    text = data.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    good = sum(map(len, _BEYOND.findall(text))) - bad
    return (text, bad) if good >= _SURE_OF_UTF8 * bad else None


def detect_encoding(data: bytes, *, markup: bool = False, told: str = "") -> tuple[str, bool]:
    """Return the encoding of bytes, and whether it is a guess.

    Arguments are those of `decode_text`.

    Raises:
        Undecodable: They are binary, or it cannot be told.
    """
    for mark, name in _MARKS:
        if data.startswith(mark) and (name != "utf-32" or _is_utf32(data)):
            return name, False
    if b"\0" in data:
        return _told(data, told) or (_wide(data), True)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        if declared := _declared(data, _DECLARED if markup else _CODING):
            return declared, False
        return _told(data, told) or (_guessed(data, error), True)
    if _ESCAPED.search(data) and (name := _likeliest(data)).startswith("iso2022"):
        return name, True
    # A document in ISO-2022-JP is ASCII to the letter, so what it declares comes first.
    declared = _declared(data, _DECLARED) if markup else ""
    seven_bit = declared.startswith(("iso-2022", "iso2022", "hz", "utf-7"))
    return (declared if seven_bit and declared != "utf-7" else "utf-8"), False


def _is_utf32(data: bytes) -> bool:
    """The mark of UTF-32 is also that of UTF-16 with a zero behind it."""
    return _in(data[: min(64, len(data)) & ~3], "utf-32") is not None


def encoding_sample(file: IO[bytes]) -> bytes:
    """Return the part of a file that tells its encoding: the first lines, or those of other bytes.

    Nothing after letters in UTF-8 tells another encoding: it is damage.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    first, rest = b"", b""
    while block := file.read(_SAMPLE):
        first = first or block
        if b"\0" in first or first.startswith(MARKED):
            return first[: len(first) & ~3]
        try:
            beyond = not decoder.decode(block).isascii()
        except UnicodeDecodeError:
            return rest + block + file.readline()
        if beyond:
            break
        rest = block[block.rfind(b"\n") + 1 :]
    return first + file.readline()


def _told(data: bytes, name: str) -> tuple[str, bool] | None:
    """Return the encoding that the user has named, if there is one.

    Raises:
        Undecodable: The bytes are not in it.
    """
    if not name:
        return None
    if _in(data, name) is None:
        raise UndecodableText(f"it is neither UTF-8 nor {name}")
    return name, False


def _declared(data: bytes, saying: re.Pattern[bytes]) -> str:
    """Return the encoding that a file says it is in; empty if the bytes are not."""
    found = saying.search(data[:_HEAD])
    if not found:
        return ""
    said: str = next(filter(None, found.groups())).decode("ascii").lower()
    name = WESTERN.get(said, said)
    try:
        if not codecs.lookup(name)._is_text_encoding:  # base64 and its kind are codecs too
            return ""
        data.decode(name)
    except (LookupError, UnicodeDecodeError):
        return ""
    return name


def _wide(data: bytes) -> str:
    """Return UTF-16 or UTF-32 for text without a mark.

    Read in the wrong order, letters become signs of many scripts, and spaces what is no sign.
    """
    best, most = "", 0.0
    for name, width in _WIDE:
        if len(data) % width == 0:
            share = _share_of_text(_in(data[: _SAMPLE & ~3], name) or "")
            if share > most and _in(data, name) is not None:
                best, most = name, share
    if not best:
        raise UndecodableText(describe_binary(data))
    return best


def _share_of_text(text: str) -> float:
    """Return how many of a text's characters are ASCII or of its commonest scripts; 0 if binary."""
    sample = text[:_JUDGED]
    kinds = Counter(map(unicodedata.category, sample))
    controls = kinds["Cc"] - sum(map(sample.count, "\t\n\r\f"))
    if not sample or controls or kinds["Cn"] or kinds["Co"]:
        return 0.0
    letters = [char for char in sample if char.isalpha()]
    scripts = Counter(_script(char) for char in letters)
    common = sum(count for _, count in scripts.most_common(2 * _SCRIPTS))
    plain = sum(char.isascii() and not char.isalpha() for char in sample)
    other = sum(kinds[kind] for kind in ("Mn", "Mc", "Po", "Ps", "Pe", "Nd")) / len(sample)
    share = (common + plain) / len(sample)
    return share if share + other > _LEAST_TEXT and len(letters) * 2 > plain else 0.0


def _guessed(data: bytes, error: UnicodeDecodeError) -> str:
    """Return the likeliest encoding: of few letters beyond ASCII, the Western one that fits."""
    if _CONTROLS.search(data):
        raise UndecodableText(describe_binary(data)) from error
    western = _in(data, _WESTERN)
    data = b"".join(line for line in data.splitlines(keepends=True) if not line.isascii())
    line = _in(data, _WESTERN)
    if western is not None and line is not None:
        few = _looks_western(western, at_most=_FEW) and _looks_western(line)
        if few or all(char in _MARKS_OF_TEXT for char in line if ord(char) > 127):
            return _WESTERN
    western = line
    name = _likeliest(data)
    if name and name != _WESTERN:
        # Where Western text and another guess give the same, it is the commoner name.
        text = _in(data, name)
        if text is not None and text == western:
            return _WESTERN
        if text is not None and _reads_well(text):
            return name
    if western is not None and _looks_western(western):
        return _WESTERN
    raise UndecodableText(_reason(error)) from error


def _likeliest(data: bytes) -> str:
    import chardet

    end = data.rfind(b"\n", 0, _SAMPLE) + 1 or _SAMPLE
    found = chardet.detect(
        data if len(data) <= _SAMPLE else data[:end],
        max_bytes=_SAMPLE,
        compat_names=False,
        exclude_encodings=_RARE,
    )
    name = found["encoding"] or ""
    return _SUPERSETS.get(name, name) if found["confidence"] > _LEAST_SURE else ""


def _in(data: bytes, name: str) -> str | None:
    try:
        return data.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None


def _reads_well(text: str) -> bool:
    """Tell whether what is beyond ASCII in a text is mostly letters, of few scripts.

    A word has letters of one: Hebrew within a Latin word is another encoding's umlaut.
    """
    beyond = [char for char in text[:_JUDGED] if ord(char) > 127]
    letters = [char for char in beyond if char.isalpha() or unicodedata.combining(char)]
    scripts = Counter(_script(char) for char in letters if char.isalpha())
    common = sum(count for _, count in scripts.most_common(_SCRIPTS))
    mixed = len(_MIXED.findall(text[:_JUDGED]))
    whole = mixed <= 0.2 * len(letters)
    return whole and len(letters) >= 0.6 * len(beyond) and common >= 0.9 * sum(scripts.values())


def _script(char: str) -> str:
    return unicodedata.name(char, "?").split()[0].split("-")[0]


def _looks_western(text: str, at_most: float = 0.3) -> bool:
    """Tell whether a text has words, of whose letters few are beyond ASCII, and typographic marks.

    Args:
        text: What bytes are in Windows-1252.
        at_most: How many characters beyond ASCII there may be for each letter.
    """
    beyond = [char for char in text if ord(char) > 127]
    words = sum(char.isalpha() for char in text)
    odd = sum(not char.isalpha() and char not in _MARKS_OF_TEXT for char in beyond)
    marks = sum(char in _MARKS_OF_TEXT and not char.isalpha() for char in beyond)
    return len(beyond) - marks <= at_most * max(words, 1) and odd <= 0.1 * len(beyond)


_MARKS_OF_TEXT = frozenset(  # quotes, dashes, signs of money, of law and of fractions
    "\u2018\u2019\u201c\u201d\u201e\u201a«»\u2039\u203a\u2013\u2014…•€£¥§©®°·¿¡†‡¶±²³¼½¾\xd7÷\xb4¨"
    "\u00a0\u00ad™ªº"
)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"it is not UTF-8 text (byte {error.start}), and its encoding cannot be told"
    return f"it is not UTF-8 text: {error}"


__all__ = ["DecodedText", "UndecodableText", "decode_text", "detect_encoding", "encoding_sample"]
