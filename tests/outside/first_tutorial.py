"""The first program of DSPy's tutorials, from a module that an artifact must name."""

from __future__ import annotations

import dspy


class Tutorial(dspy.Module):
    def __init__(self, num_passages: int = 3) -> None:
        super().__init__()
        self.num_passages = num_passages
        self.retrieve = dspy.Retrieve(k=num_passages)
        self.generate_answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        context = self.retrieve(question).passages
        prediction = self.generate_answer(context=context, question=question)
        return dspy.Prediction(context=context, answer=prediction.answer)
