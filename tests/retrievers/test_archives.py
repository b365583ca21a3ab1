"""Archives of documents are read as the folder that they hold, and nothing is written beside it."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import (
    Problem,
    ReadOptions,
    archives,
    is_folder,
    read_documents,
)
from ragwright.retrievers.documents.archives import NoRoom, unpack
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Document

DOCUMENTS = {
    "docs/a.md": b"# Pumps\n\nHot.",
    "docs/Gr\u00fc\u00dfe.txt": b"Hello.",
    "rows.jsonl": json.dumps({"_id": "r", "text": "A row."}).encode(),
    "__MACOSX/a.md": b"left out",
}
SUFFIXES = [".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"]


def packed(path: Path, files: Mapping[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    kind = {".tar": "w", ".tgz": "w:gz"}.get(path.suffix, f"w:{path.suffix[1:]}")
    with tarfile.open(path, kind) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def read(path: Path, **limits: Any) -> tuple[list[Document], list[Problem]]:
    said: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=said.append, on_note=said.append, **limits)
    return [*read_documents(path, options)], said


@pytest.fixture
def unpacking(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where archives are unpacked to."""
    folder = tmp_path_factory.mktemp("unpacking")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("alone", [True, False])
def test_an_archive_is_the_folder_that_it_holds(tmp_path: Path, suffix: str, alone: bool) -> None:
    path = packed(tmp_path / f"a{suffix}", DOCUMENTS)
    found, said = read(path if alone else tmp_path)
    assert [one.id for one in found] == [
        f"a{suffix}:docs/Gr\u00fc\u00dfe.txt", f"a{suffix}:docs/a.md", "r"
    ]  # fmt: skip
    assert [one.title for one in found] == ["Gr\u00fc\u00dfe", "Pumps", ""]
    assert not said
    assert is_folder(path)


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize(
    "name", ["../out.txt", "/out.txt", "a/../../out.txt", "..\\out.txt", "n" * 300]
)
def test_nothing_is_written_beside_the_archives_own_folder(
    tmp_path: Path, unpacking: Path, suffix: str, name: str
) -> None:
    found, said = read(packed(tmp_path / f"a{suffix}", {name: b"x", "in.txt": b"In."}))
    assert [one.id for one in found] == [f"a{suffix}:in.txt"]
    assert [one.place for one in said] == [f"a{suffix}:{name}"]
    assert not [*tmp_path.rglob("out.txt"), *unpacking.iterdir()]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_what_is_excluded_is_excluded_in_archives_too(tmp_path: Path, suffix: str) -> None:
    files = {"a.md": b"A.", "b.txt": b"B.", "secret/c.md": b"C."}
    path = packed(tmp_path / f"a{suffix}", files)
    for source in (path, tmp_path):
        found, said = read(source, exclude=("secret/",))
        assert [one.text for one in found] == ["A.", "B."]
        assert not said
    assert [one.text for one in read(path, include=("*.md",))[0]] == ["A.", "C."]
    chosen, _ = read(tmp_path, include=("a.*",))
    assert [one.text for one in chosen] == ["A.", "B.", "C."]


def test_links_in_archives_are_not_followed(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, str(tmp_path / "secret"))
    entry = tarfile.TarInfo("link.txt")
    entry.type, entry.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.addfile(entry)
    (tmp_path / "secret").write_text("Not for you.")
    (tmp_path / "secret").rename(tmp_path / ".secret")
    found, said = read(tmp_path)
    assert not found
    assert [one.reason for one in said] == [
        "it is no regular file, and is not read", "it holds no files to read"
    ] * 2  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bomb_is_not_unpacked(tmp_path: Path, unpacking: Path, suffix: str) -> None:
    path = packed(tmp_path / f"a{suffix}", {"a.txt": b"0" * 5_000_000})
    found, (problem,) = read(path, max_unpacked_bytes=1_000_000)
    assert not found
    assert "unpacks to more than" in problem.reason
    _, (problem,) = read(path, max_bytes=100)
    assert "more than 100" in problem.reason
    assert not [*unpacking.iterdir()]


def test_an_archive_that_is_locked_or_in_another_is_refused_by_name(tmp_path: Path) -> None:
    inner = packed(tmp_path / "in.zip", {"a.txt": b"x"}).read_bytes()
    found, (problem,) = read(packed(tmp_path / "out.zip", {"in.zip": inner, "b.txt": b"B."}))
    assert [one.id for one in found] == ["out.zip:b.txt"]
    assert (problem.place, "archive in an archive" in problem.reason) == ("out.zip:in.zip", True)
    locked = bytearray(inner)
    locked[6] |= 1
    locked[inner.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "in.zip").write_bytes(locked)
    _, (problem,) = read(tmp_path / "in.zip")
    assert "locked with a password" in problem.reason


