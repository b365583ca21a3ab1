"""Waits for a language model's server that has gone away, or is still loading its model.

A server of one's own is started anew, or loads a large model for minutes. What is asked meanwhile
is no wrong answer of the program: calls wait for it, and the clocks of their questions stand still.
A compile's calls do so in its account (`metered.py`), those of an evaluation in a `PatientLM`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import httpx
from dspy.utils.exceptions import LMError, LMRateLimitError

from ragwright.programs.causes import cause_of
from ragwright.programs.deadline import current_deadline, refuse_if_given_up
from ragwright.programs.lm import unwrap_lm
from ragwright.programs.reply_limits import MOST_PAUSE
from ragwright.retrievers.errors import ModelError

log = logging.getLogger(__name__)

T = TypeVar("T")

WAIT_SECONDS = 300.0
"""How long a server is waited for."""
_EVERY = 1.0
_AWAY = ("unreachable", "broken off", "loading")
_LOADING = 503


class ServerAway(BaseException):
    """A server that answered before stays away. A signal and no error: each question would fail,
    and none of them for what it was answered.
    """


@contextmanager
def translate_server_away(then: str = "give the command again.") -> Iterator[None]:
    """Tell how to go on, where a server stays away.

    Args:
        then: What to do once it is started again.

    Raises:
        ModelError: It did.
    """
    try:
        yield
    except ServerAway as signal:
        raise ModelError(str(signal), hint=f"Start it again, and {then}") from signal


def resuming(folder: Path) -> str:
    """Say how to go on with a run once its server is there again."""
    return f"go on with --resume {folder}: no call is paid for twice."


class Patience:
    """What calls of one language model wait for; safe to use from many threads.

    Args:
        lm: The model. One without an address of its own is a provider's, and is not waited for.
    """

    def __init__(self, lm: Any) -> None:
        self.lm = lm
        base = getattr(unwrap_lm(lm), "kwargs", {}).get("api_base") or ""
        self._health = f"{str(base).rstrip('/').removesuffix('/v1')}/health" if base else ""
        self._answered = False
        self._gave_up, self._said = 0.0, ""
        self._lock = threading.Lock()

    def answered(self) -> None:
        """Note that the server is there."""
        self._answered = True

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call, again after a server that was away is back.

        Raises:
            ServerAway: It answered before, and did not come back.
        """
        while True:
            refuse_if_given_up()
            try:
                return call()
            except LMError as error:
                if not self._waited(error):
                    raise

    def _waited(self, error: LMError) -> bool:
        """Wait where an error says that the server is away; whether the call is worth repeating.

        A pause that a server asks for is DSPy's to keep; the question is given that much more time.

        Raises:
            ServerAway: It answered before, and did not come back.
        """
        deadline = current_deadline()
        if isinstance(error, LMRateLimitError):
            if deadline is not None and error.retry_after:
                deadline.extend(min(float(error.retry_after), MOST_PAUSE))
            return False
        kind = cause_of(error, self.lm).kind
        if not self._health or kind not in _AWAY or not (self._answered or kind == "loading"):
            return False
        began = time.monotonic()
        with deadline.paused() if deadline is not None else nullcontext(), self._lock:
            return self._back(kind, began)

    def _back(self, kind: str, began: float) -> bool:
        """Whether it had to be waited for; those who waited beside one that gave up give up too."""
        if began < self._gave_up:
            raise ServerAway(self._said)
        if self._is_there():
            return False
        what = "is loading its model" if kind == "loading" else "cannot be reached"
        place = self._health.removesuffix("/health")
        log.warning("The server at %s %s: waiting for it.", place, what)
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            time.sleep(_EVERY)
            if self._is_there():
                log.warning("The server at %s is there.", place)
                return True
        self._said = f"The server at {place} {what}, and did so for {WAIT_SECONDS:g} s."
        self._gave_up = time.monotonic()
        raise ServerAway(self._said)

    def _is_there(self) -> bool:
        try:
            return httpx.get(self._health, timeout=_EVERY, trust_env=False).status_code != _LOADING
        except httpx.TimeoutException:
            return True  # too busy to say so
        except (httpx.HTTPError, httpx.InvalidURL):
            return False
