"""More translated texts in, sets of questions for `languages.py` out: of languages that are rare.

    apt-get download libreoffice-help-en-us libreoffice-help-hi libreoffice-help-km ...
    for file in *.deb; do dpkg-deb -x "$file" office; done
    python benchmarks/translated.py office/usr/share/libreoffice/help sets
    dpkg-deb -e partman-base_*.udeb installer/partman-base     # and others of debian-installer
    python benchmarks/translated.py installer sets
    python benchmarks/languages.py sets/*

Help pages of LibreOffice, and what Debian's installer says (its debconf templates, in 75
languages). A text is asked for by its title, which does not stand in it, or by one of its
sentences, which is taken out of it. What is not translated is left out.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import defaultdict
from pathlib import Path

import regex
from lxml import html

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.help_pages import ENGLISH, Page, dense, sets_of  # noqa: E402

LEAST_TEXTS = 40
MOST_PAGES = 300
_TEMPLATE = regex.compile(r"(?m)^Description(?:-([\w@]+))?(?:\.UTF-8)?: (.+)\n((?: .*\n?)+)")
_VARIABLE = regex.compile(r"\$\{[^}]*\}")
_BLOCKS = "//*[@id='DisplayArea']//*[self::p or self::h2 or self::h3 or self::td[not(.//p)]]"
_TITLES = "//*[@id='DisplayArea']//h1"

Pages = dict[str, Page]


def help_of(folder: Path, english: Path) -> Pages:
    """Return the help pages of a language, without what stands in the English ones too."""
    files = sorted(file.relative_to(folder) for file in folder.rglob("*.html"))
    random.Random(0).shuffle(files)
    pages: Pages = {}
    for file in files:
        if len(pages) == MOST_PAGES:
            break
        page = _help_page(folder / file)
        if (english / file).is_file() and folder != english:
            other = _help_page(english / file)
            page = Page(
                page.title if page.title != other.title else "",
                "",
                tuple(part for part in page.paragraphs if part not in other.paragraphs),
            )
        if _says_enough(page, folder.parent.name):
            pages[str(file)] = page
    return pages


def _help_page(file: Path) -> Page:
    root = html.fromstring(file.read_bytes())
    texts = [" ".join(part.text_content().split()) for part in root.xpath(_BLOCKS)]
    titles = [" ".join(part.text_content().split()) for part in root.xpath(_TITLES)]
    return Page(titles[0] if titles else "", "", tuple(dict.fromkeys(filter(None, texts))))


def templates_of(folder: Path) -> dict[str, Pages]:
    """Return what debconf templates say at length, by language; each text and title once."""
    found: dict[str, Pages] = defaultdict(dict)
    seen = set()
    for file in sorted(folder.rglob("templates")):
        for number, template in enumerate(file.read_text(encoding="utf-8").split("\n\n")):
            for language, title, body in _TEMPLATE.findall(f"{template}\n"):
                name = language or ENGLISH
                parts = " ".join(_VARIABLE.sub(" ", body).split()).split(" . ")
                page = Page(_VARIABLE.sub(" ", title).strip(), "", tuple(filter(None, parts)))
                told = {(name, page.title), (name, page.paragraphs)}
                if _says_enough(page, name) and not told & seen:
                    found[name][f"{file.parent.name}-{number}"] = page
                    seen |= told
    return found


def _says_enough(page: Page, language: str) -> bool:
    return sum(map(len, page.paragraphs)) >= (40 if dense(language) else 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    english = given.texts / "en-US" / "text"
    if english.is_dir():
        kind, found = (
            "office",
            {
                folder.parent.name: help_of(folder, english)
                for folder in sorted(given.texts.glob("*/text"))
            },
        )
    else:
        kind, found = "installer", templates_of(given.texts)
    for name, pages in sorted(found.items()):
        if len(pages) >= LEAST_TEXTS:
            sets_of(f"{kind}-{name}", pages, {}, given.out)
            print(kind, name, len(pages))


if __name__ == "__main__":
    main()
