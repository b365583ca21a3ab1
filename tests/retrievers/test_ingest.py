"""Ingest: incremental, idempotent, one writer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.embedding import EngineSettings, loading
from ragwright.retrievers.errors import IdentityError, IndexFault, InputError, ModelError
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import (
    IngestProgress,
    IngestReport,
    delete_documents,
    ingest,
    upsert_documents,
)
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import compact, verify
from tests.retrievers.conftest import LANDS, SETTINGS, land, lands

EACH = len(chunk(land("Peru"), SETTINGS.chunking))


def counts(report: IngestReport) -> tuple[int, ...]:
    return (
        *(report.added, report.changed, report.deleted, report.unchanged),
        *(report.chunks_written, report.chunks_deleted),
    )


def test_an_unchanged_collection_costs_nothing(path: Path) -> None:
    assert counts(ingest(lands(), path, SETTINGS)) == (6, 0, 0, 0, 6 * EACH, 0)
    generation = open_index(path).generation
    assert counts(ingest(reversed(lands()), path, SETTINGS)) == (0, 0, 0, 6, 0, 0)
    assert open_index(path).generation == generation


def test_exactly_what_changed_is_written(index_path: Path) -> None:
    appended = land("Peru", more=" Its second river is a very long one, far in the east.")
    chunks = chunk(appended, SETTINGS.chunking)
    old = chunk(land("Peru"), SETTINGS.chunking)
    new = len({piece.id for piece in chunks} - {piece.id for piece in old})
    gone = len({piece.id for piece in old} - {piece.id for piece in chunks})
    collection = [land(name) for name in LANDS if name not in {"Peru", "Kenya"}]
    report = ingest([*collection, appended, Document("Chad", "One chunk.")], index_path, SETTINGS)
    assert counts(report) == (1, 1, 1, 4, new + 1, gone + EACH)
    index = open_index(index_path)
    assert {piece.document_id for piece in index.chunks()} == {*LANDS, "Chad"} - {"Kenya"}
    assert "".join(p.text for p in index.chunks() if p.document_id == "Peru") == appended.text


def test_changed_metadata_alone_is_a_change(index_path: Path) -> None:
    moved = Document("Peru", land("Peru").text, "Peru", {"continent": "South America"})
    others = [land(name) for name in LANDS if name != "Peru"]
    assert counts(ingest([*others, moved], index_path, SETTINGS)) == (0, 1, 0, 5, EACH, EACH)
    index = open_index(index_path)
    assert len(index.dense("capital", 100, {"continent": "South America"})) == EACH
    assert len(index.dense("capital", 100)) == index.count


def test_a_change_and_back_gives_the_same_chunks(index_path: Path) -> None:
    before = list(open_index(index_path).chunks())
    others = [land(name) for name in LANDS if name != "Peru"]
    ingest([*others, Document("Peru", "Nothing.")], index_path, SETTINGS)
    ingest(lands(), index_path, SETTINGS)
    assert list(open_index(index_path).chunks()) == before
    assert len(open_index(index_path).dense("capital", 100)) == len(before)


def test_a_document_of_white_space_is_known_and_has_no_chunks(path: Path) -> None:
    report = ingest([Document("blank", " \n "), land("Peru")], path, SETTINGS)
    assert counts(report) == (2, 0, 0, 0, EACH, 0)
    assert counts(ingest([Document("blank", " \n "), land("Peru")], path, SETTINGS))[3] == 2


def test_progress_is_reported_in_documents_and_chunks(path: Path) -> None:
    seen: list[IngestProgress] = []
    ingest(lands(), path, SETTINGS, progress=seen.append)
    assert seen[-1] == IngestProgress(6, 6 * EACH)


def test_two_documents_of_one_id_are_refused(path: Path) -> None:
    with pytest.raises(InputError, match="Two documents have the id 'Peru'"):
        ingest([land("Peru"), land("Peru")], path, SETTINGS)


def test_nothing_to_ingest_is_refused_and_deletes_nothing(index_path: Path) -> None:
    with pytest.raises(InputError, match="no documents to ingest"):
        ingest([], index_path, SETTINGS)
    assert open_index(index_path).document_count == 6


def test_a_failing_source_deletes_nothing(index_path: Path) -> None:
    def broken() -> object:
        yield land("Peru")
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        ingest(broken(), index_path, SETTINGS)  # type: ignore[arg-type]
    assert open_index(index_path).document_count == 6
    assert counts(ingest(lands(), index_path, SETTINGS)) == (0, 0, 0, 6, 0, 0)


def test_other_settings_are_refused(index_path: Path) -> None:
    other = IndexSettings(embedder="hash", chunking=ChunkSettings(size=32))
    with pytest.raises(IdentityError, match="size = 16, not 32"):
        ingest(lands(), index_path, other)


def test_a_second_writer_is_refused(path: Path) -> None:
    def second() -> object:
        with pytest.raises(IndexFault, match=rf"being written by process {os.getpid()} on"):
            ingest(lands(), path, SETTINGS)
        yield land("Peru")

    ingest(second(), path, SETTINGS)  # type: ignore[arg-type]
    assert open_index(path).document_count == 1


def test_another_engine_is_no_other_index(index_path: Path) -> None:
    fingerprint = open_index(index_path).fingerprint
    close_index(index_path)
    engine = EngineSettings(backend="torch")
    report = ingest(lands(), index_path, SETTINGS.model_copy(update={"engine": engine}))
    assert (report.unchanged, report.chunks_written, report.embedded) == (len(LANDS), 0, 0)
    assert open_index(index_path).settings.engine == engine
    assert open_index(index_path).fingerprint == fingerprint


@pytest.mark.parametrize("wrong", [Document("a", "text"), Path("/etc"), "text", b"x", 5, None])
def test_what_is_no_list_of_documents_is_refused(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(InputError, match="not a list of documents"):
        ingest(wrong, tmp_path / "index", IndexSettings(embedder="hash"))


def test_documents_are_added_and_replaced_beside_others(index_path: Path) -> None:
    changed = land("Peru", more=" Its second river is a very long one, far in the east.")
    new = Document("Chad", "One chunk.")
    report = upsert_documents([changed, new], index_path)
    assert counts(report)[:4] == (1, 1, 0, 0)
    others = [land(name) for name in LANDS if name != "Peru"]
    assert counts(ingest([*others, changed, new], index_path, SETTINGS))[3] == len(LANDS) + 1
    assert counts(upsert_documents([land("Kenya")], index_path, SETTINGS)) == (0, 0, 0, 1, 0, 0)


def test_an_index_can_begin_with_an_upsert(path: Path) -> None:
    assert counts(upsert_documents([land("Peru")], path, SETTINGS))[0] == 1
    assert counts(upsert_documents([land("Kenya")], path))[0] == 1
    assert {piece.document_id for piece in open_index(path).chunks()} == {"Peru", "Kenya"}


def test_documents_are_deleted_by_their_ids(index_path: Path) -> None:
    index = open_index(index_path)
    before = index.count
    report = delete_documents(["Peru", "Kenya", "Peru"], index_path)
    assert counts(report) == (0, 0, 2, 0, 0, 2 * EACH)
    assert open_index(index_path).count == before - 2 * EACH
    assert verify(index_path).sound
    assert counts(ingest(lands(), index_path, SETTINGS))[0] == 2


def test_whoever_embeds_nothing_loads_no_embedder(
    index_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise ModelError("There is no such model.")

    monkeypatch.setattr(loading, "_LOADED", {})
    monkeypatch.setattr(loading, "_build", missing)
    report = delete_documents(["Peru"], index_path)
    assert (report.deleted, report.embedded, report.engine) == (1, 0, "")
    assert verify(index_path).sound
    assert compact(index_path).freed > 0
    with pytest.raises(ModelError, match="no such model"):
        ingest(lands(), index_path, SETTINGS)


@pytest.mark.parametrize("unknown", ["peru", "", "a\0b", "\ud800", 7, None, ["Peru"]])
def test_a_document_that_is_not_there_stops_the_deletion(index_path: Path, unknown: Any) -> None:
    with pytest.raises(InputError, match="holds no document"):
        delete_documents(["Peru", unknown], index_path)
    assert counts(ingest(lands(), index_path, SETTINGS))[3] == len(LANDS)
    assert counts(delete_documents(["Peru", unknown], index_path, missing_ok=True))[2] == 1


def test_every_document_can_be_deleted(index_path: Path) -> None:
    assert counts(delete_documents(list(LANDS), index_path))[2] == len(LANDS)
    assert open_index(index_path).dense("capital", 3) == {}
    assert verify(index_path).sound


def test_part_of_an_index_is_changed_only_where_there_is_one(tmp_path: Path) -> None:
    with pytest.raises(IndexFault, match="no index"):
        delete_documents(["Peru"], tmp_path / "none")
    with pytest.raises(InputError):
        delete_documents("Peru", tmp_path)
    with pytest.raises(InputError):
        upsert_documents("Peru", tmp_path)  # type: ignore[arg-type]
