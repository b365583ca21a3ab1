"""The DSPy adapter of our programs: asks in the form that a model keeps to, and reads any other.

Every reply is read by `read_reply`, so that what was asked for and what came back need not agree.
Only a reply of which nothing required can be read is asked for once more, in another form.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, cast

import dspy
from dspy.adapters.base import Adapter
from dspy.adapters.json_adapter import JSONAdapter
from dspy.clients.capabilities import with_capability_planning
from dspy.utils.exceptions import (
    AdapterParseError,
)

from ragwright.programs.dspy_internals import response_format_of
from ragwright.programs.lm import can_write
from ragwright.programs.replies.learned import (
    Format,
    ReplyForm,
    ReplyHabits,
    possible_forms,
    reply_habits,
)
from ragwright.programs.replies.no_answer import repeats_question
from ragwright.programs.replies.prompts import QuickPrompts
from ragwright.programs.replies.reader import ReplyValues, UnreadableReply, read_reply
from ragwright.programs.replies.tries import ASKED, Tries
from ragwright.programs.replies.wanted import asked_by_optimizer, output_fields
from ragwright.programs.replies.wrapping import finished_reply

Signature = type[dspy.Signature]
Values = list[dict[str, Any]]
Demos = list[dict[str, Any]]

_ADAPTER = "ReplyAdapter"


class _Seen(str):
    """A reply's text that carries what was read in it."""

    __slots__ = ("reading",)
    reading: ReplyValues


class _Reads(QuickPrompts):
    """Reads replies of any form, and writes demonstrations without what they do not have."""

    plain = False

    def parse(self, signature: Signature, completion: str) -> dict[str, Any]:
        if isinstance(completion, _Seen):
            return dict(completion.reading.values)
        return dict(_reading(signature, completion, plain=self.plain).values)

    def format_assistant_message_content(
        self, signature: Signature, outputs: dict[str, Any], missing_field_message: Any = None
    ) -> str:
        """Leave out what a demonstration or an earlier turn does not have, instead of saying so."""
        absent = tuple(name for name in signature.output_fields if outputs.get(name) is None)
        if absent:
            signature = _without(cast(Any, signature), absent)
        text: str = super().format_assistant_message_content(signature, outputs)
        return text

    def _call_postprocess(
        self,
        processed_signature: Signature,
        original_signature: Signature,
        outputs: list[Any],
        lm: Any,
        lm_kwargs: dict[str, Any],
    ) -> Values:
        seen = _seen(processed_signature, outputs, plain=self.plain)
        values: Values = super()._call_postprocess(
            processed_signature, original_signature, seen, lm, lm_kwargs
        )
        # An optimizer adds candidates of its own to each field that it finds in a reply.
        own = asked_by_optimizer(original_signature) or "read" in original_signature.fields
        if not own:
            for value, output in zip(values, seen, strict=True):
                text = output.get("text") if isinstance(output, dict) else output
                value["read"] = text.reading.how if isinstance(text, _Seen) else "chat"
        return values


class _Chat(_Reads):
    def __call__(self, *asked: Any, **named: Any) -> Values:
        return cast(Values, Adapter.__call__(self, *asked, **named))

    async def acall(self, *asked: Any, **named: Any) -> Values:
        return cast(Values, await Adapter.acall(self, *asked, **named))


class _Json(_Reads, JSONAdapter):
    """Asks for JSON; with a schema, has the server enforce it."""

    def __init__(self, *, schema: bool) -> None:
        JSONAdapter.__init__(self, use_native_function_calling=False)
        self.schema = schema

    def __call__(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Signature, *rest: Any, **named: Any
    ) -> Values:
        self._prepare(lm_kwargs, signature)
        return cast(Values, Adapter.__call__(self, lm, lm_kwargs, signature, *rest, **named))

    async def acall(
        self, lm: Any, lm_kwargs: dict[str, Any], signature: Signature, *rest: Any, **named: Any
    ) -> Values:
        self._prepare(lm_kwargs, signature)
        return cast(Values, await Adapter.acall(self, lm, lm_kwargs, signature, *rest, **named))

    def _prepare(self, lm_kwargs: dict[str, Any], signature: Signature) -> None:
        if not self.schema:
            return
        try:
            lm_kwargs["response_format"] = response_format_of(signature)
        except (ValueError, TypeError):
            lm_kwargs["response_format"] = {"type": "json_object"}


