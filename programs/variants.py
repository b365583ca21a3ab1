"""Derives the table of one index variant from the `[index]` of a recipe.

A variant is another index of the same documents, cut otherwise. `[index.variants.NAME]` holds the
keys of `[index]` that differ; it lies beside the index, under its own name. Knows tables, not what
may stand in them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ragwright.retrievers.errors import InputError, RecipeError, as_path
from ragwright.retrievers.stores.base import StoreURL

Table = Mapping[str, Any]

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_]*[A-Za-z0-9])?")


def parse_recipe_reference(path: str | Path) -> tuple[Path, str]:
    """Read RECIPE or RECIPE#VARIANT: the file, and the variant's name or nothing.

    Raises:
        InputError: Nothing follows the mark, or it is no path.
    """
    whole = as_path(path)
    file, mark, name = str(path).rpartition("#")
    if not mark or "/" in name or whole.exists():
        return whole, ""
    if not name:
        raise InputError(
            f"{str(path)!r} names no variant after its '#'.",
            hint="Write RECIPE#NAME, or the recipe alone.",
        )
    return Path(file), name


def split_off_variants(recipe: Table) -> tuple[dict[str, Any], Table]:
    """Return a recipe without the variants of its index, and those by name.

    Raises:
        RecipeError: A variant is no table, or has a name that no folder or collection can have.
    """
    index = recipe.get("index")
    if not isinstance(index, Mapping) or "variants" not in index:
        return dict(recipe), {}
    own = {key: value for key, value in index.items() if key != "variants"}
    found = index["variants"]
    for name, changes in found.items() if isinstance(found, Mapping) else [("", found)]:
        if not (_NAME.fullmatch(name) and isinstance(changes, Mapping)):
            raise RecipeError(
                f"{name!r} is no variant of an index (got {changes!r}).",
                hint="Write a table [index.variants.NAME]; names have letters, digits and _.",
            )
    return {**recipe, "index": own}, found


def apply_variant(index: Table, name: str, changes: Table) -> dict[str, Any]:
    """Return an index's table with a variant's laid over it, sub-tables over sub-tables.

    Unless the variant says otherwise, its folder is PATH-NAME, and where a store is named, its
    collection there is COLLECTION_NAME: no two indexes share either.
    """
    places = {"path": f"{index['path'].rstrip('/')}-{name}"}
    if index["store"]:
        url = StoreURL.parse(index["store"])
        places["store"] = str(replace(url, collection=f"{url.collection}_{name}"))
    below = {key: value for key, value in index.items() if isinstance(value, Mapping)}
    laid = {
        key: {**below[key], **value} if key in below and isinstance(value, Mapping) else value
        for key, value in changes.items()
    }
    return {**index, **places, **laid}


def unknown_variant(source: str, name: str, known: Table) -> InputError:
    """The error for a variant that a recipe has not."""
    names = ", ".join(map(repr, known)) or "none"
    return InputError(
        f"The recipe {source!r} has no variant {name!r} of its index; it has {names}.",
        hint=f"Add a table [index.variants.{name}], or name the recipe alone.",
    )
