"""Who may see what: API keys with filters, and what a request may ask for once it is let in.

Keys and their filters come from the environment and from a server file:

    [[keys]]
    env = "SUPPORT_KEY"                  # the environment variable that holds the key
    where = { audience = "public" }      # it sees these passages alone

    [[keys]]
    sha256 = "9f86d081884c7d65..."       # or the SHA-256 of the key; without `where` it sees all

Knows nothing of how a filter is applied, and no key but by its hash.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ragwright.artifacts.server.errors import RefusedRequest
from ragwright.artifacts.server.settings import read_keys
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.settings import describe_setting_errors
from ragwright.retrievers.toml import read_toml
from ragwright.retrievers.types import Where

FILTER_HEADER = "x-ragwright-where"
"""In which a trusted proxy says, as JSON, what its caller may see; `{}` for all."""
LONGEST_FILTER = 8192


@dataclass(frozen=True)
class Access:
    """A caller that was let in.

    Attributes:
        name: What logs call it.
        where: The filter that all it sees must pass; None if it may see all.
    """

    name: str
    where: Where | None = None

    @property
    def scope(self) -> str:
        """The filter in one spelling, to compare by; "" for none."""
        return json.dumps(self.where, sort_keys=True) if self.where else ""

    def narrowed(self, where: Where | None) -> Where | None:
        """Return what passes both this caller's filter and the one that it asks for."""
        if not self.where:
            return where
        return {"$and": [self.where, where]} if where else self.where


@dataclass(frozen=True)
class ApiKey:
    """An API key by its SHA-256 digest, and what it may see."""

    digest: bytes
    where: Where | None = None


class _KeyEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = ""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-fA-F]{64})?$")] = ""
    where: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.env) == bool(self.sha256):
            raise ValueError("give either `env` or `sha256`")
        return self


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: list[_KeyEntry]


def digest_of(key: str) -> bytes:
    """Return what a key is known by."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def plain_keys(keys: tuple[str, ...]) -> tuple[ApiKey, ...]:
    """Return keys that may see all."""
    return tuple(ApiKey(digest_of(key)) for key in keys)


def all_keys(file: str, environment: Mapping[str, str] = os.environ) -> tuple[ApiKey, ...]:
    """Return the keys of the environment, which may see all, and those of a server file.

    Args:
        file: The server file; "" for none.
        environment: Where the keys are.

    Raises:
        InputError: The file cannot be read, names a key that is not there, or a filter is wrong.
    """
    filed = [_key(entry, environment) for entry in _entries(file)] if file else []
    found = (*plain_keys(read_keys(environment)), *filed)
    if len({key.digest for key in found}) < len(found):
        raise InputError(
            f"A key is given twice, in the environment or in {file!r}.",
            hint="One key has one filter: make another key.",
        )
    return found


def header_filter(given: str | None) -> Where | None:
    """Read the filter that a trusted proxy sent; what cannot be read lets nobody in.

    Raises:
        Refused: It is missing, or no filter (403).
    """
    try:
        short = given if given and len(given) <= LONGEST_FILTER else "null"
        where = json.loads(short, parse_constant=_no_number)
        parse_filter(where)
    except (ValueError, RecursionError, InputError):
        where = None
    if not isinstance(where, dict):
        raise RefusedRequest(403, "no_filter", f"The proxy sent no filter in {FILTER_HEADER}.")
    return where or None


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number")


def _entries(file: str) -> list[_KeyEntry]:
    try:
        return _KeyFile.model_validate(read_toml(Path(file))).keys
    except ValidationError as error:
        raise InputError(
            f"The server file {file!r} is wrong: {describe_setting_errors(error)}.",
            hint="Each [[keys]] has `env` or `sha256`, and `where` if it may not see all.",
        ) from error


def _key(entry: _KeyEntry, environment: Mapping[str, str]) -> ApiKey:
    if entry.where is not None and parse_filter(entry.where) is None:
        raise InputError("A key's `where` is empty.", hint="Leave it out if the key may see all.")
    if entry.sha256:
        return ApiKey(bytes.fromhex(entry.sha256), entry.where)
    given = environment.get(entry.env, "")
    found = read_keys({"RAGWRIGHT_API_KEYS": given})
    if len(found) != 1:
        raise InputError(
            f"The environment variable {entry.env!r} holds {len(found) or 'no'} API keys.",
            hint="Each [[keys]] names the variable of one key.",
        )
    return ApiKey(digest_of(found[0]), entry.where)
