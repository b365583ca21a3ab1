"""Reads what the converters of Office files leave out: headers, notes on cells, text boxes, and
the words of a diagram.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import Any

_MOST_POINTS = 2_000
PAGE_NUMBER = re.compile(r"(?:page|seite|p\.|of|von|de|sur|\d|\W)++", re.IGNORECASE)


def markup(data: bytes) -> Any:
    """Return the root of a part's markup; an empty element if it has none."""
    from lxml import etree

    parser = etree.XMLParser(resolve_entities=False, no_network=True, recover=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:  # nothing of it is markup
        root = None
    return etree.Element("none") if root is None else root


def related(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str]]:
    """Yield the parts that a part refers to, each with its kind: ("comments", "xl/comments1.xml").

    Only parts that are there are given.
    """
    folder, name = posixpath.split(part)
    there = {*archive.namelist()}
    place = f"{folder}/_rels/{name}.rels"
    for tag in markup(archive.read(place)).iter("{*}Relationship") if place in there else ():
        target = str(tag.get("Target", ""))
        path = target.lstrip("/") if target.startswith("/") else posixpath.join(folder, target)
        path = posixpath.normpath(path)
        if path in there:
            yield str(tag.get("Type", "")).rpartition("/")[2], path


def paragraphs(archive: zipfile.ZipFile, part: str) -> list[str]:
    """Return the paragraphs of a part that hold text, each once."""
    found = (_text(tag) for tag in markup(archive.read(part)).iter("{*}p"))
    return [*dict.fromkeys(text for text in found if text)]


def count(archive: zipfile.ZipFile, part: str, name: str) -> int:
    """Return how many elements of a name a part has; 0 if the part is not there."""
    if part not in archive.namelist():
        return 0
    return sum(1 for _ in markup(archive.read(part)).iter(f"{{*}}{name}"))


def headers(archive: zipfile.ZipFile) -> list[str]:
    """Return what stands at the head and the foot of a Word document's pages, without numbers."""
    parts = [
        name for name in archive.namelist() if re.match(r"word/(?:header|footer)\d*\.xml", name)
    ]
    texts = [text for name in sorted(parts, reverse=True) for text in paragraphs(archive, name)]
    return [text for text in dict.fromkeys(texts) if not PAGE_NUMBER.fullmatch(text)]


def diagrams(archive: zipfile.ZipFile, part: str) -> list[str]:
    """Return the words of the diagrams (SmartArt) on a slide, a sheet's drawing or in a text."""
    found = [path for kind, path in related(archive, part) if kind == "diagramData"]
    return [text for path in found for text in paragraphs(archive, path)]


def charts(archive: zipfile.ZipFile, part: str) -> list[str]:
    """Return the charts in a text or a sheet's drawing: titles, and a line a category."""
    found = [path for kind, path in related(archive, part) if kind == "chart"]
    return [line for path in found for line in _chart(markup(archive.read(path)))]


def _chart(root: Any) -> list[str]:
    titles = [_text(tag) for tag in root.iter("{*}title")]
    rows: dict[str, list[str]] = {}
    for number, series in enumerate(root.iter("{*}ser"), start=1):
        name = " ".join(_points(series, "tx")) or f"Series {number}"
        names, values = _points(series, "cat") or _points(series, "xVal"), _points(series, "val")
        for at, value in enumerate((values or _points(series, "yVal"))[:_MOST_POINTS]):
            rows.setdefault(names[at] if at < len(names) else "", []).append(f"{name}: {value}")
    said = [f"Chart: {' / '.join(filter(None, titles))}"] if any(titles) else []
    return [*said, *("; ".join(filter(None, (name, *parts))) for name, parts in rows.items())]


def _points(series: Any, name: str) -> list[str]:
    """Return the names or values of a series as the file keeps them, in their order."""
    found = {
        int(point.get("idx", 0)): " ".join("".join(point.itertext()).split())
        for part in series.findall(f"{{*}}{name}")
        for point in part.iter("{*}pt")
    }
    return [found[at] for at in sorted(found)]


def sheet_remarks(archive: zipfile.ZipFile, part: str) -> list[str]:
    """Return notes on the cells of a sheet, and what stands in boxes and diagrams on it."""
    refers = [*related(archive, part)]
    threads = [path for kind, path in refers if kind == "threadedComment"]
    notes = threads or [path for kind, path in refers if kind == "comments"]
    name = "threadedComment" if threads else "comment"
    said = [
        f"Note at {tag.get('ref', '')}: {text}"
        for path in notes
        for tag in markup(archive.read(path)).iter(f"{{*}}{name}")
        if (text := _text(tag))
    ]
    for path in (path for kind, path in refers if kind == "drawing"):
        said += [*paragraphs(archive, path), *diagrams(archive, path), *charts(archive, path)]
    return said


def comments_on_slides(archive: zipfile.ZipFile) -> int:
    """Return how many comments a presentation has, of either kind."""
    parts = [name for name in archive.namelist() if re.match(r"ppt/comments/[^/]+\.xml", name)]
    return sum(count(archive, part, "cm") for part in parts)


def slides(archive: zipfile.ZipFile) -> list[str]:
    """Return the parts that the slides of a presentation are, in order."""
    main = "ppt/presentation.xml"
    if main not in archive.namelist():
        return []
    rels = markup(archive.read("ppt/_rels/presentation.xml.rels"))
    places = {tag.get("Id"): str(tag.get("Target", "")) for tag in rels.iter("{*}Relationship")}
    ids = [
        value
        for tag in markup(archive.read(main)).iter("{*}sldId")
        for key, value in tag.items()
        if key.endswith("}id")
    ]
    found = (places.get(one, "") for one in ids)
    return [path.lstrip("/") if path.startswith("/") else f"ppt/{path}" for path in found]


def is_hidden(archive: zipfile.ZipFile, slide: str) -> bool:
    """Tell whether a presentation passes over a slide."""
    if slide not in archive.namelist():
        return False
    return markup(archive.read(slide)).get("show") in {"0", "false"}


def _text(tag: Any) -> str:
    texts = (part.text or "" for part in tag.iter("{*}t", "{*}text"))
    return " ".join("".join(texts).split())
