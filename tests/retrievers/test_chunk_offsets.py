"""Chunks cover a document exactly, whatever it holds and however it is cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.retrievers.chunking import (
    ChunkSettings,
    chunk,
    count_tokens,
    load_encoding,
    text_to_search,
)
from ragwright.retrievers.chunking.markdown import first_heading
from ragwright.retrievers.errors import InputError, ModelError
from ragwright.retrievers.types import Document

PIECES = ["word ", "längeres ", "\n\n", "end. ", "\n", "🙂🙂", "語", "  ", "<|endoftext|>"]
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)
SETTINGS = st.builds(
    ChunkSettings,
    kind=st.sampled_from(["recursive", "levels", "token", "markdown", "code"]),
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
    with pytest.raises(InputError, match="overlap 8 must be smaller than size 8"):
        ChunkSettings(size=8, overlap=8)


def test_an_unknown_encoding_is_refused_by_name() -> None:
    with pytest.raises(ModelError, match="'no-such-encoding' cannot be loaded"):
        load_encoding("no-such-encoding")


MARKDOWN = """Before.

# One

Text of one.

```
# no heading
```

## Two *of* one

Text of two.

# Three
"""


def test_markdown_chunks_know_their_headings() -> None:
    pieces = chunk(Document("d", MARKDOWN), ChunkSettings(kind="markdown"))
    assert [piece.metadata.get("headings") for piece in pieces] == [
        None,
        "One",
        "One > Two *of* one",
        "Three",
    ]
    assert "".join(piece.text for piece in pieces) == MARKDOWN


PYTHON = '''import os

X = 1


# Says one.
@decorated
def one():
    return """

def not_one"""


class Two:
    x = 1

    def three(self): ...
'''


def test_python_is_cut_between_definitions() -> None:
    pieces = chunk(Document("d", PYTHON, metadata={"suffix": ".py"}), ChunkSettings(kind="code"))
    assert [piece.text.split("\n")[0] for piece in pieces] == [
        "import os",
        "# Says one.",
        "class Two:",
        "    def three(self): ...",
    ]
    assert "".join(piece.text for piece in pieces) == PYTHON


def test_other_code_is_cut_where_a_new_block_starts() -> None:
    text = "int a;\n\nint f() {\n  x;\n\n  y;\n}\n\nint g() {\n}\n"
    pieces = chunk(Document("d", text, metadata={"suffix": ".c"}), ChunkSettings(kind="code"))
    assert [piece.text.split("\n")[0] for piece in pieces] == ["int a;", "int f() {", "int g() {"]


def test_headers_are_searched_but_are_not_the_text() -> None:
    settings = ChunkSettings(kind="markdown", headers=True)
    document = Document("d", "# One\n\nText.", "Title")
    (piece,) = chunk(document, settings)
    assert piece.text == document.text
    assert text_to_search(piece, settings) == "Title > One\n# One\n\nText."
    assert text_to_search(piece, ChunkSettings(headers=False)) == piece.text


@given(TEXTS.filter(lambda text: bool(text.strip())), SETTINGS)
def test_all_but_the_white_space_between_chunks_joins_to_the_text(
    text: str, cut: ChunkSettings
) -> None:
    pieces = chunk(Document("d", text), cut.model_copy(update={"overlap": 0}))
    ends = [0, *(piece.end for piece in pieces)]
    starts = [*(piece.start for piece in pieces), len(text)]
    gaps = [text[end:start] for end, start in zip(ends, starts, strict=True)]
    joined = "".join(gap + piece.text for gap, piece in zip(gaps, pieces, strict=False)) + gaps[-1]
    assert joined == text
    assert [gap for gap in gaps if gap.strip()] == []


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("```bash\n# install everything\nmake\n```\n\nSome text.", ""),
        ("Before.\n\n## *Two* #\n", "*Two*"),
        ("Title\n=====\n\ntext", "Title"),
        ("### Three\n", ""),
        ("a\rb\r\r# One\rtext", "One"),
    ],
)
def test_a_text_is_called_by_its_first_heading_outside_of_code(text: str, title: str) -> None:
    assert first_heading(text) == title
    (piece, *_) = chunk(Document("d", text), ChunkSettings(kind="markdown"))
    assert text.startswith(piece.text)
