"""An index where nothing can be written: on a file system mounted read-only, or somebody else's."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ragwright.retrievers import protected
from ragwright.retrievers.cache_file import cache_folder, private_folder, usable_home
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest, upsert_documents
from ragwright.retrievers.protected import is_protected, readable_folder
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import stats, verify
from tests.retrievers.conftest import LANDS, SETTINGS, lands

QUESTION = "What is the capital of Peru?"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(protected, "_QUIET", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def view(tmp_path: Path, built: Path, cache: Path) -> Iterator[tuple[Path, Path]]:
    """An index as its owner sees it, and as a reader does who cannot write it."""
    owned, seen = tmp_path / "owned", tmp_path / "seen"
    shutil.copytree(built, owned)
    if os.geteuid():
        shutil.copytree(owned, seen)
        for place, _, names in os.walk(seen):
            for file in (place, *(os.path.join(place, name) for name in names)):  # noqa: PTH118
                Path(file).chmod(0o555)
        yield seen, seen
        subprocess.run(["chmod", "-R", "u+w", str(seen)], check=True)
        return
    seen.mkdir()
    for command in (["--bind", str(owned), str(seen)], ["-o", "remount,ro,bind", str(seen)]):
        if subprocess.run(["mount", *command], check=False).returncode:
            pytest.skip("nothing can be mounted here")
    yield owned, seen
    subprocess.run(["umount", "-l", str(seen)], check=True)


def test_it_is_searched_counted_and_verified(view: tuple[Path, Path], cache: Path) -> None:
    _, seen = view
    index = Index(seen)
    assert index.folder == seen
    assert index.passages(list(index.dense(QUESTION, 1)))[0].document == "Peru"
    assert index.passages(list(index.keyword(QUESTION, 1)))[0].document == "Peru"
    assert stats(seen).documents == len(LANDS)
    assert verify(seen).sound
    (copies,) = (cache / "protected").iterdir()
    (copy,) = copies.iterdir()
    assert (copy / "tokens-0.bin").is_symlink()
    index.close()


def test_what_its_owner_writes_is_seen_and_older_copies_go(
    view: tuple[Path, Path], cache: Path
) -> None:
    owned, seen = view
    if owned == seen:
        pytest.skip("only root can mount")
    index = Index(seen)
    for number in range(4):
        before = index.generation
        upsert_documents([Document("new", f"Zanzibar has {number} lighthouses.")], owned)
        (found,) = index.passages(list(index.keyword("Zanzibar lighthouses", 1)))
        assert f"{number} lighthouses" in found
        assert index.generation > before
        assert index.state_at_once() == (index.generation, index.stamp.id)
    (copies,) = (cache / "protected").iterdir()
    assert len(list(copies.iterdir())) == protected._KEPT
    index.close()


def test_while_its_owner_writes_what_was_there_before_answers(
    view: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    owned, seen = view
    if owned == seen:
        pytest.skip("only root can mount")
    index = Index(seen)
    monkeypatch.setattr(protected, "_QUIET", 3600.0)
    upsert_documents([Document("new", "Zanzibar has lighthouses.")], owned)
    assert index.keyword("Zanzibar lighthouses", 1) == {}
    assert index.passages(list(index.keyword(QUESTION, 1)))[0].document == "Peru"
    index.close()


def test_an_index_that_changes_under_each_copy_is_said_to_be_written(
    view: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    owned, seen = view
    put: Callable[[Path, Path], None] = protected._put

    def put_and_write(file: Path, target: Path) -> None:
        put(file, target)
        os.utime(owned / "ledger.sqlite")

    monkeypatch.setattr(protected, "_put", put_and_write)
    monkeypatch.setattr(protected, "_PAUSE", 0.0)
    with pytest.raises(IndexFault, match="being written"):
        Index(seen)


def test_a_store_that_lies_elsewhere_is_copied_too(view: tuple[Path, Path]) -> None:
    owned, seen = view
    if owned == seen:
        pytest.skip("only root can mount")
    settings = SETTINGS.model_copy(update={"store": "chroma:../vectors/db#these"})
    ingest(lands(), owned / "other/index", settings)
    index = Index(seen / "other/index")
    assert index.passages(list(index.dense(QUESTION, 1)))[0].document == "Peru"
    assert str(index.stamp.store(index.folder)).endswith("elsewhere#these")
    index.close()


def test_a_copy_that_lacks_a_file_is_made_anew(view: tuple[Path, Path]) -> None:
    _, seen = view
    copy = readable_folder(seen)
    (copy / "keyword" / "meta.json").unlink()
    assert readable_folder(seen) == copy
    assert (copy / "keyword" / "meta.json").is_file()


def test_links_in_an_index_are_not_followed(view: tuple[Path, Path]) -> None:
    owned, seen = view
    if owned == seen:
        pytest.skip("only root can mount")
    (owned / "again").symlink_to(owned)
    assert (readable_folder(seen) / "again").is_symlink()
    (owned / "keyword" / "zero").symlink_to("/dev/zero")
    with pytest.raises(IndexFault, match="plain"):
        readable_folder(seen)


def test_an_index_that_can_be_written_is_read_where_it_lies(index_path: Path, cache: Path) -> None:
    assert not is_protected(index_path)
    assert readable_folder(index_path) == index_path
    assert not cache.exists()


def test_without_room_for_a_copy_the_error_says_what_helps(
    view: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(protected, "_put", full)
    with pytest.raises(IndexFault, match="No space left") as raised:
        Index(view[1])
    assert "RAGWRIGHT_CACHE" in str(raised.value)


def test_a_user_without_a_home_has_a_cache_that_is_his_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RAGWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert cache_folder() == private_folder()
    assert cache_folder().stat().st_mode & 0o777 == 0o700
    cache_folder().chmod(0o777)
    with pytest.raises(InputError, match="alone"):
        cache_folder()
    monkeypatch.setattr(tempfile, "tempdir", "/dev/null")
    with pytest.raises(InputError, match="RAGWRIGHT_CACHE"):
        cache_folder()


def test_a_new_index_cannot_be_made_there(view: tuple[Path, Path]) -> None:
    with pytest.raises(IndexFault, match="written"):
        ingest(lands(), view[1], SETTINGS)


def test_a_home_that_cannot_be_made_or_written_has_a_cache_elsewhere(
    view: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAGWRIGHT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, seen = view
    monkeypatch.setenv("HOME", str(seen))
    assert usable_home() == seen
    assert cache_folder() == private_folder()
    monkeypatch.setenv("HOME", str(seen / "nobody"))
    assert usable_home() is None
    assert cache_folder() == private_folder()
    monkeypatch.setenv("HOME", str(tmp_path / "made" / "later"))
    assert cache_folder() == tmp_path / "made" / "later" / ".cache/ragwright"


def test_a_home_that_this_user_may_not_enter_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that is run as another user than it was made for has /root for a home."""
    monkeypatch.delenv("RAGWRIGHT_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    closed = tmp_path / "root"
    closed.mkdir()
    look, may = Path.stat, os.access

    def refused(place: Path, **named: bool) -> os.stat_result:
        if closed in place.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return look(place, **named)

    monkeypatch.setattr(Path, "stat", refused)
    monkeypatch.setattr(os, "access", lambda place, mode: place != closed and may(place, mode))
    for home in (closed, closed / "below"):
        monkeypatch.setenv("HOME", str(home))
        assert cache_folder() == private_folder()