class _Plain(_Chat):
    """Asks for nothing but the main field."""

    plain = True

    def format_system_message(self, signature: Signature) -> str:
        main = output_fields(signature).main
        name = main.name if main else "answer"
        return (
            f"{signature.instructions}\n\n"
            f"Write the {name.replace('_', ' ')} and nothing else: no labels, no explanation."
        )

    def format_user_message_content(
        self,
        signature: Signature,
        inputs: dict[str, Any],
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        named = [name for name in signature.input_fields if inputs.get(name) is not None]
        parts = [
            f"{name.replace('_', ' ').capitalize()}:\n{_laid_out(inputs[name])}" for name in named
        ]
        return "\n\n".join(parts)

    def format_assistant_message_content(
        self, signature: Signature, outputs: dict[str, Any], missing_field_message: Any = None
    ) -> str:
        main = output_fields(signature).main
        return _laid_out(outputs.get(main.name) if main else "")


class ReplyAdapter(dspy.ChatAdapter):
    """Asks a model for replies in a form that it keeps to, and reads whatever form they have.

    A prediction tells as `read` how its reply was read: "chat" or "json" as asked for, "salvaged"
    if something had to be made out or was missing, "plain" if the whole text was the answer.

    Args:
        format: "json_schema", "chat", "plain", or "auto", which learns for each model and server
            which works.
        callbacks: As of every DSPy adapter.
        learns: Whether "auto" learns as it goes. Otherwise what was asked once is asked alike
            again, whatever came in between, which a compile that can be resumed needs.

    Raises:
        AdapterParseError: By a call, if the second reply can't be read either.
    """

    def __init__(
        self,
        format: Format = "auto",
        callbacks: list[Any] | None = None,
        *,
        learns: bool = True,
    ) -> None:
        super().__init__(callbacks=callbacks, use_json_adapter_fallback=False)
        self.wanted = format
        self.learns = learns
        self._forms: dict[ReplyForm, _Reads] = {
            "json_schema": _Json(schema=True),
            "chat": _Chat(),
            "json": _Json(schema=False),
            "plain": _Plain(),
        }

    @with_capability_planning
    def __call__(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Signature,
        demos: Demos,
        inputs: dict[str, Any],
    ) -> Values:
        tries = Tries(self.order(lm, signature), self._manners(lm), self.wanted, inputs, lm)
        for form in tries:
            with tries.trying(form):
                return tries.done(self._forms[form](lm, dict(lm_kwargs), signature, demos, inputs))
        raise tries.error

    @with_capability_planning
    async def acall(
        self,
        lm: Any,
        lm_kwargs: dict[str, Any],
        signature: Signature,
        demos: Demos,
        inputs: dict[str, Any],
    ) -> Values:
        tries = Tries(self.order(lm, signature), self._manners(lm), self.wanted, inputs, lm)
        for form in tries:
            with tries.trying(form):
                adapter = self._forms[form]
                found = await adapter.acall(lm, dict(lm_kwargs), signature, demos, inputs)
                return tries.done(found)
        raise tries.error

    def order(self, lm: Any, signature: Signature) -> tuple[ReplyForm, ...]:
        """The forms that a model is asked for a reply in, the second one if need be."""
        main = output_fields(signature).main
        possible = possible_forms(lm, has_main=main is not None)
        unfit = not can_write(lm) or (self.wanted == "plain" and "plain" not in possible)
        wanted = "auto" if unfit else self.wanted
        return self._manners(lm).order(wanted, possible, text=main is None or main.is_text)

    def _manners(self, lm: Any) -> ReplyHabits:
        return (
            reply_habits(lm)
            if self.learns
            else ReplyHabits(str(getattr(lm, "model", "")), learns=False)
        )

    def form(self, name: ReplyForm) -> dspy.ChatAdapter:
        """Return an adapter that asks in one form, once, and reads any."""
        return self._forms[name]

    def messages(
        self, lm: Any, signature: Signature, demos: Demos, inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return exactly what a model would be sent."""
        form = self.order(lm, signature)[0] if lm is not None else self._fixed
        sent: list[dict[str, Any]] = self._forms[form].format(signature, demos, inputs)
        return sent

    def format(
        self, signature: Signature, demos: Demos, inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return what a model is sent that nothing is known of."""
        sent: list[dict[str, Any]] = self._forms[self._fixed].format(signature, demos, inputs)
        return sent

    def parse(self, signature: Signature, completion: str) -> dict[str, Any]:
        """Read a reply.

        Raises:
            AdapterParseError: Something required is not in it.
        """
        return dict(_reading(signature, completion).values)

    @property
    def _fixed(self) -> ReplyForm:
        return "chat" if self.wanted == "auto" else self.wanted


@lru_cache(maxsize=64)
def _without(signature: Any, fields: tuple[str, ...]) -> Any:
    """Return a signature without these fields: a new class, which takes longer than its text."""
    for name in fields:
        signature = signature.delete(name)
    return signature


def _seen(signature: Signature, outputs: list[Any], *, plain: bool) -> list[Any]:
    """Read every completion; of several, those that can't be read are left out."""
    seen, failed = [], None
    for output in outputs:
        try:
            seen.append(_read_output(signature, output, plain=plain))
        except AdapterParseError as error:
            failed = error
    if failed is not None and not seen:
        raise failed
    return seen


def _read_output(signature: Signature, output: Any, *, plain: bool) -> Any:
    text = output.get("text") if isinstance(output, dict) else output
    calls = output.get("tool_calls") if isinstance(output, dict) else None
    wants_calls = any(f.annotation is dspy.ToolCalls for f in signature.output_fields.values())
    if calls and (wants_calls or not signature.output_fields):
        return output
    if not text and calls:
        text = "\n".join(map(_arguments, calls))
    if not text and isinstance(output, dict):
        thought = str(output.get("reasoning_content") or "")
        # Whoever reads the error learns what became of the answer: it was thought, and not said.
        text = finished_reply(thought, output_fields(signature)) or f"<think>{thought}"
    said = _Seen(text or "")
    said.reading = _reading(signature, said, plain=plain)
    return {**output, "text": said, "tool_calls": None} if isinstance(output, dict) else said


def _arguments(call: Any) -> str:
    """What a model wrote into the arguments of a tool call that nobody offered it."""
    function = call.get("function") if isinstance(call, dict) else getattr(call, "function", None)
    arguments = (
        function.get("arguments")
        if isinstance(function, dict)
        else getattr(function, "arguments", "")
    )
    return arguments if isinstance(arguments, str) else json.dumps(arguments or "")


def _reading(signature: Signature, text: str, *, plain: bool = False) -> ReplyValues:
    wanted = output_fields(signature)
    try:
        found = read_reply(text, wanted, plain=plain)
        if repeats_question(found.values.get("answer"), ASKED.get() or {}):
            raise UnreadableReply("'answer' is the question given back")
        return found
    except UnreadableReply as error:
        raise AdapterParseError(
            adapter_name=_ADAPTER,
            signature=signature,
            lm_response=str(text),
            message=f"The reply can't be read: {error}.",
        ) from error


def _laid_out(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "\n\n".join(str(item) for item in value)
    return str("" if value is None else value)
