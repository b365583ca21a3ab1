"""Programs that search more than once: hops, written queries, parts of a question."""

from __future__ import annotations

from typing import Any

import dspy

from ragwright import HybridRetriever, MaxSim, RerankRetriever


def deduplicated(passages: list[Any]) -> list[Any]:
    return list(dict.fromkeys(passages))


class WriteQuery(dspy.Signature):
    """Write a simple search query that will help answer a question that takes several steps."""

    context: list[str] = dspy.InputField(desc="may contain relevant facts")
    question: str = dspy.InputField()
    search_query: str = dspy.OutputField()


class ShortAnswer(dspy.Signature):
    """Answer questions with short factoid answers."""

    context: list[str] = dspy.InputField(desc="may contain relevant facts")
    question: str = dspy.InputField()
    answer: str = dspy.OutputField(desc="often between 1 and 5 words")


class Baleen(dspy.Module):
    """A predictor for each hop, in a list; one retriever; passages deduplicated."""

    def __init__(self, path: str, hops: int = 2) -> None:
        super().__init__()
        self.generate_query = [dspy.ChainOfThought(WriteQuery) for _ in range(hops)]
        self.retrieve = HybridRetriever(path)
        self.generate_answer = dspy.ChainOfThought(ShortAnswer)
        self.max_hops = hops

    def forward(self, question: str) -> dspy.Prediction:
        context: list[Any] = []
        for hop in range(self.max_hops):
            query = self.generate_query[hop](context=context, question=question).search_query
            context = deduplicated(context + self.retrieve(query, 2).passages)
        pred = self.generate_answer(context=context, question=question)
        return dspy.Prediction(context=context, answer=pred.answer)


class ClaimHops(dspy.Module):
    """Three hops of a claim with summaries between; what counts is which documents were found."""

    def __init__(self, path: str) -> None:
        self.k = 3
        self.create_query_hop2 = dspy.ChainOfThought("claim, summary_1 -> query")
        self.create_query_hop3 = dspy.ChainOfThought("claim, summary_1, summary_2 -> query")
        self.retrieve_k = RerankRetriever(HybridRetriever(path), MaxSim(path))
        self.summarize1 = dspy.ChainOfThought("claim, passages -> summary")
        self.summarize2 = dspy.ChainOfThought("claim, context, passages -> summary")

    def forward(self, claim: str) -> dspy.Prediction:
        one = self.retrieve_k(claim, k=self.k).passages
        said = self.summarize1(claim=claim, passages=one).summary
        query = self.create_query_hop2(claim=claim, summary_1=said).query
        two = self.retrieve_k(query, k=self.k).passages
        more = self.summarize2(claim=claim, context=said, passages=two).summary
        query = self.create_query_hop3(claim=claim, summary_1=said, summary_2=more).query
        three = self.retrieve_k(query, k=self.k).passages
        return dspy.Prediction(retrieved_docs=one + two + three)


class Hyde(dspy.Module):
    """Searches with a passage that might answer; asks the stage by keyword."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.imagine = dspy.Predict("question -> hypothetical_passage")
        self.retrieve = HybridRetriever(path)
        self.respond = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        passage = self.imagine(question=question).hypothetical_passage
        found = self.retrieve(query=f"{question}\n{passage}", k=3)
        return self.respond(context="\n\n".join(found.passages), question=question)


class Decomposed(dspy.Module):
    """Splits a question and answers its parts by `dspy.Parallel`, with one module for all."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.split = dspy.ChainOfThought("question -> sub_questions: list[str]")
        self.part = Part(path)
        self.combine = dspy.Predict("question, notes: list[str] -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        parts = self.split(question=question).sub_questions
        asked = [(self.part, dspy.Example(question=one).with_inputs("question")) for one in parts]
        done = dspy.Parallel(num_threads=3, disable_progress_bar=True)(asked)
        notes = [one.answer for one in done if one is not None]
        return self.combine(question=question, notes=notes)


class Part(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question, 2).passages, question=question)


class Searched(dspy.Module):
    """Gives the stage itself to `dspy.Parallel`, asked by keywords, tuples and examples."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.parallel = dspy.Parallel(num_threads=2, disable_progress_bar=True)
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        words = " ".join(sorted(question.split()))
        example = dspy.Example(query=question.lower()).with_inputs("query")
        found = self.parallel(
            [(self.retrieve, {"query": question, "k": 2}), (self.retrieve, (words, 2)),
             (self.retrieve, example)]
        )  # fmt: skip
        passages = deduplicated([text for one in found for text in one.passages])
        return self.answer(context=passages, question=question)


class Fusion(dspy.Module):
    """Several queries for one question, their ranks added in code of its own."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.expand = dspy.Predict("question -> queries: list[str]")
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.ChainOfThought("context: list[str], question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        scores: dict[str, float] = {}
        texts: dict[str, str] = {}
        for query in [question, *self.expand(question=question).queries]:
            found = self.retrieve(query)
            for rank, (id, text) in enumerate(zip(found.ids, found.passages, strict=True), 1):
                scores[id] = scores.get(id, 0.0) + 1 / (60 + rank)
                texts[id] = text
        best = sorted(scores, key=lambda id: scores[id], reverse=True)[:3]
        return self.answer(context=[texts[id] for id in best], question=question)


class Interleaved(dspy.Module):
    """Thinks a step, searches with it, and goes on until it says that it is done."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.step = dspy.Predict("context, question, thoughts: list[str] -> thought, done: bool")
        self.answer = dspy.Predict("context, question, thoughts: list[str] -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        context = list(self.retrieve(question, 2).passages)
        thoughts: list[str] = []
        for _ in range(3):
            said = self.step(context=context, question=question, thoughts=thoughts)
            thoughts.append(said.thought)
            if said.done:
                break
            context = deduplicated([*context, *self.retrieve(said.thought, 2).passages])
        return self.answer(context=context, question=question, thoughts=thoughts)


class Entities(dspy.Module):
    """Searches each named thing with a filter, and keeps what was found by name."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.extract = dspy.Predict("question -> entities: dict[str, str]")
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.Predict("facts: dict[str, list[str]], context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        names = self.extract(question=question).entities
        facts = {
            name: list(self.retrieve(name, 2, where={"document": {"$ne": kind}}).passages)
            for name, kind in names.items()
        }
        context = list(self.retrieve(question).passages)
        return self.answer(facts=facts, context=context, question=question)
