"""Reads the chapters of an e-book (EPUB) in the order in which people read them."""

from __future__ import annotations

import io
import posixpath
import zipfile
from typing import Any
from urllib.parse import unquote

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_text
from ragwright.retrievers.documents.office_parts import markup
from ragwright.retrievers.documents.opening import UnreadableFile

_CONTAINER, _LOCKS = "META-INF/container.xml", "META-INF/encryption.xml"
_TYPEFACES = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""How typefaces are made unusable outside of a book, which locks no text."""
_SAID = (("Authors", "creator"), ("Publisher", "publisher"), ("Description", "description"))


def book_text(data: bytes) -> FileText:
    """Return what a book says of itself, and its chapters; each knows its number.

    Raises:
        UnreadableFile: It is none, or its text is locked.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if _CONTAINER not in archive.namelist():
            raise UnreadableFile("it is no .epub file")
        if _is_locked(archive):
            raise UnreadableFile("it is locked (DRM)")
        place = _first(markup(archive.read(_CONTAINER)), "rootfile", "full-path")
        if place not in archive.namelist():
            raise UnreadableFile("it has no content")
        package = markup(archive.read(place))
        made = FileText(next(iter(_texts(package, "title")), ""), "")
        said = ((name, ", ".join(_texts(package, key))) for name, key in _SAID)
        made.text = "\n".join(f"{name}: {value}" for name, value in said if value)
        for number, path in enumerate(_chapters(package, posixpath.dirname(place)), start=1):
            _add(made, archive, number, path)
    return made


def _add(made: FileText, archive: zipfile.ZipFile, number: int, path: str) -> None:
    if path not in archive.namelist():
        made.notes.append(f"its chapter {number} ({path}) is not in it")
        return
    try:
        _, text = html_text(archive.read(path))
    except UnreadableFile as error:
        made.notes.append(f"its chapter {number} ({path}) is not read: {error}")
        return
    if text:
        made.text += "\n\n" if made.text else ""
        made.places.append((len(made.text), {"chapter": number}))
        made.text += text


def _chapters(package: Any, folder: str) -> list[str]:
    """Return where the parts of a book lie that are read one after the other, each once."""
    files = {tag.get("id"): str(tag.get("href", "")) for tag in package.iter("{*}item")}
    order = [files.get(tag.get("idref"), "") for tag in package.iter("{*}itemref")]
    places = (posixpath.normpath(posixpath.join(folder, unquote(path))) for path in order if path)
    return list(dict.fromkeys(places))


def _is_locked(archive: zipfile.ZipFile) -> bool:
    """Tell whether more than typefaces is encrypted."""
    if _LOCKS not in archive.namelist():
        return False
    methods = markup(archive.read(_LOCKS)).iter("{*}EncryptionMethod")
    return any(tag.get("Algorithm") not in _TYPEFACES for tag in methods)


def _first(root: Any, name: str, attribute: str) -> str:
    return next((str(tag.get(attribute, "")) for tag in root.iter(f"{{*}}{name}")), "")


def _texts(package: Any, name: str) -> list[str]:
    """Return what a book says of itself by a name of Dublin Core."""
    from bs4 import BeautifulSoup

    found = package.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}")
    pages = (BeautifulSoup("".join(tag.itertext()), "lxml").get_text(" ") for tag in found)
    return [text for page in pages if (text := " ".join(page.split()))]
