"""A vector store whose own files are damaged: noticed, named, and filled again from the ledger.

Among the damages is what a kill in the middle of Chroma's writing leaves (Chroma's issue 7678).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ragwright.retrievers.errors import DamagedStore, IndexFault
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import IngestProgress, ingest
from ragwright.retrievers.stamp import IndexSettings, Stamp, unfinished_note
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.stores.opening import open_store
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import compact, repair, verify
from tests.servers.chroma import chroma_server
from tests.servers.ports import free_port
from tests.servers.stores import KINDS, located

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = IndexSettings(embedder="hash")
COUNT = 1100
"""More than the 1,000 rows after which Chroma writes its graph to disk."""
QUESTIONS = ["number 77", "the number 500 of them all", "word"]


def documents(version: int = 1) -> Iterator[Document]:
    """Another version has other texts in a third of the documents."""
    for number in range(COUNT):
        changed = f" Version {version}." if number % 3 == 0 else ""
        yield Document(f"{number}", f"The word number {number}.{changed}")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "index"
    ingest(documents(0), folder, SETTINGS)
    ingest(documents(), folder, SETTINGS)
    return folder


@pytest.fixture
def index(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "index"))


def graph(chroma: Path) -> Path:
    (folder,) = (path for path in chroma.iterdir() if path.is_dir())
    return folder


def empty_header(chroma: Path) -> None:
    os.truncate(graph(chroma) / "header.bin", 0)


def empty_names(chroma: Path) -> None:
    os.truncate(graph(chroma) / "index_metadata.pickle", 0)


def no_graph(chroma: Path) -> None:
    shutil.rmtree(graph(chroma))


def ahead(chroma: Path) -> None:
    """Make the graph one write ahead of its names, as a kill between the two leaves it.

    Chroma then applies to it again what is in it already, and fails.
    """
    later = chroma.parent.with_name("later")
    shutil.copytree(chroma.parent, later)
    ingest(documents(2), later, SETTINGS)
    ingest(documents(3), later, SETTINGS)
    for name in ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin"):
        shutil.copy(graph(later / "chroma") / name, graph(chroma) / name)


UNREADABLE = [ahead, empty_header, empty_names]
Harm = Callable[[Path], None]


def found(index: Path) -> list[list[float]]:
    """Return what the three questions find: cosines, since many are equal."""
    with closing(Index(index)) as reader:
        return [cosines(reader, question) for question in QUESTIONS]


def cosines(reader: Index, question: str) -> list[float]:
    return [round(cosine, 5) for cosine in reader.dense(question, 10).values()]


@pytest.mark.parametrize("harm", UNREADABLE)
def test_a_torn_graph_is_named_with_what_helps(index: Path, harm: Harm) -> None:
    harm(index / "chroma")
    with pytest.raises(DamagedStore, match=r"cannot read its own.*room.*rag index repair"):
        found(index)
    seen = verify(index)
    assert not seen.sound
    assert seen.parts["store"].missing == COUNT
    assert all("chroma" in file for file in seen.files)


@pytest.mark.parametrize("harm", [*UNREADABLE, no_graph, shutil.rmtree])
def test_an_ingest_gives_back_what_the_store_lost(index: Path, whole: Path, harm: Harm) -> None:
    harm(index / "chroma")
    seen: list[IngestProgress] = []
    report = ingest(documents(), index, SETTINGS, progress=seen.append)
    assert (report.restored, report.unchanged) == (COUNT, COUNT)
    assert (report.chunks_written, report.chunks_deleted) == (0, 0)
    assert [one.restored for one in seen if one.to_restore == COUNT] == [512, 1024, COUNT]
    assert verify(index).sound
    assert found(index) == found(whole)
    assert ingest(documents(), index, SETTINGS).restored == 0
    assert graph(index / "chroma").is_dir()  # one, and the damaged one is gone


@pytest.mark.parametrize("harm", [*UNREADABLE, no_graph])
def test_repair_gives_it_back_and_touches_no_other_part(index: Path, harm: Harm) -> None:
    harm(index / "chroma")
    tokens = (index / "tokens-0.bin").read_bytes()
    seen: list[tuple[int, int]] = []
    done = repair(index, progress=lambda *counts: seen.append(counts))
    assert (done.written, done.removed) == (COUNT, 0)
    assert seen == [(512, COUNT), (1024, COUNT), (COUNT, COUNT)]
    assert (index / "tokens-0.bin").read_bytes() == tokens
    assert verify(index).sound


def test_compacting_leaves_no_store_half_full(index: Path) -> None:
    empty_header(index / "chroma")
    seen: list[tuple[int, int]] = []
    compact(index, progress=lambda *counts: seen.append(counts))
    assert seen == [(512, COUNT), (1024, COUNT), (COUNT, COUNT)]
    assert verify(index).sound


def keyword(index: Path, ending: str) -> list[Path]:
    return sorted((index / "keyword").glob(f"*{ending}"))


def zeros(ending: str) -> Harm:
    """Put 512 zero bytes into the largest file of a kind, as a disk may."""

    def harm(index: Path) -> None:
        file = max(keyword(index, ending), key=lambda file: file.stat().st_size)
        size = file.stat().st_size
        with file.open("r+b") as stream:
            stream.seek(max(0, size // 2 - 256))
            stream.write(bytes(min(512, size)))

    return named(harm, f"zeros in {ending}")


def cut(ending: str) -> Harm:
    def harm(index: Path) -> None:
        for file in keyword(index, ending):
            os.truncate(file, file.stat().st_size // 2)

    return named(harm, f"cut {ending}")


def gone(ending: str) -> Harm:
    def harm(index: Path) -> None:
        for file in keyword(index, ending):
            file.unlink()

    return named(harm, f"gone {ending}")


def named(harm: Harm, name: str) -> Harm:
    harm.__name__ = name
    return harm


def no_keyword(index: Path) -> None:
    shutil.rmtree(index / "keyword")


ENDINGS = [".idx", ".term", ".store", ".fieldnorm", ".pos", ".fast"]
KEYWORD = [
    *(zeros(ending) for ending in ENDINGS),
    *(harm(ending) for harm in (cut, gone) for ending in (".term", ".store")),
    zeros("meta.json"), cut("meta.json"), gone("meta.json"), no_keyword,
]  # fmt: skip


def words(index: Path) -> list[dict[str, float]]:
    with closing(Index(index)) as reader:
        return [reader.keyword(question, 10) for question in QUESTIONS]


def seen_sound(index: Path) -> bool:
    """Whether verify finds nothing; that it cannot open a part at all is a find too."""
    try:
        return verify(index).sound
    except DamagedStore as error:
        return "rag index repair" not in str(error)


def again(index: Path) -> object:
    return ingest(documents(), index, SETTINGS)


@pytest.mark.parametrize("harm", KEYWORD, ids=lambda harm: harm.__name__)
def test_a_damaged_keyword_index_is_found_and_written_anew(
    index: Path, whole: Path, harm: Harm
) -> None:
    harm(index)
    with pytest.raises(IndexFault, match=r"keyword index .*(damaged|missing)"):
        words(index)
    if (index / "keyword/meta.json").exists():
        assert not seen_sound(index)
    (repair if KEYWORD.index(harm) % 2 else again)(index)
    assert verify(index).sound
    # Scores differ: an index that was written once counts no deleted texts among its words.
    assert [len(one) for one in words(index)] == [len(one) for one in words(whole)]
    assert next(iter(words(index)[0])) == next(iter(words(whole)[0]))


def test_damage_that_changes_no_time_is_found_by_verify_alone(index: Path) -> None:
    (file, *_) = keyword(index, ".fieldnorm")
    before = file.stat()
    zeros(".fieldnorm")(index)
    for one in keyword(index, ".fieldnorm"):
        os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [file for file in verify(index).files if file.endswith(".fieldnorm")]
    repair(index)
    assert verify(index).sound


def test_a_copied_folder_is_no_damage(index: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(index, tmp_path / "copied", copy_function=shutil.copyfile))
    assert verify(copied).sound
    assert found(copied) == found(index)
    assert ingest(documents(), copied, SETTINGS).restored == 0


def test_a_link_to_a_folder_is_no_damage(index: Path, tmp_path: Path) -> None:
    """Its files were once named by a way up out of the link, and the store was filled anew."""
    link = tmp_path / "far" / "away" / "link"
    link.parent.mkdir(parents=True)
    link.symlink_to(index)
    for place in (link, index, link):
        assert ingest(documents(), place, SETTINGS).restored == 0, place
        assert verify(place).sound


def cut_graph(chroma: Path) -> None:
    for name in ("data_level0.bin", "link_lists.bin", "length.bin"):
        os.truncate(graph(chroma) / name, 64)


def scrambled_header(chroma: Path) -> None:
    file = graph(chroma) / "header.bin"
    head = bytearray(file.read_bytes())
    head[20:60] = b"\xff" * 40
    file.write_bytes(bytes(head))


@pytest.mark.parametrize("harm", [cut_graph, scrambled_header])
def test_a_graph_that_would_end_the_process_is_opened_in_another_one(
    index: Path, whole: Path, harm: Harm
) -> None:
    harm(index / "chroma")
    with pytest.raises(DamagedStore, match=r"changed, and .*rag index repair"):
        found(index)
    assert verify(index).parts["store"].missing == COUNT
    assert repair(index).written == COUNT
    assert verify(index).sound
    assert found(index) == found(whole)


def test_another_rotation_is_found_and_drawn_again(index: Path, whole: Path) -> None:
    rotation = np.load(index / "rotation.npy")
    np.save(index / "rotation.npy", rotation[::-1])
    with pytest.raises(IndexFault, match="rotation"):
        Index(index)
    assert verify(index).parts["tokens"].missing == COUNT
    repair(index)
    np.testing.assert_array_equal(np.load(index / "rotation.npy"), rotation)
    assert verify(index).sound


def test_vectors_that_are_gone_are_counted_and_written_anew(index: Path, whole: Path) -> None:
    no_graph(index / "chroma")
    assert verify(index).parts["store"].missing == COUNT
    assert repair(index).written == COUNT
    assert verify(index).sound
    assert found(index) == found(whole)


def stop(done: IngestProgress) -> None:
    if done.restored >= 1000:
        raise KeyboardInterrupt


def test_nobody_reads_a_store_that_is_being_filled_and_the_next_ingest_ends_it(
    index: Path, whole: Path
) -> None:
    empty_header(index / "chroma")
    with closing(Index(index)) as reader:
        with pytest.raises(KeyboardInterrupt):
            ingest(documents(), index, SETTINGS, progress=stop)
        with pytest.raises(DamagedStore):
            reader.dense("word", 10)
    for look in (Index, verify):
        with pytest.raises(IndexFault, match="does not hold all its vectors yet"):
            look(index)
    seen: list[IngestProgress] = []
    report = ingest(documents(), index, SETTINGS, progress=seen.append)
    assert report.restored == COUNT - 1024
    assert seen[0] == IngestProgress(restored=COUNT - 1024, to_restore=COUNT - 1024)
    assert found(index) == found(whole)


def test_a_store_that_is_being_filled_is_no_other_indexs(index: Path, tmp_path: Path) -> None:
    empty_header(index / "chroma")
    with pytest.raises(KeyboardInterrupt):
        ingest(documents(), index, SETTINGS, progress=stop)
    empty_header(index / "chroma")
    shared = SETTINGS.model_copy(update={"store": f"chroma:{index}/chroma"})
    with pytest.raises(IndexFault, match="the vectors of another index"):
        ingest(documents(), tmp_path / "other", shared)
    with pytest.raises(IndexFault, match="the vectors of another index"):
        repair(tmp_path / "other")
    assert ingest(documents(), index, SETTINGS).restored == COUNT


def test_readers_see_a_store_whose_filling_was_stopped_before_its_note(
    index: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = ChromaStore.set_stamp

    def but_the_last(store: ChromaStore, note: str) -> None:
        if "whole" not in note:
            raise KeyboardInterrupt
        put(store, note)

    with closing(Index(index)) as reader:
        empty_header(index / "chroma")
        with monkeypatch.context() as patch:
            patch.setattr(ChromaStore, "set_stamp", but_the_last)
            with pytest.raises(KeyboardInterrupt):
                ingest(documents(), index, SETTINGS)
        with pytest.raises(IndexFault, match="does not hold all its vectors yet"):
            reader.dense("word", 10)
        assert ingest(documents(), index, SETTINGS).restored == 0
        assert [cosines(reader, question) for question in QUESTIONS] == found(whole)


def test_an_open_reader_sees_the_store_that_was_filled_again(index: Path, whole: Path) -> None:
    program = (
        "import sys; from ragwright.retrievers.upkeep import repair; print(repair(sys.argv[1]))"
    )
    with closing(Index(index)) as reader:
        empty_header(index / "chroma")
        command = [sys.executable, "-c", program, str(index)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert f"written={COUNT}" in done.stdout
        assert [cosines(reader, question) for question in QUESTIONS] == found(whole)


FEW_FILES = """
import os, resource, sys
from pathlib import Path
import chromadb.api.rust
from ragwright.retrievers.errors import DamagedStore, IndexFault
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.stores.opening import open_store

