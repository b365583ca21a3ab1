"""`RAG`: answers a question with citations: retrieve, build the context, respond.

`RAG` works over any retrieval stage, and knows neither how one retrieves nor where an index lies;
`kinds.py` has those that bring a stage of their own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ragwright.programs.answer import aask_with_fallback, ask_with_fallback
from ragwright.programs.context import Context, build_context
from ragwright.programs.fallback import (
    STRICT,
    Degradation,
    FallbackGuard,
    collect_degradations,
    note_degradation,
)
from ragwright.programs.interface import RESERVED, ProgramInputs
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.outputs import (
    citations_of,
    find_answer_output,
    output_values,
    passages_of,
    stated_confidence,
)
from ragwright.programs.replies.calling import acall_predictor, call_predictor, reading
from ragwright.programs.replies.learned import Format
from ragwright.programs.signatures import AnswerOrAbstain, AnswerWithCitations, StandaloneQuestion
from ragwright.programs.streaming import announce_passages
from ragwright.programs.widening import neighbour_extension
from ragwright.programs.window import (
    answer_tokens,
    fit_context,
    model_window,
    prompt_tokens,
    render_messages,
)
from ragwright.programs.windows import learn_window, learned_window
from ragwright.retrievers import html
from ragwright.retrievers.argument_checks import check_type
from ragwright.retrievers.errors import InputError, StageError
from ragwright.retrievers.narrowing import narrowing
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.tracing import trace_attribute
from ragwright.retrievers.types import Where

ABSTENTION = "I don't know"


class Answer(dspy.Prediction):
    """An answer with the passages that it cites."""

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, what is degraded, and the cited passages."""
        passages = passages_of(self)
        rows = [
            (f"[{number}]", passages[number - 1].document, str(passages[number - 1]))
            for number in citations_of(self, len(passages))
        ]
        said = f"<p><b>{html.html_text_of(self.get('answer', ''), 10_000)}</b></p>"
        notes = "".join(f"<p>{html.html_text_of(note)}</p>" for note in self.get("degraded") or [])
        return said + notes + (html.html_table(("", "document", "passage"), rows) if rows else "")


@dataclass(frozen=True, slots=True)
class RAGOptions:
    """What a RAG program does besides answering.

    Attributes:
        abstain: Say "I don't know" when less sure than the knob `abstain_below`.
        conversation: Take a `history` and rewrite the question so that it stands alone.
        window: The language model's window in tokens; by default what DSPy or its server knows.
        format: How replies are asked for; "auto" learns what the language model keeps to.
        signature: Asked instead of ours: with the inputs `context` and `question`, others if it
            likes, and outputs of any name and type. The program then takes those other inputs, and
            gives all outputs.
    """

    abstain: bool = False
    conversation: bool = False
    window: int | None = None
    format: Format = "auto"
    signature: Any = None


def _shown_as(function: Any, *names: str) -> inspect.Signature:
    """The signature of a function without its other parameters."""
    found = inspect.signature(function)
    return found.replace(parameters=[found.parameters[name] for name in names])


