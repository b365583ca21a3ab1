"""Looking after an index: counting, comparing, repairing, compacting."""

from __future__ import annotations

import shutil
from contextlib import closing
from enum import Enum, IntEnum
from pathlib import Path

import pytest

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.index import Index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.stores.base import VectorStore
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import compact, repair, stats, verify
from tests.retrievers.conftest import LANDS, SETTINGS, land, lands


def store_of(path: Path) -> VectorStore:
    return open_store(Stamp.read(path).store(path), dimension=64)


def ids_of(path: Path) -> list[str]:
    with closing(Index(path)) as index:
        return [chunk.id for chunk in index.chunks()]


def damage_the_store(path: Path, ids: list[str]) -> None:
    with closing(store_of(path)) as store:
        row = store.fetch(ids[2:3])[ids[2]]
        store.delete(ids[:2])
        facts = {**row.metadata, "added": True}
        store.upsert(ids[2:3], row.vector[None, :], ["changed"], [facts])
        store.upsert(["f" * 32], row.vector[None, :], ["extra"], [{"n": 1}])


def damage_the_keyword_index(path: Path, ids: list[str]) -> None:
    with closing(KeywordIndex(path / "keyword")) as keyword:
        keyword.write([("f" * 32, "extra", {})], deleted=ids[3:5])


def damage_the_tokens(path: Path) -> None:
    file = path / "tokens-0.bin"
    codes = bytearray(file.read_bytes())
    codes[0] ^= 0xFF
    file.write_bytes(codes[:-40])


def test_a_sound_index_is_sound(index_path: Path) -> None:
    found = verify(index_path)
    assert found.sound
    assert found.chunks == len(ids_of(index_path))
    assert repair(index_path) == repair(index_path)
    assert (repair(index_path).written, repair(index_path).removed) == (0, 0)


def test_files_that_come_and_go_are_no_matter(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look at an index while another process writes it."""
    size, listed, there = stats(index_path).bytes, Path.rglob, Path.exists
    brief = index_path / "stamp.json.tmp"
    brief.touch()

    def gone_at_once(place: Path) -> bool:
        found = there(place)
        if place == brief:
            brief.unlink()
        return found

    monkeypatch.setattr(Path, "exists", gone_at_once)
    assert Stamp.read(index_path).attached is None
    monkeypatch.setattr(Path, "rglob", lambda *given: [*listed(*given), index_path / "gone"])
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    assert stats(index_path).bytes == size


class Level(IntEnum):
    HIGH = 3


class Colour(str, Enum):  # noqa: UP042  what programs of before StrEnum have
    RED = "red"


def test_members_of_enumerations_are_the_values_they_stand_for(path: Path) -> None:
    facts = {Colour.RED: Level.HIGH, "colour": Colour.RED, "levels": [Level.HIGH]}
    found = Document(Colour.RED, "A word", Colour.RED, facts)
    ingest([found], path, SETTINGS)
    held = open_index(path).passages(ids_of(path))[0].metadata
    assert repr({key: held[key] for key in ("red", "colour", "levels", "title", "document")}) == (
        "{'red': 3, 'colour': 'red', 'levels': [3], 'title': 'red', 'document': 'red'}"
    )
    for where in ({"red": Level.HIGH}, {"colour": Colour.RED}, {"colour": "red"}):
        assert len(open_index(path).keyword("word", 5, where)) == 1
    # The keyword index is made anew from what the ledger reads.
    ingest([found], path, SETTINGS.model_copy(update={"language": "german"}))
    assert verify(path).sound


def test_damage_is_found_id_by_id_and_repaired(index_path: Path) -> None:
    ids = ids_of(index_path)
    with closing(Index(index_path)) as index:
        wanted = index.maxsim("The capital of Peru", ids)
    damage_the_store(index_path, ids)
    damage_the_keyword_index(index_path, ids)
    damage_the_tokens(index_path)
    found = verify(index_path)
    assert not found.sound
    counts = {part: (d.missing, d.extra, d.wrong) for part, d in found.parts.items()}
    assert counts == {
        "store": (2, 1, 1), "keyword": (2, 1, 0), "tokens": (0, 0, 2), "vectors": (0, 0, 0)
    }  # fmt: skip
    assert set(found.parts["store"].examples) == {*ids[:3], "f" * 32}
    done = repair(index_path)
    assert done.removed == 1
    assert 5 <= done.written <= 8
    assert verify(index_path).sound
    with closing(Index(index_path)) as index:
        assert index.maxsim("The capital of Peru", ids) == wanted
        assert len(index.dense("The capital", 100)) == len(ids)
    assert ingest(lands(), index_path, SETTINGS).chunks_written == 0


@pytest.mark.parametrize("part", ["chroma", "keyword", "tokens-0.bin"])
def test_a_part_that_is_gone_is_built_again(index_path: Path, part: str) -> None:
    ids = ids_of(index_path)
    gone = index_path / part
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    assert repair(index_path).written == len(ids)
    assert verify(index_path).sound


def test_what_a_crash_left_is_reported(index_path: Path) -> None:
    ids = ids_of(index_path)
    with closing(Ledger(index_path / "ledger.sqlite")) as ledger, ledger.transaction():
        ledger.set_state(ids[:2], "dead")
    found = verify(index_path)
    assert (found.sound, found.unsettled, found.chunks) == (False, 2, len(ids) - 2)
    repair(index_path)
    assert verify(index_path).sound


def test_compacting_frees_dead_rows_and_keeps_every_score(index_path: Path) -> None:
    ingest([land(name) for name in LANDS if name not in {"France", "Japan"}], index_path, SETTINGS)
    ids = ids_of(index_path)
    before = stats(index_path)
    assert before.dead_rows > 0
    reader = open_index(index_path)
    wanted = reader.maxsim("The capital of Peru", ids)
    done = compact(index_path)
    assert (done.freed, done.rows) == (before.dead_rows, before.token_rows)
    after = stats(index_path)
    assert (after.dead_rows, after.token_rows) == (0, before.token_rows)
    assert sorted(file.name for file in index_path.glob("tokens-*")) == ["tokens-1.bin"]
    assert reader.maxsim("The capital of Peru", ids) == wanted
    assert verify(index_path).sound
    ingest(lands(), index_path, SETTINGS)
    assert verify(index_path).sound


def test_stats_count(index_path: Path) -> None:
    found = stats(index_path)
    assert (found.documents, found.chunks) == (6, len(ids_of(index_path)))
    assert found.store == f"chroma:{index_path}/chroma"
    assert found.bytes > 10_000
    with pytest.raises(IndexFault, match="There is no index"):
        stats(index_path.parent / "none")
