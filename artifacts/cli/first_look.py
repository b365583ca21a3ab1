"""What commands do that are given documents and no recipe: a folder, an index, or one file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.toml import read_toml

if TYPE_CHECKING:
    from ragwright.programs.recipe import Recipe

_LONGEST_RECIPE = 1 << 20
"""Bytes from which on a file that is not called `.toml` is a document, unread."""


def are_documents(path: Path) -> bool:
    """Whether a path is one of documents: a folder, or a file that is no TOML."""
    if path.is_dir():
        return True
    if path.suffix.lower() == ".toml" or not path.is_file():
        return False
    if path.stat().st_size > _LONGEST_RECIPE:
        return True
    try:
        return not read_toml(path)
    except InputError:  # where it cannot be read either, reading documents says so
        return True


def default_recipe(documents: Path) -> Recipe:
    """Return the recipe by which documents can be searched and asked without one.

    Their index lies under `.rag` in the working directory, one for each; a folder that is an index
    is asked as it is.
    """
    from ragwright.programs.recipe import Recipe
    from ragwright.retrievers.stamp import STAMP
    from ragwright.retrievers.types import content_hash

    source, name = str(documents.resolve()), name_of_documents(documents)
    if (documents / STAMP).is_file():
        return Recipe.checked({"name": name, "index": {"path": source}}, source=source)
    place = Path(".rag") / "first-look" / f"{name}-{content_hash(source)[:8]}"
    index = {"documents": source, "path": str(place.resolve())}
    return Recipe.checked({"name": name, "index": index}, source=source)


def name_of_documents(documents: Path) -> str:
    """Make a name for recipe and artifact out of the folder's."""
    stem = documents.resolve().stem
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64]
    return cleaned or "documents"
