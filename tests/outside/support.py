"""A program from outside the package: its own signature, an extra input, a typed output."""

from __future__ import annotations

import dspy

from ragwright.programs.hybrid import HybridRetriever


class Support(dspy.Module):
    def __init__(self, index: str, *, hints: int = 1) -> None:
        super().__init__()
        self.search = HybridRetriever(index)
        self.hints = max(hints, 1)
        self.answer = dspy.Predict("context, question, product -> answer, urgent: bool")

    def forward(self, question: str, product: str = "any") -> dspy.Prediction:
        found = self.search(f"{question} {product}")
        return self.answer(context=list(found.passages), question=question, product=product)
