"""Reads e-mails, mailboxes, saved web pages, notebooks and RTF as people see them.

No transfer encodings and no pictures; attachments as they are.
"""

from __future__ import annotations

import base64
import email
import json
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

from ragwright.retrievers.documents.columns import heading_of, row_as_line
from ragwright.retrievers.documents.decoding import WESTERN, decode_text
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.frontmatter import BadFrontMatter, split_front_matter
from ragwright.retrievers.documents.html import html_text
from ragwright.retrievers.documents.markdown_html import holds_markup, shown_markdown
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.plain import READERS, seen

MAILBOXES = frozenset({".mbox", ".mbx"})
MESSAGES = frozenset({".eml", ".emlx"})
_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_OBJECT = re.compile(r"|<(?:IPython|Figure|AxesSubplot|Axes)\b[^\n]{0,200}>")
_OVERWRITTEN = re.compile(r"(?<![^\r\n])[^\r\n]*\r(?=[^\n])")
"""What a bar of progress showed before; a terminal shows what came last."""
_ASIDE = re.compile(r"\{\s?\\(footnote|header[lrf]?|footer[lrf]?)(?![a-z])")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_RTF_TITLE = re.compile(r"\{\\title ([^{}\\]{1,300})\}")
_ROWS = re.compile(r"(?m)(?:^[^\n]*\|\n)+")
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, IndexError, RecursionError)
"""What Python's parser of mails raises of headers that are none."""
_LONGEST_HEADER = 20_000
_MOST_FORWARDED = 8
"""Messages in messages, at most."""
_MOST_ATTACHED = 100
_FROM = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


def is_mailbox(data: bytes) -> bool:
    """Whether a file begins as every mailbox does."""
    return _FROM.match(data) is not None


