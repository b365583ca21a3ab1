"""Chunks cover a document exactly, whatever it holds and however it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from retrievers.chunking import ChunkSettings, chunk, count_tokens, load_encoding
from retrievers.errors import ModelError
from retrievers.types import Document

PIECES = ["word ", "längeres ", "\n\n", "end. ", "\n", "🙂🙂", "語", "  ", "<|endoftext|>"]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)
SETTINGS = st.builds(
    ChunkSettings,
    kind=st.sampled_from(["recursive", "token"]),
    size=st.integers(8, 24),
    overlap=st.integers(0, 7),
)


@given(TEXTS, SETTINGS)
def test_every_character_that_is_not_space_is_in_a_chunk(text: str, cut: ChunkSettings) -> None:
    covered: set[int] = set()
    for piece in chunk(Document("d", text), cut):
        assert piece.text == text[piece.start : piece.end] != ""
        covered.update(range(piece.start, piece.end))
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered


@given(TEXTS.filter(lambda text: not text.isspace()), SETTINGS)
def test_without_overlap_chunks_do_not_share_a_character(text: str, cut: ChunkSettings) -> None:
    pieces = chunk(Document("d", text), cut.model_copy(update={"overlap": 0}))
    assert all(one.end <= other.start for one, other in pairwise(pieces))


@given(TEXTS, SETTINGS)
def test_recursive_chunks_keep_their_size(text: str, cut: ChunkSettings) -> None:
    # A character of several tokens that is split between two pieces can cost a few tokens more.
    words = text.replace("🙂", "x")
    pieces = chunk(Document("d", words), cut.model_copy(update={"kind": "recursive"}))
    assert all(count_tokens(piece.text) <= cut.size + 4 for piece in pieces)


def test_a_chunk_carries_title_and_metadata() -> None:
    (piece,) = chunk(Document("d", "short", "Title", {"year": 2020}), ChunkSettings())
    assert dict(piece.metadata) == {"title": "Title", "year": 2020}


def test_an_empty_document_has_no_chunks() -> None:
    assert chunk(Document("d", ""), ChunkSettings()) == []
    assert chunk(Document("d", " \n "), ChunkSettings(kind="token")) == []


def test_an_overlap_as_long_as_the_chunk_is_refused() -> None:
    with pytest.raises(ValidationError, match="overlap 8 must be smaller than size 8"):
        ChunkSettings(size=8, overlap=8)


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'no-such-encoding' cannot be loaded"):
        load_encoding("no-such-encoding")
