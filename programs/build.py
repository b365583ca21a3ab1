"""Builds a program from a recipe: nothing learned, no index opened until it is called."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dspy

from ragwright.programs.adopting import adopt_shared_stages
from ragwright.programs.anatomy import protect
from ragwright.programs.candidates import Candidates
from ragwright.programs.expand import Expansion, ExpansionKind
from ragwright.programs.hybrid import DenseRetriever, HybridRetriever
from ragwright.programs.kinds import HybridRAG, MultiHopRAG, RerankRAG
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.lm import EXTRACTIVE, build_lm, can_write, give_lm, with_output_limit
from ragwright.programs.lm_rerank import ListwiseReranker, PointwiseReranker
from ragwright.programs.plain_retrievers import replace_plain_retrievers
from ragwright.programs.rag import RAG, RAGOptions
from ragwright.programs.recipe import RERANKER_WEIGHT, Recipe
from ragwright.programs.rerank import Reranker, reranker_named
from ragwright.programs.sections import is_class_reference
from ragwright.programs.signals import Signal
from ragwright.programs.signatures import AnswerOrAbstain, AnswerWithCitations
from ragwright.programs.source import SearchSource
from ragwright.programs.written_signature import read_signature
from ragwright.retrievers.argument_checks import short_repr
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.errors import InputError, ModelError, RecipeError
from ragwright.retrievers.index import IndexSettings
from ragwright.retrievers.settings import MOST_SHOWN
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.trust import check_trusted, require_subclass


def build_program(recipe: Recipe, *, lm: dspy.LM | None = None) -> RAG:
    """Build the program that a recipe names, with the knobs it starts from.

    Args:
        recipe: What to build.
        lm: Set on every predictor; without one, DSPy's configured LM answers.

    Raises:
        ModelError: The language model does not write, and a part of the program needs that.
        InputError: A part from outside was not allowed, or is none of its kind.
    """
    import_parts(recipe)
    program = _program(recipe, Knobs(recipe.knobs))
    if lm is not None:
        _check_writing(recipe, lm)
        program.set_lm(lm)
        give_lm(program, lm)
    return program


def build_recipe_lm(
    recipe: Recipe, name: str | None = None, *, crew: Crew | None = None
) -> dspy.LM:
    """Build the language model that a recipe names.

    Args:
        recipe: Says which, where it is served, and its limits.
        name: Another model to take, at the same server and with the same limits.
        crew: Workers that ask it; this process does without.

    Raises:
        ModelError: There is no such model.
    """
    section = recipe.lm
    offline = name == EXTRACTIVE != section.model  # a server's limits are not its
    options = {} if offline else section.options
    chosen = name or section.model
    return _asked_by(crew, chosen, with_output_limit(chosen, options))


def build_writer(recipe: Recipe, *, crew: Crew | None = None) -> dspy.LM | None:
    """Build the language model that writes instructions; None if the answering one does.

    Args:
        recipe: Says which.
        crew: Workers that ask it; this process does without.

    Raises:
        ModelError: There is no such model.
    """
    name = recipe.writer.model or recipe.compile.writer
    options = with_output_limit(name, recipe.writer.options)
    return _asked_by(crew, name, options) if name else None


def _asked_by(crew: Crew | None, name: str, options: Mapping[str, Any]) -> dspy.LM:
    if crew is None:
        return build_lm(name, **options)
    from ragwright.programs.remote import RemoteLM

    return RemoteLM(name, options, crew)


def protect_program(program: dspy.Module, recipe: Recipe) -> None:
    """Let a program fall back if and as its recipe says; for serving, not for compiling.

    Raises:
        ModelError: There is no second language model of the name in the recipe.
    """
    if not recipe.fallback.enabled:
        return
    name = recipe.fallback.second_lm
    second = build_lm(name) if name else None
    protect(program, recipe.fallback, second_lm=second)


def import_parts(recipe: Recipe, *, chunking: bool = False) -> None:
    """Import the parts of a recipe's index that are from outside, as far as the caller allows.

    Args:
        recipe: Names them.
        chunking: Whether documents are to be cut too.

    Raises:
        InputError: One was not allowed, or cannot be imported.
    """
    section = recipe.index
    store = StoreURL.parse(section.store).kind if section.store else ""
    named = [section.embedder, store, *([section.chunking.kind] if chunking else [])]
    used = [name for name in named if is_class_reference(name)]
    check_trusted([*used, *([] if chunking else recipe.program.references)], recipe.trust)
    for reference in used:
        recipe.part(reference)


def index_settings(recipe: Recipe) -> IndexSettings:
    """Return how the recipe's index is made.

    Raises:
        InputError: A part of it from outside was not allowed, or cannot be imported.
    """
    import_parts(recipe, chunking=True)
    section = recipe.index
    return IndexSettings(
        embedder=section.embedder,
        engine=section.engine,
        chunking=section.chunking,
        language=section.language,
        store=section.store,
        graph=section.graph,
        tokens=section.tokens,
        prompts=section.prompts,
    )


def gather(program: RAG, question: str) -> Candidates:
    """Return all candidates for a question with every signal that can be replayed."""
    found: Candidates = program.retriever.replayable(question)
    return found


def tunable_knobs(recipe: Recipe) -> frozenset[str]:
    """Return the names of the knobs that the recipe's program reads and a pool can tune."""
    names = {"k", "context_tokens", "order", "neighbours"}
    signals = replayed_signals(recipe)
    if len(signals) > 1:
        names |= {"fusion", "rrf_constant", "score_threshold", "diversity"}
        names |= {name for signal in signals for name in signal.knobs}
    if not all(signal.source for signal in signals):
        names.add("rerank_depth")
    return frozenset(names)


