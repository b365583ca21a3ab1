"""Every shape, with what is to be found in it."""

from __future__ import annotations

from dataclasses import dataclass

import dspy

from . import agents, beside, hops, judging, many, typed


@dataclass(frozen=True)
class Shape:
    """A program's class, and what a compile has to know of it.

    Attributes:
        made: The class; it is called with the path of an index.
        stages: The places of its knobs.
        question: What it calls its question.
        learns: Whether it has predictors whose prompts can be compiled.
        varies: Whether what it is asked changes by the order in which its threads end.
    """

    made: type[dspy.Module]
    stages: tuple[str, ...]
    question: str = "question"
    learns: bool = True

    @property
    def name(self) -> str:
        return self.made.__name__


SHAPES = (
    Shape(beside.Beside, ("search.knobs",)),
    Shape(hops.Baleen, ("retrieve.knobs",)),
    Shape(hops.ClaimHops, ("retrieve_k.knobs",), question="claim"),
    Shape(hops.Hyde, ("retrieve.knobs",)),
    Shape(hops.Decomposed, ("part.search.knobs",)),
    Shape(hops.Searched, ("retrieve.knobs",)),
    Shape(hops.Fusion, ("retrieve.knobs",)),
    Shape(hops.Interleaved, ("retrieve.knobs",)),
    Shape(hops.Entities, ("retrieve.knobs",)),
    Shape(judging.SelfRag, ("retrieve.knobs",)),
    Shape(judging.Corrective, ("retrieve.knobs",)),
    Shape(judging.Refined, ("inner.module.search.knobs",)),
    Shape(judging.Best, ("retrieve.knobs",)),
    Shape(judging.Compared, ("retrieve.knobs",)),
    Shape(judging.Voted, ("members[0].search.knobs", "members[1].search.knobs")),
    Shape(judging.Cited, ("retrieve.knobs",)),
    Shape(judging.Graded, ("retrieve.knobs",)),
    Shape(judging.Routed, ("indexes['rivers'].knobs", "indexes['charters'].knobs")),
    Shape(agents.Method, ("retrieve.knobs",)),
    Shape(agents.Closure, ("agent.tools['search'].func.stage.knobs",)),
    Shape(agents.Decorated, ("agent.tools['search'].func.func.function.retrieve.knobs",)),
    Shape(agents.Kept, ("search.stage.knobs",)),
    Shape(agents.Boxed, ("tools.stage.knobs",)),
    Shape(agents.Chosen, ("retrieve.knobs",)),
    Shape(agents.Lambda, ("find.stage.knobs",)),
    Shape(many.Gathered, ("first.knobs", "second.knobs")),
    Shape(many.Both, ("retrieve.knobs",)),
    Shape(many.MapReduce, ("retrieve.knobs",)),
    Shape(many.Batched, ("retrieve.knobs",)),
    Shape(many.Threads, ("retrieve.knobs",)),
    Shape(many.Outline, ("retrieve.knobs",), question="topic"),
    Shape(many.Stepwise, ("retrieve.knobs",)),
    Shape(many.Shared, ("first.stage.knobs",)),
    Shape(many.Crowd, ("stage.knobs",)),
    Shape(typed.Typed, ("search.knobs",)),
    Shape(typed.Conversation, ("retrieve.knobs",)),
    Shape(typed.Through, ("rm.knobs",)),
    Shape(typed.Held, ("parts.search['towns'].knobs",)),
    Shape(typed.Late, ("search.knobs",)),
    Shape(typed.Made, ("search.knobs",), learns=False),
    Shape(typed.Chat, ("search.knobs",)),
)
