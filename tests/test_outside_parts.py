"""Parts from outside, named in a recipe as module:Class: compiled, reported, saved and loaded."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.artifacts.store import load
from ragwright.artifacts.versions import resolve_version
from ragwright.programs.build import build_program
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.chunking.outside import cut_by_custom_chunker
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.trust import VARIABLE, import_allowed, is_trusted

pytestmark = pytest.mark.slow

MODULE = "tests.outside"
SYLLABLES = ("Bar", "Cor", "Dun", "Fel", "Gra", "Hol", "Kin", "Lor", "Mer", "Nol", "Pel", "Ros")
RECIPE = """
name = "towns"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
store = "tests.outside.table:Table:./table.sqlite"
chunking = { kind = "tests.outside.sentences:Sentences" }
[program]
kind = "rerank"
reranker = "tests.outside.overlap:Overlap"
[data]
trainset = "questions.jsonl"
[knobs]
weight_overlap = 0.5
overlap.half = 4
[compile]
metric = "tests.outside.brevity:Brevity"
optimizer = "labeled"
retrieval_trials = 30
"""


@pytest.fixture(autouse=True)
def nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    towns = [f"{a}{b}ton" for a in SYLLABLES for b in "aeiou"]
    lines = [
        {"id": town, "text": f"{town} lies far away. The river of {town} is called {town[::-1]}. "
         f"Nobody in {town} minds the rain."}
        for town in towns
    ]  # fmt: skip
    asked = [
        {"id": town, "question": f"What is the river of {town} called?", "answer": town[::-1],
         "document": town}
        for town in towns
    ]  # fmt: skip
    for name, rows in (("documents", lines), ("questions", asked)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    yield tmp_path
    close_index(tmp_path / "index")


def rag(*words: str) -> Any:
    done = CliRunner().invoke(app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow", "ignore::FutureWarning:mlflow")
def test_a_reranker_a_chunker_a_store_and_a_metric_are_used_tuned_shown_and_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rag("ingest", "recipe.toml", "--trust", MODULE, "--json").exit_code == 0
    with closing(sqlite3.connect(place / "table.sqlite")) as table:
        texts = [text for (text,) in table.execute("SELECT t FROM rows")]
    assert len(texts) == 3 * 60
    assert all(text.count(".") == 1 for text in texts)

    done = rag("compile", "recipe.toml", "--trust", MODULE, "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    run = next((place / ".rag/runs").glob("*-towns"))
    trials = json.loads((run / "report/report.json").read_text())["search"]["trials"]
    assert {trial.get("overlap.half") for trial in trials} >= {1.0, 2.0, 4.0}
    assert len({trial.get("weight_overlap", 0.0) for trial in trials}) > 3
    page = (run / "report/report.html").read_text()
    assert "hybrid + shared words" in page
    assert "overlap.half" in page

    home = place / "artifacts/compiled/towns"
    shown = json.loads(rag("show", str(resolve_version(home)), "--trust", MODULE, "--json").stdout)
    knobs = {row["name"]: row["value"] for row in shown["knobs"]}
    assert knobs["weight_overlap"] == said["knobs"].get("weight_overlap", 0.0)
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(
        InputError, match=r"trust=\['tests.outside.table', 'tests.outside.overlap'\]"
    ):
        load(home)
    program = load(home, trust=[MODULE])
    assert type(program.retriever.reranker).__name__ == "Overlap"
    assert program.knobs.values.get("overlap.half") == said["knobs"]["overlap.half"]
    assert program(question="What is the river of Baraton called?").answer


OTHERS = """
name = "names"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "tests.outside.trigrams:Trigrams"
[program]
kind = "hybrid"
sources = ["tests.outside.named:Named"]
expansion = "tests.outside.capitals:Capitals"
[data]
trainset = "questions.jsonl"
[compile]
metric = "answer_f1"
optimizer = "tests.outside.curt:Curt"
options = { words = 2 }
retrieval_trials = 12
[knobs]
weight_named = 0.5
"""


@pytest.mark.filterwarnings("ignore::UserWarning:mlflow", "ignore::FutureWarning:mlflow")
def test_an_embedder_a_source_an_expansion_and_an_optimizer_are_used_tuned_shown_and_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "recipe.toml").write_text(OTHERS)
    assert rag("ingest", "recipe.toml", "--trust", MODULE, "--json").exit_code == 0
    stats = json.loads(rag("index", "stats", "index", "--json").stdout)
    assert stats["embedder"] == "tests.outside.trigrams:Trigrams"

    done = rag("compile", "recipe.toml", "--trust", MODULE, "--json")
    assert done.exit_code == 0, done.stderr
    run = next((place / ".rag/runs").glob("*-names"))
    report = json.loads((run / "report/report.json").read_text())
    trials = report["search"]["trials"]
    for name in ("weight_bm25", "weight_named", "depth_named", "named.half"):
        assert len({trial.get(name) for trial in trials}) >= 3, name
    page = (run / "report/report.html").read_text()
    assert "tests.outside.curt:Curt" in page
    assert "hybrid + places by name" in page

    home = place / "artifacts/compiled/names"
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(InputError, match=r"trust=\['tests.outside.trigrams', .*capitals'"):
        load(home)
    program = load(home, trust=[MODULE])
    assert type(program.retriever.expansion).__name__ == "Capitals"
    assert [type(one).__name__ for one in program.retriever.retriever.sources] == ["Named"]
    kept = json.loads(done.stdout)["knobs"]
    assert program.knobs.values.get("weight_named", 0.0) == kept.get("weight_named", 0.0)
    assert program.knobs.values.get("named.half") == kept.get("named.half")
    question = "What is the river of Baraton called?"
    assert "notaraB" in program(question=question).answer
    assert json.loads(done.stdout)["verdict"]


def test_a_recipe_imports_nothing_that_was_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "bomb.py").write_text("raise SystemExit('imported')\n")
    for table in (
        '[program]\nkind = "bomb:Program"',
        '[program]\nreranker = "bomb:Reranker"',
        '[program]\nexpansion = "bomb:Expansion"',
        '[program]\nkind = "hybrid"\nsources = ["bomb:Source"]',
        '[index]\nembedder = "bomb:Embedder"',
        '[index]\nstore = "bomb:Store"',
    ):
        (tmp_path / "recipe.toml").write_text(table)
        with pytest.raises(InputError, match="--trust bomb"):
            build_program(Recipe.from_toml(tmp_path / "recipe.toml"))
        assert "bomb" not in sys.modules


def test_a_module_beside_the_recipe_is_found_once_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "own_parts_beside.py").write_text(
        "from ragwright.programs.rerank import Reranker\n"
        "from ragwright.programs.signals import Signal\n"
        "class Last(Reranker):\n"
        "    signal = Signal('last')\n"
        "    def forward(self, query, ids):\n"
        "        return [float(n) for n in range(len(ids))]\n"
    )
    (tmp_path / "recipe.toml").write_text('[program]\nreranker = "own_parts_beside:Last"')
    recipe = Recipe.from_toml(tmp_path / "recipe.toml", trust=["own_parts_beside"])
    assert "last" in [signal.name for signal in build_program(recipe).retriever.signals]
    assert str(tmp_path) not in sys.path


def test_trust_is_of_modules_and_packages_above_them_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert is_trusted("my_app.rag:Support", ["my_app.rag"])
    assert is_trusted("my_app.rag:Support", ["my_app"])
    assert not is_trusted("my_app.rag:Support", ["my_app.rag.inner", "my", "", "my_app.ra"])
    monkeypatch.setenv(VARIABLE, "other, my_app")
    assert is_trusted("my_app.rag:Support")


def test_what_is_no_part_of_its_kind_is_refused() -> None:
    table: dict[str, Any] = {"program": {"reranker": "tests.outside.sentences:Sentences"}}
    with pytest.raises(InputError, match="is no Reranker"):
        build_program(Recipe.checked(table).trusting([MODULE]))


def test_spans_that_are_not_in_the_text_are_refused() -> None:
    settings = ChunkSettings(kind="tests.outside.sentences:Beyond")
    import_allowed(settings.kind, [MODULE])
    with pytest.raises(InputError, match=r"Beyond' cut a text of 4 characters at \(0, 5\)"):
        list(cut_by_custom_chunker("Lima", settings))


def test_a_program_of_ones_own_is_shown_and_asked_with_its_own_inputs(place: Path) -> None:
    own = RECIPE.split("[program]", maxsplit=1)[0] + (
        '[program]\nkind = "tests.outside.support:Support"\noptions = { hints = 2 }\n'
    )
    (place / "own.toml").write_text(own)
    assert rag("ingest", "own.toml", "--trust", MODULE).exit_code == 0
    shown = json.loads(rag("show", "own.toml", "--trust", MODULE, "--json").stdout)
    assert [row["name"] for row in shown["predictors"]] == ["answer"]
    assert "weight_bm25" in [row["name"] for row in shown["knobs"]]
    asked = rag("ask", "own.toml", "What is the river of Baraton called?", "--trust", MODULE,
                "--input", "product=boat", "--json")  # fmt: skip
    assert asked.exit_code == 0, asked.stderr
    reply = json.loads(asked.stdout)
    assert "notaraB" in reply["answer"]
    assert reply["urgent"] in (True, False)
    wrong = rag("ask", "own.toml", "Where?", "--trust", MODULE, "--input", "boat")
    assert wrong.exit_code == 2
    assert "NAME=VALUE" in wrong.stderr


def test_wrong_options_of_ones_own_program_are_told_from_its_own_faults() -> None:
    def recipe(options: dict[str, Any]) -> Recipe:
        program = {"kind": "tests.outside.support:Support", "options": options}
        table: dict[str, Any] = {"index": {"path": "index"}, "program": program}
        return Recipe.checked(table).trusting([MODULE])

    with pytest.raises(InputError, match=r"unexpected keyword argument 'hint'"):
        build_program(recipe({"hint": 2}))
    with pytest.raises(TypeError, match="not supported between"):
        build_program(recipe({"hints": "two"}))
