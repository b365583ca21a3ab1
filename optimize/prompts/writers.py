"""Reads what a language model writes for DSPy's optimizers, and goes on where nothing can be read.

An optimizer asks for an instruction and, beside it, for a prefix or a discussion. Where only what
stands beside is missing, the program keeps what it has. Where the instruction can't be read, that
candidate is the instruction as it is, which costs no call, or else the optimizer leaves it out by
itself. After several such replies in a row the model is asked no more: what there is to learn
besides is learned, and an optimizer that does nothing but have instructions written ends.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError, LMError

from ragwright.optimize.spending.unread import note_unread
from ragwright.programs.causes import cause_of, is_content_filtered, is_over_window
from ragwright.programs.replies.reader import UnreadableReply, read_reply
from ragwright.programs.replies.wanted import asked_by_optimizer, output_fields

Read = list[dict[str, Any]]

IN_A_ROW = 5
"""Replies that can't be used one after the other, before the model is asked no more."""

_PREFIX = "proposed_prefix_for_output_field"
_ADVICE = "module_advice"
_RULES = "natural_language_rules"
_PRESENT = ("basic_instruction", "previous_instruction")
"""What optimizers call the instruction that is to be replaced."""
_SKIPPING = "dspy.teleprompt.gepa"
"""Leaves out by itself what could not be written, and goes on until all is spent."""
_REFUSAL = re.compile(
    r"\W*(?:(?:i['\u2019]?m|i am)\s+(?:\w+\s+)?(?:sorry|afraid|unable|not able)\b"
    r"|sorry,|(?:my )?apologies\b|i apologi[sz]e\b|as an ai\b"
    r"|i\s+(?:can\s?not|can['\u2019]?t|won['\u2019]?t|am not)\b)",
    re.IGNORECASE,
)


class NothingWritten(BaseException):
    """A model that is asked no more was all that could help. A signal, as `BudgetSpent` is."""


@dataclass
class Written:
    """What became of the replies of the model that writes.

    Attributes:
        asked: How many there were.
        lost: How many of them could not be used, by kind.
        replies: These, as they were written.
        row: How many of the last ones.
    """

    asked: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    replies: list[str] = field(default_factory=list)
    row: int = 0

    def used(self, *, beside: int) -> None:
        """Count a reply that was used, and completions of the same call that were not."""
        self.asked += 1 + beside
        self.row = 0
        if beside:
            self.lost["unreadable"] += beside

    def left(self, kind: str, reply: str) -> None:
        """Count a reply that was not."""
        self.asked += 1
        self.lost[kind] += 1
        self.replies.append(reply)
        self.row += 1
        note_unread()

    @property
    def silent(self) -> bool:
        """Whether the model is asked no more."""
        return self.row >= IN_A_ROW

    @property
    def note(self) -> str:
        """What a report says of it; empty if every reply was used."""
        if not self.lost:
            return ""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in sorted(self.lost.items()))
        ending = f"; after {IN_A_ROW} in a row it was asked no more" if self.silent else ""
        return (
            f"prompts: {self.lost.total()} of {self.asked} replies of the model that writes could "
            f"not be used ({kinds}){ending}."
        )


def reading_writers(adapter: dspy.Adapter, program: dspy.Module) -> tuple[dspy.Adapter, Written]:
    """Return a twin of an adapter which reads for optimizers, too, and what will become of that.

    Args:
        adapter: Asks, and reads what the program's own predictors asked for.
        program: Whose prompts are learned.
    """
    of_writers = type(f"Writing{type(adapter).__name__}", (_Writers, type(adapter)), {})
    twin: Any = object.__new__(of_writers)
    vars(twin).update(vars(adapter))
    twin.written, twin.prefixes = Written(), _prefixes(program)
    return cast(dspy.Adapter, twin), twin.written


def _prefixes(program: dspy.Module) -> Mapping[str, str]:
    """The prefix of each predictor's last field, by its instructions."""
    signatures = [predictor.signature for predictor in program.predictors()]
    lasts = [list(signature.fields.values())[-1] for signature in signatures]
    return {signature.instructions: str(last.json_schema_extra.get("prefix", ""))
            for signature, last in zip(signatures, lasts, strict=True)}  # fmt: skip


