"""Reads from a program what it is called with besides its question: names, types, defaults.

A program says so by its `program_inputs`, as ours do, or else by the parameters of its `forward`
(or `aforward`), with the types that stand there or those of the signature's field of that name.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import dspy
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from ragwright.programs.anatomy import predictors_of
from ragwright.retrievers.errors import InputError

QUESTION = "question"
RESERVED = ("where", "history")
"""Inputs that every door to a program has its own place for."""
_VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class ProgramInputs:
    """What a program takes.

    Attributes:
        question: The name of the input that holds the question: `question`, or the first one.
        types: The others, with their types; `Any` where the program does not say.
        required: Those of them that have no default.
        takes: Which of `where` and `history` it takes.
        anything: Whether it takes inputs of any name besides.
    """

    question: str = QUESTION
    types: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    anything: bool = False

    @classmethod
    def of(cls, program: dspy.Module) -> ProgramInputs:
        """Read what a program takes: its `program_inputs`, where it says so, or else its code."""
        if isinstance(said := getattr(program, "program_inputs", None), cls):
            return said
        shape = _shape(program)
        if _is_open(shape) and (signature := _signature(program)) is not None:
            return cls._of_signature(signature)
        named = {name: one for name, one in shape.items() if one.kind not in _VARIABLE}
        others = [name for name in named if name not in RESERVED]
        question = QUESTION if QUESTION in named or not others else others[0]
        rest = [name for name in others if name != question]
        return cls(
            question,
            {name: _typed(program, name) for name in rest},
            tuple(name for name in rest if named[name].default is inspect.Parameter.empty),
            tuple(name for name in RESERVED if name in named),
            anything=_is_open(shape),
        )

    @classmethod
    def _of_signature(cls, signature: Any) -> ProgramInputs:
        fields = {name: one.annotation for name, one in signature.input_fields.items()}
        question = QUESTION if QUESTION in fields else next(iter(fields), QUESTION)
        types = {name: kind for name, kind in fields.items()
                 if name != question and name not in RESERVED}  # fmt: skip
        takes = tuple(name for name in RESERVED if name in fields)
        return cls(question, types, tuple(types), takes)

    def call(
        self, question: str, given: Mapping[str, Any], *, written: bool = False
    ) -> dict[str, Any]:
        """Return what to call the program with.

        Args:
            question: The question.
            given: The other inputs, from a stranger.
            written: Whether their values are text, as on a command line, that stands for JSON.

        Raises:
            InputError: One is missing, unknown or of another type; the message names it.
        """
        unknown = [] if self.anything else [name for name in given if name not in self.types]
        if unknown:
            raise InputError(
                f"{unknown[0]}: the program takes no such input.",
                hint=f"It takes {_listed((self.question, *self.types))}.",
            )
        if missing := [name for name in self.required if name not in given]:
            raise InputError(
                f"{missing[0]}: the program needs this input.",
                hint=f"It needs {_listed((self.question, *self.required))}.",
            )
        read = {name: _read(name, self.types.get(name, Any), value, written=written)
                for name, value in given.items()}  # fmt: skip
        return {self.question: question, **read}


def call_signature(program: dspy.Module) -> Any:
    """Return the method that is called, of the class: DSPy warns of looks at an instance's.

    Raises:
        InputError: The program has none.
    """
    kind = type(program)
    called = getattr(kind, "forward", None) or getattr(kind, "aforward", None)
    if called is None:
        raise InputError(
            f"{kind.__name__} has neither forward nor aforward, which DSPy calls a program by.",
            hint="Call the method that answers `forward`, also where it is `__call__` now.",
        )
    return called


def _signature(program: dspy.Module) -> Any:
    """The signature of a program that is one predictor, or an agent; None of any other."""
    for part in (program, getattr(program, "predict", None)):
        found = getattr(part, "signature", None)
        if isinstance(found, type) and issubclass(found, dspy.Signature):
            return found
    return None


def _shape(program: dspy.Module) -> dict[str, inspect.Parameter]:
    found = inspect.signature(call_signature(program)).parameters
    return dict(list(found.items())[1:])  # without `self`


def _is_open(shape: Mapping[str, inspect.Parameter]) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in shape.values())


def _typed(program: dspy.Module, name: str) -> Any:
    """The type of an input: as the program's call says, or else a signature's field."""
    called = call_signature(program)
    try:
        hints = typing.get_type_hints(called)
    except (NameError, TypeError, AttributeError):  # written in a way that cannot be looked up
        hints = {}
    if name in hints:
        return hints[name]
    for predictor in predictors_of(program):
        if (found := predictor.signature.input_fields.get(name)) is not None:
            return found.annotation
    return Any


def _read(name: str, kind: Any, value: Any, *, written: bool) -> Any:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
    except PydanticUserError:  # a class of the user's that no plain value can be checked against
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if written:
            try:
                return adapter.validate_json(value)
            except ValidationError:
                pass
        why = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, (name, *why["loc"])))
        raise InputError(f"{place}: {why['msg']}.", hint="Give a value of its type.") from error


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))
