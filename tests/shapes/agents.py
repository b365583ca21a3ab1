"""Programs whose model chooses to search: tools of every form."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any

import dspy

from ragwright import HybridRetriever


class Method(dspy.Module):
    """The tool is a method of the program itself."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.agent = dspy.ReAct("question -> answer", tools=[self.search], max_iters=3)

    def search(self, query: str, k: int = 2) -> list[str]:
        """Search the chronicles."""
        return [str(one) for one in self.retrieve(query, k).passages]

    def forward(self, question: str) -> dspy.Prediction:
        return self.agent(question=question)


class Closure(dspy.Module):
    """The tool is a function that closes over the stage; another one needs none."""

    def __init__(self, path: str) -> None:
        super().__init__()
        stage = HybridRetriever(path)

        def search(query: str) -> str:
            """Search the chronicles."""
            return "\n".join(stage(query, 2).passages)

        def add(a: float, b: float) -> float:
            """Add two numbers."""
            return a + b

        self.agent = dspy.ReAct("question -> answer: str", tools=[search, add], max_iters=3)

    def forward(self, question: str) -> dspy.Prediction:
        return self.agent(question=question)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def within(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return within


class Decorated(dspy.Module):
    """The tool is decorated, and part of its arguments are set."""

    def __init__(self, path: str) -> None:
        super().__init__()
        retrieve = HybridRetriever(path)

        @logged
        def search(query: str, k: int) -> str:
            """Search the chronicles."""
            return "\n".join(retrieve(query, k).passages)

        tool = dspy.Tool(partial(search, k=2), name="search", desc="Search the chronicles.",
                         args={"query": {"type": "string"}})  # fmt: skip
        self.agent = dspy.ReAct("question -> answer", tools=[tool], max_iters=3)

    def forward(self, question: str) -> dspy.Prediction:
        return self.agent(question=question)


class Kept(dspy.Module):
    """What was searched for is kept by `lru_cache`, as many keep it."""

    def __init__(self, path: str) -> None:
        super().__init__()
        stage = HybridRetriever(path)

        @lru_cache(maxsize=100)
        def search(query: str) -> tuple[str, ...]:
            return tuple(stage(query).passages)

        self.search = search
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=list(self.search(question)), question=question)


class Toolbox:
    """Tools as methods of a plain object."""

    def __init__(self, path: str) -> None:
        self.stage = HybridRetriever(path)
        self.asked = 0

    def __call__(self, query: str) -> str:
        """Search the chronicles."""
        self.asked += 1
        return "\n".join(self.stage(query, 2).passages)


class Boxed(dspy.Module):
    """An object that is called is the tool, and is also asked outside of the agent."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.tools = Toolbox(path)
        self.agent = dspy.ReAct(
            "question, hint -> answer",
            tools=[dspy.Tool(self.tools, name="search", desc="Search the chronicles.")],
            max_iters=2,
        )

    def forward(self, question: str) -> dspy.Prediction:
        return self.agent(question=question, hint=self.tools(question))


class Chosen(dspy.Module):
    """Asks the model for calls of tools, and makes them itself."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.retrieve = HybridRetriever(path)
        self.tools = {"search": dspy.Tool(self.search)}
        self.choose = dspy.Predict("question, tools: list[dspy.Tool] -> calls: dspy.ToolCalls")
        self.answer = dspy.Predict("context, question -> answer")

    def search(self, query: str) -> list[str]:
        """Search the chronicles."""
        return [str(one) for one in self.retrieve(query, 3).passages]

    def forward(self, question: str) -> dspy.Prediction:
        wanted = self.choose(question=question, tools=list(self.tools.values())).calls
        found = [text for call in wanted.tool_calls for text in self.tools[call.name](**call.args)]
        return self.answer(context=found, question=question)


class Lambda(dspy.Module):
    """The retriever is a function of one line, and the program takes whatever it is given."""

    def __init__(self, path: str) -> None:
        super().__init__()
        stage = HybridRetriever(path)
        self.find = lambda text: stage(text).passages
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def __call__(self, *given: Any, **named: Any) -> Any:
        return super().__call__(*given, **named)

    def forward(self, **asked: Any) -> Any:
        said = self.answer(context=self.find(asked["question"]), **asked)
        return {"answer": said.answer}
