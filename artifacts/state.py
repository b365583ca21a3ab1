"""What was learned, out of a program and into it again, checked in both directions.

Comes in: a program, or values read from `state.json`. Goes out: plain JSON types that hold exactly
what a freshly built program of the same recipe expects. Knows nothing of files.

DSPy's own loading sets whatever attributes the state names and pairs fields by position, so
everything is checked before DSPy sees it.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import dspy
from dspy.adapters.utils import get_annotation_name
from pydantic import JsonValue, ValidationError

from ragwright.artifacts.manifest import FieldShape, ManifestTable
from ragwright.programs.anatomy import (
    copy_program,
    hidden_knobs,
    make_savable,
    predictors_of,
    thaw_compiled_parts,
)
from ragwright.programs.dspy_internals import compiled_parts, mark_compiled
from ragwright.programs.knobs import Knobs
from ragwright.retrievers.base import Retriever
from ragwright.retrievers.errors import ArtifactError, RagError
from ragwright.retrievers.settings import describe_setting_errors

ProgramState = dict[str, Any]
Shapes = dict[str, tuple[FieldShape, ...]]

SECRET_KEY = re.compile(r"api[_-]?key|secret|password|credential|authorization|access[_-]?token")
SECRET_VARIABLE = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD)$")
SHORTEST_SECRET = 12
LONGEST_PROMPT = 4_000_000
"""Characters of a predictor's instructions and demonstrations: what the widest windows hold."""
MOST_DEMOS = 1000
_HINT = "Restore state.json or compile again."
_SINCE = {"retriever": "retriever.dense"}
"""What 0.1 called parameters of plain dense programs, and what they are called now."""
_OTHER = "Load it into the program that it was saved from, restore the file, or compile again."


class FieldText(ManifestTable):
    prefix: str
    description: str


class SignatureText(ManifestTable):
    instructions: str
    fields: list[FieldText]


class PredictorState(ManifestTable):
    """The state of one predictor, as DSPy writes it; no language model travels with it."""

    traces: list[JsonValue]
    train: list[JsonValue]
    demos: list[dict[str, JsonValue]]
    signature: SignatureText
    lm: None


def dump_state(program: dspy.Module, fresh: dspy.Module) -> ProgramState:
    """Take out of a program what it learned; the program itself stays as it is.

    Args:
        program: The program to save.
        fresh: One newly built from the same recipe.

    Raises:
        ArtifactError: The program does not have the parameters of the fresh one.
    """
    copy = uncompiled(program)
    copy.set_lm(None)
    state: ProgramState = {name: _dumped(part) for name, part in copy.named_parameters()}
    state |= {place: leaf.dump_state() for place, leaf in hidden_knobs(copy).items()}
    check_state(state, fresh)
    return state


def _dumped(parameter: Any) -> Any:
    """Dump a parameter; DSPy's own retrievers know nothing of its `json_mode`."""
    takes = inspect.signature(parameter.dump_state).parameters
    return parameter.dump_state(**({"json_mode": True} if "json_mode" in takes else {}))


def uncompiled(program: dspy.Module) -> dspy.Module:
    """Return a copy none of whose parts is marked as compiled (`compiled_parts` says why)."""
    twin = copy_program(program)
    for part in compiled_parts(twin):
        mark_compiled(part, False)
    return twin


def load_state(program: dspy.Module, state: ProgramState) -> None:
    """Put a checked state into a program; predictors with a language model of theirs keep it."""
    own = [(one, one.lm) for one in predictors_of(program)]
    with thaw_compiled_parts(program):
        if type(program).load_state is dspy.Module.load_state:
            # DSPy's tries it on a copy first, and says of a lock that it cannot be copied.
            for name, parameter in program.named_parameters():
                parameter.load_state(state[name])
        else:
            program.load_state(state)
    for predictor, lm in own:
        predictor.lm = lm
    for place, leaf in hidden_knobs(program).items():
        leaf.load_state(state[place])
    make_savable(program)


def parameters_of(program: dspy.Module) -> dict[str, Any]:
    """Return what of a program a state holds: its parameters, and knobs that a tool alone holds."""
    hidden = hidden_knobs(program)  # first: it makes parts that are made late
    with thaw_compiled_parts(program):
        return dict(program.named_parameters()) | hidden


def check_state(state: object, fresh: dspy.Module) -> ProgramState:
    """Make sure that values are a state of such a program, and return them.

    Raises:
        ArtifactError: A parameter is missing or unknown, a predictor's state has an unknown key
            or another number of fields, or a parameter refuses its values.
    """
    if not isinstance(state, dict):
        raise ArtifactError(f"The state is not a table but {type(state).__name__}.", hint=_HINT)
    parameters = parameters_of(fresh)
    check_names(state, parameters, what="The state")
    for name, parameter in parameters.items():
        if isinstance(parameter, dspy.Predict):
            _check_predictor(name, state[name], parameter)
        else:
            _check_leaf(name, state[name], parameter)
    return state


def knobs_in(state: ProgramState) -> Iterator[tuple[str, Any]]:
    """Yield every number of every stage in a state, by its place and name: "search.knobs.k"."""
    for place, values in state.items():
        if isinstance(values, dict) and "signature" not in values:
            yield from ((f"{place}.{name}", value) for name, value in values.items())


