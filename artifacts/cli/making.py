"""What `rag questions` does: questions written by a language model, or found by their form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ragwright.optimize.progress import StageProgress
    from ragwright.optimize.spending.budget import Caps
    from ragwright.optimize.spending.spend import StageSpend
    from ragwright.programs.recipe import Recipe
    from ragwright.retrievers.index import Index

_AGAIN = "Make room, and give the command again: what was written is kept."
WRITING_TOKENS = 400
"""Tokens of a written question with its answer and evidence, at the most."""


@dataclass(frozen=True)
class QuestionBatch:
    """The questions that were made.

    Attributes:
        rows: Lines of a training set.
        dropped: How many were not kept, by reason.
        manner: "probes", found by form, or "written", by a language model.
        stopped: Why it ended early; empty if it did not.
        spent: What the language model was asked, if one wrote.
    """

    rows: Sequence[Mapping[str, Any]]
    dropped: Mapping[str, int]
    manner: str
    stopped: str = ""
    spent: StageSpend | None = None

    @property
    def kinds(self) -> Mapping[str, int]:
        """How many there are of each kind."""
        return Counter(str(row["kind"]) for row in self.rows)


@dataclass(frozen=True)
class QuestionRequest:
    """Which questions are wanted, and what may be spent on them."""

    recipe: Recipe
    count: int
    lm: str | None
    examples: Sequence[str]
    caps: Caps
    threads: int | None = None


def make_questions(asked: QuestionRequest, progress: StageProgress) -> QuestionBatch:
    """Have questions written by a language model that writes, or find probes."""
    from ragwright.optimize.questions.probes import find_probes
    from ragwright.optimize.questions.terms import add_rare_word_probes
    from ragwright.programs.build import build_recipe_lm
    from ragwright.programs.lm import build_lm, can_write
    from ragwright.retrievers.index import open_index

    index = open_index(asked.recipe.index.path)
    embedder = asked.recipe.index.embedder
    lm = build_lm(asked.lm, embedder=embedder) if asked.lm else build_recipe_lm(asked.recipe)
    if can_write(lm):
        return _written(asked, index, _with_room(lm), progress)
    found = add_rare_word_probes(
        find_probes(index.chunks(), asked.count), index.chunks(), asked.count
    )
    return QuestionBatch([probe.row() for probe in found.kept], found.dropped, "probes")


def _with_room(lm: Any) -> Any:
    """Let replies be as long as a question with its answer and evidence: answers may be shorter."""
    limit = lm.kwargs.get("max_tokens")
    return lm.copy(max_tokens=WRITING_TOKENS) if limit and limit < WRITING_TOKENS else lm


def _written(
    asked: QuestionRequest, index: Index, lm: Any, progress: StageProgress
) -> QuestionBatch:
    import dspy

    from ragwright.optimize.disk import translate_disk_errors
    from ragwright.optimize.questions.writing import WritingSettings, write_questions
    from ragwright.optimize.spending.budget import Account
    from ragwright.optimize.spending.ledger import CallLedger
    from ragwright.optimize.spending.metered import MeteredLM, known_prices, prices_of
    from ragwright.optimize.spending.patience import translate_server_away
    from ragwright.optimize.spending.spend import SpendMeter
    from ragwright.programs.hybrid import HybridRetriever
    from ragwright.programs.replies.calling import reading

    stage = HybridRetriever(str(index.folder))

    def found(question: str, documents: Sequence[str]) -> bool:
        ids = stage.gather(question).ids[0]
        return bool({passage.document for passage in index.passages(ids)} & set(documents))

    # Replies are kept: what was cut short goes on without paying twice.
    with translate_disk_errors(index.folder, hint=_AGAIN):
        account = Account(CallLedger(index.folder / "questions.sqlite"), caps=asked.caps)
    meter = SpendMeter(account)
    prices = known_prices(lm, account, None if asked.lm else prices_of(asked.recipe.lm))
    settings = WritingSettings(
        count=asked.count,
        examples=tuple(asked.examples),
        threads=asked.threads or asked.recipe.compile.threads,
    )
    try:
        with (
            translate_disk_errors(index.folder, hint=_AGAIN),
            translate_server_away("give the command again: what was written is kept."),
            meter.stage("questions"),
            dspy.context(lm=MeteredLM(lm, account, prices)),
            reading(asked.recipe.lm.format),
        ):
            done = write_questions(index.chunks(), settings, found=found, progress=progress)
        (spent,) = meter.stages
    finally:
        account.close()
    rows = [one.row() for one in done.kept]
    return QuestionBatch(rows, done.dropped, "written", done.stopped, spent)
