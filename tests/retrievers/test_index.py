"""An index open for reading: what it finds and what it says about itself."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ragwright.retrievers.chunking import chunk, text_to_search
from ragwright.retrievers.embedding import (
    NO_PROMPT,
    EmbedderIdentity,
    EngineSettings,
    HashEmbedder,
    load_embedder,
    loading,
)
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError
from ragwright.retrievers.index import ENCODED_BYTES, Index, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import Chunk, Document
from tests.retrievers.conftest import LANDS, SETTINGS, land, lands

QUESTION = "What is the capital of Peru?"


def documents_of(index: Index, ids: dict[str, float]) -> list[str]:
    return [passage.document for passage in index.passages(list(ids))]


def test_dense_scores_are_cosines_best_first(index_path: Path) -> None:
    index = open_index(index_path)
    hits = index.dense(QUESTION, 100)
    assert documents_of(index, hits)[0] == "Peru"
    assert list(hits.values()) == sorted(hits.values(), reverse=True)
    embedder = load_embedder("hash")
    (query,) = embedder.encode([QUESTION]).vectors
    shown = index.passages(list(hits))
    texts = [text_to_search(Chunk("", 0, 0, str(p), p.metadata), SETTINGS.chunking) for p in shown]
    assert len(hits) == index.count
    assert list(hits.values()) == pytest.approx(embedder.encode(texts).vectors @ query, abs=1e-4)


@pytest.mark.parametrize("query", ["", "  ", "\n\u3000"])
def test_nothing_is_found_for_a_blank_question(index_path: Path, query: str) -> None:
    assert open_index(index_path).dense(query, 3) == {}
    with pytest.raises(InputError, match="operator"):
        open_index(index_path).dense(query, 3, {"x": {"$bad": 1}})


def test_keyword_finds_what_shares_a_word(index_path: Path) -> None:
    index = open_index(index_path)
    assert documents_of(index, index.keyword("Lima Peru", 5))[0] == "Peru"
    assert index.keyword("xylophone", 5) == {}


def test_a_filter_applies_before_the_cut(index_path: Path) -> None:
    index = open_index(index_path)
    for source in (index.dense, index.keyword):
        hits = source("The capital of Kenya", 3, {"continent": "Europe"})
        assert len(hits) == 3
        assert set(documents_of(index, hits)) <= {"France", "Italy", "Spain"}
        assert source("The capital of Kenya", 3, {"continent": "Atlantis"}) == {}


def test_maxsim_prefers_the_passage_with_the_words(index_path: Path) -> None:
    index = open_index(index_path)
    ids = list(index.dense(QUESTION, 100))
    scores = index.maxsim(QUESTION, [*ids, "unknown"])
    assert documents_of(index, {ids[int(np.argmax(scores))]: 0})[0] == "Peru"
    assert scores[-1] == 0.0
    assert index.maxsim(QUESTION, ids[::-1]) == pytest.approx(scores[-2::-1])


def test_it_holds_the_chunks_of_its_documents(index_path: Path) -> None:
    index = open_index(index_path)
    wanted = [piece for name in sorted(LANDS) for piece in chunk(land(name), SETTINGS.chunking)]
    assert list(index.chunks()) == wanted
    assert (index.count, index.document_count) == (len(wanted), 6)
    ids = [piece.id for piece in wanted]
    passages = index.passages([*ids[::-1], "unknown"])
    assert [(passage.id, str(passage)) for passage in passages] == [
        (piece.id, piece.text) for piece in wanted[::-1]
    ]
    assert set(passages[0].metadata) == {
        *("document", "start", "end", "tokens", "title", "continent", "millions")
    }
    assert index.tokens([*ids, "unknown"]).keys() == set(ids)


def test_what_stands_around_a_chunk_ends_with_its_document(tmp_path: Path) -> None:
    facts = " ".join(f"The number {number} follows another number." for number in range(12))
    ingest([Document("facts", facts), *lands()], tmp_path / "index", SETTINGS)
    index = open_index(tmp_path / "index")
    ids = [piece.id for piece in index.document("facts")]
    assert len(ids) > 5
    around = index.around([ids[0], ids[3], ids[-1], "unknown"], 2)
    assert around == {
        ids[0]: ((), (ids[1], ids[2])),
        ids[3]: ((ids[2], ids[1]), (ids[4], ids[5])),
        ids[-1]: ((ids[-2], ids[-3]), ()),
    }
    assert index.around([ids[3]], 0) == {ids[3]: ((), ())}
    close_index(tmp_path / "index")


def test_more_ids_than_sqlite_takes_variables(index_path: Path) -> None:
    index = open_index(index_path)
    ids = [piece.id for piece in index.chunks()] + [f"unknown-{n}" for n in range(40_000)]
    assert len(index.passages(ids)) == len(index.tokens(ids)) == index.count
    assert len(index.maxsim(QUESTION, ids)) == len(ids)


def test_the_fingerprint_follows_the_content(index_path: Path) -> None:
    before = open_index(index_path).fingerprint
    ingest([*lands(), Document("Chad", "The capital of Chad is N'Djamena.")], index_path, SETTINGS)
    assert open_index(index_path).fingerprint != before
    ingest(lands(), index_path, SETTINGS)
    assert open_index(index_path).fingerprint == before


def test_a_reader_sees_what_is_written_later(index_path: Path) -> None:
    index = open_index(index_path)
    generation = index.generation
    index.dense("N'Djamena", 1)
    ingest([*lands(), Document("Chad", "Chad: N'Djamena.")], index_path, SETTINGS)
    assert documents_of(index, index.dense("N'Djamena", 1)) == ["Chad"]
    assert documents_of(index, index.keyword("Chad", 1)) == ["Chad"]
    (chad,) = index.dense("N'Djamena", 1)
    assert index.maxsim("N'Djamena", [chad])[0] == pytest.approx(1.0, abs=0.05)
    assert index.generation > generation


def test_it_is_opened_once_per_process(index_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(index_path.parent)
    index = open_index(index_path)
    assert open_index("index") is index
    close_index("index")
    assert open_index(index_path) is not index


def test_its_size_is_looked_up_once_a_generation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = IndexSettings(embedder="hash"), tmp_path / "ix"
    ingest([Document("a", "The lamp is blue.")], folder, settings)
    index = open_index(folder)
    asked = list[Ledger]()
    real = Ledger.rows_written

    def noted(self: Ledger) -> int:
        asked.append(self)
        return real(self)

    monkeypatch.setattr(Ledger, "rows_written", noted)
    monkeypatch.setattr("ragwright.retrievers.index.LARGE", 2)
    for _ in range(3):
        index.keyword("lamp", 1)
        assert not index.is_large
    assert not asked
    ingest(
        [Document("a", "The lamp is blue."), Document("b", "The door is red.")], folder, settings
    )
    index.keyword("door", 1)
    assert index.is_large
    assert asked.count(index._parts.ledger) == 1
    close_index(folder)


def test_what_is_kept_of_questions_is_bounded_by_its_bytes(tmp_path: Path) -> None:
    """A question of a thousand words has a thousand vectors, and a stranger may ask many."""
    ingest([Document("a", "The lamp is blue.")], tmp_path / "ix", IndexSettings(embedder="hash"))
    index = open_index(tmp_path / "ix")
    words = " ".join(f"lamp{n}" for n in range(4000))
    for number in range(60):
        index._encoded(f"{number} {words}")
    kept = index._encoded.cache
    close_index(tmp_path / "ix")
    assert kept is not None
    assert 10 < len(kept) < 60
    assert sum(one.tokens[0].nbytes for one in kept.values()) <= ENCODED_BYTES


def test_a_missing_index_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="There is no index"):
        open_index(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("part", ["ledger.sqlite", "tokens-0.bin", "rotation.npy"])
def test_a_missing_part_is_named(index_path: Path, part: str) -> None:
    (index_path / part).unlink()
    with pytest.raises(IndexFault, match=part):
        open_index(index_path)


def test_a_damaged_stamp_is_refused(index_path: Path) -> None:
    stamp = index_path / "stamp.json"
    good = stamp.read_text()
    stamp.write_text(good.replace('"format"', '"fromat"'))
    with pytest.raises(IndexFault, match=r"stamp .* is damaged"):
        open_index(index_path)
    stamp.write_text(good[: len(good) // 2])
    with pytest.raises(IndexFault, match=r"stamp .* is damaged"):
        open_index(index_path)


@dataclass(frozen=True)
class Impostor:
    """Another model under the same name: equal dimension, other vectors."""

    real: HashEmbedder

    @property
    def identity(self) -> EmbedderIdentity:
        return replace(self.real.identity, revision="v2-64")


def test_another_embedder_of_that_name_is_refused(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = Impostor(HashEmbedder())
    monkeypatch.setitem(loading._LOADED, ("hash", EngineSettings(), NO_PROMPT), impostor)
    with pytest.raises(IdentityError, match=r"v1-64.*v2-64"):
        open_index(index_path)


@pytest.mark.parametrize("store", ["", "qdrant"])
def test_an_index_put_in_the_place_of_another_is_searched(tmp_path: Path, store: str) -> None:
    if store:
        pytest.importorskip("qdrant_client")
    folder = tmp_path / "ix"
    where = f"qdrant:{folder / 'vectors'}" if store else ""
    settings = IndexSettings(embedder="hash", store=where)
    held = None
    for days in (30, 31, 32):
        shutil.rmtree(folder, ignore_errors=True)
        ingest([Document("a", f"leave is {days} days")], folder, settings)
        held = held or open_index(folder)
        for index in (held, open_index(folder)):
            assert list(index.dense("leave", 1)) == list(index.keyword("leave", 1))
            (passage,) = index.passages(list(index.dense("leave", 1)))
            assert passage == f"leave is {days} days"
    close_index(folder)


def test_a_moved_index_and_another_in_its_place(tmp_path: Path) -> None:
    settings = IndexSettings(embedder="hash")
    ingest([Document("a", "old text")], tmp_path / "ix", settings)
    index = open_index(tmp_path / "ix")
    assert index.keyword("text", 1)
    (tmp_path / "ix").rename(tmp_path / "moved")
    ingest([Document("a", "new text")], tmp_path / "ix", settings)
    for place, wanted in (("ix", "new text"), ("moved", "old text")):
        found = open_index(tmp_path / place)
        assert found.passages(list(found.dense("text", 1))) == [wanted]
        close_index(tmp_path / place)


@pytest.mark.parametrize("damage", ["changed", "cut"])
def test_damaged_token_vectors_score_nothing(index_path: Path, damage: str) -> None:
    with closing(Index(index_path)) as index:
        ids = sorted(index.keyword("capital river", 6))
        sound = index.maxsim("capital of Peru", ids)
    file = index_path / "tokens-0.bin"
    seen, rows = file.stat(), bytearray(file.read_bytes())
    kept = bytes(rows)
    if damage == "changed":
        rows[len(rows) // 2] ^= 1  # and nothing shows it: size and time are what they were
    else:
        del rows[-10:]
    file.write_bytes(rows)
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    with closing(Index(index_path)) as index:
        with pytest.raises(IndexFault, match=r"damaged.*rag index repair"):
            index.maxsim("capital of Peru", ids)
        assert index.keyword("capital of Peru", 1)
    file.write_bytes(kept)
    with closing(Index(index_path)) as index:
        assert index.maxsim("capital of Peru", ids) == sound == index.maxsim("capital of Peru", ids)


def test_a_stamp_that_is_no_text_is_damaged(index_path: Path) -> None:
    (index_path / "stamp.json").write_bytes(b"{\xff\xfe")
    with pytest.raises(IndexFault, match="is damaged"):
        Index(index_path)


def test_an_event_loop_sees_what_was_written_or_that_it_would_have_to_wait(
    index_path: Path, tmp_path: Path
) -> None:
    index = open_index(index_path)
    before = index.state_at_once()
    assert before == (index.generation, index.stamp.id)
    with closing(Ledger(index_path / "ledger.sqlite")) as another:
        with another.transaction():
            another.bump()
            assert index.state_at_once() == before
        assert index.state_at_once() == (before[0] + 1, before[1])
    with ThreadPoolExecutor(1) as other, index._parts.ledger.transaction():
        assert other.submit(index.state_at_once).result() is None
    ingest(lands(), tmp_path / "other", SETTINGS)
    close_index(tmp_path / "other")
    index_path.rename(tmp_path / "before")
    (tmp_path / "other").rename(index_path)
    assert index.state_at_once() is None
