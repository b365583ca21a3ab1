"""Converted models, made once and kept in the cache folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ragwright.retrievers.cache_file import cache_folder
from ragwright.retrievers.embedding.files import ModelFiles, read_table
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.types import content_hash

_VERSION = "1"
_SIZES = "sizes.json"


def converted_model_folder(files: ModelFiles, kind: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a converted model; made now if it is not there.

    Args:
        files: The model.
        kind: What it is converted to, with the version of what converts it.
        make: Writes the converted model into a folder.
    """
    key = content_hash(_VERSION, kind, files.name, files.revision)
    folder = cache_folder() / "models" / key
    if not _is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            make(made)
            sizes = {file.name: file.stat().st_size for file in made.iterdir()}
            (made / _SIZES).write_text(json.dumps(sizes), encoding="utf-8")
            _publish(made, folder)
    return folder


def _is_whole(folder: Path) -> bool:
    """Tell whether a folder holds what was put there: caches are cleaned by age, file by file."""
    try:
        sizes = read_table(folder / _SIZES)
    except ModelError:
        return False
    return bool(sizes) and all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in sizes.items()
    )


def _publish(made: Path, folder: Path) -> None:
    """Move a finished folder into place; another process may have been first."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)
