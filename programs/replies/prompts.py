"""Writes values and signatures into a prompt as DSPy's adapters do, in less time.

DSPy builds a pydantic schema for every value of every demonstration in every call, which was a
fifth of the time of a compile with a fast model. Here that is done once for each type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import dspy
from dspy.adapters.json_adapter import JSONAdapter
from dspy.adapters.utils import format_field_value
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from ragwright.programs.replies.system import as_sent

_PLAIN = (list, dict, tuple, int, float, bool, type(None))


class QuickPrompts(dspy.ChatAdapter):
    """An adapter whose prompts are those of the DSPy adapter that it is mixed with."""

    def format(
        self,
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> list[dict[str, Any]]:
        return as_sent(super().format(signature, demos, inputs))

    def format_field_structure(self, signature: type[dspy.Signature]) -> str:
        key: Any = signature
        return _structure(key, json=isinstance(self, JSONAdapter))

    def format_user_message_content(
        self,
        signature: type[dspy.Signature],
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        given = {name: info for name, info in signature.input_fields.items() if name in inputs}
        parts = [prefix, *(_section(name, info, inputs[name]) for name, info in given.items())]
        asked = self.user_message_output_requirements(signature) if main_request else None
        return "\n\n".join([*parts, *([] if asked is None else [asked]), suffix]).strip()

    def format_field_with_value(
        self, fields_with_values: Mapping[Any, Any], role: str = "user"
    ) -> str:
        if role != "user":
            text: str = super().format_field_with_value(fields_with_values, role=role)
            return text
        fields: Iterable[tuple[Any, Any]] = fields_with_values.items()
        return "\n\n".join(_section(one.name, one.info, value) for one, value in fields).strip()


def _section(name: str, info: FieldInfo, value: Any) -> str:
    return f"[[ ## {name} ## ]]\n{format_input(info, value)}"


def format_input(info: FieldInfo, value: Any) -> str:
    """Return what `dspy.adapters.utils.format_field_value` does for a field's value."""
    kind: Any = type(value)
    if kind is str:
        return str(value)
    if kind not in _PLAIN or (kind is list and info.annotation is str):
        return str(format_field_value(field_info=info, value=value))
    try:
        plain = _adapter_of(kind).dump_python(value, mode="json", fallback=str)
    except (ValueError, TypeError, RecursionError):
        return str(value)
    return json.dumps(plain, ensure_ascii=False) if kind in (list, dict, tuple) else str(plain)


@lru_cache(maxsize=256)
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@lru_cache(maxsize=256)
def _structure(signature: Any, *, json: bool) -> str:
    """What depends on the names and types of the fields alone, which no class changes later."""
    adapter = JSONAdapter() if json else dspy.ChatAdapter()
    return str(adapter.format_field_structure(signature))
