"""Reads what a program takes besides its question, as it is written on a command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.metadata import clean_text


def written_inputs(inputs: Sequence[str]) -> dict[str, str]:
    """Return what was written as NAME=VALUE, by name.

    Raises:
        InputError: One is not written so.
    """
    split = [given.partition("=") for given in inputs]
    if wrong := [name for name, mark, _ in split if not mark or not name.isidentifier()]:
        raise InputError(f"{wrong[0]!r} is no input.", hint="Write --input NAME=VALUE.")
    # What a terminal hands over in another encoding holds bytes that no model can be sent.
    return {name: clean_text(value) for name, _, value in split}


def sent_inputs(written: Mapping[str, str]) -> dict[str, Any]:
    """Return the same for a server, which knows the types: lists and tables as such."""
    return {name: _listed(value) for name, value in written.items()}


def _listed(value: str) -> Any:
    if value[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