def replayed_signals(recipe: Recipe) -> tuple[Signal, ...]:
    """Return the signals that the recipe's program weighs and a pool stores, sources first."""
    signals: tuple[Signal, ...] = build_program(recipe).retriever.signals
    return tuple(signal for signal in signals if signal.replayed)


def starting_knobs(recipe: Recipe) -> KnobValues:
    """Return the knobs that the recipe's program has before it is compiled."""
    if recipe.program.own:
        return recipe.knobs
    values: KnobValues = build_program(recipe).knobs.values
    return values


def needs_writing(recipe: Recipe) -> list[str]:
    """Name the parts of a recipe's program that need a language model which writes."""
    section = recipe.program
    if section.own:
        return []
    expansion = build_expansion(recipe)
    writes = expansion is not None and expansion.needs_writer
    parts = [f"expansion = {section.expansion!r}"] if writes else []
    if section.reranks and build_reranker(recipe).needs_writer:
        parts.append(f"reranker = {section.reranker!r}")
    if section.conversation:
        parts.append("conversation = true")
    return parts


def _check_writing(recipe: Recipe, lm: dspy.LM) -> None:
    parts = needs_writing(recipe)
    if parts and not can_write(lm):
        raise ModelError(
            f"{lm.model!r} does not write, which is needed for {', '.join(parts)}.",
            hint="Use a generative model, or leave that part out of the recipe.",
        )


def _program(recipe: Recipe, knobs: Knobs) -> RAG:
    path, section = recipe.index.path, recipe.program
    if section.own:
        program: RAG = build_own_program(recipe)
        replace_plain_retrievers(program, rm=dspy.settings.rm or HybridRetriever(path))
        return program
    lm = recipe.lm
    asked = build_signature(recipe)
    options = RAGOptions(section.abstain, section.conversation, lm.context_window, lm.format, asked)
    if section.kind == "rag":
        return RAG(DenseRetriever(path, knobs=knobs), knobs=knobs, options=options)
    sources = build_sources(recipe)
    reranker = build_reranker(recipe) if section.reranks else None
    knobs.values = _weighing(recipe, sources, reranker)
    parts: dict[str, Any] = {
        "sources": sources,
        "expansion": build_expansion(recipe),
        "knobs": knobs,
        "options": options,
    }
    if section.kind == "hybrid":
        return HybridRAG(path, **parts)
    if section.kind == "rerank" and reranker is not None:
        return RerankRAG(path, reranker=reranker, **parts)
    return MultiHopRAG(path, hops=section.hops, reranker=reranker, **parts)


def _weighing(
    recipe: Recipe, sources: Sequence[SearchSource], reranker: Reranker | None
) -> KnobValues:
    """The recipe's knobs, in which parts from outside weigh what ours do unless it says more."""
    said = recipe.knobs.model_fields_set
    new = (source.signal for source in sources)
    knobs = recipe.knobs.starting(*(signal for signal in new if signal.weight not in said))
    if reranker is None or not is_class_reference(recipe.program.reranker):
        return knobs
    weight = reranker.signal.weight
    return knobs if weight in said else knobs.replaced(**{weight: RERANKER_WEIGHT})


