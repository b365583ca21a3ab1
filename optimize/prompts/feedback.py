"""Says in words why an answer is wrong: what a reflecting optimizer such as GEPA learns from.

Looks where the wanted facts were last seen. Knows nothing of scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import dspy

from ragwright.optimize.questions.columns import answers_of, documents_of, evidence_of
from ragwright.optimize.retrieval.labels import supports
from ragwright.optimize.scoring.attribution import Failure
from ragwright.optimize.scoring.evaluate import answer_as_text
from ragwright.programs.outputs import citations_of, passages_of
from ragwright.retrievers.types import Passage

_SAID: dict[Failure, str] = {
    "not in corpus": "The documents do not hold what was asked for; no prompt can change that.",
    "not in pool": "No search found the passage that holds the answer.",
    "lost in fusion or rerank": "The passage that holds the answer was found, and ranked too low.",
    "cut by the budget": "The passage that holds the answer did not fit into the context.",
    "in context but misread": "The answer stood in the context and was misread.",
    "no label": "Nothing tells which passage holds the answer.",
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """Says why an answer is wrong.

    Attributes:
        places: For questions by their id, where retrieval loses the answer, if it does.
    """

    places: Mapping[str, Failure] = field(default_factory=dict)

    def text(self, gold: dspy.Example, pred: dspy.Prediction, *, right: bool) -> str:
        """Return what to tell about one answer."""
        answer = answer_as_text(pred)
        if right:
            return f"Right: {answer!r}."
        accepted = " or ".join(repr(item) for item in answers_of(gold) or _expected(gold))
        lines = [f"Wrong: the answer was {answer!r}, accepted is {accepted}."]
        place, holding = self.place(gold, pred), _numbers(gold, passages_of(pred))
        lines += [_SAID[place]] if place else []
        if holding:
            numbers = ", ".join(f"[{number}]" for number in holding)
            lines.append(f"It stands in passage {numbers}; cited was {_cited(pred)}.")
        if evidence := evidence_of(gold):
            lines.append(f"What supports it: {evidence[0]!r}.")
        return " ".join(lines)

    def place(self, gold: dspy.Example, pred: dspy.Prediction) -> Failure | None:
        """Say where the answer was lost: by what the model read, else by the replayed pool."""
        if _numbers(gold, passages_of(pred)):
            return "in context but misread"
        cut, found = pred.get("cut") or (), pred.get("retrieved")
        if _numbers(gold, [one for one in getattr(found, "passages", ()) if one.id in cut]):
            return "cut by the budget"
        return self.places.get(str(gold.get("id")))


def _numbers(gold: dspy.Example, passages: Sequence[Passage]) -> list[int]:
    evidence, documents = evidence_of(gold), documents_of(gold)
    return [n for n, one in enumerate(passages, 1) if supports(one, evidence, documents)]


def _expected(gold: dspy.Example) -> list[str]:
    labels = gold.labels().toDict()
    hidden = {"id", "answers", "group", "split", "documents", "evidence"}
    return [f"{key} = {value!r}" for key, value in labels.items() if key not in hidden]


def _cited(pred: dspy.Prediction) -> str:
    return ", ".join(f"[{number}]" for number in citations_of(pred)) or "nothing"
