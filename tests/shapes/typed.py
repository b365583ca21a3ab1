"""Programs with outputs and inputs of many types, conversations, and parts in odd places."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any, Literal

import dspy
from pydantic import BaseModel, Field

from ragwright import HybridRetriever, MaxSim, RerankRetriever


class Certainty(Enum):
    LOW = "low"
    HIGH = "high"


class Quote(BaseModel):
    passage: int
    text: str = Field(description="verbatim")


class Report(BaseModel):
    answer: str
    quotes: list[Quote] = []
    certainty: Certainty = Certainty.LOW
    remark: str | None = None


class Ask(dspy.Signature):
    """Report on the question."""

    context: list[str] = dspy.InputField()
    question: str = dspy.InputField()
    tone: Literal["plain", "kind"] = dspy.InputField(default="plain")
    report: Report = dspy.OutputField()
    tags: list[Literal["river", "charter"]] = dspy.OutputField()
    when: int | None = dspy.OutputField()


class Typed(dspy.Module):
    """Pydantic, lists, enums and what may be absent."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = RerankRetriever(HybridRetriever(path), MaxSim(path))
        self.ask = dspy.ChainOfThought(Ask)

    def forward(self, question: str, tone: Literal["plain", "kind"] = "plain") -> dspy.Prediction:
        found = self.search(question).passages
        said = self.ask(context=found, question=question, tone=tone)
        return dspy.Prediction(answer=said.report.answer, report=said.report, tags=said.tags)


class Conversation(dspy.Module):
    """Rewrites the question by the conversation so far; an image may be there and is not."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.rewrite = dspy.Predict("history: dspy.History, question -> alone")
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.Predict(Shown)

    def forward(
        self, question: str, history: dspy.History | None = None, image: dspy.Image | None = None
    ) -> dspy.Prediction:
        history = history or dspy.History(messages=[])
        alone = self.rewrite(history=history, question=question).alone
        found = self.retrieve(f"{question} {alone}").passages
        return self.answer(context=found, question=question, history=history, image=image)


class Shown(dspy.Signature):
    """Answer by the context, and the image where there is one."""

    context: list[str] = dspy.InputField()
    history: dspy.History = dspy.InputField()
    image: dspy.Image | None = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class Through(dspy.Module):
    """Searches through `dspy.settings.rm`, as first tutorials do."""

    def __init__(self, path: str, passages: int = 3) -> None:
        super().__init__()
        self.rm = HybridRetriever(path)
        self.retrieve = dspy.Retrieve(k=passages)
        self.generate_answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        with dspy.context(rm=self.rm):
            context = self.retrieve(question).passages
        said = self.generate_answer(context=context, question=question)
        return dspy.Prediction(context=context, answer=said.answer)


@dataclass
class Parts:
    """What a program keeps together."""

    search: dict[str, Any] = field(default_factory=dict)
    answer: Any = None
    log: list[str] = field(default_factory=list)


class Held(dspy.Module):
    """Its parts stand in an object of its own, and it counts what it was asked."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.parts = Parts({"towns": HybridRetriever(path)})
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        self.parts.log.append(question)
        found = self.parts.search["towns"](question).passages
        return self.answer(context=found, question=question)


class Late(dspy.Module):
    """Makes its stage and its predictor when they are first asked, and keeps them."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self._answer: dspy.ChainOfThought | None = None

    @cached_property
    def search(self) -> HybridRetriever:
        return HybridRetriever(self.path)

    @property
    def answer(self) -> dspy.ChainOfThought:
        if self._answer is None:
            self._answer = dspy.ChainOfThought("context, question -> answer")
        return self._answer

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question).passages, question=question)


class Made(dspy.Module):
    """Makes predictors while it runs, one of them by another signature for each question."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)

    def forward(self, question: str) -> dspy.Prediction:
        found = self.search(question).passages
        kind = "year" if "When" in question else "name"
        signature = dspy.Signature(f"context, question -> {kind}", f"Give the {kind}.")
        value = dspy.Predict(signature)(context=found, question=question)[kind]
        return dspy.ChainOfThought("context, question, hint -> answer")(
            context=found, question=question, hint=value
        )


class Chat(dspy.Module):
    """Asks the model itself for a text, as well as by a predictor."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.answer = dspy.Predict("context, question, hint -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.search(question).passages
        (said, *_) = dspy.settings.lm(f"Say something of {found[0]}")
        hint = said if isinstance(said, str) else str(said["text"])
        return self.answer(context=found, question=question, hint=hint)
