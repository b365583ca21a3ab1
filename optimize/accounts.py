"""Meters the language models of a run: each call is counted, capped and kept in one ledger.

The ledger of the account lies in the run's folder, so that whatever works on a run, one stage after
another or again after a crash, pays for no call twice.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dspy

from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM, known_prices, prices_of
from ragwright.programs.anatomy import is_async_only, replace_models
from ragwright.programs.lm import unwrap_lm
from ragwright.programs.lm_wrapper import as_lm
from ragwright.programs.recipe import Recipe
from ragwright.programs.replies.adapter import ReplyAdapter

CALLS = "calls.sqlite"
"""The ledger of LM calls in a run's folder."""


@dataclass(frozen=True)
class RunModels:
    """The language models of a run.

    Attributes:
        lm: Answers.
        writer: Writes instructions and judges, if the one that answers does not.
    """

    lm: dspy.LM
    writer: dspy.LM | None = None

    def ledger(self, folder: Path, shared: Path | None = None) -> CallLedger:
        """Open the ledger of the run in a folder, or the one that it shares with other runs."""
        # A local engine costs nothing, and may change without its name changing.
        file = shared if isinstance(unwrap_lm(self.lm).engine, str) else None
        return CallLedger(file or folder / CALLS, run=folder.name)

    def metered(self, recipe: Recipe, account: Account) -> RunModels:
        """Return the same, every call entered in an account at the prices of a recipe.

        Raises:
            CompileError: There is a cap on money and no price is known.
        """
        given = prices_of(recipe.lm)
        lm = MeteredLM(self.lm, account, known_prices(self.lm, account, given))
        if self.writer is None:
            return RunModels(lm)
        prices = known_prices(self.writer, account, prices_of(recipe.writer))
        return RunModels(lm, MeteredLM(self.writer, account, prices))


def count_held_models(program: dspy.Module, account: Account) -> dspy.Module:
    """Return a program in which the calls of models that its parts hold are counted, too.

    The program is one of the compile's own copies. One that can only be awaited can be called then.

    Raises:
        CompileError: There is a cap on money and no price of such a model is known.
    """

    replace_models(program, partial(_counted, account))
    return dspy.syncify(program) if is_async_only(program) else program


def adapter_of_compile(recipe: Recipe, account: Account) -> dspy.Adapter:
    """What writes prompts and reads replies: what DSPy is configured with, or else ours.

    The configured one stays as it is: a copy may change its form, and has the models that it
    reads replies with counted.

    Raises:
        CompileError: There is a cap on money and no price of such a model is known.
    """
    configured: dspy.Adapter | None = dspy.settings.adapter
    if configured is None:
        return ReplyAdapter(recipe.lm.format, learns=False)
    own = copy(configured)
    for name, held in vars(configured).items():
        if isinstance(held, dspy.BaseLM):
            setattr(own, name, _counted(account, held))
    return own


def _counted(account: Account, held: dspy.BaseLM) -> dspy.BaseLM:
    if isinstance(held, MeteredLM):
        return held
    lm = as_lm(held)
    return MeteredLM(lm, account, known_prices(lm, account, None))
