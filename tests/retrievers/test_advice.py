"""What an ingest says of an index: what is cut, not understood, or not searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ragwright.retrievers.advice import filter_advice, index_advice
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.errors import IdentityError
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import Index, IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document

ENGLISH = "The committee met in the old hall, and it was said that they will not be there again. "
GERMAN = "Die Mitarbeiter haben Anspruch auf Urlaub, und der Antrag ist bei der Leitung zu stellen "
CHINESE = "员工每年有三十天带薪年假。出差请乘坐火车，并在回来以后提交报销单。"


def notes_on(folder: Path, *texts: str, size: int = 200) -> tuple[str, ...]:
    settings = IndexSettings(chunking=ChunkSettings(size=size))
    documents = [Document(f"d{n}", text) for n, text in enumerate(texts)]
    notes = ingest(documents, folder / "index", settings).advice
    assert index_advice(folder / "index") == notes
    return notes


def test_chunks_longer_than_the_embedder_reads_are_said(tmp_path: Path) -> None:
    (note,) = notes_on(tmp_path, ENGLISH * 60, ENGLISH, size=2000)
    assert note.startswith("50 % of the chunks are longer than the 256 tokens that the embedder")
    assert "77 % of the text" in note


def test_an_ordinary_index_needs_no_advice(tmp_path: Path) -> None:
    assert notes_on(tmp_path, ENGLISH * 60, "x = 1", "Cats sleep.") == ()


@pytest.mark.parametrize(("text", "name"), [(GERMAN, "German"), (CHINESE, "Chinese")])
def test_an_english_embedder_for_another_language_is_said(
    tmp_path: Path, text: str, name: str
) -> None:
    (note,) = notes_on(tmp_path, text, ENGLISH)
    assert f"{name} (50 %)" in note
    assert "multilingual" in note


OLDER = ChunkSettings(headers=False)


def test_an_older_index_stays_as_it_is_and_says_what_it_lacks(tmp_path: Path) -> None:
    documents = [Document("a", "Thirty days.", "Paid leave"), Document("b", "By train.", "Travel")]
    ingest(documents, tmp_path, IndexSettings(embedder="hash", chunking=OLDER))
    again = ingest(documents, tmp_path, IndexSettings(embedder="hash"))
    assert again.chunks_written == 0
    assert "Titles and headings are not searched" in again.advice[0]
    index = Index(tmp_path)
    assert index.keyword("paid leave", 5) == {}
    index.close()
    asked = IndexSettings(embedder="hash", chunking=ChunkSettings(headers=True))
    with pytest.raises(IdentityError, match="headers = false, not true"):
        ingest(documents, tmp_path, asked)


def test_titles_are_searched_by_default_and_passages_stay_as_they_are(tmp_path: Path) -> None:
    documents = [Document("a", "Thirty days.", "Paid leave"), Document("b", "By train.", "Travel")]
    assert ingest(documents, tmp_path, IndexSettings(embedder="hash")).advice == ()
    index = Index(tmp_path)
    (passage,) = index.passages(list(index.keyword("paid leave", 5)))
    assert (str(passage), passage.document) == ("Thirty days.", "a")
    index.close()


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"tags": "b"}, '{"tags": {"$contains": "b"}}'),
        ({"tag": "b"}, "has 'tag', but day, document, end, start, tags, year"),
        ({"$or": [{"year": "2024"}, {"tags": {"$contains": "z"}}]}, "a number such as 2024"),
        ({"year": 2023, "tags": {"$contains": "z"}}, ""),
        ({"day": {"$gte": "2025-01-01"}}, ""),
        ({"year": {"$gte": "2025-01-01"}}, "'year' is such as 2024, which is no date"),
        ({"date": {"$lt": "2025-01-01"}}, "has 'date', but day, "),
    ],
)
def test_why_a_filter_lets_nothing_pass_is_said(
    tmp_path: Path, where: dict[str, Any], said: str
) -> None:
    facts = {"tags": ["a", "b"], "year": 2024, "day": "2024-06-01"}
    ingest([Document("d", "Text.", metadata=facts)], tmp_path, IndexSettings(embedder="hash"))
    asked = parse_filter(where)
    assert asked is not None
    told = "".join(filter_advice(tmp_path, asked))
    assert said in told if said else told == ""