def test_a_file_that_was_added_again_is_what_it_is_now(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "Old.")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.txt", "New.")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        for data in (b"Old.", b"New."):
            entry = tarfile.TarInfo("a.txt")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    found, said = read(tmp_path)
    assert [one.text for one in found] == ["New.", "New."]
    assert not said


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_folders_are_neither_endless_nor_endlessly_deep(
    tmp_path: Path, unpacking: Path, suffix: str
) -> None:
    """What removes a folder goes one call deeper into each, and a folder takes room too."""
    deep = {"a/" * depth + "x.txt": b"x" for depth in range(400, 1600, 400)}
    found, said = read(packed(tmp_path / f"a{suffix}", {**deep, "b.txt": b"B."}))
    assert [one.id for one in found] == [f"a{suffix}:b.txt"]
    assert [one.reason for one in said] == [
        "it lies more than 100 folders deep, and is not read"
    ] * len(deep)
    assert not [*unpacking.iterdir()]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_folders_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(archives, "_ENTRIES", 50)
    path = packed(tmp_path / f"a{suffix}", {f"{at}/b/c/x.txt": b"x" for at in range(20)})
    with pytest.raises(UnreadableFile, match="more than 50 folders"):
        unpack(path, tmp_path, ReadOptions())


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.SYMTYPE])
def test_entries_that_are_no_files_count_too(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("a")
    entry.type = kind
    (tmp_path / "a.tgz").write_bytes(gzip.compress(entry.tobuf() * 20_001, 1))
    found, (problem,) = read(tmp_path / "a.tgz")
    assert not found
    assert "more than 20,000 files" in problem.reason


def test_headers_take_no_more_time_than_a_file_may(tmp_path: Path, unpacking: Path) -> None:
    """A header of digits alone, which Python's library looks through once from each of them."""
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = tarfile.XHDTYPE, 1_000_448
    (tmp_path / "a.tgz").write_bytes(gzip.compress(entry.tobuf() + b"1" * entry.size, 1))
    found, (problem,) = read(tmp_path / "a.tgz", max_seconds=0.3)
    assert not found
    assert "took more than 0.3 seconds to unpack" in problem.reason
    assert not [*unpacking.iterdir()]


def test_no_room_to_unpack_in_is_an_error_and_no_problem_of_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a problem it would be skipped, and an ingest would delete what the archive holds."""
    path = packed(tmp_path / "a.zip", DOCUMENTS)
    with pytest.raises(NoRoom, match="No such file"):
        unpack(path, tmp_path / "missing", ReadOptions())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(InputError, match="cannot be unpacked: No such file") as raised:
        read(path)
    assert "TMPDIR" in raised.value.hint


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(SUFFIXES), st.integers(0, 2000), st.binary(max_size=40))
def test_a_damaged_archive_is_refused_or_read(suffix: str, at: int, damage: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = packed(Path(folder) / f"a{suffix}", DOCUMENTS)
        data = path.read_bytes()
        at %= len(data)
        path.write_bytes(data[:at] + damage + data[at + len(damage) + len(damage) % 2 :])
        out = Path(folder) / "out"
        out.mkdir()
        with suppress(UnreadableFile):
            unpack(path, out, ReadOptions())


@pytest.mark.parametrize("header", ["size", "GNU.sparse.size"])
def test_a_file_in_a_tar_that_claims_to_be_endless_costs_nothing(
    tmp_path: Path, header: str
) -> None:
    entry = tarfile.TarInfo("a.txt")
    sparse = {} if header == "size" else {"GNU.sparse.map": "0,5"}
    entry.pax_headers = {**sparse, header: "99999999999999"}
    entry.size = 5
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(b"hello"))
    began = time.process_time()
    with pytest.raises(UnreadableFile, match="unpacks to more than 500,000,000 bytes"):
        unpack(tmp_path / "a.tar", tmp_path, ReadOptions())
    assert time.process_time() - began < 5


def test_it_is_said_where_a_zip_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("one.txt", "two.txt"):
            archive.writestr(name, f"The text of {name}. " * 50)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"cut or damaged .* list of its files at its end"):
        list(read_documents(tmp_path))
    path.write_bytes(whole.replace(b"text of two", b"tExt of two"))
    with pytest.raises(InputError, match=r"damaged at the file 'two\.txt'"):
        list(read_documents(tmp_path))