def mailbox_messages(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a mailbox, with its own quoting of lines undone (RFC 4155, mboxrd)."""
    starts = list(_FROM.finditer(data))
    ends = [*(found.start() for found in starts[1:]), len(data)]
    for found, end in zip(starts, ends, strict=True):
        yield _QUOTED.sub(rb"\1", data[found.end() : end])


def message_of(data: bytes, suffix: str) -> bytes:
    """Return the message in a file; Apple Mail's (`.emlx`) say its length first."""
    said, _, rest = data.partition(b"\n")
    length = said.strip()
    return rest[: int(length)] if suffix == ".emlx" and length[:12].isdigit() else data


def mail_text(data: bytes) -> FileText:
    """Return the head and the body of a message, and of those that it forwards; and attached files.

    Pictures, sound and films are noted by name. A saved web page (MHTML) is a message without a
    sender.
    """
    try:
        message = email.message_from_bytes(data, policy=_Shortened())
        if not isinstance(message, EmailMessage) or not message.keys():
            raise UnreadableFile("it is no message")
        made = _message(message, _MOST_FORWARDED)
    except _BROKEN as error:
        raise UnreadableFile(f"it is damaged: {str(error) or type(error).__name__}") from error
    return made


class _Shortened(EmailPolicy):
    """Python's own, with headers cut: the time that it takes to read one grows by the square."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        most = _LONGEST_HEADER if name.title() in _SHOWN else _LONGEST_HEADER // 10
        return name, value[:most]


def _message(message: EmailMessage, deeper: int) -> FileText:
    heads = {name: _header(message, name) for name in _SHOWN}
    head = "\n".join(f"{name}: {value}" for name, value in heads.items() if value)
    texts = [head, _body(message)] if heads["From"] else [_body(message)]
    names: list[str] = []
    attached: list[tuple[str, str]] = []
    for part in message.iter_attachments():
        inner = part.get_content() if part.get_content_type() == "message/rfc822" else None
        if deeper and isinstance(inner, EmailMessage):
            forwarded = _message(inner, deeper - 1)
            texts += [f"Forwarded: {forwarded.title}", forwarded.text]
            attached += forwarded.attached
        elif _is_file(part) and len(attached) < _MOST_ATTACHED:
            attached.append((part.get_filename("file"), _in_base64(part)))
        elif _is_text(part) and not part.get_filename():  # behind a picture, say
            texts.append(_part(part))
        else:
            names.append(part.get_filename() or "without a name")
    if not any(name.lower().endswith(".ics") for name, _ in attached):
        texts += [_invitation(part) for part in _leaves(message) if _is_invitation(part)]
    notes = [f"its attachments are not read: {', '.join(names)}"] if names else []
    return FileText(
        heads["Subject"], "\n\n".join(filter(None, texts)).strip(), notes=notes, attached=attached
    )


def _leaves(message: Any) -> Iterator[Any]:
    """Yield the parts of a message that have no parts, without those of messages in it."""
    if message.get_content_type() == "message/rfc822":
        return
    if not message.is_multipart():
        yield message
        return
    for part in message.iter_parts():
        yield from _leaves(part)


def _is_invitation(part: Any) -> bool:
    """Tell whether a part is a meeting, which stands beside the text that programs show."""
    return part.get_content_type() == "text/calendar" and not part.is_attachment()


def _invitation(part: Any) -> str:
    return READERS[".ics"](_part(part)).text.strip()


def _is_file(part: Any) -> bool:
    """Tell whether a part is a file that may hold text: no picture, and no signature."""
    seen = part.get_content_maintype() in {"image", "audio", "video", "multipart", "message"}
    signed = part.get_content_subtype().endswith("signature")
    return bool(part.get_filename()) and not seen and not signed


def _in_base64(part: Any) -> str:
    plain = part.get_content_maintype() == "text" and part.get_content_subtype() != "html"
    data = _in_utf8(part) if plain else part.get_payload(decode=True) or b""
    return base64.b64encode(data).decode()


def _in_utf8(part: Any) -> bytes:
    """Return what a part holds; in UTF-8 if it says truly what it is written in."""
    raw: bytes = part.get_payload(decode=True) or b""
    charset = part.get_content_charset("") or ""
    try:
        return raw.decode(WESTERN.get(charset, charset)).encode()
    except (LookupError, UnicodeError):
        return raw


def _header(message: EmailMessage, name: str) -> str:
    """Return a header as people read it; as it was sent where Python's parser breaks on it."""
    try:
        said = str(message.get(name, ""))
    except _BROKEN:
        sent = (value for one, value in message.raw_items() if one.casefold() == name.casefold())
        said = str(next(sent, ""))
    return " ".join(said.split())


def _body(message: EmailMessage) -> str:
    for kind in ("plain", "html"):  # some leave the plain side blank
        found = message.get_body((kind,))
        if found is not None and (text := _part(found)):
            return text
    return "\n\n".join(filter(None, (_part(part) for part in message.walk() if _is_text(part))))


def _is_text(part: Any) -> bool:
    return part.get_content_maintype() == "text" and not part.is_attachment()


def _part(part: Any) -> str:
    raw = _in_utf8(part)
    if part.get_content_subtype() == "html":
        return html_text(raw)[1]
    return decode_text(raw).text.strip() if raw else ""


def notebook_text(data: bytes) -> FileText:
    """Return the cells of a Jupyter notebook: text, code, and what it printed.

    Raises:
        UnreadableFile: It is none.
    """
    try:
        book = json.loads(data)
        cells = book["cells"] if "cells" in book else book["worksheets"][0]["cells"]
        made = "\n\n".join(filter(None, (text for cell in cells for text in _cell(cell, book))))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UnreadableFile(f"it is no notebook: {type(error).__name__}") from error
    return FileText(_book_title(cells), seen(made))


def _book_title(cells: Any) -> str:
    """Return the title in front matter, which some tools read in the first cell."""
    first = cells[0] if cells else {}
    if first.get("cell_type") == "code":
        return ""
    try:
        front, _ = split_front_matter(_joined(first.get("source", "")))
    except BadFrontMatter:
        return ""
    title = front.get("title")
    return title if isinstance(title, str) else ""


def _without_front(text: str) -> str:
    try:
        return split_front_matter(text)[1].strip()
    except BadFrontMatter:
        return text


def _cell(cell: Any, book: Any) -> Iterator[str]:
    text = _joined(cell.get("source", cell.get("input", ""))).strip()
    if cell.get("cell_type") != "code":
        text = _without_front(text) if text.startswith("---") else text
        yield shown_markdown(text) if holds_markup(text) else text
        return
    language = book.get("metadata", {}).get("language_info", {}).get("name", "")
    if text:
        yield f"```{language}\n{text}\n```"
    for output in cell.get("outputs", ()):
        yield _shown(output, output.get("data", output))


def _shown(output: Any, data: Any) -> str:
    """Return what a cell showed: an error, what is meant for people, or what was printed."""
    if output.get("output_type") in {"error", "pyerr"}:
        return f"```\n{output.get('ename', '')}: {output.get('evalue', '')}\n```"
    printed = _joined(output.get("text", data.get("text/plain", "")))
    printed = _OVERWRITTEN.sub("", printed.replace("\r\n", "\n")).strip()
    if _OBJECT.fullmatch(printed):  # stands for what is beside it
        printed = ""
        if written := _joined(data.get("text/markdown", "")).strip():
            return written
        if page := _joined(data.get("text/html", "")):
            return html_text(page.encode("utf-8", "replace"))[1]
    return f"```\n{printed}\n```" if printed else ""


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def rtf_text(data: bytes) -> FileText:
    """Return the text of an RTF document.

    Raises:
        UnreadableFile: It is none.
    """
    from striprtf.striprtf import rtf_to_text

    if not data.lstrip().startswith(b"{\\rtf"):
        raise UnreadableFile("it is no .rtf file")
    source = data.decode("latin-1")
    title = _RTF_TITLE.search(source)
    text = rtf_to_text(_opened(source), errors="replace").strip()
    return FileText(title[1].strip() if title else "", _ROWS.sub(_rows, text))


def _opened(source: str) -> str:
    """Return RTF whose notes stand in brackets where their marks do, and whose heads are text."""
    parts, at = list[str](), 0
    while found := _ASIDE.search(source, at):
        end = _group_end(source, found.end())
        inner = _opened(source[found.end() : end])
        note = found[1] == "footnote"
        parts += [source[at : found.start()], "{ [" if note else "{\\pard ", inner]
        parts.append("]}" if note else "\\par}")
        at = end + 1
    return "".join([*parts, source[at:]])


def _group_end(source: str, start: int) -> int:
    """Return where the group ends that `start` lies in."""
    depth = 1
    for brace in _BRACE.finditer(source, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return brace.start()
    return len(source)


def _rows(table: re.Match[str]) -> str:
    """Return rows of cells as lines that say their columns."""
    rows = [[cell.strip() for cell in line.split("|")[:-1]] for line in table[0].splitlines()]
    found = heading_of(rows)
    names = [" | ".join(filter(None, found.names))] if found.rows else []
    above = [" | ".join(filter(None, row)) for row in rows[: found.before]]
    below = [row_as_line(row, found.names) for row in rows[found.before + found.rows :]]
    return "\n".join([*above, *names, *below]) + "\n"
