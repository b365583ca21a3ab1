"""An optimizer from outside the package: it has every predictor answer in one word."""

from __future__ import annotations

from typing import Any

import dspy
from dspy.teleprompt import Teleprompter


class Curt(Teleprompter):
    def __init__(self, words: int = 1) -> None:
        super().__init__()
        self.words = words

    def compile(
        self, student: dspy.Module, *, trainset: list[dspy.Example], **kwargs: Any
    ) -> dspy.Module:
        told = student.deepcopy()
        for predictor in told.predictors():
            said = f"{predictor.signature.instructions} Use at most {self.words} words."
            predictor.signature = predictor.signature.with_instructions(said)
        return told
