"""Which form of reply works with a model on a server, learned from its first replies.

The forms, in order of preference: a JSON schema that the server enforces, DSPy's chat format, JSON
that is only asked for, and nothing but the answer. A form that a model does not keep to gives way
to the next one.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from functools import cache, lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

import dspy

from ragwright.programs.lm import can_write, lm_identity, unwrap_lm
from ragwright.programs.replies.reader import How

Format = Literal["auto", "json_schema", "chat", "plain"]
"""What a recipe may ask for."""

ReplyForm = Literal["json_schema", "chat", "json", "plain"]
"""How a reply is asked for."""

FORMS: tuple[ReplyForm, ...] = ("json_schema", "chat", "json", "plain")
_WORDS: dict[ReplyForm, str] = {
    "json_schema": "JSON by a schema", "chat": "DSPy's chat format", "json": "JSON",
    "plain": "the answer alone",
}  # fmt: skip
_FEW = 3
"""Replies without any form after which a model counts as one that keeps to none."""
_LEARNING = 12
"""Replies in a form after which nothing more is learned about it."""
_log = logging.getLogger(__name__)


class ReplyHabits:
    """What is known of the replies of one model on one server; safe to use from many threads.

    Attributes:
        joins_system: Whether it takes no system message, which is joined to the first question.
    """

    def __init__(self, name: str, *, learns: bool = True) -> None:
        self.name = name
        self.joins_system = False
        self._most = _LEARNING if learns else 0
        self._lock = threading.Lock()
        self._kept: Counter[ReplyForm] = Counter()
        self._ignored: Counter[ReplyForm] = Counter()
        self._lost: Counter[ReplyForm] = Counter()
        self._refused: set[ReplyForm] = set()
        self._takes_schema: bool | None = None

    def order(
        self, wanted: Format, possible: tuple[ReplyForm, ...], *, text: bool = True
    ) -> tuple[ReplyForm, ...]:
        """Return the form to ask for, and the one to ask for if the reply can't be read.

        Args:
            wanted: As the recipe says.
            possible: What the model and the signature allow, best first.
            text: Whether what is wanted above all is a text, and not data.
        """
        with self._lock:
            good = [form for form in possible if not self._fails(form)]
            known = any(self._kept.values())
            # What is known to work goes before what nobody has tried.
            good.sort(key=lambda form: known and not self._seen(form))
        best = [*good, *(form for form in possible if form not in good)]
        first = best[0] if wanted == "auto" else wanted
        others = [form for form in best if form not in (first, "json_schema")] or ["chat"]
        # A model that is not known to keep to the form keeps to JSON even less: what is left to ask
        # for is the answer alone. One that does has slipped, and JSON has its citations too.
        alone = text and first in {"chat", "json"} and "plain" in good
        return first, "plain" if alone and not self._works(first) else others[0]

    def read(self, form: ReplyForm, how: How, *, tells: bool = True) -> None:
        """Note that a reply in a form was read; `tells` if that changes what is asked for."""
        with self._lock:
            if self._seen(form) < self._most:
                told = self._taken()
                (self._ignored if how == "plain" and form != "plain" else self._kept)[form] += 1
                if tells:
                    self._tell(told)

    def lost(self, forms: list[ReplyForm], *, tells: bool = True) -> None:
        """Note that no reply to a question could be read, asked for in these forms."""
        with self._lock:
            told = self._taken()
            for form in forms:
                if self._seen(form) < self._most:
                    self._lost[form] += 1 if len(forms) == 1 else 2
            if tells:
                self._tell(told)

    def refused(self, form: ReplyForm) -> None:
        """Note that the server does not take a form."""
        with self._lock:
            self._refused.add(form)

    def takes_schema(self, lm: Any) -> bool:
        """Whether the model is known to keep to a JSON schema.

        Asked of DSPy once: it looks through a catalogue of models each time, for some half
        a millisecond.
        """
        if self._takes_schema is None:
            self._takes_schema = supports_schema(lm)
        return self._takes_schema

    @property
    def taken(self) -> ReplyForm:
        """The form that is asked for first, of those that were tried."""
        with self._lock:
            return self._taken()

    def _taken(self) -> ReplyForm:
        tried = [form for form in FORMS if self._seen(form)]
        return next((form for form in tried if not self._fails(form)), "chat")

    def _tell(self, before: ReplyForm) -> None:
        if self._taken() != before:
            model = self.name.partition(" ")[0]
            form = _WORDS[self._taken()]
            _log.warning("%s: from now on, %s is asked for as a reply.", model, form)

    def _seen(self, form: ReplyForm) -> int:
        return self._kept[form] + self._ignored[form] + self._lost[form]

    def _works(self, form: ReplyForm) -> bool:
        return self._kept[form] > self._lost[form] + self._ignored[form]

    def _fails(self, form: ReplyForm) -> bool:
        missed = self._lost[form] + self._ignored[form]
        few = self._lost[form] >= 2 or missed >= _FEW
        return form in self._refused or (few and missed > self._kept[form])


def reply_habits(lm: Any) -> ReplyHabits:
    """Return what is known of a model; shared by all that call it on the same server."""
    model = unwrap_lm(lm)
    if isinstance(model, dspy.LM) and isinstance(model.engine, str):
        return _by_name(lm_identity(model))
    known = _by_object()
    with _lock():
        return known.setdefault(
            model, ReplyHabits(str(getattr(model, "model", type(model).__name__)))
        )


def possible_forms(lm: Any, *, has_main: bool) -> tuple[ReplyForm, ...]:
    """Return the forms that a reply may be asked for in, best first.

    Args:
        lm: The model. The offline one reads DSPy's formats alone.
        has_main: Whether one field alone can stand for the reply.
    """
    forms: list[ReplyForm] = ["chat", "json"]
    if not can_write(lm):
        return tuple(forms)
    if has_main:
        forms.append("plain")
    return ("json_schema", *forms) if reply_habits(lm).takes_schema(lm) else tuple(forms)


def supports_schema(lm: Any) -> bool:
    """Whether a model is known to keep to a JSON schema."""
    try:
        return bool(lm.supports_response_schema) and "response_format" in lm.supported_params
    except dspy.LMError:
        return False


@lru_cache(maxsize=256)
def _by_name(identity: str) -> ReplyHabits:
    return ReplyHabits(identity)


@cache
def _by_object() -> WeakKeyDictionary[Any, ReplyHabits]:
    return WeakKeyDictionary()


@cache
def _lock() -> threading.Lock:
    return threading.Lock()
