"""Versions on disk: old or new, never half, whatever happens to the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from ragwright.artifacts import writer
from ragwright.artifacts.versions import read_aliases, resolve_version
from ragwright.artifacts.writer import check_home, publish_version
from ragwright.retrievers.errors import ArtifactError

pytestmark = pytest.mark.slow

FILES = {"manifest.json": b"{}", "report/figure.png": b"\x89PNG"}

WRITER = """
import sys
from pathlib import Path
from ragwright.artifacts.writer import publish_version
for number in range(10_000):
    body = str(number).encode() * 2000
    files = {"manifest.json": body, "a/state.json": body, "b/c/other": body}
    publish_version(Path(sys.argv[1]), files)
"""


def test_a_version_is_current_once_published(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "name"
    first = publish_version(home, FILES)
    second = publish_version(home, FILES)
    assert (first.name, second.name) == ("1", "2")
    assert resolve_version(home) == second
    assert resolve_version(first) == first
    assert (second / "report/figure.png").read_bytes() == b"\x89PNG"


def test_the_champion_stays_when_a_version_is_added(tmp_path: Path) -> None:
    publish_version(tmp_path, FILES)
    (tmp_path / "aliases.json").write_text('{"current": 1, "champion": 1}')
    publish_version(tmp_path, FILES)
    assert read_aliases(tmp_path) == {"candidate": 2, "champion": 1, "current": 1}


def test_a_failed_write_leaves_the_old_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = publish_version(tmp_path, FILES)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _disk_full)
        with pytest.raises(OSError, match="No space left"):
            publish_version(tmp_path, FILES)
    assert resolve_version(tmp_path) == old
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != ".lock") == [
        "1",
        "aliases.json",
    ]


def _disk_full(handle: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_killed_writer_leaves_a_whole_version(tmp_path: Path) -> None:
    home = tmp_path / "name"
    reads = 0
    for attempt in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(home)])
        started = _current(home)
        while _current(home) == started:
            assert writer.poll() is None, "the writer stopped by itself"
            time.sleep(0.002)
        for _ in range(10 + 7 * attempt):
            reads += _read_whole(home)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        reads += _read_whole(home)
    assert reads == sum(11 + 7 * attempt for attempt in range(8))
    publish_version(home, FILES)
    assert not [entry.name for entry in home.iterdir() if entry.name.startswith(".staged")]


def _current(home: Path) -> int:
    return read_aliases(home)["current"] if (home / "aliases.json").exists() else 0


def _read_whole(home: Path) -> int:
    version = resolve_version(home)
    bodies = {(version / name).read_bytes() for name in ("manifest.json", "a/state.json")}
    bodies.add((version / "b/c/other").read_bytes())
    assert len(bodies) == 1
    return 1


DAMAGED = (
    "", "{", "[1]", '{"champion": 1}', '{"current": "1"}', '{"current": 0}', '{"current": -1}',
    '{"current": true}', '{"current": 1, "../x": 1}', '{"current": 1, "a/b": 1}',
)  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_aliases_are_refused(tmp_path: Path, content: str) -> None:
    publish_version(tmp_path, FILES)
    (tmp_path / "aliases.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"aliases\.json"):
        resolve_version(tmp_path)


def test_an_alias_of_a_missing_version_is_refused(tmp_path: Path) -> None:
    publish_version(tmp_path, FILES)
    (tmp_path / "aliases.json").write_text('{"current": 7}')
    with pytest.raises(ArtifactError, match="version '7', which is not there"):
        resolve_version(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ArtifactError, match=r"not an artifact: 'thesis\.tex'"):
        publish_version(tmp_path, FILES)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ArtifactError, match="not a folder"):
        check_home(tmp_path / "thesis.tex")


def test_there_is_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_version(tmp_path, FILES)
    monkeypatch.setattr(writer, "LOCK_SECONDS", 0.05)
    with FileLock(tmp_path / ".lock"), pytest.raises(ArtifactError, match="Another process"):
        publish_version(tmp_path, FILES)
    assert read_aliases(tmp_path) == {"candidate": 1, "current": 1}


def test_an_empty_folder_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no artifact"):
        resolve_version(tmp_path)