class RAG(dspy.Module):
    """Retrieve passages, number them inside the token budget, answer with citations.

    Args:
        retriever: Any stage that is called as `stage(query, k, where=...)` and returns a
            `RetrievalResult`: a `ChromaRetriever`, a `HybridRetriever`, ...
        knobs: How many passages, how many tokens; shared with the retriever's stages.
        options: What it does besides.
    """

    def __init__(
        self, retriever: Any, *, knobs: Knobs | None = None, options: RAGOptions = RAGOptions()
    ) -> None:
        super().__init__()
        if not callable(retriever):
            raise InputError(
                f"`retriever` is {type(retriever).__name__}, but must be a stage or retriever.",
                hint="Give HybridRetriever(INDEX), ChromaRetriever(INDEX) or the like.",
            )
        check_type("knobs", knobs, Knobs, none=True)
        check_type("options", options, RAGOptions)
        self.knobs = knobs or Knobs(KnobValues.dense())
        self.options = options
        self.guard: FallbackGuard = STRICT
        self.retriever = retriever
        if options.conversation:
            self.rewrite = dspy.Predict(StandaloneQuestion)
        ours = AnswerOrAbstain if options.abstain else AnswerWithCitations
        self.respond = dspy.Predict(options.signature or ours)

    def __call__(self, question: str, *, where: Where | None = None, **more: Any) -> Any:
        """Answer a question. As a tool of an agent it takes the question and a filter."""
        return super().__call__(question=question, where=where, **more)

    # What `dspy.Tool` shows a language model: `more` would be an argument of that name to it.
    __call__.__signature__ = _shown_as(__call__, "self", "question", "where")  # type: ignore[attr-defined]

    @property
    def program_inputs(self) -> ProgramInputs:
        """What it takes: the inputs of its signature besides context and question are required."""
        fields = self.respond.signature.input_fields.items()
        own = {name: one.annotation for name, one in fields if name not in ("context", "question")}
        return ProgramInputs(types=own, required=tuple(own), takes=RESERVED)

    def forward(
        self,
        question: str,
        *,
        where: Where | None = None,
        history: dspy.History | None = None,
        **more: Any,
    ) -> dspy.Prediction:
        self._check(more)
        with self._narrowed(where), collect_degradations() as notes:
            alone = self._standalone(question, history)
            found = self.retriever(alone, self.knobs.values.k, where=where)
            shown = _Shown(self, found, alone, more, self._context(found, alone, more))
            reply = ask_with_fallback(self.guard, self.respond, shown.inputs, shown.refit)
        return self._answer(reply, shown.context, found, notes)

    async def aforward(
        self,
        question: str,
        *,
        where: Where | None = None,
        history: dspy.History | None = None,
        **more: Any,
    ) -> dspy.Prediction:
        self._check(more)
        with self._narrowed(where), collect_degradations() as notes:
            alone = await self._astandalone(question, history)
            found = await self.retriever.acall(alone, self.knobs.values.k, where=where)
            announce_passages(found.passages)
            context = await asyncio.to_thread(self._context, found, alone, more)
            shown = _Shown(self, found, alone, more, context)
            reply = await aask_with_fallback(self.guard, self.respond, shown.inputs, shown.refit)
        return self._answer(reply, shown.context, found, notes)

    def messages(
        self,
        question: str,
        *,
        where: Where | None = None,
        history: dspy.History | None = None,
        **more: Any,
    ) -> list[dict[str, Any]]:
        """Return exactly what the language model would be sent for the answer."""
        self._check(more)
        with self._narrowed(where):
            alone = self._standalone(question, history)
            found = self.retriever(alone, self.knobs.values.k, where=where)
            inputs = _inputs(self._context(found, alone, more), alone, more)
            return render_messages(self.respond, inputs)

    @contextmanager
    def _narrowed(self, where: Where | None) -> Iterator[None]:
        """Read replies as the program does; what is added to passages passes the filter too."""
        with reading(self.options.format), narrowing(where):
            yield

    def _check(self, more: Mapping[str, Any]) -> None:
        """Make sure that the signature's other inputs are given, and nothing else.

        Raises:
            InputError: One is missing or unknown.
        """
        wanted = self.program_inputs.types
        if missing := [name for name in wanted if name not in more]:
            raise InputError(
                f"{missing[0]}: the program needs this input.", hint="Its signature has it."
            )
        if unknown := [name for name in more if name not in wanted]:
            raise InputError(
                f"{unknown[0]}: the program takes no such input.",
                hint=f"It takes {', '.join(['question', *wanted])}.",
            )

    def _context(self, found: RetrievalResult, question: str, more: Mapping[str, Any]) -> Context:
        values = self.knobs.values
        pack = partial(build_context, found.passages, values.context_tokens, order=values.order)
        context = pack(extend=neighbour_extension(self.retriever, values.neighbours))
        lm = self.respond.lm or dspy.settings.lm
        known = (self.options.window or model_window(lm), learned_window(lm))
        window = min((one for one in known if one), default=None)
        if window is None:
            return context
        inputs = {"question": question, **more}
        fit = partial(fit_context, predict=self.respond, inputs=inputs, window=window)
        kept = fit(context)
        # Neighbours never push out a passage: where not all fits, they go first.
        return kept if kept is context or not values.neighbours else fit(pack())

    def _standalone(self, question: str, history: dspy.History | None) -> str:
        if not self._converses(history):
            return question
        inputs = {"question": question, "history": history}
        try:
            reply = self.guard.call(
                "rewrite", "history", lambda: call_predictor(self.rewrite, **inputs)
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rewrite", error, used="the question as it was asked")
            return question
        return reply.standalone or question

    async def _astandalone(self, question: str, history: dspy.History | None) -> str:
        if not self._converses(history):
            return question
        inputs = {"question": question, "history": history}
        try:
            reply = await self.guard.acall(
                "rewrite", "history", lambda: acall_predictor(self.rewrite, **inputs)
            )
        except (StageError, AdapterParseError) as error:
            note_degradation("rewrite", error, used="the question as it was asked")
            return question
        return reply.standalone or question

    def _converses(self, history: dspy.History | None) -> bool:
        if history is None or not history.messages:
            return False
        if not self.options.conversation:
            raise InputError(
                "A history was given to a program that does not read one.",
                hint="Set conversation = true under [program] in the recipe.",
            )
        return True

    def _answer(
        self,
        reply: dspy.Prediction | None,
        context: Context,
        found: RetrievalResult,
        notes: list[Degradation],
    ) -> dspy.Prediction:
        if notes:
            trace_attribute("degraded", [str(noted) for noted in notes])
        outputs = {} if reply is None else output_values(reply, self.respond.signature)
        answer = find_answer_output(outputs)
        said = () if reply is None else dict.fromkeys(citations_of(reply))
        citations = [number for number in said if 1 <= number <= len(context.passages)]
        other = [] if said else outputs.get("citations")  # as a signature of one's own has them
        abstained = reply is not None and self._abstains(reply, context)
        fixed = {
            "answer": ABSTENTION if abstained else answer,
            "citations": [] if abstained else other or citations,
            "read": "" if reply is None else reply.get("read", ""),
            "invented": len(said) - len(citations),
            "abstained": abstained,
            "context": list(context.numbered),
            "passages": list(context.passages),
            "cut": list(context.cut),
            "retrieved": found,
            "degraded": list(notes),
        }
        return Answer(**(outputs | fixed))

    def _abstains(self, reply: dspy.Prediction, context: Context) -> bool:
        if not self.options.abstain:
            return False
        # How sure it is may not be known: that alone is no reason to withhold an answer.
        sure = stated_confidence(reply)
        unsure = sure is not None and sure < self.knobs.values.abstain_below
        return not context.passages or unsure


@dataclass
class _Shown:
    """What a language model is shown for one question; shorter once it has refused it."""

    program: RAG
    found: RetrievalResult
    question: str
    more: Mapping[str, Any]
    context: Context

    @property
    def inputs(self) -> dict[str, Any]:
        return _inputs(self.context, self.question, self.more)

    def refit(self, error: Exception) -> dict[str, Any]:
        """Learn the window from a refusal, and pack anew within it.

        Raises:
            InputError: Not even the prompt without passages fits.
        """
        respond = self.program.respond
        lm = respond.lm or dspy.settings.lm
        learn_window(lm, error, prompt_tokens(respond, self.inputs, lm=lm) + answer_tokens(lm))
        self.context = self.program._context(self.found, self.question, self.more)
        return self.inputs


def _inputs(context: Context, question: str, more: Mapping[str, Any]) -> dict[str, Any]:
    return {"context": list(context.numbered), "question": question, **more}
