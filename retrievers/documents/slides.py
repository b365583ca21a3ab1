"""Reads the slides of a presentation as Markdown, with the words of their diagrams."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.office_parts import (
    comments_on_slides,
    diagrams,
    is_hidden,
    slides,
)
from ragwright.retrievers.documents.opening import UnreadableFile

_EMBEDDED = re.compile(r"!?\[([^\[\]\n]*+)\]\(\s*+data:[^)\[]*+\)")
_BEHIND_ROW = re.compile(r"(?m)^(\|.*\|)([^|\s][^|\n]*|\|[^|\n].*)$")
"""What the converter writes into the last line of a chart: the next shape of the slide."""
_KINDS = "[Content_Types].xml"
_SHOWS = re.compile(rb"presentationml\.(?:slideshow|template)\.main")
_SLIDE = re.compile(r"<!-- Slide number: (\d+) -->")


def slides_text(data: bytes) -> FileText:
    """Return the text of a presentation, each slide known by its number.

    Raises:
        UnreadableFile: It cannot be converted.
    """
    data = _as_slides(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about their own insides
        from markitdown import MarkItDown, MarkItDownException, StreamInfo

        try:
            found = MarkItDown(enable_plugins=False).convert_stream(
                io.BytesIO(data), stream_info=StreamInfo(extension=".pptx")
            )
        except MarkItDownException as error:
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:200]
            raise UnreadableFile(f"it cannot be converted: {reason}") from error
    hidden = _hidden(data)
    text = _EMBEDDED.sub(r"\1", found.markdown)
    made = _by_slide(found.title or "", text, _drawn(data), hidden)
    made.notes += [f"the slide {number} is hidden, and is not read" for number in hidden]
    if number := _comments(data):
        made.notes.append(f"its {number} comments are not read")
    return made


def _as_slides(data: bytes) -> bytes:
    """Return a slide show or a template as the presentation that it is but for its kind."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        kinds = archive.read(_KINDS) if _KINDS in archive.namelist() else b""
        told = _SHOWS.sub(b"presentationml.presentation.main", kinds)
        if told == kinds:
            return data
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as copy:
            for name in archive.namelist():
                copy.writestr(name, told if name == _KINDS else archive.read(name))
    return made.getvalue()


def _comments(data: bytes) -> int:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return comments_on_slides(archive)


def _drawn(data: bytes) -> dict[int, list[str]]:
    """Return the words of diagrams, by the number of their slide."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {at: diagrams(archive, part) for at, part in enumerate(slides(archive), start=1)}


def _hidden(data: bytes) -> list[int]:
    """Return the numbers of the slides that are not shown."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = enumerate(slides(archive), start=1)
        return [at for at, part in parts if is_hidden(archive, part)]


def _by_slide(
    title: str, text: str, drawn: Mapping[int, Sequence[str]], hidden: Sequence[int]
) -> FileText:
    """Turn the converter's comments between slides into places, and add the words of diagrams."""
    parts = _SLIDE.split(text)
    made = FileText(title, parts[0].strip())
    for number, slide in zip(parts[1::2], parts[2::2], strict=True):
        if int(number) in hidden:
            continue
        made.text += "\n\n" if made.text else ""
        made.places.append((len(made.text), {"slide": int(number)}))
        made.text += _BEHIND_ROW.sub(r"\1\n\n\2", slide.strip())
        made.text += "".join(f"\n{line}" for line in drawn.get(int(number), ()))
    return made
