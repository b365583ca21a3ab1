"""A TOML file in, a frozen and checked `Recipe` out: how to build an index and a program.

It says what to build, never what was learned (that is the program's state). Unknown keys are
errors, so a typo cannot pass. Knows how to read itself, not how to build anything: see `build.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from programs.knobs import KnobValues, describe
from programs.limits import FallbackSettings
from programs.variants import named, parted, unknown, varied
from retrievers.chunking import ChunkSettings
from retrievers.documents import HUB, STDIN
from retrievers.embedding import MINILM, EngineSettings, is_hosted
from retrievers.errors import InputError, RecipeError
from retrievers.stores.base import StoreURL

ProgramKind = Literal["rag", "hybrid", "rerank", "multihop"]
Expansion = Literal["none", "hyde", "multi-query", "step-back", "decompose"]
Teleprompter = Literal[
    "none", "labeled", "bootstrap", "bootstrap-random-search", "bootstrap-optuna", "copro", "mipro",
    "simba", "gepa", "infer-rules", "better-together",
]  # fmt: skip
REFUSED = {
    "knn": "KNNFewShot chooses demonstrations inside a patched forward, which no saved state holds",
    "ensemble": "Ensemble builds a class of its own around several programs, which no saved state "
    "holds",
}


class Section(BaseModel):
    """A table of the recipe: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class IndexSection(Section):
    """Where the index lies and what it is made from; `store` is a URL, or empty for Chroma."""

    path: str = ".rag/index"
    store: str = ""
    documents: str = ""
    embedder: str = MINILM
    engine: EngineSettings = EngineSettings()
    chunking: ChunkSettings = ChunkSettings()


class ProgramSection(Section):
    """Which program answers.

    Attributes:
        kind: Plain dense, dense and BM25, those reranked, or several searches per question.
        reranker: "maxsim", "listwise" or "pointwise" (by the language model), "library:NAME" for
            a model of the `rerankers` library, "none" (multihop only), or a cross-encoder's name.
        backend: What runs a cross-encoder.
        expansion: How queries are written for a question before the search.
        hops: Most searches for one question; multihop only.
        abstain: Say "I don't know" when less sure than the knob `abstain_below`.
        conversation: Take a history, and rewrite the question so that it stands alone.
    """

    kind: ProgramKind = "rerank"
    reranker: str = "maxsim"
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    expansion: Expansion = "none"
    hops: int = Field(2, ge=1, le=8)
    abstain: bool = False
    conversation: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.reranker == "none" and self.kind == "rerank":
            raise ValueError('kind "rerank" needs a reranker: name one, or use kind "hybrid"')
        if self.expansion != "none" and self.kind == "rag":
            raise ValueError(f'kind "rag" takes no expansion, got {self.expansion!r}: use "hybrid"')
        return self

    @property
    def reranks(self) -> bool:
        """Whether a reranker is part of the program."""
        return self.kind == "rerank" or (self.kind == "multihop" and self.reranker != "none")


class LMSection(Section):
    """Which language model answers: "extractive", or any LiteLLM model string.

    Keys come from the environment (`OPENAI_API_KEY` and so on), never from here. `context_window`
    is how many tokens it can read and write together, where DSPy does not know it. `timeout` is in
    seconds; prices are US dollars per million tokens, needed to cap costs where no list has them.
    """

    model: str = "extractive"
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    api_base: str | None = None
    context_window: int | None = Field(None, ge=256)
    timeout: float | None = Field(None, gt=0)
    num_retries: int | None = Field(None, ge=0)
    prompt_price: float | None = Field(None, ge=0)
    completion_price: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _both_prices(self) -> Self:
        if (self.prompt_price is None) != (self.completion_price is None):
            raise ValueError("give prompt_price and completion_price, or none of them")
        return self