def current_names(names: Iterable[str], today: Collection[str]) -> list[str]:
    """Return names as they are today, of parameters that a state of an earlier release names."""
    return [
        _SINCE[name] if name not in today and _SINCE.get(name) in today else name for name in names
    ]


def check_names(found: Iterable[str], expected: Iterable[str], *, what: str) -> None:
    """Compare two sets of parameter names.

    Raises:
        ArtifactError: They differ; the message names those missing and those unknown.
    """
    missing, unknown = set(expected) - set(found), set(found) - set(expected)
    if missing or unknown:
        parts = [("lacks", missing), ("has unknown", unknown)]
        shown = " and ".join(f"{word} {', '.join(sorted(s))}" for word, s in parts if s)
        raise ArtifactError(f"{what} {shown} (parameters of the program).", hint=_OTHER)


def signature_shapes(program: dspy.Module) -> Shapes:
    """Return for each predictor the name, type and side of its fields, in order."""
    with thaw_compiled_parts(program):
        return {name: _shape(predictor) for name, predictor in program.named_predictors()}


def check_shapes(saved: Shapes, current: Shapes) -> None:
    """Make sure that a state saved for some signatures fits the ones of today.

    Raises:
        ArtifactError: A field has another name, type or place.
    """
    check_names(saved, current, what="The manifest")
    for name, fields in current.items():
        if saved[name] != fields:
            raise ArtifactError(
                f"{name!r} was saved for {_shown(saved[name])}, and is now {_shown(fields)}.",
                hint="Load it with the release that saved it, or compile again.",
            )


def check_secrets(texts: Mapping[str, str]) -> None:
    """Make sure that no secret of this process's environment goes into an artifact.

    A secret is the value of a variable named `..._KEY`, `..._TOKEN` and so on.

    Args:
        texts: What is to be written, by file name.

    Raises:
        ArtifactError: A text holds the value of such a variable.
    """
    secrets = {
        name: value
        for name, value in os.environ.items()
        if SECRET_VARIABLE.search(name) and len(value) >= SHORTEST_SECRET
    }
    for file, text in texts.items():
        for name, value in secrets.items():
            if value in text:
                raise ArtifactError(
                    f"{file!r} would hold the value of the environment variable {name}.",
                    hint="Remove it from documents, training set or recipe, then compile again.",
                )


def check_keys(value: object, *, source: str) -> None:
    """Make sure that no key anywhere in these values looks like a secret's.

    Raises:
        ArtifactError: One does.
    """
    for key in _keys(value):
        if SECRET_KEY.search(key.lower()):
            raise ArtifactError(
                f"{source} would hold {key!r}, which looks like a secret.",
                hint="Keys belong in the environment, e.g. OPENAI_API_KEY.",
            )


def _check_predictor(name: str, state: object, predictor: dspy.Predict) -> None:
    try:
        parsed = PredictorState.model_validate(state)
    except ValidationError as error:
        what = f"The state of {name!r} is wrong: {describe_setting_errors(error)}."
        raise ArtifactError(what, hint=_HINT) from error
    size = _size([parsed.signature.instructions, *parsed.demos])
    if size > LONGEST_PROMPT or len(parsed.demos) > MOST_DEMOS:
        raise ArtifactError(
            f"The state of {name!r} holds {len(parsed.demos)} demonstrations and {size} "
            f"characters; no prompt has more than {MOST_DEMOS} and {LONGEST_PROMPT}.",
            hint=_HINT,
        )
    expected = len(predictor.signature.fields)
    if len(parsed.signature.fields) != expected:
        raise ArtifactError(
            f"The state of {name!r} describes {len(parsed.signature.fields)} fields, and its "
            f"signature has {expected}.",
            hint=_HINT,
        )


def _size(value: JsonValue) -> int:
    """Count the characters that a model reads as text, which images in base64 are not."""
    waiting, size = [value], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            size += 0 if ";base64," in part[:200] else len(part)
        elif isinstance(part, dict):
            waiting += [*part, *part.values()]
        elif isinstance(part, list):
            waiting += part
    return size


def _check_leaf(name: str, state: object, parameter: Any) -> None:
    before = parameter.dump_state()
    ours = isinstance(parameter, Knobs | Retriever)
    if not ours and (not isinstance(state, dict) or state.keys() != before.keys()):
        # DSPy sets whatever attributes a state of its own retrievers names.
        raise ArtifactError(f"The state of {name!r} has other keys than it takes.", hint=_HINT)
    try:
        parameter.load_state(state)
    except RagError as error:
        raise ArtifactError(f"The state of {name!r}: {error.what}", hint=_HINT) from error
    parameter.load_state(before)


def _shape(predictor: dspy.Predict) -> tuple[FieldShape, ...]:
    return tuple(
        FieldShape(
            name=name,
            type=get_annotation_name(field.annotation),
            side=field.json_schema_extra["__dspy_field_type"],
        )
        for name, field in predictor.signature.fields.items()
    )


def _shown(fields: tuple[FieldShape, ...]) -> str:
    sides = ("input", "output")
    return " -> ".join(
        ", ".join(f"{field.name}: {field.type}" for field in fields if field.side == side)
        for side in sides
    )


def _keys(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _keys(inner)
