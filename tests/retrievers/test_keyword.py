"""The BM25 index: what it finds, replaces and forgets."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ragwright.retrievers import keyword as keyword_module
from ragwright.retrievers.errors import DamagedStore, IndexFault
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.types import content_hash

TEXTS = {"a": "Cats chase mice.", "b": "Dogs chase cats and cats run.", "c": "The sun is warm."}


@pytest.fixture
def keyword(tmp_path: Path) -> KeywordIndex:
    index = KeywordIndex(tmp_path / "keyword", create=True)
    index.write((id, text, {"n": n}) for n, (id, text) in enumerate(TEXTS.items()))
    return index


def test_it_finds_stemmed_words_best_first(keyword: KeywordIndex) -> None:
    hits = keyword.query("Which CAT was it?", 5)
    assert list(hits) == ["b", "a"]
    assert hits["b"] > hits["a"] > 0
    assert list(keyword.query("cats", 1)) == ["b"]


@pytest.mark.parametrize("text", ["", "the and of", "xylophone", '"+-AND (', "title:cats^2 OR"])
def test_no_question_is_a_syntax_error(keyword: KeywordIndex, text: str) -> None:
    assert set(keyword.query(text, 5)) <= {"a", "b", "c"}


def test_writing_an_id_again_replaces_it(keyword: KeywordIndex) -> None:
    keyword.write([("a", "Fish swim.", {})])
    assert list(keyword.query("mice", 5)) == []
    assert list(keyword.query("fish", 5)) == ["a"]
    assert set(keyword.ids()) == {"a", "b", "c"}


def test_deleting_forgets(keyword: KeywordIndex) -> None:
    keyword.write((), deleted=["a", "never-there"])
    assert set(keyword.ids()) == {"b", "c"}
    assert list(keyword.query("mice", 5)) == []


def test_ids_of_chunks_and_others_come_back_as_they_went_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword_module, "_PAGE", 7)
    chunks = [content_hash(str(n)) for n in range(30)]
    ids = [*chunks, "a", "F" * 32, "0" * 32, "f" * 32, f"{0:031x}1", "9" * 31]
    index = KeywordIndex(tmp_path / "keyword", create=True)
    index.write((id, "A cat.", {"n": n % 3}) for n, id in enumerate(ids))
    index.write((), deleted=ids[:3])
    assert sorted(index.ids()) == sorted(ids[3:])
    assert sorted(index.query("cat", 100)) == sorted(ids[3:])
    where = parse_filter({"n": 1})
    assert where
    assert index.passing([*ids[:8], "a"], where) == {ids[4], ids[7]}
    assert index.passing(None, where) == {id for n, id in enumerate(ids) if n % 3 == 1 and n > 2}


def test_a_filter_changes_no_score(keyword: KeywordIndex) -> None:
    everything = keyword.query("cats", 5)
    assert keyword.query("cats", 5, parse_filter({"n": {"$gte": 0}})) == everything
    assert keyword.query("cats", 1, parse_filter({"n": {"$ne": 1}})) == {"a": everything["a"]}


def test_it_is_still_there_after_reopening(keyword: KeywordIndex, tmp_path: Path) -> None:
    keyword.close()
    again = KeywordIndex(tmp_path / "keyword")
    assert set(again.ids()) == {"a", "b", "c"}
    again.write([("d", "Rain.", {})])
    assert list(again.query("rain", 5)) == ["d"]


def test_a_missing_index_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="is missing"):
        KeywordIndex(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_in_a_large_index_what_most_chunks_have_is_left_out_where_the_rest_finds_enough(
    keyword: KeywordIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyword.write((f"d{n}", f"A cat, number {n}.", {}) for n in range(8))
    whole = keyword.query("cats, mice", 1)
    monkeypatch.setattr(keyword_module, "LARGE", 1)
    assert list(keyword.query("cats, mice", 1)) == list(whole) == ["a"]
    assert keyword.query("cats, mice", 1)["a"] < whole["a"]  # by mice alone
    assert keyword.query("cats, mice", 2)["a"] == whole["a"]  # one has mice: both are asked
    assert len(keyword.query("cats", 20)) == 10
    assert list(keyword.query("cats, mice", 1, parse_filter({"n": 1}))) == ["b"]


def test_a_reader_makes_no_index_in_the_place_of_one_that_is_replaced(tmp_path: Path) -> None:
    with closing(KeywordIndex(tmp_path / "k", create=True)) as made:
        made.write([("a" * 32, "word", {})])
    with closing(KeywordIndex(tmp_path / "k")) as read:
        for file in (tmp_path / "k").iterdir():
            file.unlink()
        with pytest.raises(DamagedStore, match="its files are gone"):
            read.reload()
    assert list((tmp_path / "k").iterdir()) == []
