"""The base of every table of settings, and the words in which a wrong one is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ragwright.retrievers.errors import InputError


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
                    f"Wrong {type(self).__name__}: {describe(error)}.",
                    hint="Correct or remove it; docs/recipe.md lists keys and ranges.",
                ) from error

        # Pydantic's own mark: without it tables inside others would be built by this method too.
        __init__.__pydantic_base_init__ = True


def describe(error: ValidationError) -> str:
    """Say in one line which keys are wrong and why, with the values."""
    parts = []
    for item in error.errors():
        inner = item.get("ctx", {}).get("knob")
        place = ".".join(str(step) for step in (*item["loc"], *([inner] if inner else ())))
        place = place or "values"
        shown = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
        parts.append(f"{place}: {item['msg']}{shown}")
    return "; ".join(parts)
