"""A program from outside the package: two stages on two indexes, extra inputs, a typed output."""

from __future__ import annotations

from typing import Literal

import dspy

from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.rerank import MaxSim, RerankRetriever


class Desk(dspy.Module):
    def __init__(self, handbook: str, tickets: str) -> None:
        super().__init__()
        self.handbook = RerankRetriever(HybridRetriever(handbook), MaxSim(handbook))
        self.tickets = HybridRetriever(tickets)
        self.answer = dspy.Predict("context, question, product -> answer, urgent: bool")

    def forward(
        self, question: str, product: str, level: Literal["plain", "deep"] = "plain", top: int = 2
    ) -> dspy.Prediction:
        asked = f"{product}: {question}"
        context = [*self.handbook(asked, top).passages, *self.tickets(asked, 1).passages]
        return self.answer(context=context, question=question, product=product)


class Renamed(dspy.Module):
    """The same but for the name of a stage and an output."""

    def __init__(self, handbook: str, tickets: str) -> None:
        super().__init__()
        self.handbook = HybridRetriever(handbook)
        self.notes = HybridRetriever(tickets)
        self.answer = dspy.Predict("context, question, product -> answer, urgent: bool")

    def forward(self, question: str, product: str) -> dspy.Prediction:
        return self.answer(context=[], question=question, product=product)


class Otherwise(Desk):
    def __init__(self, handbook: str, tickets: str) -> None:
        super().__init__(handbook, tickets)
        self.answer = dspy.Predict("context, question, product -> answer, urgent: str")


def named(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> float:
    """Whether what is wanted stands in the answer."""
    return float(gold.answer in str(pred.answer))
