"""Whatever ends an ingest, the next one finishes it: nothing lost, nothing doubled.

Real processes, killed by the operating system; a real full disk; a real server that goes away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.retrievers.crashing import FULL_DISK, collection, settings
from tests.servers.chroma import chroma_server
from tests.servers.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("RAGWRIGHT_KILLS", "20"))
"""`make attack` kills 60 times."""
QUESTIONS = ["word7 word77 word377", "word1 word2 word3 word4", "word499"]


def run(
    index: Path, kills: int = 0, store: str = "", parent_size: int = 0
) -> subprocess.CompletedProcess[str]:
    words = [str(index), str(kills), store, str(parent_size)]
    command = [sys.executable, "-m", "tests.retrievers.crashing", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def assert_equal(one: Path, other: Path) -> None:
    """Compare two indexes of one collection in every part, id by id."""
    with closing(Index(one)) as left, closing(Index(other)) as right:
        chunks = list(left.chunks())
        assert chunks == list(right.chunks())
        ids = list(left._parts.ledger.ids())
        assert len(set(ids)) == len(ids) > 100
        for index in (left, right):
            assert sorted(index._parts.store.ids()) == sorted(ids)
            assert sorted(index._parts.keyword.ids()) == sorted(ids)
        rows, wanted = left._parts.store.fetch(ids), right._parts.store.fetch(ids)
        for id in ids:
            assert (rows[id].text, rows[id].metadata) == (wanted[id].text, wanted[id].metadata)
            assert np.array_equal(rows[id].vector, wanted[id].vector)
        for question in QUESTIONS:
            assert set(left.keyword(question, 1000)) == set(right.keyword(question, 1000))
            assert list(left.dense(question, 10)) == list(right.dense(question, 10))
            returned = [chunk.id for chunk in chunks]
            assert left.maxsim(question, returned) == right.maxsim(question, returned)
        assert left.fingerprint == right.fingerprint


def undisturbed(folder: Path, version: int, parent_size: int = 0) -> Path:
    how = settings(parent_size=parent_size)
    ingest(collection(version), folder / "undisturbed", how)
    return folder / "undisturbed"


def test_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    ran = run(tmp_path / "index", KILLS)
    assert ran.returncode == 0, ran.stderr
    version = int(ran.stdout)
    assert_equal(tmp_path / "index", undisturbed(tmp_path, version))
    again = ingest(collection(version), tmp_path / "index", settings())
    assert (again.chunks_written, again.chunks_deleted) == (0, 0)


def test_kills_leave_no_chunk_without_its_parent(tmp_path: Path) -> None:
    ran = run(tmp_path / "index", kills=12, parent_size=64)
    assert ran.returncode == 0, ran.stderr
    assert_equal(tmp_path / "index", undisturbed(tmp_path, int(ran.stdout), parent_size=64))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=700k", "none", str(folder)], check=False
    )
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    # Lazily: the garbage collector may not have let go of a mapped file yet.
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_ingest_and_room_lets_it_go_on(
    small_disk: Path, tmp_path: Path
) -> None:
    sizes = ["700k", "1500k", "2500k"]
    for size in sizes:
        remount = ["mount", "-o", f"remount,size={size}", str(small_disk)]
        subprocess.run(remount, check=True)
        full = run(small_disk / "index")
        assert full.returncode == FULL_DISK, full.stderr
        assert "room" in full.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True)
    done = run(small_disk / "index")
    assert done.returncode == 0, done.stderr
    assert_equal(small_disk / "index", undisturbed(tmp_path, 0))


def test_a_server_that_stops_is_named_and_the_ingest_goes_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    (tmp_path / "server").mkdir()
    port = free_port()
    url = f"chroma+http://127.0.0.1:{port}"

    def until_the_server_stops() -> Iterator[Document]:
        for number, document in enumerate(collection(0)):
            if number == 70:
                process.kill()
                process.wait()
            yield document

    with chroma_server(tmp_path / "server", port) as (_, process):
        ingest(list(collection(0))[:40], tmp_path / "index", settings(url))
        with pytest.raises(IndexFault, match=url.replace("+", r"\+")):
            ingest(until_the_server_stops(), tmp_path / "index", settings(url))
    with chroma_server(tmp_path / "server", port):
        ingest(collection(0), tmp_path / "index", settings(url))
        assert_equal(tmp_path / "index", undisturbed(tmp_path, 0))


ADD = """
import sys
from tests.retrievers.conftest import SETTINGS, lands
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import repair
more = [Document("Chad", "Chad: N'Djamena."), Document("Fiji", "Fiji: Suva.")]
for count in (1, 2):
    sys.stdin.readline()
    ingest([*lands(), *more[:count]], sys.argv[1], SETTINGS)
    print("written", flush=True)
"""


def test_a_reader_sees_another_process_write_at_its_next_question(index_path: Path) -> None:
    command = [sys.executable, "-c", ADD, str(index_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        closing(Index(index_path)) as reader,
        subprocess.Popen(command, cwd=ROOT, **pipes) as writer,  # type: ignore[call-overload]
    ):
        for document, word in (("Chad", "N'Djamena"), ("Fiji", "Suva")):
            for search in (reader.dense, reader.keyword):
                assert document not in {p.document for p in reader.passages(list(search(word, 3)))}
            writer.stdin.write("go\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "written\n"
            for search in (reader.dense, reader.keyword):
                assert reader.passages(list(search(word, 3)))[0].document == document
        writer.communicate()


HOLD = """
import sys
from pathlib import Path
from ragwright.retrievers.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_writer_is_told_who_holds_the_index(index_path: Path) -> None:
    from tests.retrievers.conftest import SETTINGS, lands

    command = [sys.executable, "-c", HOLD, str(index_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IndexFault, match=f"being written by process {holder.pid} on "):
            ingest(lands(), index_path, SETTINGS)
        holder.kill()
        holder.wait()
    assert ingest(lands(), index_path, SETTINGS).unchanged == 6
