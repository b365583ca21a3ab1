"""Chooses the variant of a recipe's index that holds most of what questions want.

Variants cut the same documents otherwise. They are compared at equal tokens of context, by how much
of what questions want stands in it, before any call of a language model is spent. All are first
searched by keyword alone, which needs no vectors; the best few are ingested and searched as the
program would. The recipe's own index is given up only for one that is better by more than a
standard error. Where evidence cannot tell, answers decide: see `variant_decision.py`. Test
questions measure the choice, and take no part in it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Question, Splits
from ragwright.optimize.retrieval.evidence import WantedEvidence
from ragwright.optimize.scoring.statistics import Gain, Scores, paired_gain
from ragwright.optimize.study.pooling import with_all_signals
from ragwright.optimize.variant_answers import ByAnswers
from ragwright.optimize.variant_decision import OWN, decide_variant
from ragwright.programs.build import build_program, index_settings
from ragwright.programs.context import build_context
from ragwright.programs.knobs import KnobValues
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.cache import with_cache
from ragwright.retrievers.chunking import (
    ChunkSettings,
    Embed,
    child_chunks,
    parent_chunks,
    text_to_search,
)
from ragwright.retrievers.documents import ReadOptions, read_documents
from ragwright.retrievers.embedding import Floats, load_embedder
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.keyword import KeywordIndex, KeywordRow
from ragwright.retrievers.stamp import prompts_in_force
from ragwright.retrievers.types import Chunk, Document, Passage

INGESTED = 2
"""How many variants are ingested, besides the recipe's own index: an ingest is what costs."""
COST = 3.0
"""How much text all of them may embed, in that of the recipe's own index. One is always tried."""
KEPT = "variants.json"
MOST = 50


@dataclass(frozen=True)
class VariantRow:
    """How one index did.

    Attributes:
        name: "recipe", or the variant's.
        chunking: How it cuts.
        keyword: Share of what is wanted that is read, searching by keyword alone.
        held: The same, searching as the program does; None where it was dropped before.
        answers: Mean score of the answers over it; None where none were asked for.
        chunks: How many pieces are searched.
        characters: How much text that is; overlaps and headings count each time.
        embedded: Texts that had to be embedded for it; others were in the cache of vectors.
        seconds: What cutting, ingesting and searching it took.
    """

    name: str
    chunking: Mapping[str, Any]
    keyword: float
    held: float | None = None
    answers: float | None = None
    chunks: int = 0
    characters: int = 0
    embedded: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class VariantChoice:
    """What was chosen, and what it came to.

    Attributes:
        chosen: The name of the index that the program is compiled on.
        tokens: The size of the context that all were compared at.
        rows: Every index, the recipe's own first.
        gain: The chosen one against the recipe's own on test; None where that is the same.
        questions: How many chose.
        answered: How many of them were answered over every index that evidence left.
        calls: Of the language model for that.
        why: Why answers were asked, or were not although evidence left several; in a sentence.
    """

    chosen: str
    tokens: int
    rows: tuple[VariantRow, ...]
    gain: Gain | None
    questions: int
    answered: int = 0
    calls: int = 0
    why: str = ""

    @property
    def described(self) -> str:
        """What the choice came to on test, in plain words."""
        told = f"{self.why} " if self.why else ""
        if self.gain is None:
            return (
                f"{told}No variant was better than the recipe's own index by a standard error: it "
                "is kept."
            )
        gain = self.gain
        return (
            f"{told}"
            f"On {gain.n} test questions, {self.chosen!r} holds {gain.gain:+.3f} more than the "
            f"recipe's own index ({gain.low:+.3f} to {gain.high:+.3f}; better on {gain.wins}, "
            f"worse on {gain.losses}). Every program of this report, the baseline too, reads the "
            "chosen index, in as many tokens: their differences are what compiling adds to that."
        )

    def write(self, folder: Path) -> None:
        """Keep it in a run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / KEPT).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> VariantChoice | None:
        """Return what a run has chosen before; None if it has not, or the file is damaged."""
        try:
            table = json.loads((folder / KEPT).read_text(encoding="utf-8"))
            gain = Gain(**table.pop("gain")) if table["gain"] else table.pop("gain")
            rows = tuple(VariantRow(**row) for row in table.pop("rows"))
            return cls(rows=rows, gain=gain, **table)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            return None


@dataclass(frozen=True)
class VariantContest:
    """What every index is judged by.

    Attributes:
        recipe: The recipe with its own index.
        splits: Train and dev choose, test measures.
        tokens: The size of the context.
        by: Asks for answers where evidence cannot tell; None where nobody may.
        progress: Told what is being done.
    """

    recipe: Recipe
    splits: Splits
    tokens: int
    by: ByAnswers | None = None
    progress: StageProgress | None = None

    @property
    def choosing(self) -> list[Question]:
        return [*self.splits.train, *self.splits.dev]

    def read(self, passages: Sequence[Passage], question: Question) -> float:
        """How much of what a question wants stands in a context of these passages, best first."""
        context = build_context(passages, self.tokens)
        return WantedEvidence.by(question).held(context.passages)


def choose_variant(
    recipe: Recipe,
    splits: Splits,
    *,
    folder: Path,
    by: ByAnswers | None = None,
    progress: StageProgress | None = None,
) -> tuple[Recipe, VariantChoice | None]:
    """Return the recipe with the index to compile on, and how that was chosen.

    Start and baseline of the returned recipe read as many tokens as the given one's: more
    passages of a smaller size.

    Args:
        recipe: With its own index.
        splits: Train and dev choose, test measures.
        folder: The run's, which keeps the choice.
        by: Asks for answers where evidence cannot tell; None where nobody may.
        progress: Told what is being done.

    Raises:
        InputError: A name is of no variant, or the recipe does not say where its documents are.
    """
    recipes = variants_of(recipe)
    if len(recipes) == 1:
        return recipe, None
    found = VariantChoice.read(folder)
    cuts = {name: _cut(one) for name, one in recipes.items()}
    if found is None or {row.name: dict(row.chunking) for row in found.rows} != cuts:
        found = _chosen(recipes, _contest(recipe, splits, by, progress))
        found.write(folder)
    chosen = recipes[found.chosen]
    return keep_context_size(recipe, chosen), found


def variants_of(recipe: Recipe) -> dict[str, Recipe]:
    """Return the recipe's own index and the variants that `[compile] variants` names, by name."""
    wanted, given = recipe.compile.variants, recipe.index_variants
    if not wanted:
        return {OWN: recipe}
    if not recipe.index.documents:
        raise InputError(
            "[compile] variants needs the documents, to cut them otherwise.",
            hint="Set documents in the recipe's [index] table.",
        )
    tables = chunking_grid(recipe.index.chunking) if wanted == "auto" else given
    names = tables if wanted == "auto" else wanted
    if missing := [name for name in names if name not in tables]:
        raise InputError(
            f"[compile] variants names {missing[0]!r}, but the recipe has no such variant.",
            hint=f"Add a table [index.variants.{missing[0]}], or take it out.",
        )
    return {OWN: recipe, **{name: recipe.varied(name, tables[name]) for name in names}}