class _Writers:
    """Mixed into an adapter: calls of optimizers go on whatever was written."""

    written: Written
    prefixes: Mapping[str, str]

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Any, demos: Any, inputs: Any
    ) -> Read:
        adapter: Any = super()
        ask = partial(adapter.__call__, lm, dict(lm_kwargs), signature, demos, inputs)
        if not asked_by_optimizer(signature):
            return cast(Read, ask())
        if self.written.silent:
            return [self._unasked(signature, inputs)]
        found, error = _found(ask, signature, inputs)
        kept = [values for values in found if not _refuses(values, signature)]
        if kept:
            self.written.used(beside=max(0, int(lm_kwargs.get("n") or 1) - len(kept)))
            return [self._whole(values, inputs) for values in kept]
        return [self._whole(self._left(found, error, lm, signature, inputs), inputs)]

    def _unasked(self, signature: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the program has now.

        Raises:
            NothingWritten: It will not do, and the optimizer would ask on.
            AdapterParseError: It will not do, and the optimizer goes on without.
        """
        present = _present(signature, inputs)
        if present is not None:
            return self._whole(present, inputs)
        if signature.__module__.startswith(_SKIPPING):
            raise NothingWritten(f"{IN_A_ROW} replies of its writer in a row could not be used")
        raise _unreadable(signature, "", "The model that writes is asked no more.")

    def _left(
        self, refusals: Read, error: DSPyError | None, lm: Any, signature: Any, inputs: Any
    ) -> dict[str, Any]:
        """Count a reply that can't be used, and return what the program has now."""
        said = str(getattr(error, "lm_response", None) or "")
        if refusals or error is None:
            said = "; ".join(str(value) for one in refusals for value in one.values())
            error = _unreadable(signature, said, "The model refuses to write it.")
            self.written.left("refused", said)
        else:
            self.written.left(cause_of(error, lm).kind, said)
        present = _present(signature, inputs)
        if present is None:
            raise error
        return present

    def _whole(self, values: dict[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        if _PREFIX not in values or values[_PREFIX]:
            return values
        instruction, prefix = _best_attempt(inputs)
        return {**values, _PREFIX: prefix or self.prefixes.get(instruction, "")}


def _found(
    ask: Callable[[], Read], signature: Any, inputs: Mapping[str, Any]
) -> tuple[Read, DSPyError | None]:
    """What an adapter reads, or else what can be made of the reply; and its error."""
    try:
        return ask(), None
    except AdapterParseError as error:
        said = str(error.lm_response or "")
        values = _read(said, signature) or _read_advice(said, signature, inputs)
        return [values] if values else [], error
    except LMError as error:
        if not is_over_window(error) and not is_content_filtered(error):
            raise
        return [], error


def _unreadable(signature: Any, said: str, why: str) -> AdapterParseError:
    return AdapterParseError("ReplyAdapter", signature, said, message=why)


def _refuses(values: Mapping[str, Any], signature: Any) -> bool:
    main = output_fields(signature).main
    return main is not None and _REFUSAL.match(str(values[main.name])) is not None


def _read(said: str, signature: Any) -> dict[str, Any] | None:
    try:
        return dict(read_reply(said, output_fields(signature)).values)
    except UnreadableReply:
        return None


def _read_advice(said: str, signature: Any, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Take advice that names no module for that of the only one there is."""
    if _ADVICE not in signature.output_fields:
        return None
    names = json.loads(inputs["module_names"])
    values = _read(said, signature.with_updated_fields(_ADVICE, str))
    if len(names) != 1 or not values or _REFUSAL.match(str(values[_ADVICE])):
        return None
    return {**values, _ADVICE: {names[0]: values[_ADVICE]}}


def _present(signature: Any, inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the program has now of what is to be written; None if that can be left out."""
    if _RULES in signature.output_fields:
        return dict.fromkeys(signature.output_fields, "")
    instruction, _ = _best_attempt(inputs)
    if not instruction or signature.__module__.startswith(_SKIPPING):
        return None
    main = output_fields(signature).main
    return {name: instruction if main and name == main.name else ""
            for name in signature.output_fields}  # fmt: skip


def _best_attempt(inputs: Mapping[str, Any]) -> tuple[str, str]:
    """The instruction that is to be replaced, and the prefix that it was tried with."""
    attempts = inputs.get("attempted_instructions")
    if attempts:  # the best one last: instruction, prefix, score
        instruction, prefix, _ = (line.partition(": ")[2] for line in attempts[-3:])
        return instruction, prefix
    return next((str(inputs[name]) for name in _PRESENT if name in inputs), ""), ""
