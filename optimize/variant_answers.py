"""Compares indexes by answers, where evidence cannot tell them apart.

The program as it starts answers the same questions over each index, under the run's account: calls
are counted, kept in its ledger, and capped. Knows nothing of how indexes are made or of what is
chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dspy
import numpy as np

from ragwright.optimize.accounts import RunModels, count_held_models
from ragwright.optimize.disk import translate_disk_errors
from ragwright.optimize.pace import Pace
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.metrics import Metric
from ragwright.optimize.scoring.statistics import Scores
from ragwright.optimize.spending.budget import Account, BudgetSpent, Caps
from ragwright.optimize.spending.patience import resuming, translate_server_away
from ragwright.optimize.spending.unread import UnreadMarks
from ragwright.programs.anatomy import copy_program
from ragwright.programs.recipe import Recipe
from ragwright.programs.replies.adapter import ReplyAdapter

STAGE = "variants"
"""What its calls are booked under."""
SHARE = 4
"""At most this part of what a run may spend goes into choosing an index."""
ROUND = 16
"""Questions that are answered over every index before the next ones are."""


@dataclass(frozen=True)
class AnswerScores:
    """What answers came to.

    Attributes:
        scores: Of every index on the same questions, shape (Q,); none if a cap ended it early.
        calls: How many went out for it, those of earlier processes of the run included.
    """

    scores: Mapping[str, Scores]
    calls: int


@dataclass(frozen=True)
class ByAnswers:
    """Answers the same questions over several indexes.

    Attributes:
        build: Makes the program over the index of a recipe.
        models: The run's, not yet metered.
        metric: Judges answers.
        folder: The run's.
        caps: What the whole run may spend.
        shared: The ledger that the run shares with others, if it does.
        progress: Told after every answer.
    """

    build: Callable[[Recipe], dspy.Module]
    models: RunModels
    metric: Metric
    folder: Path
    caps: Caps
    shared: Path | None = None
    progress: StageProgress | None = None

    def answered(
        self, recipes: Mapping[str, Recipe], questions: Sequence[Question]
    ) -> AnswerScores:
        """Answer some of these questions over every index, as many as the calls allow.

        Args:
            recipes: By name; `variant_calls` of the first caps the calls.
            questions: Those that may choose.

        Raises:
            CompileError: Every question failed over one of them.
        """
        first = next(iter(recipes.values())).compile
        caps = _part(self.caps, first.variant_calls)
        asked = _drawn(questions, (caps.calls or 0) // len(recipes), seed=first.seed)
        with translate_disk_errors(self.folder), translate_server_away(resuming(self.folder)):
            ledger = self.models.ledger(self.folder, self.shared)
            account = Account(ledger, caps=caps, stage=STAGE)
            readers = {name: self._reader(one, account) for name, one in recipes.items()}
            found: list[dict[str, Scores]] = []
            try:
                for start in range(0, len(asked), ROUND):
                    some = asked[start : start + ROUND]
                    found.append({name: read(some) for name, read in readers.items()})
            except BudgetSpent:
                pass  # what was answered over every index counts
            finally:
                account.close()
            return AnswerScores(_joined(found), account.spent.calls)

    def _reader(self, recipe: Recipe, account: Account) -> Callable[[Sequence[Question]], Scores]:
        """What answers questions over one index, and gives their scores."""
        models, section = self.models.metered(recipe, account), recipe.compile
        metric = replace(self.metric, judge=models.writer)
        program = count_held_models(copy_program(self.build(recipe)), account)
        callbacks = [*dspy.settings.callbacks, UnreadMarks(account.ledger)]
        adapter = ReplyAdapter(recipe.lm.format, learns=False)
        pace = Pace.of_server(section.threads, section.timeout, self.models.lm)

        def read(questions: Sequence[Question]) -> Scores:
            with dspy.context(lm=models.lm, callbacks=callbacks, adapter=adapter):
                return evaluate(
                    program, questions, metric, progress=self.progress, stage=STAGE, pace=pace,
                ).scores  # fmt: skip

        return read


def _joined(rounds: Sequence[Mapping[str, Scores]]) -> dict[str, Scores]:
    """The scores of all rounds, one after the other."""
    names = rounds[0] if rounds else ()
    return {name: np.concatenate([one[name] for one in rounds]) for name in names}


def _drawn(questions: Sequence[Question], count: int, *, seed: int) -> list[Question]:
    """So many questions drawn at random, in their order."""
    order = np.random.default_rng(seed).permutation(len(questions))[:count]
    return [questions[place] for place in sorted(order.tolist())]


def _part(caps: Caps, calls: int) -> Caps:
    """What may be spent on this: so many calls, and a share of each cap of the run."""
    return Caps(
        calls=calls if caps.calls is None else min(calls, caps.calls // SHARE),
        tokens=None if caps.tokens is None else caps.tokens // SHARE,
        cost=None if caps.cost is None else caps.cost / SHARE,
        seconds=None if caps.seconds is None else caps.seconds / SHARE,
    )