class DataSection(Section):
    """The training set and how it is split: by group, so no group is on two sides."""

    trainset: str = ""
    train: float = Field(0.4, gt=0, lt=1)
    dev: float = Field(0.2, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _test_is_left(self) -> Self:
        if self.train + self.dev >= 1:
            raise ValueError("train and dev leave nothing for test: keep their sum under 1")
        return self


class CompileSection(Section):
    """What compiling may try, and for how long.

    Attributes:
        options: Settings of the optimizer alone; docs/optimizers.md lists them.
        writer: A language model that writes instructions and judges answers; by default the one
            that answers.
        finalists: For how many of the shortlisted retrieval settings prompts are learned.
        timeout: Seconds after which a question counts as failed.
    """

    optimizer: Teleprompter = "bootstrap-random-search"
    options: dict[str, bool | int | float | str] = {}
    writer: str = ""
    finalists: int = Field(1, ge=1)
    timeout: float = Field(120, gt=0)
    metric: str = "answer_f1"
    retrieval_metric: str = "ndcg@10"
    retrieval_trials: int = Field(150, ge=0)
    shortlist: int = Field(3, ge=1)
    max_labeled_demos: int = Field(8, ge=0)
    max_bootstrapped_demos: int = Field(2, ge=0)
    candidates: int = Field(6, ge=1)
    threshold: float = Field(0.6, ge=0, le=1)
    threads: int = Field(4, ge=1)
    seed: int = 0

    @field_validator("optimizer", mode="before")
    @classmethod
    def _not_refused(cls, name: object) -> object:
        if isinstance(name, str) and name in REFUSED:
            raise ValueError(f"{name!r} is refused: {REFUSED[name]}")
        return name


class Recipe(Section):
    """How to build an index and a program, and how to compile it.

    Attributes:
        name: Names the artifact and the MLflow experiment: letters, digits, `-` and `_`.
        fallback: What a served program does when a stage fails; not heeded while compiling.
        knobs: Where the retrieval knobs start.
        baseline: What the compiled program is compared with; plain dense top 5 by default.
    """

    name: str = Field("ragwright", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    index: IndexSection = IndexSection()
    program: ProgramSection = ProgramSection()
    lm: LMSection = LMSection()
    data: DataSection = DataSection()
    compile: CompileSection = CompileSection()
    fallback: FallbackSettings = FallbackSettings()
    knobs: KnobValues = KnobValues()
    baseline: KnobValues = KnobValues.dense(k=5)

    @model_validator(mode="after")
    def _token_vectors_are_there(self) -> Self:
        name = self.index.embedder
        if self.program.reranks and self.program.reranker == "maxsim" and is_hosted(name):
            raise ValueError(
                f'reranker "maxsim" needs token vectors, which the embedder {name!r} has none of: '
                'use a cross-encoder, or kind "hybrid"'
            )
        return self

    @property
    def reader(self) -> str:
        """What the offline language model compares sentences with: no model behind an API."""
        return MINILM if is_hosted(self.index.embedder) else self.index.embedder

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a recipe; relative paths in it count from the file's folder.

        Args:
            path: The file; `#NAME` behind it takes that variant of the index.

        Raises:
            InputError: There is no such file or variant, or it is not TOML.
            RecipeError: An unknown key, a wrong type or a value out of range, in any variant.
        """
        file, variant = named(path)
        table, variants = parted(_read(file))
        recipe = cls.checked(table, source=str(file))
        read = {name: recipe.varied(name, variants[name], source=str(file)) for name in variants}
        if variant not in {"", *read}:
            raise unknown(str(file), variant, variants)
        return read.get(variant, recipe).beside(file.resolve().parent)

    def varied(self, name: str, changes: Mapping[str, Any], *, source: str = "the recipe") -> Self:
        """Return the recipe with another index of the same documents.

        Args:
            name: Becomes a part of the index's path.
            changes: The keys of `[index]` that differ: `{"chunking": {"size": 100}}`, say.
            source: What errors call the recipe.

        Raises:
            RecipeError: An unknown key, a wrong type or a value out of range.
        """
        table = self.model_dump()
        index = varied(table["index"], name, changes)
        return self.checked({**table, "index": index}, source=f"{source}#{name}")

    @classmethod
    def checked(cls, table: object, *, source: str = "the recipe") -> Self:
        """Validate plain values.

        Raises:
            RecipeError: An unknown key, a wrong type or a value out of range.
        """
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            raise RecipeError(
                f"Wrong recipe {source}: {describe(error)}.",
                hint="docs/recipe.md lists every key.",
            ) from error

    def beside(self, folder: Path) -> Self:
        """Return a copy whose paths are absolute, counted from `folder`."""
        index = self.index.model_copy(
            update={
                "path": _resolved(folder, self.index.path),
                "documents": _source(folder, self.index.documents),
                "store": _located(folder, self.index.store),
            }
        )
        data = self.data.model_copy(update={"trainset": _resolved(folder, self.data.trainset)})
        return self.model_copy(update={"index": index, "data": data})


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"Cannot read the recipe {str(file)!r}: {error.strerror}.",
            hint="Give the path of a TOML file; docs/recipe.md shows one.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{str(file)!r} is not TOML: {error}.") from error


def _source(folder: Path, source: str) -> str:
    """Resolve where documents come from, unless that is no path."""
    return source if source == STDIN or source.startswith(HUB) else _resolved(folder, source)


def _resolved(folder: Path, path: str) -> str:
    return str((folder / path).resolve()) if path else ""


def _located(folder: Path, store: str) -> str:
    return str(StoreURL.parse(store).beside(folder)) if store else ""