def chunking_grid(own: ChunkSettings) -> dict[str, dict[str, Any]]:
    """A few other ways to cut, around how an index does: each changes one thing."""
    size = own.size
    kind = "recursive" if own.kind == "markdown" else "markdown"
    ways: dict[str, dict[str, Any]] = {
        "auto_half": {"size": max(8, size // 2), "overlap": min(own.overlap, size // 4)},
        "auto_double": {"size": 2 * size, "parent_size": 0},
        "auto_overlap": {"overlap": 0 if own.overlap else size // 4},
        "auto_parents": {"size": max(8, size // 2), "overlap": 0, "parent_size": 2 * size},
        f"auto_{kind}": {"kind": kind},
    }
    if own.parent_size:
        ways["auto_parents"] = {"parent_size": 0}
    if not own.headers:
        ways["auto_headers"] = {"headers": True}
    now = own.model_dump()
    return {name: {"chunking": changes} for name, changes in ways.items()
            if any(now[key] != value for key, value in changes.items())}  # fmt: skip


def _contest(
    recipe: Recipe, splits: Splits, by: ByAnswers | None, progress: StageProgress | None
) -> VariantContest:
    chunking = recipe.index.chunking
    passage = chunking.parent_size or chunking.size
    tokens = min(recipe.knobs.context_tokens, recipe.knobs.k * passage)
    return VariantContest(recipe, splits, tokens, by, progress)


def _chosen(recipes: Mapping[str, Recipe], contest: VariantContest) -> VariantChoice:
    rows = {name: _by_keyword(contest, name, one) for name, one in recipes.items()}
    ingested = _worth_ingesting(rows)
    scores: dict[str, Scores] = {}
    for number, name in enumerate(ingested):
        if contest.progress:
            contest.progress("variants", number + 1, len(ingested))
        rows[name], scores[name] = _as_the_program(contest, rows[name], recipes[name])
    alike = {name: keep_context_size(contest.recipe, recipes[name]) for name in ingested}
    done = decide_variant(alike, scores, contest.choosing, contest.by)
    best = done.chosen
    return VariantChoice(
        chosen=best,
        tokens=contest.tokens,
        rows=tuple(replace(row, answers=done.answers.get(name)) for name, row in rows.items()),
        gain=_gain(contest, recipes[OWN], recipes[best]) if best != OWN else None,
        questions=len(contest.choosing),
        answered=done.answered,
        calls=done.calls,
        why=done.why,
    )


def _worth_ingesting(rows: Mapping[str, VariantRow]) -> list[str]:
    """The recipe's own index and those that hold most by keyword, while the cost allows."""
    chosen, spent = [OWN], rows[OWN].characters
    others = sorted((row for row in rows.values() if row.name != OWN), key=lambda r: -r.keyword)
    for row in others:
        affordable = spent + row.characters <= COST * rows[OWN].characters
        if len(chosen) <= INGESTED and (affordable or chosen == [OWN]):
            chosen.append(row.name)
            spent += row.characters
    return chosen


def _by_keyword(contest: VariantContest, name: str, recipe: Recipe) -> VariantRow:
    """Cut the documents and search them by keyword alone, in memory but for the keyword index."""
    started, settings = time.perf_counter(), recipe.index.chunking
    held: dict[str, Chunk] = {}
    lengths: list[int] = []

    def entering() -> Iterator[KeywordRow]:
        for row in _entering(_documents(recipe), settings, _embedding(recipe), held):
            lengths.append(len(row[1]))
            yield row

    with TemporaryDirectory() as folder:
        index = KeywordIndex(Path(folder) / "keyword", create=True, language=recipe.index.language)
        index.write(entering())
        index.reload()
        scores = [
            contest.read(_returned(held, index.query(question.question, MOST)), question)
            for question in contest.choosing
        ]
        index.close()
    seconds = time.perf_counter() - started
    size = {"chunks": len(held), "characters": sum(lengths)}
    return VariantRow(name, _cut(recipe), float(np.mean(scores)), seconds=seconds, **size)


def _cut(recipe: Recipe) -> dict[str, Any]:
    """How the index of a recipe cuts, in JSON's types: what differs from the defaults."""
    settings = recipe.index.chunking
    return settings.model_dump(mode="json", exclude_defaults=True) | {"size": settings.size}


def _as_the_program(
    contest: VariantContest, row: VariantRow, recipe: Recipe
) -> tuple[VariantRow, Scores]:
    """Ingest an index and search it as the program would."""
    started = time.perf_counter()
    report = ingest(_documents(recipe), recipe.index.path, index_settings(recipe))
    scores = _searched(contest, recipe, contest.choosing)
    seconds = row.seconds + time.perf_counter() - started
    return replace(
        row, held=float(scores.mean()), embedded=report.embedded, seconds=seconds
    ), scores


def _searched(contest: VariantContest, recipe: Recipe, questions: Sequence[Question]) -> Scores:
    reading = {"k": MOST, "context_tokens": contest.tokens}
    knobs = contest.recipe.knobs.replaced(**reading)
    program = build_program(with_all_signals(recipe.model_copy(update={"knobs": knobs})))
    return np.array([
        contest.read(program.retriever(question.question).passages, question)
        for question in questions
    ])  # fmt: skip


def _gain(contest: VariantContest, own: Recipe, chosen: Recipe) -> Gain:
    test = contest.splits.test
    before, after = (_searched(contest, one, test) for one in (own, chosen))
    seed = contest.recipe.compile.seed
    return paired_gain(before, after, groups=[question.group for question in test], seed=seed)


def keep_context_size(own: Recipe, other: Recipe) -> Recipe:
    """Let start and baseline read as many tokens as before, from chunks of another size."""
    before, after = (r.index.chunking.parent_size or r.index.chunking.size for r in (own, other))

    def alike(knobs: KnobValues) -> KnobValues:
        return knobs.replaced(k=max(1, min(MOST, round(knobs.k * before / after))))

    return own.like(other.model_copy(update={"knobs": alike(own.knobs),
                                             "baseline": alike(own.baseline)}))  # fmt: skip


def _documents(recipe: Recipe) -> Iterator[Document]:
    """Read them as `rag ingest` does; what it skipped and said so is skipped again."""
    section = recipe.index.reading
    options = ReadOptions(**section.model_dump(exclude={"on_error"}), on_error="skip")
    return read_documents(recipe.index.documents, options)


def _entering(
    documents: Iterable[Document], settings: ChunkSettings, embed: Embed, held: dict[str, Chunk]
) -> Iterator[KeywordRow]:
    """Yield what a keyword index takes; `held` gets what is returned for each piece."""
    for document in documents:
        for parent in parent_chunks(document, settings, embed=embed):
            for piece in child_chunks(parent, settings):
                held[piece.id] = parent
                yield piece.id, text_to_search(piece, settings), piece.metadata


def _embedding(recipe: Recipe) -> Embed:
    """What the kind "semantic" cuts by; the other kinds never call it, and nothing is loaded."""

    def embed(texts: Sequence[str]) -> Floats:
        settings = index_settings(recipe)
        prompt = prompts_in_force(settings).of("document")
        embedder = load_embedder(settings.embedder, settings.engine, prompt)
        return with_cache(embedder, prompt).encode(texts).vectors

    return embed


def _returned(held: Mapping[str, Chunk], ranked: Mapping[str, float]) -> list[Passage]:
    """The passages of a ranking, each once."""
    found = {held[id].id: held[id] for id in ranked}
    return [
        Passage(one.text, id=one.id, metadata={**one.metadata, "document": one.document_id})
        for one in found.values()
    ]
