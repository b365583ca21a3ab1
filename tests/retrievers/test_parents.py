"""Small chunks are searched, their parents are returned, with the score of the best chunk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.retrievers import returned
from ragwright.retrievers.chunking import (
    ChunkSettings,
    child_chunks,
    chunk,
    count_tokens,
    parent_chunks,
)
from ragwright.retrievers.embedding import HashEmbedder
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError
from ragwright.retrievers.filters import Filter
from ragwright.retrievers.index import Index, IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import IngestReport, ingest
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.migrate import move_index
from ragwright.retrievers.parts import Parts
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.types import Document, content_hash
from ragwright.retrievers.upkeep import compact, repair, stats, verify
from tests.retrievers.test_chunk_offsets import PIECES
from tests.retrievers.test_semantic_chunks import CATS, TAXES
from tests.servers.chroma import chroma_server

CUT = ChunkSettings(size=8, parent_size=24, headers=False)
SETTINGS = IndexSettings(embedder="hash", chunking=CUT)
WORDS = ("river", "castle", "bread", "harbour", "copper", "violin", "garden", "winter")
TEXTS = st.text() | st.lists(st.sampled_from(PIECES)).map("".join)
CUTS = st.builds(
    ChunkSettings,
    kind=st.sampled_from(["recursive", "levels", "token", "markdown", "code"]),
    size=st.integers(8, 16),
    overlap=st.integers(0, 7),
    parent_size=st.integers(17, 48),
)


def towns() -> list[Document]:
    """Eight documents of two parents or more; each tells of one word more often than others."""
    return [Document(word, _told(word, place), word.title()) for place, word in enumerate(WORDS)]


def _told(word: str, place: int) -> str:
    others = [WORDS[(place + step) % len(WORDS)] for step in range(1, 7)]
    return " ".join(f"Here the {word} is near the {other} of old." for other in others)


@pytest.fixture
def index(path: Path) -> Index:
    ingest(towns(), path, SETTINGS)
    return open_index(path)


def cut_of(documents: list[Document]) -> dict[str, list[str]]:
    """The ids of every parent's chunks."""
    whole = (parent for document in documents for parent in parent_chunks(document, CUT))
    return {parent.id: [piece.id for piece in child_chunks(parent, CUT)] for parent in whole}


