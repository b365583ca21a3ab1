"""Which version is in use: promoted, rolled back, deleted, in one step each."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from ragwright.artifacts import writer
from ragwright.artifacts.promotion import (
    delete_home,
    delete_version,
    promote,
    roll_back,
    set_aliases,
)
from ragwright.artifacts.versions import read_aliases, resolve_version, version_numbers
from ragwright.artifacts.writer import publish_version
from ragwright.retrievers.errors import ArtifactError

FILES = {"manifest.json": b"{}", "state.json": b"{}"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An artifact with three versions, none of them promoted."""
    for _ in range(3):
        publish_version(tmp_path / "towns", FILES)
    return tmp_path / "towns"


def test_the_newest_version_is_meant_until_one_is_promoted(home: Path) -> None:
    assert read_aliases(home) == {"candidate": 3, "current": 3}
    assert promote(home, "2") == {"candidate": 3, "champion": 2, "current": 2}
    assert resolve_version(home).name == "2"
    publish_version(home, FILES)
    assert resolve_version(home).name == "2"
    assert resolve_version(f"{home}@candidate").name == "4"


def test_promote_takes_the_candidate_by_default(home: Path) -> None:
    assert promote(home)["champion"] == 3
    publish_version(home, FILES)
    assert promote(home) == {"candidate": 4, "champion": 4, "current": 4, "previous": 3}


def test_promoting_the_champion_again_keeps_the_one_before(home: Path) -> None:
    promote(home, "1")
    promote(home, "2")
    assert promote(home, "champion") == {"candidate": 3, "champion": 2, "current": 2, "previous": 1}


def test_a_rollback_does_not_go_forward_again(home: Path) -> None:
    promote(home, "1")
    promote(home, "3")
    assert roll_back(home) == {"candidate": 3, "champion": 1, "current": 1}
    with pytest.raises(ArtifactError, match="no champion before this one"):
        roll_back(home)
    assert resolve_version(home).name == "1"


@pytest.mark.parametrize("selector", ["9", "nobody", "../towns", "", "0", "1/..", "²"])
def test_an_unknown_version_changes_nothing(home: Path, selector: str) -> None:
    before = read_aliases(home)
    with pytest.raises(ArtifactError, match=r"has no (version|alias)"):
        promote(home, selector)
    assert read_aliases(home) == before


def test_a_number_and_an_alias_name_a_version(home: Path) -> None:
    assert resolve_version(f"{home}@1") == home / "1"
    assert resolve_version(f"{home}@current") == home / "3"
    with pytest.raises(ArtifactError, match=r"has no version '7'\. It has 1, 2, 3\."):
        resolve_version(f"{home}@7")


def test_a_deleted_number_is_not_given_again(home: Path) -> None:
    promote(home, "1")
    assert delete_version(home, "candidate") == 3
    assert read_aliases(home) == {"champion": 1, "current": 1}
    assert version_numbers(home) == [1, 2]
    with pytest.raises(ArtifactError, match="no version '3'"):
        resolve_version(f"{home}@3")
    assert publish_version(home, FILES).name == "4"


@pytest.mark.parametrize("promoted", [True, False])
def test_a_version_in_use_is_not_deleted(home: Path, promoted: bool) -> None:
    if promoted:
        promote(home, "3")
    with pytest.raises(ArtifactError, match="Promote another one first"):
        delete_version(home, "3")
    assert version_numbers(home) == [1, 2, 3]


def test_a_link_is_no_version(home: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "manifest.json").write_text("{}")
    (home / "4").symlink_to(tmp_path / "precious")
    for change in (promote, delete_version):
        with pytest.raises(ArtifactError, match="no version '4'"):
            change(home, "4")
    (home / "aliases.json").write_text('{"current": 4}')
    with pytest.raises(ArtifactError, match="which is not there"):
        resolve_version(home)
    assert (tmp_path / "precious" / "manifest.json").exists()


def test_an_artifact_is_deleted_whole(home: Path) -> None:
    assert delete_home(home) == [1, 2, 3]
    assert not home.exists()


def test_an_artifact_with_something_else_in_it_is_not_deleted(home: Path) -> None:
    (home / "thesis.tex").write_text("...")
    with pytest.raises(ArtifactError, match=r"thesis\.tex"):
        delete_home(home)
    assert version_numbers(home) == [1, 2, 3]


def test_aliases_are_set_together_or_not_at_all(home: Path) -> None:
    with pytest.raises(ArtifactError, match="has no version 8"):
        set_aliases(home, {"champion": 1, "candidate": 8})
    assert read_aliases(home) == {"candidate": 3, "current": 3}
    assert set_aliases(home, {"champion": 1, "candidate": 2})["current"] == 1


def test_there_is_one_writer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCK_SECONDS", 0.05)
    with FileLock(home / ".lock"):
        for change in (promote, roll_back, delete_home):
            with pytest.raises(ArtifactError, match="Another process"):
                change(home)
        with pytest.raises(ArtifactError, match="Another process"):
            delete_version(home, "1")
    assert version_numbers(home) == [1, 2, 3]


def test_what_a_killed_delete_left_is_swept(home: Path) -> None:
    (home / ".staged-x" / "1").mkdir(parents=True)
    promote(home, "2")
    assert not (home / ".staged-x").exists()
