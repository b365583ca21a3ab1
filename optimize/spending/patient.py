"""A `dspy.LM` whose calls wait for a server that is away, for evaluations that keep no account.

It is an engine around the model, under DSPy's retries, as a compile's is (`metered.py`).
"""

from __future__ import annotations

from typing import Any

import dspy
from dspy.lm15 import Request, Response

from ragwright.optimize.spending.patience import Patience
from ragwright.programs.anatomy import replace_models
from ragwright.programs.engines import StandInEngine, StandInLM
from ragwright.programs.lm import can_write, give_lm, given_lm_of


class PatientEngine(StandInEngine):
    """Asks a model, again after a server that was away is back."""

    def __init__(self, lm: dspy.LM) -> None:
        self.lm = lm.copy(cache=False, num_retries=0)
        self.patience = Patience(lm)

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            ServerAway: The server answered before, and did not come back.
        """
        return self.patience.ask(lambda: self._called(request))

    def _called(self, request: Request) -> Response:
        response = self.ask_model(request)
        self.patience.answered()
        return response


class PatientLM(StandInLM):
    """A language model whose calls wait for its server; its retries and its cache are kept."""

    def __init__(self, lm: dspy.LM) -> None:
        super().__init__(lm, PatientEngine(lm), cache=lm.cache)


def make_patient(program: dspy.Module) -> None:
    """Have all language models of a program, in place, wait for their servers."""
    made: dict[int, Any] = {}

    def patient(lm: Any) -> Any:
        wanted = isinstance(lm, dspy.LM) and not isinstance(lm, PatientLM) and can_write(lm)
        return made.setdefault(id(lm), PatientLM(lm)) if wanted else lm

    given = given_lm_of(program)
    replace_models(program, patient)
    if given is not None:
        give_lm(program, patient(given))
