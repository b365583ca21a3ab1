"""`Recipe`: reads and checks the TOML file that says how to build an index and a program.

It says what to build, never what was learned (that is the program's state). Unknown keys are
errors, so a typo cannot pass. Its tables are in `sections.py`. Knows how to read itself, not how to
build anything: see `build.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from ragwright.programs.knobs import KnobValues
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.sections import (
    DEFAULT_RERANKER,
    CompileSection,
    DataSection,
    IndexSection,
    LMSection,
    ProgramSection,
    RecipeSection,
    TrackingSection,
    WriterSection,
    reranking_signal,
)
from ragwright.programs.variants import (
    apply_variant,
    parse_recipe_reference,
    split_off_variants,
    unknown_variant,
)
from ragwright.retrievers.documents import HUB, STDIN
from ragwright.retrievers.embedding import is_hosted
from ragwright.retrievers.errors import InputError, RecipeError
from ragwright.retrievers.settings import describe_setting_errors
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.toml import read_toml
from ragwright.retrievers.trust import import_allowed


@dataclass(frozen=True, slots=True)
class ImportRights:
    """What a recipe may import, and from where, and the variants of its index that its file has.

    No part of what the recipe says: two that say the same are equal.
    """

    modules: tuple[str, ...] = field(default=(), compare=False)
    folder: Path | None = field(default=None, compare=False)
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False)


RERANKER_WEIGHT = 1.0
"""Of a configured reranker: as much as dense and BM25, 0.5 each, together."""


class Recipe(RecipeSection):
    """How to build an index and a program, and how to compile it.

    Attributes:
        name: Names the artifact and the MLflow experiment: letters, digits, `-` and `_`.
        fallback: What a served program does when a stage fails; not heeded while compiling.
        knobs: Where the retrieval knobs start.
        baseline: What the compiled program is compared with; plain dense top 5 by default.
    """

    name: str = Field(default="ragwright", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    index: IndexSection = IndexSection()
    program: ProgramSection = ProgramSection()
    lm: LMSection = LMSection()
    writer: WriterSection = WriterSection()
    data: DataSection = DataSection()
    compile: CompileSection = CompileSection()
    tracking: TrackingSection = TrackingSection()
    fallback: FallbackSettings = FallbackSettings()
    knobs: KnobValues = KnobValues()
    baseline: KnobValues = KnobValues.dense(k=5)

    @model_validator(mode="before")
    @classmethod
    def _a_reranker_counts(cls, table: Any) -> Any:
        """Give the reranker that the program has a weight, where the recipe says nothing of one."""
        if not isinstance(table, Mapping):
            return table
        program, knobs = table.get("program", {}), table.get("knobs", {})
        if not isinstance(knobs, Mapping) or not isinstance(program, Mapping | ProgramSection):
            return table  # a KnobValues, or an error that the fields tell
        signal = reranking_signal(program)
        if signal is None or f"weight_{signal}" in knobs:
            return table
        return {**table, "knobs": {**knobs, f"weight_{signal}": RERANKER_WEIGHT}}

    @model_validator(mode="after")
    def _token_vectors_are_there(self) -> Self:
        name, chosen = self.index.embedder, self.program.reranker
        if self.program.reranks and chosen == DEFAULT_RERANKER and is_hosted(name):
            raise ValueError(
                f'reranker "{chosen}" needs token vectors, which the embedder {name!r} '
                'has none of: use a cross-encoder, or kind "hybrid"'
            )
        return self

    _allowed: ImportRights = PrivateAttr(default_factory=ImportRights)

    @property
    def index_variants(self) -> Mapping[str, Mapping[str, Any]]:
        """Other indexes of the same documents: the keys of `[index]` that differ, by name."""
        return self._allowed.variants

    @property
    def trust(self) -> tuple[str, ...]:
        """The modules that the caller allows it to import; no file says that."""
        return self._allowed.modules

    def trusting(self, trust: Iterable[str], *, folder: Path | None = None) -> Self:
        """Return a copy that may import these modules.

        Args:
            trust: Modules, or packages above them.
            folder: Where they are looked for, besides where Python finds them.
        """
        copy = self.model_copy()
        copy._allowed = replace(
            self._allowed, modules=tuple(trust), folder=folder or self._allowed.folder
        )
        return copy

    def like(self, other: Self) -> Self:
        """Return another recipe that may import what this one may, and knows its variants."""
        copy = other.trusting(self.trust, folder=self._allowed.folder)
        return copy.with_variants(self.index_variants)

    def with_variants(self, variants: Mapping[str, Mapping[str, Any]]) -> Self:
        """Return a copy that knows these variants of its index."""
        copy = self.model_copy()
        copy._allowed = replace(self._allowed, variants=dict(variants))
        return copy

    def part(self, reference: str) -> Any:
        """Import what a `module:Class` in it names, if the caller allowed that.

        Raises:
            InputError: The caller did not, or it cannot be imported.
        """
        return import_allowed(reference, self.trust, beside=self._allowed.folder)

    @classmethod
    def from_toml(cls, path: str | Path, *, trust: Iterable[str] = ()) -> Self:
        """Read a recipe; relative paths in it count from the file's folder.

        Args:
            path: The file; `#NAME` behind it takes that variant of the index.
            trust: The modules that it may import, for parts that it names as `module:Class`.

        Raises:
            InputError: There is no such file or variant, or it is not TOML.
            RecipeError: An unknown key, a wrong type or a value out of range, in any variant.
        """
        file, variant = parse_recipe_reference(path)
        table, variants = split_off_variants(_read(file))
        recipe = cls.checked(table, source=str(file))
        read = {name: recipe.varied(name, variants[name], source=str(file)) for name in variants}
        if variant not in {"", *read}:
            raise unknown_variant(str(file), variant, variants)
        folder = file.resolve().parent
        chosen = read.get(variant, recipe).with_variants({} if variant else variants)
        return chosen.beside(folder).trusting(trust, folder=folder)

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
        index = apply_variant(table["index"], name, changes)
        other = self.checked({**table, "index": index}, source=f"{source}#{name}")
        return self.like(other)

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
                f"Wrong recipe {source}: {describe_setting_errors(error, cls)}",
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
    if not file.is_file():
        raise InputError(
            f"Cannot read the recipe {str(file)!r}: No such file or directory.",
            hint="Give the path of a TOML file; docs/recipe.md shows one.",
        )
    return read_toml(file)


def _source(folder: Path, source: str) -> str:
    """Resolve where documents come from, unless that is no path."""
    return source if source == STDIN or source.startswith(HUB) else _resolved(folder, source)


def _resolved(folder: Path, path: str) -> str:
    if "\0" in path:
        raise RecipeError(f"{path[:200]!r} is no path.", hint="Write one without \\u0000.")
    # `~` as a shell reads it, which reads none of what stands in a file.
    return str((folder / os.path.expanduser(path)).resolve()) if path else ""  # noqa: PTH111


def _located(folder: Path, store: str) -> str:
    return str(StoreURL.parse(store).beside(folder)) if store else ""
