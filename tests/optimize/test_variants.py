"""Index variants: chosen at equal tokens by what they hold; the artifact is bound to the best."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright.artifacts import save
from ragwright.optimize import compile_program, variants, write_report
from ragwright.optimize.compile import split_questions
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.questions.data import Question, read_questions
from ragwright.optimize.retrieval.evidence import WantedEvidence as WantedTexts
from ragwright.optimize.variant_decision import OWN
from ragwright.optimize.variants import (
    KEPT,
    VariantChoice,
    VariantRow,
    choose_variant,
    chunking_grid,
    variants_of,
)
from ragwright.programs.build import index_settings
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.lm import build_lm
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.errors import CompileError, InputError
from ragwright.retrievers.index import close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Passage

NAMES = [f"{first}{last}" for first in ("Bel", "Cor", "Dun", "Fal", "Gar", "Hol")
         for last in ("ford", "wick", "ton", "ham", "by", "mouth")]  # fmt: skip
FILLER = "The harbour office keeps long records of tides, tolls, storms and visiting ships there. "


def year(name: str) -> int:
    return 1500 + 7 * NAMES.index(name)


def evidence(name: str) -> str:
    return (
        f"The mayor of {name} was chosen in the year {1500 + 7 * NAMES.index(name)} by the guild."
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Documents of which one sentence is wanted, a recipe that cuts them coarse, variants."""
    home = tmp_path_factory.mktemp("variants")
    rows = [{"_id": name, "title": "", "text": FILLER * 2 + evidence(name) + " " + FILLER * 2}
            for name in NAMES]  # fmt: skip
    pairs = [(name, NAMES[(place + 13) % len(NAMES)]) for place, name in enumerate(NAMES)]
    asked = [{"question": f"When were the mayors of {one} and {other} chosen by the guild?",
              "answer": str(year(one)), "evidence": [evidence(one), evidence(other)],
              "documents": [one, other]} for one, other in pairs]  # fmt: skip
    for file, table in (("documents.jsonl", rows), ("questions.jsonl", asked)):
        text = "".join(json.dumps(row) + "\n" for row in table)
        (home / file).write_text(text, encoding="utf-8")
    (home / "recipe.toml").write_text(
        """
name = "mayors"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
chunking = { size = 140 }
[index.variants.whole]
chunking = { size = 110 }
[index.variants.small]
chunking = { size = 24 }
[index.variants.tiny]
chunking = { size = 8 }
[knobs]
k = 1
[baseline]
weight_dense = 1.0
weight_bm25 = 0.0
k = 1
[data]
trainset = "questions.jsonl"
train = 0.22
dev = 0.22
[compile]
variants = ["whole", "small", "tiny"]
optimizer = "none"
retrieval_trials = 0
shortlist = 1
threads = 2
""",
        encoding="utf-8",
    )
    yield home
    for path in home.glob("index*"):
        close_index(path)


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return Recipe.from_toml(folder / "recipe.toml")


def changed(recipe: Recipe, **compiling: Any) -> Recipe:
    section = recipe.compile.model_copy(update=compiling)
    return recipe.model_copy(update={"compile": section})


@pytest.mark.parametrize("held", [b"\x93\xff", b"[]", b"{}", b'{"gain": 1, "rows": [1]}'])
def test_a_choice_that_is_damaged_is_made_again(tmp_path: Path, held: bytes) -> None:
    (tmp_path / KEPT).write_bytes(held)
    assert VariantChoice.read(tmp_path) is None


def test_the_artifact_is_bound_to_the_variant_that_holds_most(folder: Path, recipe: Recipe) -> None:
    result = compile_program(recipe, run_dir=folder / "run")
    found = result.variants
    assert found is not None
    assert (found.chosen, found.tokens) == ("small", 140)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == [OWN, "whole", "small", "tiny"]
    # The worst was dropped before anything was embedded for it.
    assert [name for name, row in rows.items() if row.held is None] == ["tiny"]
    assert rows["tiny"].embedded == 0
    assert not (folder / "index-tiny").exists()
    assert (rows["small"].held or 0) > (rows[OWN].held or 0)
    assert found.gain is not None
    assert found.gain.gain > 0.1
    assert found.gain.n == len(result.splits.test)
    assert result.recipe.index.path == str(folder / "index-small")
    # As many tokens as before: 140 are some 6 chunks of 24.
    assert result.baseline_setting.first.k == 6
    version = save(result.program, folder / "artifact", recipe=result.recipe)
    manifest = (version / "manifest.json").read_text(encoding="utf-8")
    assert open_index(folder / "index-small").fingerprint in manifest
    report = write_report(result, folder / "report") / "report.md"
    shown = report.read_text(encoding="utf-8")
    assert "| small (chosen) | size 24 |" in shown
    assert "reads the chosen index" in shown


def test_a_run_that_goes_on_does_not_choose_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = split_questions(recipe, read_questions(recipe.data.trainset).questions)
    first, found = choose_variant(recipe, splits, folder=tmp_path)
    chosen = VariantChoice(OWN, 140, (VariantRow(OWN, {}, 0.9),), None, 8)
    monkeypatch.setattr(variants, "_chosen", lambda *_: chosen)
    again, known = choose_variant(recipe, splits, folder=tmp_path)
    assert (again, known) == (first, found)
    # Other ways to cut were never compared, whatever they are called.
    other = recipe.with_variants({**recipe.index_variants, "small": {"chunking": {"size": 30}}})
    assert choose_variant(other, splits, folder=tmp_path)[1] is chosen