def build_own_program(recipe: Recipe) -> Any:
    """Build a program of the user's own; it is told the index's folder if it asks for `index`.

    Raises:
        InputError: Its class was not allowed, is no `dspy.Module`, or takes other options.
    """
    reference, options = recipe.program.kind, dict(recipe.program.options)
    made = require_subclass(recipe.part(reference), dspy.Module, reference)
    # Of `__init__`: the metaclass of DSPy hides the signature of the class.
    wanted = inspect.signature(made.__init__)
    if "index" in wanted.parameters:
        options.setdefault("index", recipe.index.path)
    try:
        wanted.bind(None, **options)
    except TypeError as error:
        raise InputError(
            f"{reference!r} cannot be built with the options {options!r}: {error}.",
            hint="Put what it is called with under [program.options].",
        ) from error
    program = made(**options)
    adopt_shared_stages(program)
    return program


def build_signature(recipe: Recipe) -> Any:
    """Build the signature that a recipe's program asks with; None if it is ours as it is.

    Raises:
        RecipeError: It is none, or lacks what the program needs.
        InputError: Its class was not allowed, or cannot be imported.
    """
    section = recipe.program
    if not section.signature:
        ours = AnswerOrAbstain if section.abstain else AnswerWithCitations
        return ours.with_instructions(section.instructions) if section.instructions else None
    asked = _read_signature(recipe)
    if why := _lacking(asked, confidence=section.abstain):
        raise _wrong_signature(section.signature, why)
    if (asked.input_fields["context"].json_schema_extra or {}).get("IS_TYPE_UNDEFINED"):
        asked = asked.with_updated_fields("context", list[str], desc="numbered passages")
    return asked.with_instructions(section.instructions) if section.instructions else asked


def _read_signature(recipe: Recipe) -> Any:
    written = recipe.program.signature
    if is_class_reference(written):
        return require_subclass(recipe.part(written), dspy.Signature, written)
    try:
        return read_signature(written)
    except ValueError as error:
        why = f"it cannot be read: {str(error).rstrip('.')}"
        raise _wrong_signature(written, why) from error


def _lacking(asked: Any, *, confidence: bool) -> str:
    """Say what a signature lacks to be a program's; "" if nothing."""
    inputs, outputs = asked.input_fields, asked.output_fields
    if missing := [name for name in ("context", "question") if name not in inputs]:
        return f"it has no input {missing[0]!r}"
    if taken := [name for name in ("where", "history") if name in inputs]:
        return f"the input {taken[0]!r} is the program's own"
    if confidence and "confidence" not in outputs:
        return "abstain needs an output 'confidence: float'"
    return "" if outputs else "it has no output"


def _wrong_signature(signature: str, why: str) -> RecipeError:
    return RecipeError(
        f"Wrong recipe: program.signature {short_repr(signature, MOST_SHOWN)}: {why}.",
        hint='Write "context, question -> answer", with more inputs and outputs as you like.',
    )


def build_expansion(recipe: Recipe) -> Expansion | None:
    """Build what writes a recipe's queries, if anything does."""
    name = recipe.program.expansion
    if name == "none":
        return None
    if is_class_reference(name):
        made: Expansion = require_subclass(recipe.part(name), Expansion, name)()
        return made
    return Expansion(cast(ExpansionKind, name))


def build_sources(recipe: Recipe) -> list[SearchSource]:
    """Build the sources that a recipe names beside dense and BM25 search, over its index."""
    path = recipe.index.path
    return [require_subclass(recipe.part(name), SearchSource, name)(path)
            for name in recipe.program.sources]  # fmt: skip


def build_reranker(recipe: Recipe) -> Reranker:
    """Build the reranker that a recipe names, over its index."""
    path, name = recipe.index.path, recipe.program.reranker
    match name:
        case "listwise":
            return ListwiseReranker(path)
        case "pointwise":
            return PointwiseReranker(path)
    if is_class_reference(name):
        made: Reranker = require_subclass(recipe.part(name), Reranker, name)(path)
        return made
    return reranker_named(path, name, backend=recipe.program.backend)
