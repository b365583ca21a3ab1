"""The tables of a recipe and their keys, as frozen and checked settings.

Each says its defaults and what cannot be set together. Knows neither TOML nor what is built from
it; what concerns two tables at once is checked in `recipe.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, field_validator, model_validator

from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.documents.options import (
    MAX_BYTES,
    MAX_SECONDS,
    MAX_UNPACKED_BYTES,
    ColumnType,
)
from ragwright.retrievers.embedding import MINILM, EngineSettings, PromptSettings
from ragwright.retrievers.metadata import Nested
from ragwright.retrievers.settings import Settings, address_names_user
from ragwright.retrievers.stores.base import GraphSettings
from ragwright.retrievers.text import Language
from ragwright.retrievers.token_codes import TokenSettings
from ragwright.retrievers.trust import is_importable

ProgramKind = Literal["rag", "hybrid", "rerank", "multihop"]
ExpansionName = Literal["none", "hyde", "multi-query", "step-back", "decompose"]

DEFAULT_RERANKER = "maxsim"
"""Needs no model besides the embedder, but its token vectors."""

OWN_PREFIXES = ("library", "hash", "litellm")
"""What stands before a colon in names that are no `module:Class`."""


def _names_no_user(instead: str) -> AfterValidator:
    """Refuse an address that holds a user and password, and say what to do instead."""

    def check(address: str | None) -> str | None:
        if address_names_user(address or ""):
            raise ValueError(f"a recipe holds no user and password: {instead}")
        return address

    return AfterValidator(check)


class RecipeSection(Settings):
    """A table of the recipe: frozen, and an unknown key is an error."""


class ReadingSection(RecipeSection):
    """Within which limits documents are read, and what becomes of what does not fit.

    Attributes:
        on_error: What to do about a file or row that cannot be read; by default "skip" in a
            folder, "fail" otherwise.
        max_bytes: A larger file is not read.
        max_unpacked_bytes: Nor is a packed one, or an office file, that unpacks to more.
        max_seconds: Nor one whose conversion takes longer.
        follow_links: Follow links that lead out of the folder.
        nested: What becomes of objects in a row's metadata: an error, keys with dots, or nothing.
        types: Kinds of the columns of a CSV file, by name.
        encoding: Of text that is not UTF-8; guessed if empty.
        text: The column, or the key, of a row that holds its text.
    """

    on_error: Literal["", "fail", "skip"] = ""
    max_bytes: int = Field(default=MAX_BYTES, ge=1)
    max_unpacked_bytes: int = Field(default=MAX_UNPACKED_BYTES, ge=1)
    max_seconds: float = Field(default=MAX_SECONDS, gt=0)
    follow_links: bool = False
    nested: Nested = "refuse"
    types: dict[str, ColumnType] = Field(default={})
    encoding: str = ""
    text: str = Field(default="text", min_length=1)


class IndexSection(RecipeSection):
    """Where the index lies and what it is made from; `store` is a URL, or empty for Chroma."""

    path: str = ".rag/index"
    store: Annotated[
        str,
        _names_no_user(
            "QDRANT_API_KEY, WEAVIATE_API_KEY or CHROMA_API_KEY in the environment holds a key"
        ),
    ] = ""
    documents: str = ""
    embedder: str = MINILM
    engine: EngineSettings = EngineSettings()
    chunking: ChunkSettings = ChunkSettings()
    language: Language | Literal["auto", "none"] = "auto"
    graph: GraphSettings = GraphSettings()
    tokens: TokenSettings = TokenSettings()
    prompts: PromptSettings = PromptSettings()
    reading: ReadingSection = ReadingSection()


class ProgramSection(RecipeSection):
    """Which program answers.

    Attributes:
        kind: "rag" (plain dense), "hybrid" (dense and BM25), "rerank" (those reranked), "multihop"
            (several searches per question), or `module:Class`, a `dspy.Module` of your own.
        options: What the class of a program of your own is called with.
        sources: Further sources beside dense and BM25, each a `module:Class`, a `SearchSource` of
            your own.
        reranker: "maxsim", "listwise" or "pointwise" (by the language model), "library:NAME" for
            a model of the `rerankers` library, "none" (multihop only), a cross-encoder's name, or
            `module:Class`, a `Reranker` of your own.
        backend: What runs a cross-encoder.
        expansion: How queries are written for a question before the search: "none", "hyde",
            "multi-query", "step-back", "decompose", or `module:Class`, an `Expansion` of your own.
        hops: Most searches for one question; multihop only.
        abstain: Say "I don't know" when less sure than the knob `abstain_below`.
        conversation: Take a history, and rewrite the question so that it stands alone.
        signature: What the language model is asked for, in DSPy's spelling ("context, question,
            product -> answer, urgent: bool"), or `module:Class`; not for a program of your own.
            Inputs besides context and question are inputs of the program.
        instructions: What it is told, instead of the words that ours or the signature has.
    """

    kind: str = "rerank"
    options: dict[str, Any] = Field(default={})
    sources: tuple[str, ...] = ()
    reranker: str = DEFAULT_RERANKER
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    expansion: str = "none"
    hops: int = Field(default=2, ge=1, le=8)
    abstain: bool = False
    conversation: bool = False
    signature: str = ""
    instructions: str = ""

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, name: str) -> str:
        return _one_of(name, get_args(ProgramKind))

    @field_validator("expansion")
    @classmethod
    def _known_expansion(cls, name: str) -> str:
        return _one_of(name, get_args(ExpansionName))

    @field_validator("reranker")
    @classmethod
    def _no_slip_of_a_reranker(cls, name: str) -> str:
        """A cross-encoder has any name, with a slash as a rule: what is nearly ours is a slip."""
        known = (DEFAULT_RERANKER, "none", *BY_LANGUAGE_MODEL)
        near = [] if set("/:") & set(name) else difflib.get_close_matches(name, known, n=1)
        if near and name not in known:
            raise ValueError(f"there is no such reranker, did you mean {near[0]!r}?")
        return name

    @field_validator("sources")
    @classmethod
    def _sources_are_classes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_class_reference(name):
                raise ValueError(f"Input should be module:Class, got {name!r}")
        return names

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.options and not self.own:
            raise ValueError(f"only a program of your own has options, {self.kind!r} has none")
        if self.reranker == "none" and self.kind == "rerank":
            raise ValueError('kind "rerank" needs a reranker: name one, or use kind "hybrid"')
        if self.expansion != "none" and self.kind == "rag":
            raise ValueError(f'kind "rag" takes no expansion, got {self.expansion!r}: use "hybrid"')
        if self.sources and (self.own or self.kind == "rag"):
            raise ValueError(f'kind {self.kind!r} takes no further sources: use "hybrid"')
        if self.own and (self.signature or self.instructions):
            raise ValueError("a program of your own has its own signatures: give none here")
        return self

    @property
    def own(self) -> bool:
        """Whether the program is a class of the user's."""
        return is_importable(self.kind)

    @property
    def references(self) -> tuple[str, ...]:
        """The classes from outside that the program is built from, as `module:Class`."""
        used = [self.kind, *self.sources, self.expansion, self.signature]
        used += [self.reranker] if self.reranks else []
        return tuple(name for name in used if is_class_reference(name))

    @property
    def reranks(self) -> bool:
        """Whether a reranker is part of the program."""
        return self.kind == "rerank" or (self.kind == "multihop" and self.reranker != "none")


