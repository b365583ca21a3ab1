"""Imports a training set of another tool, with document names matched to those of an index.

Other tools name a document by a title, by an id of their own, or not at all: what an index calls it
is found by the id, by the title, and by the sentences of the paragraph that the source has of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from ragwright.optimize.questions.data import PlacedRow, Question, rows_with_places
from ragwright.optimize.questions.formats import UNANSWERABLE, check_format
from ragwright.optimize.retrieval.labels import label
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text import normalized_words, sentence_ends
from ragwright.retrievers.types import Chunk, content_hash

SHORTEST = 30
"""Characters of a sentence below which it may stand anywhere."""
_PLACE = re.compile(r"[#?].*", re.DOTALL)
"""What an address says of the place in a file."""
_SEVERAL = re.compile(r"[,;|\n]")
"""What stands between the names of several documents."""
ENOUGH = 0.5
"""Share of a paragraph's sentences that a document has to hold to be the one meant."""


@dataclass(frozen=True)
class ImportedSet:
    """What was read.

    Attributes:
        rows: Lines of a training set in our own form, unanswerable questions last.
        questions: How many of them have an answer, evidence or documents.
        unanswerable: How many have nothing that answers them.
        unanswered: How many have evidence or documents, and no answer: good for retrieval alone.
        duplicates: How many rows ask what another asks, and gave their labels to that one.
        matched: How many questions had a document of the index found for them, where the source
            calls it otherwise.
        unknown: Ids of questions whose documents and evidence the index does not hold.
    """

    rows: tuple[Mapping[str, Any], ...]
    questions: int
    unanswerable: int
    unanswered: int
    duplicates: int
    matched: int = 0
    unknown: tuple[str, ...] = ()


def import_questions(
    path: Path, *, form: str = "", chunks: Iterable[Chunk] | None = None
) -> ImportedSet:
    """Read a training set of another tool.

    Args:
        path: A file, or a folder in BEIR's form.
        form: One of `formats.FORMS`; told by each row's keys if it is empty.
        chunks: Those of the index that the questions will be asked of; None leaves documents named
            as they are.

    Raises:
        InputError: It cannot be read, a row is in no known form, or there is no question in it.
    """
    check_format(form)
    kept, unanswerable, duplicates = _distinct(
        rows_with_places(path, form=form, answered=False, by_names=True)
    )
    if not kept and not unanswerable:
        raise InputError(
            f"{str(path)!r} holds no question.", hint="docs/training-set.md shows every format."
        )
    questions = [_naming_files(row.question, row.names) for row in kept if row.question]
    matched, unknown = 0, tuple[str, ...]()
    if chunks is not None:
        questions, matched, unknown = _matched(kept, list(chunks))
    rows = [_row(question) for question in questions]
    rows += [{"question": asked, UNANSWERABLE: True} for asked in unanswerable]
    return ImportedSet(
        rows=tuple(rows),
        questions=len(questions),
        unanswerable=len(unanswerable),
        unanswered=sum(not question.answers for question in questions),
        duplicates=duplicates,
        matched=matched,
        unknown=unknown,
    )


def _distinct(rows: Iterable[PlacedRow]) -> tuple[list[PlacedRow], list[str], int]:
    """Return rows of new questions, unanswerable questions, and how many ask what another asks.

    An id that occurs twice is made unique, for nobody can mend another tool's file.
    """
    kept: dict[str, PlacedRow] = {}
    unanswerable: dict[str, str] = {}
    ids: set[str] = set()
    read = 0
    for row in rows:
        plain = " ".join(row.asked.casefold().split())
        read += bool(plain)
        if row.question is None:
            if plain:
                unanswerable.setdefault(plain, row.asked)
        elif plain not in kept:
            question = row.question
            if question.id in ids:
                question = replace(question, id=content_hash(question.id, plain)[:12])
            ids.add(question.id)
            kept[plain] = replace(row, question=question)
        else:
            kept[plain] = _joined(kept[plain], row)
    nothing = [asked for plain, asked in unanswerable.items() if plain not in kept]
    return list(kept.values()), nothing, read - len(kept) - len(nothing)


def _joined(first: PlacedRow, row: PlacedRow) -> PlacedRow:
    if first.question is None or row.question is None:
        return first
    paragraphs = tuple(dict.fromkeys((*first.paragraphs, *row.paragraphs)))
    names = tuple(dict.fromkeys((*first.names, *row.names)))
    question = first.question.joined(row.question)
    return replace(first, question=question, paragraphs=paragraphs, names=names)


def _naming_files(question: Question, names: Sequence[str]) -> Question:
    """Of what documents may be called, keep names of files where no index can tell."""
    return question if question.documents else _renamed(question, _files(names))


def _files(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if PurePosixPath(name).suffix[1:].isalnum())


