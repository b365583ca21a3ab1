"""Files as people have them: every text in them is read, in order, or said to be left out."""

from __future__ import annotations

import base64
import json
import quopri
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.binary import describe_binary
from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.plain import READERS, seen
from ragwright.retrievers.types import Document

WORDS = st.text("abcdeéßжд日本 ", min_size=1, max_size=30).map(str.strip).filter(bool)


def read(folder: Path, name: str, data: bytes) -> tuple[list[Document], list[str]]:
    """Read a folder with this one file; return its documents, and what is said of it."""
    (folder / name).write_bytes(data)
    said: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=said.append, on_note=said.append)
    return list(read_documents(folder, options)), [one.reason for one in said]


def mail(*parts: tuple[str, str], kind: str = "mixed") -> bytes:
    """Return a message of parts, each given by its head and its text."""
    body = "".join(f"--b\r\n{head}\r\n\r\n{text}\r\n" for head, text in parts)
    head = f"From: a@x.org\r\nSubject: s\r\nContent-Type: multipart/{kind}; boundary=b\r\n\r\n"
    return f"{head}{body}--b--\r\n".encode()


PICTURE = ("Content-Type: image/png\r\nContent-Disposition: inline; filename=p.png", "iVBO")
MEETING = "BEGIN:VCALENDAR\r\nSUMMARY:Kick\r\n off\r\nEND:VCALENDAR"


@settings(max_examples=15, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4))
def test_texts_of_a_mail_are_read_behind_its_pictures(texts: list[str]) -> None:
    plain = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit"
    parts = [part for text in texts for part in ((plain, text), PICTURE)]
    found = convert_file(mail(*parts), ".eml", 1 << 20)
    assert found.text.split("\n\n")[1:] == texts
    assert found.notes == [f"its attachments are not read: {', '.join(['p.png'] * len(texts))}"]


def test_a_meeting_beside_the_text_of_a_mail_is_read_once(tmp_path: Path) -> None:
    text = ("Content-Type: text/plain", "You are invited.")
    beside = ("Content-Type: text/calendar; method=REQUEST", MEETING)
    attached = ("Content-Type: text/calendar\r\nContent-Disposition: attachment; filename=i.ics",
                MEETING)  # fmt: skip
    alone = convert_file(mail(text, beside, kind="alternative"), ".eml", 1 << 20)
    assert alone.text.endswith(
        "You are invited.\n\nBEGIN:VCALENDAR\nSUMMARY:Kickoff\nEND:VCALENDAR"
    )
    (first, second), _ = read(tmp_path, "a.eml", mail(text, attached, beside))
    assert ("Kickoff" in first.text, "Kickoff" in second.text) == (False, True)


def test_a_mail_of_apple_mail_is_a_mail(tmp_path: Path) -> None:
    sent = b"From: a@x.org\nSubject: Leave\n\nThirty days.\n"
    data = f"{len(sent)}   \n".encode() + sent + b"<?xml version='1.0'?><plist></plist>"
    (document,), _ = read(tmp_path, "1.emlx", data)
    assert (document.title, document.text.split("\n")[-1]) == ("Leave", "Thirty days.")


@settings(deadline=None)
@given(WORDS, st.sampled_from(["utf-8", "utf-16-le"]), st.integers(5, 80))
def test_cards_of_old_telephones_are_read(name: str, charset: str, width: int) -> None:
    raw = "".join(f"={byte:02X}" for byte in name.encode(charset))
    steps = range(0, len(raw), 3 * width)
    folded = "=\n".join(raw[at : at + 3 * width] for at in steps)
    card = f"BEGIN:VCARD\nFN;CHARSET={charset};ENCODING=QUOTED-PRINTABLE:{folded}\nTEL:1\n"
    assert READERS[".vcf"](card).text == f"BEGIN:VCARD\nFN:{name}\nTEL:1\n"
    if charset == "utf-8":
        again = quopri.encodestring(name.encode()).decode()
        assert READERS[".vcf"](f"N;QUOTED-PRINTABLE:{again}\n").text == f"N:{name}\n"


