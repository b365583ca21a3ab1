"""Programs that judge what they found or said, and try again."""

from __future__ import annotations

from typing import Any, Literal

import dspy

from ragwright import HybridRetriever

from .hops import Part


class SelfRag(dspy.Module):
    """Grades each passage, asks again in other words, and checks that the answer is grounded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.grade = dspy.Predict("passage, question -> relevant: bool")
        self.rewrite = dspy.Predict("question -> better_question")
        self.answer = dspy.ChainOfThought("context, question -> answer")
        self.check = dspy.Predict("context, answer -> grounded: bool")

    def forward(self, question: str) -> dspy.Prediction:
        asked = question
        for _ in range(2):
            found = self.retrieve(asked, 3).passages
            kept = [one for one in found if self.grade(passage=one, question=question).relevant]
            if kept:
                break
            asked = self.rewrite(question=asked).better_question
        said = self.answer(context=kept, question=question)
        if not self.check(context=kept, answer=said.answer).grounded:
            said = self.answer(context=found, question=question)
        return said


class Elsewhere(dspy.Retrieve):
    """A search that is not ours, of the web, say."""

    def forward(self, query: str, k: int | None = None, **_: Any) -> dspy.Prediction:
        return dspy.Prediction(passages=[f"Nothing is known of {query}."])


class Corrective(dspy.Module):
    """Judges what it found as a whole, and turns to another retriever where that is poor."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.web = Elsewhere(k=1)
        self.judge = dspy.Predict(
            'passages: list[str], question -> verdict: Literal["correct", "incorrect", "ambiguous"]'
        )
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = list(self.retrieve(question).passages)
        verdict = self.judge(passages=found, question=question).verdict
        if verdict != "correct":
            more = list(self.web(question).passages)
            found = more if verdict == "incorrect" else [*found, *more]
        return self.answer(context=found, question=question)


def is_short(args: dict[str, Any], pred: dspy.Prediction) -> float:
    return float(len(str(pred.answer).split()) <= 3)


class Refined(dspy.Module):
    """A program within `dspy.Refine`, which copies it and gives it advice."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.inner = dspy.Refine(module=Part(path), N=2, reward_fn=is_short, threshold=1.0)

    def forward(self, question: str) -> dspy.Prediction:
        return self.inner(question=question)


class Best(dspy.Module):
    """The stage outside, the answer the best of some."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        answer = dspy.ChainOfThought("context, question -> answer")
        self.respond = dspy.BestOfN(module=answer, N=2, reward_fn=is_short, threshold=1.0)

    def forward(self, question: str) -> dspy.Prediction:
        return self.respond(context=self.retrieve(question).passages, question=question)


class Compared(dspy.Module):
    """Several ways of thinking, compared."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.think = dspy.ChainOfThought("context, question -> answer", n=2, temperature=0.7)
        self.compare = dspy.MultiChainComparison("context, question -> answer", M=2)

    def forward(self, question: str) -> dspy.Prediction:
        context = self.retrieve(question, 3).passages
        ways = self.think(context=context, question=question).completions
        return self.compare(ways, context=context, question=question)


class Voted(dspy.Module):
    """Several programs over the same index, in a list; the most frequent answer counts."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.members = [Part(path), Part(path)]

    def forward(self, question: str) -> dspy.Prediction:
        return dspy.majority([one(question=question) for one in self.members])


class Cited(dspy.Module):
    """Checks the citations of an answer, and asks once more where one is invented."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.ChainOfThought("context, question -> answer, sources: list[int]")
        self.faithful = dspy.ChainOfThought("context, claim -> faithful: bool")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.retrieve(question)
        context = [f"[{n}] {text}" for n, text in enumerate(found.passages, 1)]
        for _ in range(2):
            said = self.answer(context=context, question=question)
            known = [n for n in said.sources if 1 <= n <= len(context)]
            if known and self.faithful(context=context, claim=said.answer).faithful:
                break
        return dspy.Prediction(
            answer=said.answer, sources=known, metadata=[found.metadata[n - 1] for n in known]
        )


class Graded(dspy.Module):
    """Has each passage scored by the model and sorts them, with an assertion of its own."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.score = dspy.Predict("passage, question -> score: int")
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.retrieve(question, 4).passages
        scored = sorted(found, key=lambda one: -self.score(passage=one, question=question).score)
        said = self.answer(context=scored[:2], question=question)
        assert said.answer, "an answer is wanted"
        return said


class Routed(dspy.Module):
    """One of several stages in a table, chosen by the model; another predictor for each."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.route = dspy.Predict(Route)
        self.indexes = {"rivers": HybridRetriever(path), "charters": HybridRetriever(path)}
        self.answers = {name: dspy.ChainOfThought("context, question -> answer")
                        for name in self.indexes}  # fmt: skip

    def forward(self, question: str) -> dspy.Prediction:
        name = self.route(question=question).topic
        found = self.indexes[name](question).passages
        return self.answers[name](context=found, question=question)


class Route(dspy.Signature):
    """Choose where to search."""

    question: str = dspy.InputField()
    topic: Literal["rivers", "charters"] = dspy.OutputField()
