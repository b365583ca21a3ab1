"""Learned sources as files of an artifact: JSON for what people read, safetensors for numbers.

    learned.json              which sources which stage has, with their texts and places
    learned/0.safetensors     the arrays of the first of them, and so on

Whatever a file says, it makes values of classes that are here: nothing is imported or executed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dspy

from ragwright.artifacts.files import read_content, read_text
from ragwright.artifacts.manifest import Manifest, parse_json
from ragwright.programs.anatomy import knobs_of
from ragwright.programs.learned import PARTS, LearnedPart, StoredPart
from ragwright.retrievers.errors import ArtifactError, InputError

LEARNED = "learned.json"
_HINT = "Restore the file or compile again."
PartsByPlace = Mapping[str, tuple[LearnedPart, ...]]
"""By the place of the knobs that hold them."""


def sources_of(program: dspy.Module) -> PartsByPlace:
    """Return what a program learned, by the place of its knobs."""
    held = {place: leaf.learned for place, leaf in knobs_of(program).items() if leaf.learned}
    return {
        place: tuple(part for part in parts if isinstance(part, LearnedPart))
        for place, parts in held.items()
    }


def attach_sources(program: dspy.Module, sources: PartsByPlace) -> None:
    """Let the knobs of a program hold these sources.

    Raises:
        ArtifactError: The program has no knobs at such a place.
    """
    leaves = knobs_of(program)
    for place, parts in sources.items():
        if place not in leaves:
            raise ArtifactError(f"The program has no knobs at {place!r}.", hint=_HINT)
        leaves[place].learn(*parts)


def dump_sources(sources: PartsByPlace) -> dict[str, bytes]:
    """Return the files that keep these sources; none for none."""
    from safetensors.numpy import save

    rows: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for place, parts in sources.items():
        for part in parts:
            held = part.dump()
            files[_arrays(len(rows))] = save(dict(held.arrays))
            rows.append({"knobs": place, "source": part.signal.name, **held.facts})
    if not rows:
        return {}
    text = json.dumps(rows, ensure_ascii=False, allow_nan=False) + "\n"
    return {LEARNED: text.encode(), **files}


def read_sources(folder: Path, manifest: Manifest) -> PartsByPlace:
    """Read the sources of an artifact; none if its manifest names none.

    Raises:
        ArtifactError: A file is missing, or holds what no source can have written.
    """
    if LEARNED not in manifest.files:
        return {}
    file = folder / LEARNED
    rows = parse_json(read_text(file), source=str(file))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _wrong(file, "it is no list of sources")
    found: dict[str, list[LearnedPart]] = {}
    for number, row in enumerate(rows):
        place, kind = row.pop("knobs", None), PARTS.get(str(row.pop("source", "")))
        if not isinstance(place, str) or kind is None:
            raise _wrong(file, f"source {number} is none that this release knows")
        try:
            part = kind.restored(StoredPart(row, _read_arrays(folder, number, manifest)))
        except InputError as error:
            raise _wrong(file, f"source {number}: {error.what}") from error
        found.setdefault(place, []).append(part)
    return {place: tuple(parts) for place, parts in found.items()}


def _read_arrays(folder: Path, number: int, manifest: Manifest) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    name = _arrays(number)
    if name not in manifest.files:
        raise ArtifactError(f"The artifact lacks its file {name!r}.", hint=_HINT)
    try:
        return dict(load(read_content(folder / name)))
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"Cannot read {str(folder / name)!r}: {error}.", hint=_HINT) from error


def _arrays(number: int) -> str:
    return f"learned/{number}.safetensors"


def _wrong(file: Path, why: str) -> ArtifactError:
    return ArtifactError(f"{str(file)!r} is wrong: {why}.", hint=_HINT)
