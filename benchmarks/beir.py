"""BEIR folders in, documents, questions and indexes out: what several benchmarks read.

Reads below $RAG_DATA (default ../shared/data) and keeps indexes under .rag/benchmarks, so that a
corpus is embedded once. Knows nothing of what is measured.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ragwright.optimize.questions.data import Question, Side
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("RAG_DATA", ROOT.parent / "shared" / "data"))
WORKSPACE = ROOT / ".rag" / "benchmarks"
WHOLE = ChunkSettings(size=4000)
"""One chunk a document, so that a ranking of chunks is a ranking of documents."""


def lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file, or of the same with .gz; ids are text, whatever they were.

    Raises:
        InputError: There is no such file, or a line is no object with an id.
    """
    for number, line in enumerate(_text_of(file).split("\n"), 1):
        if not line.strip():
            continue
        row = json.loads(line)
        name = row.get("_id", row.get("id")) if isinstance(row, dict) else None
        if name is None:
            raise InputError(f"{file.name}, line {number}: no object with an _id.")
        yield {**row, "_id": str(name), "title": row.get("title") or "",
               "text": row.get("text") or ""}  # fmt: skip


def _text_of(file: Path) -> str:
    for place, opener in ((file.with_name(file.name + ".gz"), gzip.open), (file, open)):
        if place.exists():
            with opener(place, "rt", encoding="utf-8-sig") as opened:
                return str(opened.read())
    raise InputError(f"There is no {file}.", hint="A BEIR folder has corpus, queries and qrels.")


def judged(folder: Path, prefix: str = "") -> dict[str, list[str]]:
    """Return the relevant documents of every judged query, in the order of the file.

    Reads `qrels.tsv`, or the one in `qrels/` (the test side before the others). A line is query,
    document, score (1 if it is left out), or as TREC writes it with an iteration in between; parted
    by tabs, or by spaces where there are none; with or without a header.

    Raises:
        InputError: There are no judgements, or a line is none.
    """
    gold: dict[str, list[str]] = defaultdict(list)
    for number, line in enumerate(_text_of(_qrels(folder, prefix)).split("\n")):
        cells = line.split("\t") if "\t" in line else line.split()
        cells = [cell.strip() for cell in cells if cell.strip()]
        if not cells:
            continue
        try:
            cells = [*cells, "1"] if len(cells) == 2 else cells
            query, document, score = cells[0], cells[-2], float(cells[-1])
        except (ValueError, IndexError):
            if number == 0:
                continue
            raise InputError(f"qrels of {folder.name}, line {number + 1}: {line!r}.") from None
        if score > 0 and document not in gold[query]:
            gold[query].append(document)
    return gold


def _qrels(folder: Path, prefix: str) -> Path:
    sides = [folder / "qrels" / f"{side}.tsv" for side in ("test", "dev", "train")]
    files = [folder / f"{prefix}qrels.tsv", *([] if prefix else sides)]
    there = [file for file in files if file.exists() or file.with_name(file.name + ".gz").exists()]
    return (there or files)[0]


def documents_of(folder: Path, *, between: str = ". ") -> list[Document]:
    """Return the corpus: title and text are one text, with something between them."""
    return [
        Document(row["_id"], f"{row['title']}{between}{row['text']}", row["title"])
        for row in lines(folder / "corpus.jsonl")
    ]


def questions_of(folder: Path, *, prefix: str = "", side: Side | None = None) -> list[Question]:
    """Return the judged questions; where there is no answer, the id stands for it.

    Those that the data says lack a document are left out. A question's group is what stands before
    the # in its first document's id (an article), or that document.
    """
    gold = judged(folder, prefix)
    return [
        Question(
            id=row["_id"],
            question=row["text"],
            answers=tuple(row.get("answers") or (row["_id"],)),
            documents=tuple(gold[row["_id"]]),
            group=gold[row["_id"]][0].split("#")[0],
            split=side,
        )
        for row in lines(folder / f"{prefix}queries.jsonl")
        if gold[row["_id"]] and row.get("gold_complete", True)
    ]


def sample_of(folder: Path, count: int) -> list[Question]:
    """Draw that many of the judged questions, or all there are; the same ones every time."""
    found = questions_of(folder)
    return random.Random(0).sample(found, min(count, len(found)))


def indexed(name: str, *, embedder: str | None = None) -> tuple[Path, IndexSettings]:
    """Index a corpus, unless that has been done; return where the index lies and how it is made."""
    plain = IndexSettings(chunking=WHOLE)
    settings = plain.model_copy(update={"embedder": embedder}) if embedder else plain
    path = WORKSPACE / f"{name}-{embedder or 'minilm'}"
    ingest(documents_of(DATA / name), path, settings)
    return path, settings


def indexed_in_chunks(name: str, size: int = 400) -> str:
    """Index a corpus cut into chunks of `size` tokens, unless that has been done; return where."""
    path = WORKSPACE / f"{name}-{size}"
    documents = documents_of(DATA / name, between=": ")
    ingest(documents, path, IndexSettings(chunking=ChunkSettings(size=size)))
    return str(path)