BY_LANGUAGE_MODEL = ("listwise", "pointwise")
"""Rerankers that the answering language model is."""


def is_class_reference(name: str) -> bool:
    """Whether a name in a recipe is a `module:Class`, not a name of ours with something behind."""
    return is_importable(name) and name.partition(":")[0] not in OWN_PREFIXES


def _one_of(name: str, names: Sequence[str]) -> str:
    """Make sure that a name is one of these, or a `module:Class`."""
    if name not in names and not is_importable(name):
        listed = ", ".join(map(repr, names))
        raise ValueError(f"Input should be {listed} or module:Class")
    return name


def reranking_signal(program: Mapping[str, Any] | ProgramSection) -> str | None:
    """Return the name of the signal that a program's reranker gives; None if it has none."""
    values = program if isinstance(program, Mapping) else program.model_dump()
    kind, reranker = values.get("kind", "rerank"), values.get("reranker", DEFAULT_RERANKER)
    if not isinstance(reranker, str):
        return None  # the field's own type says so
    if kind not in ("rerank", "multihop") or (kind == "multihop" and reranker == "none"):
        return None
    if reranker in BY_LANGUAGE_MODEL:
        return "lm"
    if ":" in reranker and not reranker.startswith("library:"):
        return None  # a part from outside: its declaration is not read here
    return reranker if reranker == DEFAULT_RERANKER else "cross"


