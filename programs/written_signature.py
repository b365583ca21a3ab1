"""Makes a `dspy.Signature` of a recipe's words; nothing is imported for it.

DSPy reads a type as Python does, imports the module of a name that it does not know, and repeats in
its errors what it found there: a recipe that somebody sent could so run a module, and have the
environment printed.
"""

from __future__ import annotations

import ast
from typing import Any

import dspy
from pydantic import PydanticUserError

TYPES = (
    "Any", "Dict", "List", "Literal", "Optional", "Set", "Tuple", "Union", "bool", "bytes", "dict",
    "float", "frozenset", "int", "list", "set", "str", "tuple",
)  # fmt: skip
LONGEST = 4000
"""Characters; reading takes a time that grows faster than their number."""


def read_signature(text: str) -> Any:
    """Return the signature that a text such as "context, question -> answer: str" describes.

    Raises:
        ValueError: It is none, or names a type besides Python's own and DSPy's.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    try:
        for side in text.split("->"):
            _check_fields(side)
        return dspy.Signature(text)
    except (TypeError, SyntaxError, PydanticUserError) as error:
        raise ValueError(str(error)) from error
    except (RecursionError, MemoryError) as error:  # the parser says either of nested brackets
        raise ValueError("it nests too deep") from error


def _check_fields(side: str) -> None:
    """Make sure that this is a list of names with types, as DSPy's parser takes it to be."""
    match ast.parse(f"def f({side}): pass").body:
        case [
            ast.FunctionDef(
                args=ast.arguments(
                    posonlyargs=[], args=fields, vararg=None, kwonlyargs=[], kwarg=None, defaults=[]
                ),
                body=[ast.Pass()],
            )
        ]:
            pass
        case _:
            raise ValueError(f"{side.strip()[:100]!r} is no list of fields")
    for field in fields:
        if field.annotation is not None:
            _check_type(field.annotation)


def _check_type(node: ast.expr) -> None:
    match node:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="typing"), attr=name) if (
            name in TYPES
        ):
            pass
        case ast.Attribute(value=ast.Name(id="dspy"), attr=name) if _of_dspy(name):
            pass
        case ast.Constant():  # None, or a value of a Literal
            pass
        case ast.Subscript(value=outer, slice=inner):
            _check_type(outer)
            _check_type(inner)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            _check_type(left)
            _check_type(right)
        case ast.Tuple(elts=parts):
            for part in parts:
                _check_type(part)
        case _:
            said = ast.unparse(node)[:100]
            raise ValueError(
                f"{said!r} is no type that a recipe can name (module:Class gives a whole signature)"
            )


def _of_dspy(name: str) -> bool:
    kind = getattr(dspy, name, None)
    return isinstance(kind, type) and issubclass(kind, dspy.Type | dspy.History)
