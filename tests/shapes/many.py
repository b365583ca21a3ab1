"""Programs that do several things at a time, or one after the other for many passages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy

from ragwright import HybridRetriever


class Gathered(dspy.Module):
    """Awaited only: two stages at once, then every passage at once."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.first, self.second = HybridRetriever(path), HybridRetriever(path)
        self.note = dspy.Predict("passage, question -> note")
        self.answer = dspy.ChainOfThought("notes: list[str], context, question -> answer")

    async def aforward(self, question: str) -> dspy.Prediction:
        one, two = await asyncio.gather(
            self.first.acall(question, 2), self.second.acall(question.lower(), 1)
        )
        found = [*one.passages, *two.passages]
        notes = await asyncio.gather(
            *(self.note.acall(passage=text, question=question) for text in found)
        )
        return await self.answer.acall(
            notes=[each.note for each in notes], context=found, question=question
        )


class Both(dspy.Module):
    """Can be called and awaited; calling runs a loop of its own."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> Any:
        return asyncio.run(self.aforward(question))

    async def aforward(self, question: str) -> Any:
        found = await asyncio.to_thread(self.retrieve, question)
        return await self.answer.acall(context=found.passages, question=question)


class MapReduce(dspy.Module):
    """Sums up every passage by `dspy.Parallel`, then all of them."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.map = dspy.ChainOfThought("passage, question -> summary")
        self.reduce = dspy.ChainOfThought("summaries: list[str], context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.retrieve(question, 3).passages
        asked = [(self.map, {"passage": one, "question": question}) for one in found]
        said = dspy.Parallel(num_threads=3, disable_progress_bar=True)(asked)
        return self.reduce(
            summaries=[one.summary for one in said], context=found, question=question
        )


class Batched(dspy.Module):
    """Asks its inner program by `batch`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.note = dspy.Predict("passage, question -> note")
        self.answer = dspy.Predict("notes: list[str], context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.retrieve(question, 2).passages
        asked = [dspy.Example(passage=one, question=question).with_inputs("passage", "question")
                 for one in found]  # fmt: skip
        notes = self.note.batch(asked, num_threads=2, disable_progress_bar=True)
        return self.answer(notes=[one.note for one in notes], context=found, question=question)


class Threads(dspy.Module):
    """Searches and asks in threads of its own, as before there was `dspy.Parallel`."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.note = dspy.Predict("context, question -> note")
        self.answer = dspy.Predict("notes: list[str], context, question -> answer")

    def _noted(self, query: str) -> tuple[list[str], str]:
        found = self.retrieve(query, 2).passages
        return found, self.note(context=found, question=query).note

    def forward(self, question: str) -> dspy.Prediction:
        with ThreadPoolExecutor(max_workers=2) as pool:
            done = list(pool.map(self._noted, [question, question.lower()]))
        context = [text for found, _ in done for text in found]
        return self.answer(notes=[note for _, note in done], context=context, question=question)


class Outline(dspy.Module):
    """An outline, a section for each heading with passages of its own, an article of all."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.draft = dspy.ChainOfThought("topic -> headings: list[str]")
        self.ask = dspy.Predict("topic, heading -> queries: list[str]")
        self.retrieve = HybridRetriever(path)
        self.write = Section()
        self.polish = dspy.Predict("topic, context, sections: list[str] -> article")

    def forward(self, topic: str) -> dspy.Prediction:
        sections: list[str] = []
        context: list[Any] = []
        for heading in self.draft(topic=topic).headings[:2]:
            queries = self.ask(topic=topic, heading=heading).queries
            found = [one for query in queries for one in self.retrieve(query, 2).passages]
            sections.append(self.write(heading=heading, context=found, sections=sections))
            context += found
        article = self.polish(topic=topic, context=context, sections=sections).article
        return dspy.Prediction(article=article, outline=sections)


class Section(dspy.Module):
    """Returns a text."""

    def __init__(self) -> None:
        super().__init__()
        self.respond = dspy.ChainOfThought("heading, context, sections: list[str] -> text")

    def forward(self, **given: Any) -> str:
        return str(self.respond(**given).text)


class Stepwise(dspy.Module):
    """Its steps come from a generator, which a page would show one by one."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def steps(self, question: str) -> Iterator[tuple[str, Any]]:
        found = self.retrieve(question).passages
        yield "found", found
        yield "answer", self.answer(context=found, question=question)

    def forward(self, question: str) -> dspy.Prediction:
        return dict(self.steps(question))["answer"]


class Shared(dspy.Module):
    """Two parts that share a stage and a predictor; each has another of its own."""

    def __init__(self, path: str) -> None:
        super().__init__()
        stage, note = HybridRetriever(path), dspy.ChainOfThought("context, question -> note")
        self.first, self.second = Reader(stage, note), Reader(stage, note)
        self.answer = dspy.Predict("notes: list[str], context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found, one = self.first(question)
        _, two = self.second(f"{question} {one}")
        return self.answer(notes=[one, two], context=found, question=question)


class Reader(dspy.Module):
    def __init__(self, stage: Any, note: Any) -> None:
        super().__init__()
        self.stage, self.note = stage, note
        self.title = dspy.Predict("note -> heading")

    def forward(self, question: str) -> tuple[list[str], str]:
        found = self.stage(question, 2).passages
        note = self.note(context=found, question=question).note
        return found, f"{self.title(note=note).heading}: {note}"


class Crowd(dspy.Module):
    """Parallel parts within parallel parts, all of one stage and one predictor."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.stage = HybridRetriever(path)
        self.note = dspy.ChainOfThought("context, question -> note")
        self.readers = [Reader(self.stage, self.note), Reader(self.stage, self.note)]
        self.answer = dspy.Predict("notes: list[str], context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        parallel = dspy.Parallel(num_threads=4, disable_progress_bar=True)
        asked = [(one, (text,)) for one in self.readers for text in (question, question.lower())]
        done = parallel(asked)
        again = [(self.stage, {"query": note, "k": 1}) for _, note in done]
        more = parallel([(dspy.Parallel(num_threads=2, disable_progress_bar=True), again)])[0]
        context = [text for found, _ in done for text in found]
        context += [text for found in more for text in found.passages]
        return self.answer(notes=[note for _, note in done], context=context, question=question)
