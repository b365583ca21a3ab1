"""Semantic chunking: it cuts where the subject changes, keeps the size, and loses no character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.chunking import ChunkSettings, chunk, count_tokens
from ragwright.retrievers.embedding import Floats, HashEmbedder
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import IndexSettings, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

CATS = "Cats purr softly. Cats purr and sleep softly. Cats sleep and purr softly. "
TAXES = "Levy income tax yearly. Income tax filing is yearly. Filing levy tax yearly."
PIECES = ["word ", "other ", "end. ", "why? ", "\n", "\n\n", "語", "  "]


def embed(texts: Sequence[str]) -> Floats:
    return HashEmbedder().encode(texts).vectors


def cut(text: str, size: int) -> list[str]:
    how = ChunkSettings(kind="semantic", size=size)
    return [piece.text for piece in chunk(Document("d", text), how, embed=embed)]


@pytest.mark.parametrize("more", ["", "Cats purr softly. "])
def test_it_cuts_where_the_subject_changes(more: str) -> None:
    text = more + CATS + TAXES
    assert cut(text, count_tokens(text) - 1) == [more + CATS, TAXES]


def test_what_fits_stays_whole_and_is_not_embedded() -> None:
    asked: list[Sequence[str]] = []

    def noted(texts: Sequence[str]) -> Floats:
        asked.append(texts)
        return embed(texts)

    document, how = Document("d", CATS + TAXES), ChunkSettings(kind="semantic", size=100)
    assert [piece.text for piece in chunk(document, how, embed=noted)] == [CATS + TAXES]
    assert asked == []
    chunk(document, how.model_copy(update={"size": 20}), embed=noted)
    assert [len(texts) for texts in asked] == [6]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1).map("".join), st.integers(8, 24))
def test_chunks_keep_their_size_and_every_character(text: str, size: int) -> None:
    how = ChunkSettings(kind="semantic", size=size)
    pieces = chunk(Document("d", text), how, embed=embed)
    assert all(text[piece.start : piece.end] == piece.text for piece in pieces)
    assert all(one.end <= other.start for one, other in pairwise(pieces))
    covered = {at for piece in pieces for at in range(piece.start, piece.end)}
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered
    assert all(count_tokens(piece.text) <= size + 4 for piece in pieces)


def test_it_needs_a_function_that_embeds() -> None:
    with pytest.raises(InputError, match='"semantic" needs a function that embeds'):
        chunk(Document("d", CATS), ChunkSettings(kind="semantic"))


def test_an_index_is_cut_by_its_own_embedder(path: Path) -> None:
    size = count_tokens(CATS + TAXES) - 1
    how = IndexSettings(embedder="hash", chunking=ChunkSettings(kind="semantic", size=size))
    documents = [Document("both", CATS + TAXES)]
    report = ingest(documents, path, how)
    assert [piece.text for piece in open_index(path).document("both")] == [CATS, TAXES]
    assert (report.chunks_written, report.embedded) == (2, 8)
    again = ingest(documents, path, how)
    assert (again.unchanged, again.chunks_written, again.embedded) == (1, 0, 0)