@pytest.mark.parametrize(
    ("sizes", "ingested"),
    [
        ((100, 90, 80), ["a", "b"]),
        ((150, 60, 40), ["a", "c"]),  # the second is too dear, the third is not
        ((500, 10, 10), ["a"]),  # one is always tried
        ((100, 101, 101), ["a"]),
    ],
)
def test_all_that_are_ingested_cost_at_most_three_times_the_own(
    sizes: tuple[int, ...], ingested: list[str]
) -> None:
    rows = {OWN: VariantRow(OWN, {}, 0.9, characters=100)}
    for place, (name, size) in enumerate(zip("abc", sizes, strict=True)):
        rows[name] = VariantRow(name, {}, 0.8 - place / 10, characters=size)
    assert variants._worth_ingesting(rows) == [OWN, *ingested]


def test_without_a_better_one_the_own_index_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    splits = split_questions(recipe, read_questions(recipe.data.trainset).questions)
    kept, found = choose_variant(changed(recipe, variants=("whole",)), splits, folder=tmp_path)
    assert found is not None
    assert (found.chosen, found.gain) == (OWN, None)
    assert kept.index.path == recipe.index.path
    assert "it is kept" in found.described


def test_what_is_asked_for_must_be_there(recipe: Recipe) -> None:
    assert list(variants_of(changed(recipe, variants=()))) == [OWN]
    with pytest.raises(InputError, match="'large'"):
        variants_of(changed(recipe, variants=("large",)))
    bare = recipe.model_copy(update={"index": recipe.index.model_copy(update={"documents": ""})})
    with pytest.raises(InputError, match="needs the documents"):
        variants_of(bare)


@pytest.mark.parametrize(
    "own", [{}, {"size": 8}, {"size": 100, "overlap": 50}, {"kind": "markdown", "headers": False},
            {"size": 40, "parent_size": 400}]
)  # fmt: skip
def test_the_grid_changes_one_thing_at_a_time(own: dict[str, Any], recipe: Recipe) -> None:
    index = recipe.index.model_copy(update={"chunking": ChunkSettings(**own)})
    wide = changed(recipe.model_copy(update={"index": index}), variants="auto")
    found = variants_of(wide)
    assert len(found) >= 5
    assert len({one.index.path for one in found.values()}) == len(found)
    assert list(found) == [OWN, *chunking_grid(index.chunking)]
    assert all(one.index.chunking != index.chunking for name, one in found.items() if name != OWN)


def passage(text: str, document: str = "a") -> Passage:
    return Passage(text, metadata={"document": document})


def test_what_is_held_does_not_depend_on_where_texts_are_cut() -> None:
    asked = Question("1", "?", ("x",), documents=("a",), evidence=(evidence("Belford"),))
    words = evidence("Belford").split()
    wanted = WantedTexts.by(asked)
    assert wanted.held([passage(" ".join(words))]) == 1
    halves = [passage(" ".join(words[:7])), passage(" ".join(words[7:]))]
    assert 0.5 < wanted.held(halves) < 1
    assert wanted.held(halves[:1]) < wanted.held(halves)
    assert wanted.held([passage(" ".join(words), "b")]) == 0
    assert wanted.held([]) == 0


def test_an_answer_is_looked_for_in_the_documents_that_are_named() -> None:
    asked = Question("1", "?", ("red and green",), documents=("a",))
    wanted = WantedTexts.by(asked)
    assert wanted.held([passage("green, blue and white")]) == pytest.approx(2 / 3)
    assert wanted.held([passage("red and green", "b")]) == 0
    named = WantedTexts.by(replace(asked, answers=("1",)))
    assert named.held([passage("anything")]) == 1
    short = WantedTexts.by(replace(asked, evidence=("red",)))
    assert (short.held([passage("so red")]), short.held([passage("so blue")])) == (1, 0)


class Mayors(dspy.Module):
    """A program of one's own over the same index."""

    def __init__(self, path: str) -> None:
        super().__init__()
        knobs = Knobs(KnobValues(k=1, weight_dense=0.5, weight_bm25=0.5))
        self.search = HybridRetriever(path, knobs=knobs)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question).passages, question=question)


def test_a_program_of_ones_own_is_moved_to_the_variant_that_holds_most(
    folder: Path, recipe: Recipe, tmp_path: Path
) -> None:
    ingest(read_documents(folder / "documents.jsonl"), folder / "index", index_settings(recipe))
    rows = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    examples = [dspy.Example(**json.loads(row)).with_inputs("question") for row in rows]
    ways = {"small": {"chunking": {"size": 24}}, "tiny": {"chunking": {"size": 8}}}
    student = Mayors(str(folder / "index"))
    compiled = JointOptimizer(
        metric="answer_f1", prompts=None, lm=build_lm("extractive"), run_dir=tmp_path / "run",
        variants=ways, documents=folder / "documents.jsonl", retrieval_trials=0, shortlist=1,
    ).compile(student, trainset=examples)  # fmt: skip
    assert compiled.search.path == str(folder / "index-small")
    assert student.search.path == str(folder / "index")
    result = compiled.compile_result
    assert (result.variants.chosen, result.baseline_setting.first.k) == ("small", 6)
    assert "index-small" in (save(compiled, tmp_path / "kept") / "manifest.json").read_text()


def test_variants_are_of_one_index(folder: Path, tmp_path: Path) -> None:
    optimizer = JointOptimizer(metric="answer_f1", lm=build_lm("extractive"), run_dir=tmp_path,
                               variants="auto", documents=folder)  # fmt: skip
    examples = [dspy.Example(question=f"q{n}", answer="a").with_inputs("question")
                for n in range(20)]  # fmt: skip
    with pytest.raises(CompileError, match="searches 0"):
        optimizer.compile(dspy.Predict("question -> answer"), trainset=examples)
