"""A `dspy.LM` that asks the run's `Account` before each call, and records the call there.

It is an engine around the model, under DSPy's retries: every attempt is one entry of the account.
A call is told from others by the model's identity (DSPy's own cache ignores the server's address
and the engine), the request, the rollout and its place among several completions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from ragwright.optimize.spending.budget import Account, BudgetSpent, CallRequest
from ragwright.optimize.spending.ledger import Bill
from ragwright.optimize.spending.patience import Patience
from ragwright.optimize.spending.unread import note_asked
from ragwright.programs.dspy_internals import (
    request_to_dict,
    response_from_dict,
    response_to_dict,
)
from ragwright.programs.engines import StandInEngine, StandInLM
from ragwright.programs.lm import lm_identity, unwrap_lm
from ragwright.programs.reply_limits import with_limits
from ragwright.programs.reply_shapes import clean_texts
from ragwright.programs.sections import ModelSection
from ragwright.programs.usage import reported_tokens
from ragwright.retrievers.chunking import count_tokens
from ragwright.retrievers.errors import CompileError
from ragwright.retrievers.types import content_hash


@dataclass
class _Take:
    """Which of several completions of one request is wanted."""

    rollout: str = ""
    place: int = 0


_TAKE: ContextVar[_Take | None] = ContextVar("take", default=None)
_REPEAT: ContextVar[int] = ContextVar("repeat", default=0)


@contextmanager
def ask_anew(number: int) -> Iterator[None]:
    """Repeat calls inside the block that the ledger has, as repetition `number`; 0 is the first."""
    token = _REPEAT.set(number)
    try:
        yield
    finally:
        _REPEAT.reset(token)


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def bill(self, prompt: int, completion: int) -> Bill:
        """What a call of this size is."""
        cost = (self.prompt * prompt + self.completion * completion) / 1e6
        return Bill(1, prompt, completion, cost)


class MeteredEngine(StandInEngine):
    """Answers from the account's ledger, or else lets the call out if the caps allow it."""

    def __init__(self, lm: dspy.LM, account: Account, prices: Prices) -> None:
        self.ended = False
        self.lm = with_limits(lm.copy(cache=False, num_retries=0))
        self.lm.cache, self.lm.num_retries = False, 0
        self.account = account
        self.prices = prices
        self.identity = lm_identity(lm)
        self.limit = lm.kwargs.get("max_tokens") or lm.kwargs.get("max_completion_tokens") or 0
        self.patience = Patience(lm)

    def complete(self, request: Request) -> Response:
        # Read first: while the model is lent out its stage goes on, so what passes is booked there.
        stage = self.account.stage
        if self.ended or not stage:
            raise BudgetSpent("the stage that wanted this has ended")
        take, body = _TAKE.get() or _Take(), json.dumps(request_to_dict(request), sort_keys=True)
        number = _REPEAT.get()
        again = [f"repeat {number}"] if number else []
        key = content_hash(self.identity, body, take.rollout, str(take.place), *again)
        note_asked(key)
        wanted = CallRequest(key, self._estimate(body), stage)
        # After a server that was away it is asked again; each attempt is one of the account's.
        text = self.patience.ask(lambda: self.account.ask(wanted, lambda: self._called(request)))
        take.place += 1
        return response_from_dict(json.loads(text))

    def _called(self, request: Request) -> tuple[str, Bill]:
        response = self.ask_model(request)
        self.patience.answered()
        usage = response.usage
        bill = self.prices.bill(
            reported_tokens(usage.input_tokens), reported_tokens(usage.output_tokens)
        )
        return json.dumps(clean_texts(response_to_dict(response))), bill

    def _estimate(self, body: str) -> Bill:
        if not self.account.caps.metered:
            return Bill(1)
        return self.prices.bill(count_tokens(body), self.limit)


class MeteredLM(StandInLM):
    """A language model whose every attempt to call is entered in an account.

    Args:
        lm: The model; its retries are kept.
        account: Where calls are entered.
        prices: What tokens cost.
    """

    def __init__(self, lm: dspy.LM, account: Account, prices: Prices = Prices()) -> None:
        self._metered = MeteredEngine(lm, account, prices)
        super().__init__(lm, self._metered, cache=False)

    @property
    def account(self) -> Account:
        """Where its calls are entered."""
        return self._metered.account

    @contextmanager
    def leased(self) -> Iterator[MeteredLM]:
        """Lend the model out: threads that are left behind cannot call it after the end."""
        engine = self._metered
        lent = MeteredLM(self.inner, engine.account, engine.prices)
        try:
            yield lent
        finally:
            lent._metered.ended = True

    def __call__(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        token = _TAKE.set(self._take(kwargs))
        try:
            return super().__call__(prompt, messages=messages, **kwargs)
        finally:
            _TAKE.reset(token)

    async def acall(self, prompt: Any = None, *, messages: Any = None, **kwargs: Any) -> Any:
        token = _TAKE.set(self._take(kwargs))
        try:
            return await super().acall(prompt, messages=messages, **kwargs)
        finally:
            _TAKE.reset(token)

    def _take(self, options: dict[str, Any]) -> _Take:
        return _Take(str(options.get("rollout_id", self.kwargs.get("rollout_id", ""))))


def listed_prices(lm: dspy.LM) -> Prices | None:
    """Return what DSPy's copy of LiteLLM's table says of a model; None if it is not there."""
    lm = unwrap_lm(lm)
    if not isinstance(lm.engine, str):
        return Prices()
    from dspy.clients.model_metadata import model_info

    provider, _, name = lm.model.partition("/")
    listed = model_info(provider, name)
    prompt, completion = (listed.get(f"{kind}_cost_per_token") for kind in ("input", "output"))
    if prompt is None or completion is None:
        return None
    return Prices(float(prompt) * 1e6, float(completion) * 1e6)


def prices_of(section: ModelSection) -> Prices | None:
    """Return the prices that a recipe's table gives its language model; None where it has none."""
    if section.prompt_price is None or section.completion_price is None:
        return None
    return Prices(section.prompt_price, section.completion_price)


def known_prices(lm: dspy.LM, account: Account, given: Prices | None) -> Prices:
    """Return the given prices, or those that are listed; nothing where none are.

    Raises:
        CompileError: There is a cap on money and no price is known.
    """
    if given is not None:
        return given
    found = listed_prices(lm)
    if account.caps.cost is None:
        # A server of one's own may call its model as a provider does, and costs nothing.
        return Prices() if found is None or unwrap_lm(lm).kwargs.get("api_base") else found
    if found is None:
        raise CompileError(
            f"No price is known for {lm.model!r}, so a cap on cost cannot be kept.",
            hint="Set prompt_price and completion_price under [lm], or cap calls or tokens.",
        )
    return found
