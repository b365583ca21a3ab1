"""Chunkers against the published table of Chroma's technical report on chunking (July 2024).

For every corpus and question the report gives excerpts that answer the question. Precision-omega
is the precision if every chunk that touches an excerpt, and no other, were retrieved; recall is
the part of the excerpts' characters that the 5 best chunks of all corpora cover (`spans.py`).

The rows of all-MiniLM-L6-v2 count tokens otherwise than the report says; `counted` tells how.

    python benchmarks/chunking.py [--recall] [--corpora] [--only NAME]

Data: RAG_DATA (default ../shared/data), folders chroma-chunking and published.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.spans import Span, precision_omega, recall  # noqa: E402
from ragwright.retrievers.cache import with_cache  # noqa: E402
from ragwright.retrievers.chunking import ChunkSettings, chunk, count_tokens  # noqa: E402
from ragwright.retrievers.embedding import MINILM, load_embedder  # noqa: E402
from ragwright.retrievers.types import Chunk, Document  # noqa: E402

RETRIEVED = 5
NAMES = {"TokenText": "token", "Recursive": "levels"}
MODEL = "all-MiniLM-L6-v2"
SPECIAL = 2
"""Tokens that MiniLM's tokenizer puts around any text, the empty one included."""


@dataclass(frozen=True)
class Question:
    """A question, the corpus it is about, and where its answer stands there."""

    text: str
    corpus: str
    excerpts: tuple[Span, ...]


@dataclass(frozen=True)
class Row:
    """A line of the published table, in percent."""

    model: str
    chunker: str
    size: int
    overlap: int
    omega: float
    recall: float
    by_corpus: dict[str, float]
    """Precision-omega on each corpus alone."""


def read_corpora() -> list[Document]:
    """Read the five corpora, with their line ends as they are."""
    files = sorted((DATA / "chroma-chunking" / "corpora").glob("*.md"))
    return [Document(file.stem, file.read_bytes().decode("utf-8")) for file in files]


