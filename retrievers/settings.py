"""The base of every table of settings, and the words in which a wrong one is refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ragwright.retrievers.argument_checks import short_repr
from ragwright.retrievers.errors import InputError

MOST_SHOWN = 200
"""Signs of a wrong value that are repeated."""
_USER = re.compile(r"://[^/\s@]+@")
_SECRET = re.compile(
    r"(?:^|[_.-]|api)(?:key|token|password|passwd|secret|credentials)$", re.IGNORECASE
)
"""Names of what must not stand on a terminal or in a log."""
_CAPS = frozenset({"max_calls", "max_tokens", "max_cost", "max_seconds"})
MOST_WRONG = 20
"""Wrong keys that are told of, each with what it may have meant."""


class Settings(BaseModel):
    """A table of settings: frozen, and an unknown key is an error.

    `Settings(...)` raises an `InputError` about a wrong value. A table inside another one, and
    `model_validate`, keep to pydantic's error: whoever reads the whole says where in it that was.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:  # or the types of the arguments would be lost

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise InputError(
                    f"Wrong {type(self).__name__}: {describe_setting_errors(error)}.",
                    hint="Correct or remove it; docs/recipe.md lists keys and ranges.",
                ) from error

        # Pydantic's own mark: without it tables inside others would be built by this method too.
        __init__.__pydantic_base_init__ = True


def address_names_user(address: str) -> bool:
    """Tell whether an address names a user, and mostly a password: files are no place for one."""
    return "@" in address.partition("://")[2].partition("/")[0]


def describe_setting_errors(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """Say in one line which keys are wrong and why, with the values.

    Args:
        error: What pydantic found.
        model: What was to be made; where it is given, a misspelt key is told what may be meant.
    """
    parts = []
    found = error.errors()
    for item in found[:MOST_WRONG]:
        inner = item.get("ctx", {}).get("knob")
        place = ".".join(str(step) for step in (*item["loc"], *([inner] if inner else ())))
        hidden = isinstance(item["input"], dict) or _SECRET.search(place)
        given = "" if hidden else f" (got {short_repr(item['input'], MOST_SHOWN)})"
        meant = _meant(item["loc"], model) if model and item["type"] == "extra_forbidden" else ""
        said = item["msg"].removeprefix("Value error, ")  # pydantic's, of checks of ours
        if item["type"] == "model_type":
            said = f"Input should be a table, [{place}]"
        lead = f"{place}: " if place else ""
        parts.append(f"{lead}{said}{_USER.sub('://...@', given)}{meant}")
    if len(found) > MOST_WRONG:
        parts.append(f"and {len(found) - MOST_WRONG} more")
    return "; ".join(parts)


def _meant(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Ask for the key that a misspelt one resembles: in its own section, or anywhere."""
    every = list(_keys(model))
    name, section = str(place[-1]), ".".join(map(str, place[:-1]))
    if _SECRET.search(name):
        return ": secrets stand in the environment (such as OPENAI_API_KEY), never in a recipe"
    if section == "compile" and name in _CAPS:
        return f": it is an option of `rag compile`, --{name.replace('_', '-')}"
    here = {key.rpartition(".")[2]: key for key in every if key.rpartition(".")[0] == section}
    elsewhere = [key for key in every if key.rpartition(".")[2] == name]
    found = elsewhere or [here[near] for near in difflib.get_close_matches(name, here, n=1)]
    return f", did you mean {' or '.join(found[:3])}?" if found else ""


def _keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """Every key that a model takes, with those of the models inside it."""
    for name, info in model.model_fields.items():
        yield f"{above}{name}"
        for one in (info.annotation, *get_args(info.annotation)):
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from _keys(one, f"{above}{name}.")
