"""The attempts at one reply: which form is asked for next, and what is learned of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dspy
from dspy.utils.exceptions import (
    AdapterParseError,
    LMInvalidRequestError,
    LMUnsupportedFeatureError,
)

from ragwright.programs.causes import is_content_filtered, is_over_window
from ragwright.programs.replies.learned import Format, ReplyForm, ReplyHabits, reply_habits
from ragwright.programs.replies.system import joining_system, refuses_system

ASKED: ContextVar[Mapping[str, Any] | None] = ContextVar("asked", default=None)
"""The inputs of the call whose reply is read in this context."""


class Tries:
    """The attempts at one reply: which forms, and what came of them."""

    def __init__(
        self,
        forms: tuple[ReplyForm, ...],
        habits: ReplyHabits,
        asked: Format,
        inputs: dict[str, Any],
        lm: Any,
    ) -> None:
        self.forms = deque(forms)
        self.traits = reply_habits(lm)
        self.habits = habits
        self.asked = asked
        self.inputs = inputs
        self.lost: list[ReplyForm] = []
        self.error: Exception = RuntimeError("nothing was asked")

    def __iter__(self) -> Iterator[ReplyForm]:
        while self.forms:
            form = self.forms.popleft()
            begin: Callable[..., None] | None = getattr(dspy.settings.send_stream, "begin", None)
            if begin is not None:
                begin(plain=form == "plain")
            self.form = form
            yield form
        self.habits.lost(self.lost, tells=self.asked == "auto")

    @contextmanager
    def trying(self, form: ReplyForm) -> Iterator[None]:
        """Let an unreadable reply, or a form that the server refuses, pass on to the next form."""
        before = ASKED.set(self.inputs)
        try:
            with joining_system(self.traits.joins_system):
                yield
        except AdapterParseError as error:
            self.lost.append(form)
            self.error = error
        except (LMInvalidRequestError, LMUnsupportedFeatureError) as error:
            if refuses_system(error) and not self.traits.joins_system:
                self.traits.joins_system = True
                self.forms.appendleft(form)
                return
            of_asking = is_over_window(error) or is_content_filtered(error)
            if form != "json_schema" or self.asked == "json_schema" or of_asking:
                raise
            self.habits.refused(form)
            self.error = error
        finally:
            ASKED.reset(before)

    def done(self, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        how = values[0].get("read", "chat")
        if self.lost:
            self.habits.lost(self.lost, tells=self.asked == "auto")
            if self.form == "plain" and how == "salvaged":  # after a form that was not kept to
                values = [{**value, "read": "plain"} for value in values]
        self.habits.read(self.form, how, tells=self.asked == "auto")
        return values