@settings(deadline=None)
@given(st.binary(min_size=100, max_size=300), WORDS)
def test_pictures_in_base64_and_colours_are_left_out(picture: bytes, text: str) -> None:
    data = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    assert seen(f"![{text}]({data}) \x1b[1;31m{text}\x1b[0m") == f"![{text}]() {text}"
    assert READERS[".vcf"](f"PHOTO:{data}\nFN:{text}\n").text == f"FN:{text}\n"
    printed = {"output_type": "stream", "text": f"\x1b[31m{text}\x1b[0m"}
    cells = [{"cell_type": "markdown", "source": f"![a]({data})"},
             {"cell_type": "code", "source": "", "outputs": [printed]}]  # fmt: skip
    book = convert_file(json.dumps({"cells": cells}).encode(), ".ipynb", 1000)
    assert book.text == f"![a]()\n\n```\n{text}\n```"


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.ps", b"%!PS-Adobe-3.0\n(Hello) show\n", "it is PostScript, a program that prints"),
        ("winmail.dat", b"\x78\x9f\x3e\x22abc", "it is of Outlook (winmail.dat, TNEF): unpack it"),
    ],
)
def test_what_only_looks_like_text_is_refused(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    found, said = read(tmp_path, name, data)
    assert not found
    assert said[0].startswith(reason)


@pytest.mark.parametrize("head", [b"ARROW1\0\0", b"\x93NUMPY", b"\0\1\0\0", b"wOF2", b"bplist00"])
def test_binary_files_are_called_by_their_kind(head: bytes) -> None:
    assert ": " in describe_binary(head + bytes(9))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("The “fee” costs 5 € – naïve café résumé", "cp1252"),
        ("Größe und Straße für Übermut, älter als Öl", "cp850"),
        ("Größe und Straße für Übermut, älter als Öl", "mac-roman"),
    ],
)
def test_a_few_words_are_read_rightly_or_refused(tmp_path: Path, text: str, encoding: str) -> None:
    found, said = read(tmp_path, "a.txt", text.encode(encoding))
    assert [one.text for one in found] in ([text], [])
    assert said
    assert found or encoding != "cp1252"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".tab", ".psv", ".xls"])
def test_a_table_has_its_columns_under_any_of_its_names(tmp_path: Path, suffix: str) -> None:
    separator = {".csv": ";", ".psv": "|"}.get(suffix, "\t")
    rows = "\n".join(separator.join(row) for row in (["Part", "Price"], ["Bolt", "1,20"]))
    (document,), _ = read(tmp_path, f"a{suffix}", rows.encode())
    assert document.text == "Part | Price\nPart: Bolt; Price: 1,20\n"


@pytest.mark.parametrize("name", ["app.min.js", "style.css", "app.js.map", "search.mjs"])
def test_what_is_packed_for_browsers_is_no_document(tmp_path: Path, name: str) -> None:
    packed = b"/*! x */\n!function(e){" + b"a=b;" * 2000 + b"}();\n"
    found, reasons = read(tmp_path, name, packed)
    assert (found, len(reasons)) == ([], 1)
    assert "packed for browsers" in reasons[0]
    (document,), _ = read(tmp_path, name, b"function hello() {\n  return 1;\n}\n" * 200)
    assert document.text.startswith("function hello")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("package-lock.json", '{"lockfileVersion": 3}', "package manager"),
        ("id_rsa", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3B\n", "a key"),
        ("ca.pem", "\n-----BEGIN CERTIFICATE-----\nMII\n", "certificate"),
        ("a.json", '{"lockfileVersion": 3}', ""),
        ("signed.txt", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nHello.\n", ""),
        ("keys.md", "A key begins so:\n\n    -----BEGIN PRIVATE KEY-----\n", ""),
    ],
)
def test_keys_and_lists_of_package_managers_are_no_documents(
    tmp_path: Path, name: str, data: str, reason: str
) -> None:
    found, said = read(tmp_path, name, data.encode())
    assert len(found) == (not reason)
    assert [reason in one for one in said] == [True] * bool(reason)


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("A.\n\n<!-- TODO: hide\n\nthis -->\n\nB.", "A.\n\n\nB."),
        ("- one\n\n  <!-- in a list -->\n  two\n", "- one\n\n  two\n"),
        ("<!-- lint -->\n<!-- lint -->\nText.", "Text."),
        ("```html\n<!-- shown -->\n```\n", "```html\n<!-- shown -->\n```\n"),
        ("<!-- never closed\n\nText.", "<!-- never closed\n\nText."),
        ("<!-- a --> Text. <!-- b -->", "Text."),
    ],
)
def test_comments_of_markdown_are_no_text(tmp_path: Path, written: str, read_as: str) -> None:
    (document,), _ = read(tmp_path, "a.md", written.encode())
    assert document.text == read_as