def look(spare):
    files = len(os.listdir("/proc/self/fd")) + spare
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    store = ChromaStore(StoreURL.parse(sys.argv[1]))
    try:
        store.fetch(["0"])
    except DamagedStore:
        print("taken for damage", flush=True)
    try:
        store.mend()
    except IndexFault:
        print("left as it is", flush=True)

for spare in range(4, 16):
    child = os.fork()
    if not child:
        try:
            look(spare)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_too_many_open_files_are_no_damage(index: Path) -> None:
    command = [sys.executable, "-c", FEW_FILES, f"chroma:{index / 'chroma'}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "left as it is" in ran.stdout
    assert "taken for damage" in ran.stdout
    assert ingest(documents(), index, SETTINGS).restored == 0


def test_a_file_that_is_no_database_is_named_each_time(index: Path) -> None:
    (index / "chroma" / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    for _ in range(2):
        with pytest.raises(DamagedStore, match=r"not a database.*delete its folder"):
            Index(index)
    shutil.rmtree(index / "chroma")
    assert ingest(documents(), index, SETTINGS).restored == COUNT
    assert verify(index).sound


def test_a_server_with_a_torn_graph_is_filled_again_and_its_readers_follow(
    tmp_path: Path, whole: Path
) -> None:
    (tmp_path / "server").mkdir()
    port, index = free_port(), tmp_path / "index"
    settings = SETTINGS.model_copy(update={"store": f"chroma+http://127.0.0.1:{port}"})
    with chroma_server(tmp_path / "server", port):
        ingest(documents(), index, settings)
        reader = Index(index)
    empty_header(tmp_path / "server")
    with chroma_server(tmp_path / "server", port), closing(reader):
        for look in (lambda: found(index), lambda: asyncio.run(awaited(reader))):
            with pytest.raises(DamagedStore):
                look()
        assert ingest(documents(), index, settings).restored == COUNT
        assert verify(index).sound
        assert asyncio.run(awaited(reader)) == found(whole)
        assert [cosines(reader, question) for question in QUESTIONS] == found(whole)


async def awaited(reader: Index) -> list[list[float]]:
    hits = [await reader.adense(question, 10) for question in QUESTIONS]
    return [[round(cosine, 5) for cosine in one.values()] for one in hits]


@pytest.mark.parametrize("kind", KINDS)
def test_every_store_is_filled_again(kind: str, tmp_path: Path) -> None:
    """Once it says that it is not whole, and once all its rows are gone and its note is not."""
    texts = [Document(f"{number}", f"The word number {number}.") for number in range(20)]
    with located(kind, tmp_path, 64) as place:
        settings = SETTINGS.model_copy(update={"store": place.format(0)})
        ingest(texts, tmp_path / "index", settings)
        stamp = Stamp.read(tmp_path / "index")
        for note, lost in ((unfinished_note(stamp.note), 7), (stamp.note, 20)):
            with closing(open_store(stamp.store(tmp_path), dimension=64)) as store:
                store.delete(list(store.ids())[:lost])
                store.set_stamp(note)
            # The store was changed behind the index's back, and that is no damage here.
            (tmp_path / "index/sums.json").unlink()
            if note != stamp.note:
                with pytest.raises(IndexFault, match="does not hold all its vectors yet"):
                    Index(tmp_path / "index")
            assert ingest(texts, tmp_path / "index", settings).restored == lost
            assert verify(tmp_path / "index").sound
