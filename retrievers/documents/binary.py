"""Tells what bytes are that are no text, and what to do about them."""

from __future__ import annotations

import re
from pathlib import PurePath

from ragwright.retrievers.documents.kinds import kind_by_start

_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
_LOCKED = "EncryptedPackage".encode("utf-16-le")
"""What office programs call the part of a locked file that holds it."""
_KINDS = {
    "of Microsoft Office before 2007, or Outlook: save it as .docx, .xlsx, .pptx or .eml": (
        _OLD_OFFICE,
    ),
    "an archive: unpack it": (b"PK\x03\x04", b"7z\xbc\xaf", b"Rar!", (257, b"ustar")),
    "an archive, or packed: unpack it": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ"),
    "an SQLite database: export its tables as CSV or JSONL": (b"SQLite format 3\0",),
    "a database of Access: export its tables as CSV": ((4, b"Standard "),),
    "a Parquet file: call it .parquet": (b"PAR1",),
    "a table of Arrow, Avro or ORC: write it as .parquet": (b"ARROW1", b"Obj\x01", b"ORC"),
    "arrays of numbers (NumPy, HDF5): write what is text in them as CSV or JSONL": (
        b"\x93NUMPY", b"\x89HDF",
    ),
    "a typeface: leave it out (.ragignore, or --exclude)": (
        b"\0\1\0\0", b"OTTO", b"wOFF", b"wOF2", b"ttcf",
    ),
    "a property list: convert it (plutil -convert xml1)": (b"bplist0",),
    "a PDF file: call it .pdf": (b"%PDF",),
    "an image: have its text recognised (OCR) first": (
        b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"8BPS", b"\0\0\1\0",
        (8, b"WEBP"), (4, b"ftyphei"), (4, b"ftypmif"), (4, b"ftypavif"),
    ),
    "sound or a film: have it transcribed first": (
        b"ID3", b"OggS", b"fLaC", b"\x1aE\xdf\xa3", b"\xff\xfb", (4, b"ftyp"), (8, b"WAVE"),
        (8, b"AVI "),
    ),
    "a drawing: export it as PDF": (b"AC10",),
    "a scanned document: convert it to PDF, with its text recognised (OCR)": ((12, b"DJVU"),),
    "an e-book: convert it to .epub": ((60, b"BOOKMOBI"),),
    "a help file: unpack it to HTML": (b"ITSF",),
    "a mailbox of Outlook: export its mails as .eml or .mbox": (b"!BDN",),
    "a notebook of OneNote: export it as .docx or PDF": (b"\xe4\x52\x5c\x7b",),
    "of WordPerfect: save it as .docx": (b"\xffWPC",),
    "a program: leave it out (.ragignore, or --exclude)": (
        b"MZ", b"\x7fELF", b"\0asm", b"\xca\xfe\xba\xbe",
    ),
}  # fmt: skip
"""What binary files are and what to do about them; by their first bytes, or those at a place."""
_PACKED = {
    ".pages": ".docx", ".numbers": ".xlsx", ".key": ".pptx", ".xlsb": ".xlsx", ".vsdx": "PDF",
    ".xps": "PDF", ".oxps": "PDF", ".odg": "PDF", ".sxw": ".docx", ".sxc": ".xlsx",
    ".hwpx": ".docx",
}  # fmt: skip
"""Archives that nobody is to unpack, and what programs save them as instead."""


def describe_binary(data: bytes) -> str:
    """Say what bytes are that are no text, and what to do about them.

    >>> describe_binary(b"GIF89a"), describe_binary(bytes(4))
    ('it is binary, an image: have its text recognised (OCR) first', 'it is binary')
    """
    kind = _kind(data)
    return f"it is binary, {kind}" if kind else "it is binary"


def no_such_file(data: bytes, suffix: str) -> str:
    """Say of a file that it is not what it is called, and what it is.

    >>> no_such_file(b"GIF89a", ".pdf")
    'it is no .pdf file, but an image: have its text recognised (OCR) first'
    """
    if data.startswith(_OLD_OFFICE) and _LOCKED in data:
        return "it is locked with a password"
    kind = "a page of HTML" if kind_by_start(data) == ".html" else _kind(data)
    return f"it is no {suffix} file" + (f", but {kind}" if kind else "")


def _kind(data: bytes) -> str:
    for kind, marks in _KINDS.items():
        for mark in marks:
            at, start = mark if isinstance(mark, tuple) else (0, mark)
            if data.startswith(start, at):
                return kind
    return ""


_READABLE = {
    b"%!PS": "it is PostScript, a program that prints: convert it to PDF",
    b"\x78\x9f\x3e\x22": "it is of Outlook (winmail.dat, TNEF): unpack it",
}
"""What could be taken for text in some encoding."""
_OF_BROWSERS = frozenset({".js", ".mjs", ".cjs", ".css", ".map"})
_KEY = re.compile(
    rb"\s*-----BEGIN (?:[A-Z0-9 ]{0,30}PRIVATE KEY|(?:TRUSTED )?CERTIFICATE|X509 CRL|[A-Z ]{0,20}"
    rb"PUBLIC KEY(?: BLOCK)?|PGP MESSAGE|PGP SIGNATURE|SSH2 [A-Z ]{3,20})"
)
_LOCKS = frozenset(
    "package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock composer.lock"
    " Cargo.lock Gemfile.lock poetry.lock Pipfile.lock pdm.lock uv.lock go.sum flake.lock"
    " packages.lock.json mix.lock pubspec.lock Podfile.lock".split()
)
"""Lists of exact versions and hashes, which package managers write for themselves."""
_LONG_LINES = 1000
"""Characters of lines, on average, beyond which nobody wrote a script or a style sheet."""


def suggest_other_format(data: bytes, name: str) -> str:
    """Say what to do about a file that nobody is to read though it may be text; "" of others.

    >>> suggest_other_format(b"%!PS-Adobe-3.0", "a.ps")
    'it is PostScript, a program that prints: convert it to PDF'
    """
    for mark, reason in _READABLE.items():
        if data.startswith(mark):
            return reason
    suffix = PurePath(name).suffix.lower()
    leave = "leave it out (.ragignore, or --exclude)"
    if suffix in _OF_BROWSERS and len(data) > _LONG_LINES * (data.count(b"\n") + 2):
        return f"it is packed for browsers, not to be read: {leave}"
    if name in _LOCKS:
        return f"a package manager wrote it for itself: {leave}"
    if _KEY.match(data):
        return f"it is a key or a certificate: {leave}"
    instead = _PACKED.get(suffix)
    return f"it is binary: save it as {instead}" if instead and data.startswith(b"PK") else ""