def best(scores: Mapping[str, float], families: Mapping[str, list[str]]) -> dict[str, float]:
    """Every parent with the score of its best chunk, best first."""
    found = {
        parent: max(scores[id] for id in ids if id in scores)
        for parent, ids in families.items()
        if scores.keys() & set(ids)
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@given(TEXTS, CUTS)
def test_each_chunk_lies_in_its_parent_and_joined_they_give_the_text(
    text: str, cut: ChunkSettings
) -> None:
    document = Document("d", text)
    whole = parent_chunks(document, cut)
    assert all(one.end <= other.start for one, other in pairwise(whole))
    at = 0
    for parent in whole:
        assert parent.text == text[parent.start : parent.end]
        assert not text[at : parent.start].strip()
        at = inside = parent.start
        for piece in child_chunks(parent, cut):
            assert parent.start <= piece.start < piece.end <= parent.end
            assert piece.text == text[piece.start : piece.end]
            assert not text[inside : max(inside, piece.start)].strip()
            inside = max(inside, piece.end)
        assert not text[inside : parent.end].strip()
        at = parent.end
    assert not text[at:].strip()
    cut_in_two = [piece for parent in whole for piece in child_chunks(parent, cut)]
    assert chunk(document, cut) == cut_in_two


def test_both_keep_their_size_and_the_rule_that_cuts_parents() -> None:
    text = "# One\n\n" + "Cats purr. " * 13 + "\n\n# Two\n\n" + "Dogs bark. " * 4
    cut = ChunkSettings(kind="markdown", size=12, parent_size=32, overlap=5)
    whole = parent_chunks(Document("d", text), cut)
    assert [parent.metadata["headings"] for parent in whole] == [*["One"] * 3, "Two"]
    assert all(count_tokens(parent.text) <= 32 for parent in whole)
    pieces = chunk(Document("d", text), cut)
    assert all(count_tokens(piece.text) <= 12 for piece in pieces)
    assert {piece.metadata["headings"] for piece in pieces} == {"One", "Two"}
    assert any(one.end > other.start for one, other in pairwise(pieces))


def test_meaning_may_cut_the_parents(path: Path) -> None:
    size = count_tokens(CATS + TAXES) - 1
    cut = ChunkSettings(kind="semantic", size=8, parent_size=size)
    ingest([Document("d", CATS + TAXES)], path, IndexSettings(embedder="hash", chunking=cut))
    index = open_index(path)
    assert [parent.text for parent in index.chunks()] == [CATS, TAXES]
    assert index.count > 2
    (found,) = index.passages(list(index.dense("income tax", 1)))
    assert found == TAXES


@pytest.mark.parametrize("size", [1, 16])
def test_a_parent_no_larger_than_its_chunks_is_refused(size: int) -> None:
    with pytest.raises(InputError, match=f"parent_size {size} must be larger than size 16"):
        ChunkSettings(size=16, parent_size=size)


def test_what_is_made_without_parents_says_what_it_said_before(path: Path) -> None:
    cut = ChunkSettings(size=16, headers=False)
    plain = IndexSettings(embedder="hash", chunking=cut)
    ingest(towns()[:1], path, plain)
    index = open_index(path)
    assert index.stamp.manner == (
        '{"format":2,"settings":{"embedder":"hash","chunking":{"kind":"recursive","size":16,'
        '"overlap":0,"headers":false,"encoding":"cl100k_base"}},"identity":{"model":"hash",'
        '"revision":"v1-64","dimension":64,"normalised":true}}'
    )
    ids = sorted(piece.id for piece in index.chunks())
    assert index.fingerprint == content_hash(index.stamp.manner, content_hash(*ids))
    assert '"parent_size":24' in Stamp.of(SETTINGS).manner
    with pytest.raises(IdentityError, match="parent_size = 0, not 24"):
        ingest(towns(), path, SETTINGS)


@pytest.mark.parametrize("n", [1, 3, 7, 100])
def test_dense_search_gives_each_parent_its_best_chunks_cosine(index: Index, n: int) -> None:
    families = cut_of(towns())
    pieces = [piece for document in towns() for piece in chunk(document, CUT)]
    question = "which harbour is near the violin"
    vectors = HashEmbedder().encode([question, *(piece.text for piece in pieces)]).vectors
    cosines = dict(zip((p.id for p in pieces), (vectors[1:] @ vectors[0]).tolist(), strict=True))
    wanted = best(cosines, families)
    found = index.dense(question, n)
    assert list(found.values()) == pytest.approx(list(wanted.values())[:n], abs=1e-5)
    assert len(found) == min(n, len(families)) < len(pieces)
    assert all(score == pytest.approx(wanted[id], abs=1e-5) for id, score in found.items())


def test_keyword_search_gives_each_parent_its_best_chunks_score(index: Index) -> None:
    question = "harbour violin"
    families = cut_of(towns())
    with closing(KeywordIndex(index.folder / "keyword")) as keyword:
        wanted = best(keyword.query(question, 1000), families)
    assert 1 < len(wanted) < len(families)
    assert index.keyword(question, 1000) == wanted
    assert list(index.keyword(question, 2).values()) == list(wanted.values())[:2]


def test_maxsim_is_that_of_the_best_chunk(index: Index) -> None:
    families = cut_of(towns())
    question = "copper garden"
    with closing(Ledger(index.folder / "ledger.sqlite")) as ledger:
        file, spans = ledger.spans([id for ids in families.values() for id in ids])
    rows = HashEmbedder().encode([question], tokens=True).tokens or ()
    wanted = [
        float(index._parts.tokens.maxsim(rows[0], file, [spans[id] for id in ids]).max())
        for ids in families.values()
    ]
    # The last digit depends on which rows are multiplied together.
    assert index.maxsim(question, [*families, "unknown"]) == pytest.approx([*wanted, 0.0])
    assert len(set(wanted)) > 2


def test_more_chunks_are_looked_for_until_there_are_enough_parents(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Document("crowd", " ".join(["Lima lies by the sea."] * 60))
    cut = ChunkSettings(size=8, parent_size=400)
    ingest([crowd, *towns()], path, IndexSettings(embedder="hash", chunking=cut))
    index = open_index(path)
    asked = searches(index._parts, monkeypatch, "nearest")
    first, second, third = index.dense("Lima by the sea", 3)
    assert index.passages([first])[0].document == "crowd"
    assert len({first, second, third}) == 3
    assert asked == [12, 24, 48, 96]


def searches(part: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Note how many chunks a part of an index is asked for, at each search."""
    asked: list[int] = []
    query = getattr(part, name)

    def noted(question: Any, n: int, where: Filter | None = None) -> dict[str, float]:
        asked.append(n)
        return dict(query(question, n, where))

    monkeypatch.setattr(part, name, noted)
    return asked


@pytest.mark.parametrize(
    ("others", "n", "wanted"), [(0, 5, [20]), (8, 9, [36, 10_000]), (8, 10, [40, 10_000])]
)
def test_an_index_of_few_parents_is_not_searched_again_and_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, others: int, n: int, wanted: list[int]
) -> None:
    crowd = Document("crowd", " ".join(["Lima lies by the sea."] * 45))
    cut = ChunkSettings(size=8, parent_size=400)
    ingest([crowd, *towns()[:others]], path, IndexSettings(embedder="hash", chunking=cut))
    index = open_index(path)
    assert len(list(index.chunks())) == others + 1
    dense = searches(index._parts, monkeypatch, "nearest")
    keyword = searches(index._parts.keyword, monkeypatch, "query")
    assert len(index.dense("Lima by the sea", n)) == others + 1
    assert len(index.keyword("Lima", n)) == 1
    assert (dense, keyword) == (wanted, wanted)


def test_the_search_for_more_ends(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(returned, "MOST_CHUNKS", 3)
    assert len(index.dense("harbour", 1)) == 1
    monkeypatch.setattr(index._parts.returned, "spare", 1)
    assert 1 <= len(index.dense("harbour", 3)) <= 3


def test_passages_are_parents_with_their_own_length(index: Index) -> None:
    whole = [parent for document in towns() for parent in parent_chunks(document, CUT)]
    ids = [parent.id for parent in whole]
    passages = index.passages([*ids, "unknown"])
    assert [(p.id, str(p), p.metadata) for p in passages] == [
        (one.id, one.text, {**one.facts, "tokens": count_tokens(one.text)}) for one in whole
    ]
    assert index.tokens(ids) == {one.id: count_tokens(one.text) for one in whole}
    by_id = {document.id: parent_chunks(document, CUT) for document in towns()}
    assert list(index.chunks()) == [one for id in sorted(by_id) for one in by_id[id]]
    assert index.document("bread") == by_id["bread"]
    assert index.document("unknown") == []
    assert index.count == sum(len(pieces) for pieces in cut_of(towns()).values())
    assert (stats(index.folder).parents, stats(index.folder).chunks) == (len(ids), index.count)


def test_the_neighbours_of_a_parent_are_parents(index: Index) -> None:
    first, second, *_ = index.document("castle")
    assert index.around([first.id, second.id], 1)[first.id] == ((), (second.id,))
    assert index.around([first.id, second.id], 1)[second.id][0] == (first.id,)


def test_a_parents_vector_is_the_mean_of_its_chunks(index: Index) -> None:
    document = towns()[0]
    (first, *_) = parent_chunks(document, CUT)
    vectors = HashEmbedder().encode([piece.text for piece in child_chunks(first, CUT)]).vectors
    found = index.vectors([first.id, "unknown"])
    assert found.keys() == {first.id}
    np.testing.assert_allclose(found[first.id], vectors.mean(axis=0), atol=1e-6)


def test_filters_are_on_the_chunks(index: Index) -> None:
    found = index.passages(list(index.dense("castle", 100, {"document": "castle"})))
    assert {str(one) for one in found} == {one.text for one in index.document("castle")}
    late = index.document("castle")[-1]
    assert list(index.dense("castle", 100, {"$and": [
        {"document": "castle"}, {"start": {"$gte": late.start}},
    ]})) == [late.id]  # fmt: skip


def counts(report: IngestReport) -> tuple[int, int]:
    return report.chunks_written, report.chunks_deleted


def appended() -> Document:
    first = towns()[0]
    return Document(first.id, f"{first.text} And the ford lies under the bridge.", first.title)


def test_only_changed_chunks_are_written_and_all_parents_are_right(index: Index) -> None:
    edited, old = appended(), towns()[0]
    was, now = ({piece.id for piece in chunk(one, CUT)} for one in (old, edited))
    grown = parent_chunks(edited, CUT)
    assert grown[0] == parent_chunks(old, CUT)[0]
    assert grown[-1] not in parent_chunks(old, CUT)
    report = ingest([edited, *towns()[1:-1]], index.folder, SETTINGS)
    gone = chunk(towns()[-1], CUT)
    assert counts(report) == (len(now - was), len(was - now) + len(gone))
    assert 0 < len(now - was) < len(now)
    assert index.document(old.id) == grown
    assert index.document(towns()[-1].id) == []
    assert index.passages(list(index.keyword("ford bridge", 1)))[0] == grown[-1].text
    assert set(index.dense("river", 100)) == {one.id for one in index.chunks()}
    assert verify(index.folder).sound
    assert counts(ingest([edited, *towns()[1:-1]], index.folder, SETTINGS)) == (0, 0)


def test_parents_that_change_alone_change_the_fingerprint(path: Path) -> None:
    by_tokens = ChunkSettings(kind="token", size=8, parent_size=24)
    settings = IndexSettings(embedder="hash", chunking=by_tokens)
    short = Document("d", "one two three four five six seven eight\n\t\n")
    longer = Document("d", f"{short.text}\t\n")
    assert chunk(short, by_tokens) == chunk(longer, by_tokens)
    ingest([short], path, settings)
    index = open_index(path)
    before, (parent,) = index.fingerprint, index.chunks()
    report = ingest([longer], path, settings)
    assert (report.changed, *counts(report)) == (1, 0, 0)
    assert index.fingerprint != before
    assert [one.text for one in index.chunks()] == [longer.text]
    assert index.passages([parent.id]) == []


def test_a_batch_that_fails_leaves_the_parents_as_they_were(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(index.chunks())
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "fill", _fail)
        with pytest.raises(IndexFault, match="no room"):
            ingest([appended()], index.folder, SETTINGS)
    assert list(index.chunks()) == before
    found = set(index.dense("river ford", 100))
    assert found == {one.id for one in before}
    ingest([appended()], index.folder, SETTINGS)
    assert list(index.chunks()) == parent_chunks(appended(), CUT)


def _fail(*_: object) -> None:
    raise IndexFault("There is no room.")


def test_damage_is_found_and_repaired_chunk_by_chunk(index: Index) -> None:
    question, ids = "copper violin", [one.id for one in index.chunks()]
    wanted = index.dense(question, 5), index.maxsim(question, ids)
    worded = set(index.keyword(question, 100))
    lost = [piece.id for piece in chunk(towns()[0], CUT)]
    index._parts.store.delete(lost)
    close_index(index.folder)
    found = verify(index.folder)
    assert (found.sound, found.parts["store"].missing) == (False, len(lost))
    assert repair(index.folder).written == len(lost)
    assert verify(index.folder).sound
    compact(index.folder)
    again = open_index(index.folder)
    assert again.dense(question, 5) == pytest.approx(wanted[0])
    assert again.maxsim(question, ids) == wanted[1]
    assert set(again.keyword(question, 100)) == worded


def test_a_copy_in_another_store_gives_the_same_parents(index: Index, tmp_path: Path) -> None:
    question = "copper violin"
    wanted = index.dense(question, 5)
    report = move_index(index.folder, f"chroma:{tmp_path / 'moved'}")
    assert report.rows == index.count
    assert index.dense(question, 5) == pytest.approx(wanted)
    assert len(index.passages(list(wanted))) == 5


def test_an_event_loop_gets_the_same_parents_from_a_server(index: Index, tmp_path: Path) -> None:
    question = "copper violin"
    wanted = index.dense(question, 5), index.vectors([one.id for one in index.chunks()])
    crowded = index.dense(question, 40)
    (tmp_path / "server").mkdir()
    with chroma_server(tmp_path / "server") as (port, _):
        move_index(index.folder, f"chroma+http://127.0.0.1:{port}")
        for asked, scores in ((5, wanted[0]), (40, crowded)):
            assert asyncio.run(index.adense(question, asked)) == pytest.approx(scores, abs=1e-6)
        assert index.awaited is True
        vectors = asyncio.run(index.avectors(list(wanted[1])))
        close_index(index.folder)
    assert vectors.keys() == wanted[1].keys()
    assert all(np.allclose(vectors[id], wanted[1][id], atol=1e-6) for id in vectors)