class ModelSection(RecipeSection):
    """How a language model is called.

    Keys come from the environment (`OPENAI_API_KEY` and so on), never from here; a server of one's
    own at `api_base` needs none. `timeout` is in seconds; prices are US dollars per million tokens,
    needed to cap costs where no list has them.
    """

    model: str = ""
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    api_base: Annotated[
        str | None,
        _names_no_user("set OPENAI_BASE_URL in the environment, and leave this out"),
    ] = None
    timeout: float | None = Field(default=None, gt=0)
    num_retries: int | None = Field(default=None, ge=0)
    prompt_price: float | None = Field(default=None, ge=0)
    completion_price: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _both_prices(self) -> Self:
        if (self.prompt_price is None) != (self.completion_price is None):
            raise ValueError("give prompt_price and completion_price, or none of them")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """What is handed to `dspy.LM` besides the model's name."""
        names = {"temperature", "max_tokens", "api_base", "timeout", "num_retries"}
        return self.model_dump(include=names, exclude_none=True)


class LMSection(ModelSection):
    """Which language model answers: "extractive", or any LiteLLM model string.

    `context_window` is how many tokens it can read and write together, where neither DSPy nor the
    server says. `format` is how replies are asked for; "auto" learns what the model keeps to.
    """

    model: str = "extractive"
    context_window: int | None = Field(default=None, ge=256)
    format: Literal["auto", "json_schema", "chat", "plain"] = "auto"


class WriterSection(ModelSection):
    """Which language model writes instructions and judges answers; the answering one if none."""


class DataSection(RecipeSection):
    """The training set and how it is split: as the future is expected to come.

    `split` is "document" (no group of questions is on two sides), "question" (test comes back to
    the same documents) or "time" (the latest questions are test).
    """

    trainset: str = ""
    train: float = Field(default=0.4, gt=0, lt=1)
    dev: float = Field(default=0.2, gt=0, lt=1)
    split: Literal["document", "question", "time"] = "document"
    seed: int = 0

    @model_validator(mode="after")
    def _test_is_left(self) -> Self:
        if self.train + self.dev >= 1:
            raise ValueError("train and dev leave nothing for test: keep their sum under 1")
        return self


_TagName = Annotated[str, Field(pattern=r"^[\w.\-/ :]+$", max_length=250)]


class TrackingSection(RecipeSection):
    """Where MLflow's record of a compile goes besides the recipe's own store.

    Attributes:
        uri: A team's tracking server; a secret for it belongs in the environment.
        experiment: The experiment there; by default the recipe's name.
        tags: Tags of every run of this recipe, by names that MLflow takes.
    """

    uri: Annotated[
        str, _names_no_user("set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    ] = ""
    experiment: str = ""
    tags: dict[_TagName, str] = Field(default={})


class CompileSection(RecipeSection):
    """What compiling may try, and for how long.

    Attributes:
        options: Settings of the optimizer alone; docs/optimizers.md lists them.
        writer: A language model that writes instructions and judges answers; by default the one
            that answers.
        finalists: For how many of the shortlisted retrieval settings prompts are learned.
        margin: How much worse a cheaper program may be to be shipped in a dearer one's place.
        variants: Other indexes of the same documents to choose from, by their names under
            `[index.variants]`, or "auto" for a small grid around `[index.chunking]`.
        variant_calls: Most LM calls that go into choosing among variants that evidence cannot tell
            apart; 0 asks for no answers.
        cycles: How often prompts are learned at the knobs that were found, and knobs chosen under
            these prompts, while dev gets better.
        repeats: How often a model that does not answer alike each time answers a test question.
        learn: What to learn from train and dev questions: "questions", "adapter", "ranker". Each is
            kept only if it is better on questions that it was not learned from, the first two only
            if that is surely no chance.
        timeout: Seconds after which a question counts as failed.
    """

    optimizer: str = "bootstrap-random-search"
    options: dict[str, bool | int | float | str] = Field(default={})
    writer: str = ""
    finalists: int = Field(default=1, ge=1)
    cycles: int = Field(default=1, ge=1, le=10)
    repeats: int = Field(default=1, ge=1, le=20)
    timeout: float = Field(default=120, gt=0)
    metric: str = "answer_f1"
    retrieval_metric: str = "ndcg@10"
    retrieval_trials: int = Field(default=150, ge=0)
    shortlist: int = Field(default=3, ge=1)
    max_labeled_demos: int = Field(default=8, ge=0)
    max_bootstrapped_demos: int = Field(default=2, ge=0)
    candidates: int = Field(default=6, ge=1)
    threshold: float = Field(default=0.6, ge=0, le=1)
    margin: float = Field(default=0.01, ge=0, le=1)
    variants: tuple[str, ...] | Literal["auto"] = ()
    variant_calls: int = Field(default=200, ge=0)
    learn: tuple[Literal["questions", "adapter", "ranker"], ...] = ()
    threads: int = Field(default=4, ge=1)
    seed: int = 0