def _matched(
    rows: Sequence[PlacedRow], chunks: Sequence[Chunk]
) -> tuple[list[Question], int, tuple[str, ...]]:
    names = _Names(chunks)
    asked = [row.question for row in rows if row.question is not None]
    by_name = [
        names.of((*question.documents, *row.names))
        for row, question in zip(rows, asked, strict=True)
    ]  # fmt: skip
    texts = [
        row.paragraphs or question.evidence
        for row, question in zip(rows, asked, strict=True)
    ]  # fmt: skip
    open_rows = [
        place
        for place, question in enumerate(asked)
        if texts[place] and len(by_name[place]) < max(1, len(question.documents))
    ]
    by_text = dict(zip(open_rows, _holding([texts[at] for at in open_rows], chunks), strict=True))
    found, unknown, matched = [], [], 0
    for place, (row, question) in enumerate(zip(rows, asked, strict=True)):
        documents = tuple(dict.fromkeys((*by_name[place], *by_text.get(place, ()))))
        matched += bool(documents) and documents != question.documents
        if not documents and (question.documents or question.evidence or _files(row.names)):
            unknown.append(question.id)
        found.append(_renamed(question, documents))
    return found, matched, tuple(unknown)


def _renamed(question: Question, documents: tuple[str, ...]) -> Question:
    """Let a question name the index's documents; its group follows where it was one of them."""
    if not documents:
        return question
    alone = question.group in {question.id, *question.documents}
    return replace(question, documents=documents, group=documents[0] if alone else question.group)


class _Names:
    """What documents of an index may be called: their id, their title, the name of their file."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._ids: set[str] = set()
        self._called: dict[str, set[str]] = defaultdict(set)
        for chunk in chunks:
            if chunk.document_id in self._ids:
                continue
            self._ids.add(chunk.document_id)
            title = str(chunk.metadata.get("title") or "")
            file = PurePosixPath(chunk.document_id)
            for name in (title, file.stem, file.name, chunk.document_id):
                if plain := _plain(name):
                    self._called[plain].add(chunk.document_id)

    def of(self, names: Iterable[str]) -> list[str]:
        """Return the ids that names stand for, without those that stand for none or for several.

        A name may be several with marks between them, and have `*` for what it leaves out.
        """
        found: list[str] = []
        for name in names:
            if "*" in name.strip("*"):
                continue
            whole = self._meant(name)
            parts = [name] if len(whole) == 1 else map(str.strip, _SEVERAL.split(name))
            for part in parts:
                meant = self._like(part) if "*" in part else self._meant(part)
                found += meant if len(meant) == 1 or "*" in part else ()
        return list(dict.fromkeys(found))

    def _meant(self, name: str) -> set[str]:
        if name in self._ids:
            return {name}
        return self._called.get(_plain(name), set()) or self._at_end_of(name)

    def _at_end_of(self, path: str) -> set[str]:
        """Return the documents that a path ends with, as on another machine, or with a page."""
        file = PurePosixPath(_PLACE.sub("", path.replace("\\", "/")))
        if not file.suffix[1:].isalnum():
            return set()
        ends = ("/".join(file.parts[start:]) for start in range(len(file.parts)))
        longest = next((end for end in ends if end in self._ids), None)
        return self._called.get(_plain(file.name), set()) if longest is None else {longest}

    def _like(self, pattern: str) -> list[str]:
        """Return the documents that a pattern such as `*2023*` stands for."""
        wanted = _plain(pattern)
        return [
            id for id in sorted(self._ids) if wanted and wanted in _plain(PurePosixPath(id).stem)
        ]


def _holding(texts: Sequence[Sequence[str]], chunks: Sequence[Chunk]) -> list[tuple[str, ...]]:
    """Return for each question the documents that hold its paragraphs, sentence by sentence."""
    paragraphs = [(row, _sentences(text)) for row, several in enumerate(texts) for text in several]
    found: list[dict[str, None]] = [{} for _ in texts]
    if not paragraphs:
        return [() for _ in texts]
    labels = label([Question("", "", (), (), tuple(parts)) for _, parts in paragraphs], chunks)
    for (row, parts), facts in zip(paragraphs, labels.facts, strict=True):
        held: dict[str, set[int]] = defaultdict(set)
        for id, numbers in facts.items():
            held[labels.documents[id]].update(numbers)
        best = max(sorted(held), key=lambda name: len(held[name]), default="")
        if held and len(held[best]) >= ENOUGH * len(parts):
            found[row][best] = None
    return [tuple(names) for names in found]


def _sentences(text: str) -> list[str]:
    """Return the sentences that are long enough to tell a text by; else the whole text."""
    ends = [0, *sentence_ends(text), len(text)]
    parts = [text[a:b].strip() for a, b in pairwise(ends)]
    return list(dict.fromkeys(part for part in parts if len(part) >= SHORTEST)) or [text.strip()]


def _plain(name: str) -> str:
    return " ".join(normalized_words(name.replace("_", " ").replace("-", " ")))


def _row(question: Question) -> dict[str, Any]:
    row = {
        "id": question.id,
        "question": question.question,
        "answers": list(question.answers),
        "documents": list(question.documents),
        "evidence": list(question.evidence),
        "group": question.group,
        "split": question.split,
        "synthetic": question.synthetic,
    }
    return {key: value for key, value in row.items() if value}
