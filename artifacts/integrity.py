"""Reads a version's manifest, and compares its files with it.

The hashes are for accidents: whoever can write the folder can write the manifest too, so that all
that is read is checked for what it may hold as well (see `state.py`).
"""

from __future__ import annotations

from pathlib import Path

from ragwright.artifacts.files import LARGEST, read_content, read_text, sha256
from ragwright.artifacts.manifest import MANIFEST, Manifest


def read_manifest(version: Path) -> Manifest:
    """Read what a version says about itself, without checking that it is true.

    Raises:
        ArtifactError: It is damaged, or of another format.
    """
    return Manifest.parse(read_text(version / MANIFEST), source=str(version / MANIFEST))


def damaged_version_files(version: Path, manifest: Manifest) -> list[str]:
    """Compare a version's files with the manifest: one complaint per file that differs."""
    complaints = []
    for name, digest in manifest.files.items():
        file = _inside(version, name)
        if file is None:
            complaints.append(f"The artifact lacks its file {name!r}.")
        elif file.stat().st_size > LARGEST:
            complaints.append(f"{str(version / name)!r} is larger than any file of an artifact.")
        elif sha256(read_content(file)) != digest:
            complaints.append(
                f"{str(version / name)!r} is not what was saved: its SHA-256 differs from the "
                "manifest's."
            )
    return complaints


def _inside(version: Path, name: str) -> Path | None:
    """Return a file of a version; None if it is not there, or a link leads out or in a circle."""
    try:
        file = (version / name).resolve()
    except (OSError, RuntimeError):
        return None
    return file if file.is_relative_to(version) and file.is_file() else None


def foreign_files(version: Path, manifest: Manifest) -> list[str]:
    """Name the files in a version's folder that the manifest does not know; none is ever read."""
    found = (file for file in version.rglob("*") if not file.is_dir())
    names = {file.relative_to(version).as_posix() for file in found}
    return sorted(names - {*manifest.files, MANIFEST})


def version_hash(version: Path) -> str:
    """Return the hash of a manifest, and with it of all files: what tells versions apart."""
    return sha256(read_content(version / MANIFEST))
