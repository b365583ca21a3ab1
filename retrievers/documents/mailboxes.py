"""A file of many e-mails (mbox) in, each of them out."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAILBOXES = frozenset({".mbox", ".mbx"})

_FROM = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def is_mailbox(data: bytes) -> bool:
    """Whether a file begins as every mailbox does."""
    return _FROM.match(data) is not None


def mails(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a mailbox, with its own quoting of lines undone (RFC 4155, mboxrd)."""
    starts = list(_FROM.finditer(data))
    ends = [*(found.start() for found in starts[1:]), len(data)]
    for found, end in zip(starts, ends, strict=True):
        yield _QUOTED.sub(rb"\1", data[found.end() : end])
