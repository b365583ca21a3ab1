"""Documents that name other files and servers: no file is read for them, nobody is asked."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest

from ragwright.retrievers.documents import ReadOptions, read_documents

pytestmark = pytest.mark.slow

SECRET = "the-secret-of-another-file"
OOXML = "http://schemas.openxmlformats.org"
PACKAGE = f"{OOXML}/package/2006"
OFFICE = f"{OOXML}/officeDocument/2006/relationships"
WORD = f"{OOXML}/wordprocessingml/2006/main"
OPEN = "urn:oasis:names:tc:opendocument:xmlns"


@pytest.fixture
def asked() -> Iterator[tuple[str, list[bytes]]]:
    """An address, and what it was sent."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    heard.append(connection.recv(100))

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/x", heard


def packed(**files: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return held.getvalue()


def word(body: str, relations: str = "", head: str = "") -> bytes:
    kinds = (
        f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType='
        '"application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" '
        'ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>'
        "</Types>"
    )
    root = f'<Relationship Id="r" Type="{OFFICE}/officeDocument" Target="word/document.xml"/>'
    listed = f'<Relationships xmlns="{PACKAGE}/relationships">'
    return packed(**{
        "[Content_Types].xml": kinds,
        "_rels/.rels": f"{listed}{root}</Relationships>",
        "word/_rels/document.xml.rels": f"{listed}{relations}</Relationships>",
        "word/document.xml": f'{head}<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>hello'
        f"</w:t></w:r></w:p>{body}</w:body></w:document>",
        "../../../../tmp/slipped-out": "x",
    })  # fmt: skip


def picture(target: str, mode: str) -> bytes:
    """A document whose picture lies elsewhere."""
    relation = f'<Relationship Id="p" Type="{OFFICE}/image" Target="{target}" TargetMode="{mode}"/>'
    template = relation.replace('"p"', '"t"').replace("/image", "/attachedTemplate")
    drawing = f"{OOXML}/drawingml/2006"
    body = (
        f'<w:p><w:r><w:drawing><wp:inline xmlns:wp="{drawing}/wordprocessingDrawing"><a:graphic '
        f'xmlns:a="{drawing}/main"><a:graphicData><pic:pic xmlns:pic="{drawing}/picture">'
        f'<pic:blipFill><a:blip xmlns:r="{OFFICE}" r:embed="p" r:link="p"/></pic:blipFill>'
        "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    )
    return word(body, relation + template)


def opened(inside: str, head: str = "") -> bytes:
    content = (
        f'{head}<office:document-content xmlns:office="{OPEN}:office:1.0" '
        f'xmlns:text="{OPEN}:text:1.0" xmlns:draw="{OPEN}:drawing:1.0" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"><office:body><office:text><text:p>hello</text:p>'
        f"{inside}</office:text></office:body></office:document-content>"
    )
    mimetype = "application/vnd.oasis.opendocument.text"
    return packed(**{"mimetype": mimetype, "content.xml": content})


def mail(page: str) -> bytes:
    message = EmailMessage()
    message["Subject"] = "hello"
    message.set_content("hello")
    message.add_alternative(page, subtype="html")
    return bytes(message)


def documents(file: str, url: str) -> dict[str, str | bytes]:
    """Files that name another file, by its path and as `file://`, and a server."""
    named = f"file://{file}"
    entities = (
        f'<!DOCTYPE r [<!ENTITY a SYSTEM "{named}"><!ENTITY b SYSTEM "{url}">'
        f'<!ENTITY % p SYSTEM "{url}.dtd">%p;]>'
    )
    page = (
        f'<html><head><base href="{url}"><link rel="stylesheet" href="{url}">'
        f'<script src="{url}"></script></head><body><img src="{url}"><iframe src="{named}">'
        f'</iframe><object data="{named}"></object><p>hello</p></body></html>'
    )
    links = "".join(
        f'<draw:frame><draw:{kind} xlink:href="{target}"/></draw:frame>'
        for kind in ("image", "object")
        for target in (url, named, f"../../../..{file}")
    )
    code = {
        "cell_type": "code", "source": [f"!cat {file}"], "execution_count": 1, "metadata": {},
        "outputs": [{"output_type": "display_data", "metadata": {},
                     "data": {"text/html": [f"<img src='{url}'>", "hello"]}}],
    }  # fmt: skip
    return {
        "page.html": page,
        "strict.xhtml": f"{entities}<html><body><p>hello &a; &b;</p></body></html>",
        "data.xml": f"{entities}<r>hello &a;&b;</r>",
        "drawing.svg": f'{entities}<svg><text>hello &a;</text><image href="{url}"/></svg>',
        "note.md": f"# hello\n![x]({url}) ![y]({named})",
        "note.rst": f".. include:: {file}\n\n.. image:: {url}\n\nhello",
        "note.tex": f"\\input{{{file}}} hello",
        "manual.1": f".TH A 1\n.so {file}\n.SH NAME\nhello",
        "field.rtf": f'{{\\rtf1 hello {{\\field{{\\*\\fldinst INCLUDETEXT "{file}"}}}}}}',
        "letter.eml": mail(page),
        "book.ipynb": json.dumps({"nbformat": 4, "cells": [code], "metadata": {}}),
        "far.docx": picture(url, "External"),
        "near.docx": picture(named, "External"),
        "up.docx": picture(f"../../../..{file}", "Internal"),
        "entity.docx": word("<w:p><w:r><w:t>&a;&b;</w:t></w:r></w:p>", head=entities),
        "links.odt": opened(links),
        "entity.odt": opened("<text:p>&a;&b;</text:p>", head=entities),
    }


def test_what_a_document_names_is_neither_read_nor_asked_for(
    tmp_path: Path, asked: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    url, heard = asked
    other = tmp_path / "other.txt"
    other.write_text(SECRET)
    folder = tmp_path / "documents"
    folder.mkdir()
    held = documents(str(other), url)
    for name, content in held.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    (folder / "link.txt").symlink_to(other)
    os.mkfifo(folder / "pipe.txt")
    read = {one.id: one.text for one in read_documents(folder, ReadOptions(on_error="skip"))}
    assert set(held) - set(read) == {"entity.docx", "entity.odt"}
    assert all("hello" in text for text in read.values())
    assert not [name for name, text in read.items() if SECRET in text]
    assert not heard
    assert not Path("/tmp/slipped-out").exists()
