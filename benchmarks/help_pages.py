"""Translated help pages in, sets of questions for `languages.py` out, by language and kind.

    apt-get download gnome-user-docs && dpkg-deb -x gnome-user-docs_*.deb pages
    python benchmarks/help_pages.py pages/usr/share/help sets
    python benchmarks/languages.py sets/*

A page is asked for by its title, by its translators' summary (neither stands in the text that is
searched), or by one of its sentences, which is taken out of that text. So nothing makes the words
of a question the words of its page. Pages that are not translated, and languages with fewer than
100, are left out.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import regex

from ragwright.retrievers.text.segments import SENTENCE_END

ENGLISH = "C"
LEAST_PAGES = 100
LEAST_TRANSLATED = 0.7
LEAST_SENTENCES = 4
_NAMES = "{http://projectmallard.org/1.0/}"
_SENTENCE = regex.compile(SENTENCE_END, regex.V1)


def dense(language: str) -> bool:
    """Tell whether a language says in a character what others say in two or three."""
    return regex.search(r"\b(?:ja|ko|zh)", language) is not None


@dataclass(frozen=True, slots=True)
class Page:
    """A help page: its title, its summary and its paragraphs."""

    title: str
    summary: str
    paragraphs: tuple[str, ...]


def page_of(file: Path) -> Page:
    root = ElementTree.parse(file).getroot()
    title, summary = root.find(f"{_NAMES}title"), root.find(f"{_NAMES}info/{_NAMES}desc")
    return Page(_text(title), _text(summary), tuple(filter(None, _paragraphs(root, title))))


def _paragraphs(above: ElementTree.Element, title: object) -> Iterator[str]:
    for part in above:
        if part is title or part.tag == f"{_NAMES}info":
            continue
        if part.tag in (f"{_NAMES}p", f"{_NAMES}title"):
            yield _text(part)
        else:
            yield from _paragraphs(part, title)


def _text(part: ElementTree.Element | None) -> str:
    return " ".join("".join(part.itertext()).split()) if part is not None else ""


def pages_of(folder: Path) -> dict[str, Page]:
    """Return the pages of a language that have enough to say, by their names."""
    short = 80 if dense(folder.name) else 200
    pages = {file.stem: page_of(file) for file in sorted(folder.glob("gnome-help/*.page"))}
    return {id: page for id, page in pages.items() if sum(map(len, page.paragraphs)) >= short}


def translated(pages: Mapping[str, Page], english: Mapping[str, Page]) -> dict[str, Page]:
    """Leave out pages of which too much is the English one's."""
    kept = {}
    for id, page in pages.items():
        other = english[id].paragraphs if id in english else ()
        same = sum(paragraph in other for paragraph in page.paragraphs)
        if same <= (1 - LEAST_TRANSLATED) * len(page.paragraphs):
            kept[id] = page
    return kept


def write(folder: Path, texts: Mapping[str, str], questions: Mapping[str, str]) -> None:
    """Write a set as BEIR's are; each question's document has its id."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", texts), ("queries", questions)):
        lines = [json.dumps({"_id": id, "text": text}) + "\n" for id, text in rows.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    judged = "".join(f"{id}\t{id}\t1\n" for id in questions)
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")


def sets_of(name: str, pages: Mapping[str, Page], english: Mapping[str, Page], out: Path) -> None:
    """Write the sets of a language: three, or two where pages have no summary."""
    texts = {id: "\n".join(page.paragraphs) for id, page in pages.items()}
    others = {id: (page.title, page.summary) for id, page in english.items()}
    if name == ENGLISH:
        others = {}
    for at, kind in enumerate(("title", "summary")):
        asked = {id: (page.title, page.summary)[at] for id, page in pages.items()}
        own = {id: text for id, text in asked.items() if text and text not in others.get(id, ())}
        if own:
            write(out / f"{name}-{kind}", texts, own)
    draw = random.Random(0)
    asked = {}
    for id, text in list(texts.items()):
        scale = 2.5 if dense(name) else 1
        sentences = [s for s in _SENTENCE.split(text) if 40 <= scale * len(s) <= 160]
        if len(sentences) >= LEAST_SENTENCES:
            asked[id] = draw.choice(sentences)
            texts[id] = text.replace(asked[id], "")
    write(out / f"{name}-sentence", texts, asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    english = pages_of(given.pages / ENGLISH)
    for folder in sorted(given.pages.iterdir()):
        pages = pages_of(folder)
        if folder.name != ENGLISH:
            pages = translated(pages, english)
        if len(pages) >= LEAST_PAGES:
            sets_of(folder.name, pages, english, given.out)
            print(folder.name, len(pages))


if __name__ == "__main__":
    main()