def read_questions() -> list[Question]:
    """Read the questions and their excerpts."""
    with (DATA / "chroma-chunking" / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        return [
            Question(
                row["question"],
                row["corpus_id"],
                tuple((r["start_index"], r["end_index"]) for r in json.loads(row["references"])),
            )
            for row in csv.DictReader(file)
        ]


def read_table() -> Iterator[Row]:
    """Read the published rows of the two chunkers that need no model."""
    with (DATA / "published" / "chroma_chunking.tsv").open(encoding="utf-8") as file:
        lines = [row for row in csv.DictReader(file, delimiter="\t") if row["chunker"] in NAMES]
    for row in lines:
        if row["table"] != "main":
            continue
        by_corpus = {
            one["corpus"]: float(one["precision_omega"])
            for one in lines
            if one["corpus"] != "all" and _settings(one) == _settings(row)
        }
        scores = float(row["precision_omega"]), float(row["recall"])
        yield Row(*_settings(row), *scores, by_corpus)


def _settings(row: dict[str, str]) -> tuple[str, str, int, int]:
    return row["model"], row["chunker"], int(row["size"].split()[0]), int(row["overlap"])


def stripped(piece: Chunk) -> Span:
    """Return a chunk's place without the white space at its ends."""
    text = piece.text
    return piece.start + len(text) - len(text.lstrip()), piece.start + len(text.rstrip())


def as_published(piece: Chunk, corpora: dict[str, str], strip: bool) -> Span:
    """Return where the report takes a chunk to lie: where its text stands first in the corpus.

    That is another place for text that the corpus repeats, as finance does.
    """
    text = piece.text.strip() if strip else piece.text
    start = corpora[piece.document_id].find(text)
    return start, start + len(text)


def counted(row: Row) -> ChunkSettings:
    """Return the settings that a published row was made with.

    For MiniLM the token chunker ran with sizes divided by 0.9, still in tokens of cl100k. The
    report does not say so: only those sizes give the published mean on each corpus.
    The recursive chunker measured lengths with MiniLM's tokenizer, special tokens included, for
    every piece and for the empty text between two pieces. n pieces then count 4 n - 2 tokens too
    many: the same as 4 more for each piece and a limit 2 higher.
    """
    if row.model != MODEL:
        return ChunkSettings(kind=NAMES[row.chunker], size=row.size, overlap=row.overlap)
    if row.chunker == "TokenText":
        size, overlap = round(row.size / 0.9), round(row.overlap / 0.9)
        return ChunkSettings(kind="token", size=size, overlap=overlap)
    overlap = row.overlap + SPECIAL if row.overlap else 0
    return ChunkSettings(kind="levels", size=row.size + SPECIAL, overlap=overlap, encoding=MINILM)


def counted_tokens(text: str, encoding: str) -> int:
    """Count the tokens of a piece as the report did, see `counted`."""
    return count_tokens(text, encoding) + (2 * SPECIAL if encoding == MINILM else 0)


def cut(corpora: Sequence[Document], settings: ChunkSettings) -> list[Chunk]:
    with patch("ragwright.retrievers.chunking.cutting.count_tokens", counted_tokens):
        return [piece for document in corpora for piece in chunk(document, settings)]


def omegas(questions: Sequence[Question], spans: Sequence[tuple[str, Span]]) -> list[float]:
    """Return each question's precision-omega, in percent."""
    by_corpus: dict[str, list[Span]] = {}
    for corpus, span in spans:
        by_corpus.setdefault(corpus, []).append(span)
    return [100 * precision_omega(one.excerpts, by_corpus[one.corpus]) for one in questions]


def retrieved_by(questions: Sequence[Question], chunks: Sequence[Chunk]) -> list[list[int]]:
    """Return the numbers of the chunks nearest to each question, of all corpora."""
    embedder = with_cache(load_embedder())
    passages = embedder.encode([piece.text for piece in chunks]).vectors
    asked = embedder.encode([question.text for question in questions]).vectors
    best = np.argsort(-(asked @ passages.T), axis=1)[:, :RETRIEVED]
    return [[int(number) for number in row] for row in best]


def measured_recall(
    questions: Sequence[Question],
    spans: Sequence[tuple[str, Span]],
    retrieved: Sequence[Sequence[int]],
) -> float:
    """Return the mean recall, in percent, of chunks that are given by their numbers."""
    covered = []
    for question, numbers in zip(questions, retrieved, strict=True):
        places = (spans[number] for number in numbers)
        own = [span for corpus, span in places if corpus == question.corpus]
        covered.append(recall(question.excerpts, own))
    return 100 * float(np.mean(covered))


def measured(
    row: Row, corpora: Sequence[Document], questions: Sequence[Question], *, embed: bool, each: bool
) -> str:
    started = time.process_time()
    chunks = cut(corpora, counted(row))
    seconds = time.process_time() - started
    texts = {document.id: document.text for document in corpora}
    strip = row.chunker == "Recursive"
    places = [(one.document_id, as_published(one, texts, strip)) for one in chunks]
    true = [(one.document_id, stripped(one)) for one in chunks]
    scores = omegas(questions, places)
    got, exact = float(np.mean(scores)), float(np.mean(omegas(questions, true)))
    line = f"{row.model:24} {row.chunker:9} {row.size:4} {row.overlap:4} {len(chunks):6} chunks"
    line += f" in {seconds:5.2f} s  omega {got:5.2f} [{row.omega:5.1f}] {got - row.omega:+5.2f}"
    line += f" (true places {exact:5.1f})"
    if embed and row.model == MODEL:
        best = retrieved_by(questions, chunks)
        found, exact = (measured_recall(questions, spans, best) for spans in (places, true))
        line += f"  recall {found:5.1f} [{row.recall:5.1f}] {found - row.recall:+5.2f}"
        line += f" (true places {exact:5.1f})"
    for name, wanted in row.by_corpus.items() if each else ():
        own = [score for q, score in zip(questions, scores, strict=True) if q.corpus == name]
        line += f"\n    {name:20} omega {np.mean(own):5.2f} [{wanted:5.1f}]"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recall", action="store_true", help="embed too, and compare recall@5")
    parser.add_argument("--corpora", action="store_true", help="each corpus alone, too")
    parser.add_argument("--only", choices=sorted(NAMES), help="one of the two chunkers")
    options = parser.parse_args()
    corpora, questions = read_corpora(), read_questions()
    print(f"{len(questions)} questions, {len(corpora)} corpora; published in brackets, percent")
    for row in read_table():
        if options.only in {None, row.chunker}:
            ask = {"embed": options.recall, "each": options.corpora}
            print(measured(row, corpora, questions, **ask), flush=True)


if __name__ == "__main__":
    main()
