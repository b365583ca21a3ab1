"""The tie between an artifact and its index: taken at saving, checked at loading.

Comes in: an index on disk. Goes out: an `IndexBinding`, or the answer whether an index still fits
one. Knows nothing of programs.
"""

from __future__ import annotations

import os
from pathlib import Path

from ragwright.artifacts.manifest import EmbedderStamp, IndexBinding
from ragwright.retrievers.errors import ArtifactError, as_path
from ragwright.retrievers.index import open_index
from ragwright.retrievers.stamp import STAMP, Stamp


def bind_index(path: str | Path, *, home: Path) -> IndexBinding:
    """Describe the index that a program was tuned on.

    Args:
        path: The index's folder.
        home: The artifact's folder, whose versions lie one level below it.

    Raises:
        IndexFault: The index is not there or is damaged.
    """
    place = Path(path).resolve()
    index = open_index(place)
    return IndexBinding(
        path=str(place),
        relative=os.path.relpath(place, home.resolve() / "version"),
        embedder=_embedder(index.stamp),
        chunking=index.settings.chunking,
        fingerprint=index.fingerprint,
        generation=index.generation,
        documents=index.document_count,
        chunks=index.count,
    )


def locate_index(binding: IndexBinding, *, folder: Path, override: str | Path | None) -> Path:
    """Return where an artifact's index lies now: beside it as when it was saved, or where it was.

    A copy of a project so uses the copy of the index.

    Args:
        binding: What the manifest says.
        folder: The version's folder.
        override: A path given by the user, which is taken as it is.

    Raises:
        InputError: The manifest names what is no path.
    """
    if override is not None:
        return Path(override).resolve()
    relative = as_path(folder / binding.relative).resolve()
    return relative if (relative / STAMP).is_file() else as_path(binding.path)


def moved_index_notes(binding: IndexBinding, *, folder: Path, place: Path) -> list[str]:
    """Say that an index lies outside a project that was copied or moved without it."""
    relative = (folder / binding.relative).resolve()
    if place != Path(binding.path) or place == relative or not relative.parent.is_dir():
        return []
    return [
        f"The index is that of another place, {str(place)!r}: there is none at {str(relative)!r}. "
        "Copy it there, or give one with --index."
    ]


def check_index(binding: IndexBinding, place: Path) -> list[str]:
    """Make sure that an index fits an artifact.

    Returns:
        Notes about changes that do not prevent its use.

    Raises:
        ArtifactError: It was made by another embedder or from chunks cut otherwise.
        IndexFault: It is not there or is damaged.
    """
    stamp = Stamp.read(place)
    pairs = (
        ("embedder", binding.embedder, _embedder(stamp)),
        ("chunking", binding.chunking, stamp.settings.chunking),
    )
    for what, tuned, found in pairs:
        if tuned != found:
            raise ArtifactError(
                f"The artifact was tuned on an index with {what} {tuned.model_dump_json()}, and "
                f"{str(place)!r} has {found.model_dump_json()}.",
                hint="Give the index it was tuned on with --index, or compile again on this one.",
            )
    index = open_index(place)
    if index.fingerprint == binding.fingerprint:
        return []
    return [
        f"The documents in {str(place)!r} changed since the artifact was saved ({binding.chunks} "
        f"chunks then, {index.count} now): ask its golden questions with `rag artifacts check`, "
        "and compile again if the score dropped."
    ]


def _embedder(stamp: Stamp) -> EmbedderStamp:
    return EmbedderStamp.model_validate(stamp.identity.as_dict())
