"""The `rag` command: what it prints, and that bad input is one line and changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app, surroundings
from ragwright.artifacts.cli.verdict import unproven_program
from ragwright.artifacts.store import save
from ragwright.artifacts.versions import resolve_version
from ragwright.optimize.result import CompileResult
from ragwright.programs.build import build_program
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import delete_documents

pytestmark = pytest.mark.slow

LANDS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Peru": "Lima", "Japan": "Tokyo"}
RECIPE = """
name = "capitals"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "hash"
[data]
trainset = "questions.jsonl"
"""


@dataclass(frozen=True)
class Run:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def rag(*words: str) -> Run:
    done = CliRunner().invoke(app, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Run(done.exit_code, done.stdout, done.stderr)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a recipe, documents and questions; the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    _write(
        tmp_path / "documents.jsonl",
        [{"_id": a, "text": f"The capital of {a} is {b}. It is large."} for a, b in LANDS.items()],
    )
    _write(
        tmp_path / "questions.jsonl",
        [
            {"question": f"What is the capital of {land}?", "answer": city, "document": land}
            for land, city in LANDS.items()
        ],
    )
    yield tmp_path
    for index in ("index", "other"):
        close_index(tmp_path / index)


@pytest.fixture
def indexed(place: Path) -> Path:
    assert rag("ingest", "recipe.toml").code == 0
    return place


@pytest.fixture
def saved(indexed: Path) -> Path:
    """With an artifact of the untuned program."""
    recipe = Recipe.from_toml("recipe.toml")
    save(build_program(recipe), "artifact", recipe=recipe)
    return indexed


def _write(file: Path, records: list[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_ingest_says_what_it_did(place: Path) -> None:
    first = rag("ingest", "recipe.toml", "--json").json
    assert (first["added"], first["unchanged"], first["chunks_written"]) == (5, 0, 5)
    again = rag("ingest", "recipe.toml")
    assert again.code == 0
    assert "0 chunks written" in again.out
    assert "ingest" in again.err


def test_an_upsert_deletes_nothing(indexed: Path) -> None:
    _write(indexed / "more.jsonl", [{"_id": "Chad", "text": "The capital of Chad is N'Djamena."}])
    more = ("ingest", "recipe.toml", "--documents", "more.jsonl", "--json")
    done = rag(*more, "--upsert").json
    assert (done["added"], done["deleted"]) == (1, 0)
    assert rag(*more).json["deleted"] == 5


def test_ingest_elsewhere(place: Path) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "a.md").write_text("Some note.")
    done = rag("ingest", "recipe.toml", "--documents", "notes", "--index", "other", "--json").json
    assert done["index"] == str(place / "other")
    assert done["added"] == 1
    assert not (place / "index").exists()


@pytest.mark.parametrize("mode", ["dense", "bm25", "hybrid", "rerank", None])
def test_search_finds_and_says_why(indexed: Path, mode: str | None) -> None:
    options = ["--mode", mode] if mode else []
    for source in (["recipe.toml"], ["--index", "index"]):
        found = rag("search", *source, "capital of Peru", "-k", "2", "--json", *options).json
        assert len(found["passages"]) == 2
        assert found["passages"][0]["document"] == "Peru"
    signals = {"dense": ["dense"], "bm25": ["bm25"], "rerank": ["bm25", "dense", "maxsim"]}
    expected = signals.get(mode or "hybrid", ["bm25", "dense"])
    assert sorted(found["passages"][0]["signals"]) == expected
    assert "Peru" in rag("search", "recipe.toml", "capital of Peru", *options).out


def test_an_index_is_searched_and_asked_by_its_folder(indexed: Path) -> None:
    found = rag("search", "index", "capital of Peru", "-k", "1", "--json").json
    assert [passage["document"] for passage in found["passages"]] == ["Peru"]
    answered = rag("ask", "index", "What is the capital of Peru?", "--json").json
    assert [cited["document"] for cited in answered["citations"]] == ["Peru"]


def test_a_filter_holds_for_search_and_answer(place: Path) -> None:
    rows = [
        {"_id": f"{land} {lang}", "text": f"The capital of {land} is {town}.", "lang": lang}
        for lang in ("en", "de") for land, town in LANDS.items()
    ]  # fmt: skip
    _write(place / "documents.jsonl", rows)
    rag("ingest", "recipe.toml")
    only, question = ["--where", '{"lang": "de"}', "--json"], "What is the capital of Peru?"
    for mode in ([], ["--mode", "dense"], ["--mode", "bm25"], ["--mode", "rerank"]):
        found = rag("search", "recipe.toml", question, "-k", "9", *mode, *only).json["passages"]
        assert {passage["metadata"]["lang"] for passage in found} == {"de"}
        assert found[0]["document"] == "Peru de"
    answered = rag("ask", "recipe.toml", question, *only).json
    assert [cited["document"] for cited in answered["citations"]] == ["Peru de"]


def test_ask_answers_with_citations(indexed: Path) -> None:
    found = rag("ask", "recipe.toml", "What is the capital of Peru?", "--json").json
    assert "Lima" in found["answer"]
    assert [cited["document"] for cited in found["citations"]] == ["Peru"]
    shown = rag("ask", "recipe.toml", "What is the capital of Peru?")
    assert "Lima" in shown.out
    assert "[1] Peru, characters 0-" in shown.out


def test_an_artifact_answers_like_its_recipe(saved: Path) -> None:
    asked = ("What is the capital of Japan?", "--json")
    assert rag("ask", "--artifact", "artifact", *asked) == rag("ask", "recipe.toml", *asked)


def test_changed_documents_are_noted_on_stderr(saved: Path) -> None:
    with (saved / "documents.jsonl").open("a") as file:
        file.write('{"_id": "Cuba", "text": "The capital of Cuba is Havana."}\n')
    rag("ingest", "recipe.toml")
    done = rag("ask", "--artifact", "artifact", "What is the capital of Cuba?", "--json")
    assert "Havana" in done.json["answer"]
    assert "note: The documents in" in done.err
    assert "rag artifacts check" in done.err


def test_evaluate_scores_every_question(saved: Path) -> None:
    for source in (["recipe.toml"], ["--artifact", "artifact"]):
        done = rag("evaluate", *source, "questions.jsonl", "--json").json
        assert (done["metric"], done["n"]) == ("answer_f1", 5)
        # The reader answers shortly: "Lima", but for a word or two.
        assert done["mean"] > 0.6
        assert done["low"] <= done["mean"] <= done["high"]
    assert "answer_f1" in rag("evaluate", "recipe.toml", "questions.jsonl").out


def test_an_artifact_is_known_by_its_name_and_questions_by_the_recipe(saved: Path) -> None:
    home = saved / "artifacts" / "compiled"
    home.mkdir(parents=True)
    (saved / "artifact").rename(home / "towns")
    assert rag("evaluate", "recipe.toml", "--json").json["n"] == 5
    for words in (["towns"], ["--artifact", "towns@1"]):
        assert rag("evaluate", *words, "questions.jsonl", "--json").json["n"] == 5
    assert rag("show", "towns", "--json").json["manifest"]["index"]["documents"] == 5
    assert rag("prompt", "towns", "Where?", "--json").code == 0


def test_show_lists_every_knob_with_its_range(saved: Path) -> None:
    recipe, artifact = (
        rag("show", "recipe.toml", "--json").json,
        rag("show", "artifact", "--json").json,
    )
    assert recipe["knobs"] == artifact["knobs"]
    assert {"name": "k", "value": 5, "default": 5, "range": "1 to 50"} in recipe["knobs"]
    assert [row["name"] for row in recipe["predictors"]] == ["respond"]
    assert recipe["manifest"] is None
    assert artifact["manifest"]["index"]["documents"] == 5
    text = rag("show", "artifact").out
    for word in ("weight_maxsim", "0 to 1", "rrf or convex", "respond", "hash", "extractive"):
        assert word in text


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Run]]:
    """A folder in which a program was compiled, and what the command said."""
    place = tmp_path_factory.mktemp("compiled")
    (place / "recipe.toml").write_text(
        RECIPE + '[compile]\noptimizer = "bootstrap"\nretrieval_trials = 8\nthreads = 2\n'
    )
    lands = [(f"Land{n}", f"Town{n}") for n in range(60)]
    _write(
        place / "documents.jsonl",
        [{"_id": a, "text": f"The capital of {a} is {b}. It is large."} for a, b in lands],
    )
    _write(
        place / "questions.jsonl",
        [
            {"question": f"What is the capital of {a}?", "answer": b, "document": a}
            for a, b in lands
        ],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert rag("ingest", "recipe.toml").code == 0
        done = rag("compile", "recipe.toml", "--json")
        assert done.code == 0, done.err
        yield place, done
    close_index(place / "index")


MLFLOW_WARNS = pytest.mark.filterwarnings("default")


@MLFLOW_WARNS
def test_compile_says_what_was_gained_and_where_it_lies(compiled: tuple[Path, Run]) -> None:
    place, done = compiled
    said = done.json
    assert said["verdict"] in {"ship", "ship the cheaper one"}  # five of 24 won are p = 0.06
    assert said["metric"] == "answer_f1"
    assert said["n"] == pytest.approx(24, abs=1)
    assert {"baseline", "knobs only", "prompts only", "knobs and prompts"} <= set(said["programs"])
    gain = said["programs"][said["chosen"]]["gain"]
    assert 0 < gain["low"] <= gain["gain"] <= gain["high"]
    assert said["artifact"] == str(place / "artifacts/compiled/capitals")
    assert said["report"].startswith(str(place / ".rag/runs"))
    assert "report.html" in [file.name for file in Path(said["report"]).iterdir()]
    assert said["mlflow"]["uri"] == f"sqlite:///{place}/.rag/mlflow.db"


@MLFLOW_WARNS
def test_the_manifest_agrees_with_the_compile(compiled: tuple[Path, Run]) -> None:
    place, done = compiled
    facts = rag("show", str(place / "artifacts/compiled/capitals"), "--json").json
    comparison = facts["manifest"]["provenance"]["comparison"]
    said = done.json
    best = said["programs"][said["chosen"]]
    assert comparison["chosen"] == said["chosen"]
    assert comparison["compiled"] == best["score"]
    assert comparison["difference"]["mean"] == best["gain"]["gain"]
    assert comparison["verdict"] == said["verdict"]
    assert facts["manifest"]["provenance"]["tracking"]["run_id"] == said["mlflow"]["run_id"]
    assert facts["manifest"]["provenance"]["data"]["test"] == said["n"]
    assert {row["name"]: row["value"] for row in facts["knobs"]} == said["knobs"]
    text = rag("show", str(place / "artifacts/compiled/capitals")).out
    assert "ship" in text
    assert f"{comparison['compiled']['mean']:.3f}" in text


@MLFLOW_WARNS
def test_the_compiled_program_answers_shortly(compiled: tuple[Path, Run]) -> None:
    place, _ = compiled
    artifact = str(place / "artifacts/compiled/capitals")
    question = "What is the capital of Land7?"
    assert rag("ask", "--artifact", artifact, question, "--json").json["answer"] == "Town7"
    before = rag("ask", str(place / "recipe.toml"), question, "--json").json["answer"]
    assert before.startswith("Town7")


@MLFLOW_WARNS
def test_the_run_holds_model_report_and_artifact(compiled: tuple[Path, Run]) -> None:
    from mlflow import MlflowClient

    said = compiled[1].json["mlflow"]
    client = MlflowClient(tracking_uri=said["uri"])
    run = client.get_run(said["run_id"])
    assert run.info.status == "FINISHED"
    assert {item.path for item in client.list_artifacts(said["run_id"])} >= {"artifact", "report"}
    assert [f"models:/{m.model_id}" for m in run.outputs.model_outputs] == [said["model"]]
    assert len(run.inputs.dataset_inputs) == 3


@MLFLOW_WARNS
def test_compile_shows_tables_and_places(compiled: tuple[Path, Run]) -> None:
    place, _ = compiled
    done = rag("compile", str(place / "recipe.toml"), "--output", "again", "--optimizer", "none")
    assert done.code == 0, done.err
    for words in ("baseline", "knobs only", "95 %", "Verdict: ", "rag mlflow"):
        assert words in done.out
    assert "artifact again" in done.out
    assert resolve_version("again").name == "1"


@pytest.mark.parametrize(
    ("verdict", "chosen", "count"),
    [
        ("keep the baseline", "knobs only", 1),
        ("keep the baseline", "baseline", 0),
        ("ship", "x", 0),
    ],
)
def test_an_artifact_whose_gain_is_not_shown_says_what_it_holds(
    verdict: str, chosen: str, count: int
) -> None:
    result = cast(CompileResult, SimpleNamespace(verdict=verdict, chosen=chosen))
    said = unproven_program(result)
    assert len(said) == count
    assert all(repr(chosen) in line for line in said)


def test_control_c_is_exit_code_130(tmp_path: Path) -> None:
    code = "from ragwright.artifacts.cli import main; main()"
    root = str(Path(__file__).parent.parent / "src")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = subprocess.Popen(
            [sys.executable, "-c", code, "ask", "What?", "--server", url],
            env={**os.environ, "PYTHONPATH": root},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        with silent.accept()[0]:  # the question is asked, and nobody answers
            running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=300)
    assert running.returncode == 130, err
    assert "Traceback" not in err


def test_output_that_nobody_reads_is_no_gate_that_says_no() -> None:
    code = "from ragwright.artifacts.cli import main; main()"
    root = str(Path(__file__).parent.parent / "src")
    running = subprocess.Popen(
        [sys.executable, "-c", code, "search", "--help"],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdout
    running.stdout.close()  # before anything is written
    assert running.stderr
    assert (running.wait(timeout=300), running.stderr.read()) == (141, "")
    running.stderr.close()


# Bad input: one line, exit code 2, nothing written.


def _recipe(text: str) -> Callable[[Path], object]:
    return lambda place: (place / "recipe.toml").write_text(RECIPE + text)


def _questions(line: str) -> Callable[[Path], object]:
    def change(place: Path) -> None:
        lines = (place / "questions.jsonl").read_text().splitlines()
        (place / "questions.jsonl").write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")

    return change


def _state(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(place: Path) -> None:
        file = resolve_version(place / "artifact") / "state.json"
        state = json.loads(file.read_text())
        change(state)
        file.write_text(json.dumps(state))

    return edit


def _truncate(place: Path) -> None:
    file = resolve_version(place / "artifact") / "state.json"
    file.write_text(file.read_text()[:100])


def _other_index(place: Path) -> None:
    text = RECIPE.replace('"hash"', '"hash:32"').replace('"index"', '"other"')
    (place / "other.toml").write_text(text)
    assert rag("ingest", "other.toml").code == 0


def _nothing(place: Path) -> None:
    pass


def _empty_index(place: Path) -> None:
    delete_documents(sorted(LANDS), place / "index")


def _no_index(place: Path) -> None:
    close_index(place / "index")
    shutil.rmtree(place / "index")


QUESTION = "What is the capital of Peru?"
ASK = ("ask", "recipe.toml", QUESTION)
ASK_ARTIFACT = ("ask", "--artifact", "artifact", QUESTION)
EVALUATE = ("evaluate", "recipe.toml", "questions.jsonl")
INGEST = ("ingest", "recipe.toml", "--index", "new")
COMPILE = ("compile", "recipe.toml", "--output", "new")
Case = tuple[Callable[[Path], object], tuple[str, ...], str]

BAD: dict[str, Case] = {
    "recipe key": (_recipe("depth = 3"), ASK, "data.depth: Extra inputs are not permitted"),
    "recipe value": (_recipe("[knobs]\nk = 51"), ASK, "knobs.k: .*less than or equal to 50"),
    "recipe not TOML": (_recipe("= ="), ASK, "'recipe.toml' is not TOML"),
    "recipe missing": (_nothing, ("ask", "no.toml", QUESTION), "recipe 'no.toml': No such file"),
    "recipe a folder": (
        lambda place: (place / "notes").mkdir(),
        ("ask", "notes", QUESTION),
        "There is no index at .*first-look",
    ),
    "filter no JSON": (_nothing, (*ASK, "--where", "{lang: de}"), "filter cannot be read: .*JSON"),
    "filter no object": (_nothing, (*ASK, "--where", "[1]"), "A filter is a mapping"),
    "filter deep": (_nothing, (*ASK, "--where", '{"a":' * 99999), "filter cannot be read|JSON"),
    "filter's operator": (_nothing, (*ASK, "--where", '{"a": {"$x": 1}}'), r"\$x"),
    "filter not a number": (_nothing, (*ASK, "--where", '{"a": NaN}'), "error: "),
    "optimizer": (_nothing, (*COMPILE, "--optimizer", "magic"), "compile.optimizer: .*'magic'"),
    "metric": (_recipe('[compile]\nmetric = "x"'), EVALUATE, "metric.*'x'"),
    "slip of a metric": (_recipe('[compile]\nmetric = "answer_f2"'), INGEST, "'answer_f1' meant"),
    "slip of a cutoff": (_recipe('[compile]\nretrieval_metric = "ndgc@9"'), INGEST, "ndgc@9"),
    "slip of an optimizer": (_recipe('[compile]\noptimizer = "mipr"'), INGEST, "mean 'mipro'"),
    "no such option": (_recipe("[compile.options]\nx = 1"), INGEST, "no option 'x'"),
    "slip of a reranker": (_recipe('[program]\nreranker = "maxsin"'), INGEST, "mean 'maxsim'"),
    "no words": (_nothing, ("ask", QUESTION), "Expected RECIPE QUESTION, got 1"),
    "no data": (_nothing, ("evaluate", "questions.jsonl"), "RECIPE DATA, got 1 word. Give a rec"),
    "no data in the recipe": (
        lambda place: (place / "recipe.toml").write_text(RECIPE.partition("[data]")[0]),
        EVALUATE[:2],
        "no training set",
    ),
    "rows a folder": (_nothing, (*EVALUATE, "--rows", "index"), "'index' is a folder"),
    "rows nowhere": (
        _nothing,
        (*EVALUATE, "--rows", "/dev/null/a/r.jsonl"),
        "'/dev/null.* cannot be",
    ),
    "a dry run far away": (_nothing, (*COMPILE, "--dry-run", "--workers", "2"), "Leave out --eng"),
    "recipe nowhere": (_nothing, ("init", ".", "--output", "/dev/null/a"), "/null' cannot be"),
    "input of a prompt": (_nothing, ("prompt", "recipe.toml", "x", "--input", "a=b"), "no such"),
    "empty question": (_nothing, ("ask", "recipe.toml", "  "), "The question is empty"),
    "empty search": (_nothing, ("search", "recipe.toml", ""), "The question is empty"),
    "k": (_nothing, ("search", "recipe.toml", "x", "-k", "0"), "k is 0, .* from 1 to 100 passages"),
    "k of a retriever": (
        _nothing,
        ("search", "recipe.toml", "x", "-k", "-1", "--mode", "dense"),
        "k is -1",
    ),
    "no documents": (_recipe(""), (*INGEST, "--documents", "gone"), "no documents at 'gone'"),
    "document line": (
        lambda place: (place / "documents.jsonl").write_text('{"_id": 1, "text": "a"}\n{"_id"'),
        INGEST,
        r"documents\.jsonl:2': it is not JSON",
    ),
    "same id": (
        lambda place: (place / "documents.jsonl").write_text('{"_id": 1, "text": "a"}\n' * 2),
        INGEST,
        "have the id '1'",
    ),
    "questions missing": (_nothing, ("evaluate", "recipe.toml", "no.jsonl"), "'no.jsonl'"),
    "malformed line": (_questions('{"question"'), EVALUATE, r"questions\.jsonl:3: not JSON"),
    "no answer": (_questions('{"question": "q"}'), EVALUATE, r"jsonl:3: .*has no answer"),
    "unknown key": (
        _questions('{"question": "q", "answer": "a", "x": 1}'),
        EVALUATE,
        r"jsonl:3: x: Extra inputs",
    ),
    "malformed line to compile": (_questions("{"), COMPILE, r"questions\.jsonl:3: not JSON"),
    "too few questions": (_nothing, COMPILE, "Too few"),
    "output unwritable": (_nothing, (*COMPILE, "--output", "/proc/x"), "'/proc/x' cannot be writ"),
    "output below a file": (
        _nothing,
        (*COMPILE, "--output", "questions.jsonl/x"),
        "'questions.jsonl/x' cannot be written",
    ),
    "no such store": (_nothing, (*COMPILE, "--tracking-uri", "sqlit:///x.db"), "Is 'sqlite' meant"),
    "output taken": (_nothing, ("compile", "recipe.toml", "--output", "index"), "not an artifact"),
    "no index": (_no_index, ASK, "There is no index"),
    "empty index": (_empty_index, ASK, "holds no passage.*First: rag ingest recipe.toml"),
    "no index to compile on": (_no_index, COMPILE, "Too few train questions|There is no index"),
    "no artifact": (
        _nothing,
        ("ask", "--artifact", "gone", QUESTION),
        "no artifact in 'artifacts/compiled/gone'",
    ),
    "another index": (
        _other_index,
        (*ASK_ARTIFACT, "--index", "other"),
        "tuned on an index with embedder .*v1-64.*v1-32.*--index",
    ),
    "truncated state": (_truncate, ASK_ARTIFACT, r"state\.json' is damaged"),
    "state with an unknown key": (
        _state(lambda state: state["knobs"].update(depth=1)),
        ASK_ARTIFACT,
        "depth: Extra inputs",
    ),
    "state out of range": (
        _state(lambda state: state["knobs"].update(k=1000)),
        ASK_ARTIFACT,
        r"k: .*\(got 1000\)",
    ),
    "damaged artifact to show": (_truncate, ("show", "artifact"), r"state\.json' is damaged"),
    "model": (_nothing, (*ASK, "--lm", "clever"), "'clever' is not a language model"),
    "model to compile": (
        _nothing,
        (*COMPILE, "--lm", "clever"),
        "Too few train questions|'clever' is not",
    ),
    "embedder": (
        lambda place: (place / "recipe.toml").write_text(RECIPE.replace('"hash"', '"no/such"')),
        INGEST,
        "embedding model 'no/such' cannot be loaded",
    ),
    "cross-encoder": (
        _recipe('[program]\nkind = "rerank"\nreranker = "no/such"\n[knobs]\nweight_cross = 1.0\n'),
        ASK,
        "cross-encoder 'no/such' cannot be loaded.*use the default reranker",
    ),
}


@pytest.mark.parametrize(("change", "words", "message"), BAD.values(), ids=BAD.keys())
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bad_input_is_one_line(
    saved: Path, change: Callable[[Path], object], words: tuple[str, ...], message: str
) -> None:
    change(saved)
    before = _files(saved)
    done = rag(*words)
    lines = done.err.strip().splitlines()
    assert (done.code, len(lines), done.out) == (2, 1, ""), done.err
    assert lines[0].startswith("error: ")
    assert re.search(message, lines[0]), lines[0]
    assert _files(saved) == before


def _files(place: Path) -> set[str]:
    # A database opened for reading leaves its -wal and -shm files; they hold nothing.
    names = {file.relative_to(place).as_posix() for file in place.rglob("*")}
    return {name for name in names if not name.endswith(("-wal", "-shm"))}


@MLFLOW_WARNS
def test_a_compile_is_estimated_capped_and_resumed(compiled: tuple[Path, Run]) -> None:
    place, done = compiled
    runs = place / ".rag" / "runs"
    before = {run.name for run in runs.iterdir() if run.is_dir()}
    assert {(runs / name).stat().st_mode & 0o777 for name in before} == {0o700}
    estimate = rag("compile", "recipe.toml", "--dry-run", "--json")
    assert estimate.code == 0, estimate.err
    assert estimate.json["spent"] == 5
    assert estimate.json["calls"] > 100
    assert {run.name for run in runs.iterdir() if run.is_dir()} == before
    capped = rag("compile", "recipe.toml", "--max-calls", "20")
    assert capped.code == 2
    assert "of at most 20 calls" in capped.err
    (run,) = {one.name for one in runs.iterdir() if one.is_dir()} - before
    assert f"Go on with: rag compile recipe.toml --resume {runs / run}" in capped.err
    resumed = rag("compile", "recipe.toml", "--resume", run, "--json")
    assert resumed.code == 0, resumed.err
    assert resumed.json["chosen"] == done.json["chosen"]
    assert resumed.json["knobs"] == done.json["knobs"]
    assert sum(stage["calls"] for stage in resumed.json["spend"]) > 20
    kept = _files(place / "artifacts") | _files(place / ".rag" / "mlartifacts")
    again = rag("compile", "recipe.toml", "--resume", run, "--json")
    assert again.code == 0, again.err
    assert "this run was finished before; nothing is recorded twice" in again.err
    assert {**again.json, "spend": None} == {**resumed.json, "spend": None}
    assert _files(place / "artifacts") | _files(place / ".rag" / "mlartifacts") == kept
    changed = rag("compile", "recipe.toml", "--resume", run, "--optimizer", "labeled")
    assert changed.code == 2
    assert "recipe changed" in changed.err
    assert "no run to resume" in rag("compile", "recipe.toml", "--resume", "nothing").err


@MLFLOW_WARNS
def test_every_answer_of_an_evaluation_is_written(compiled: tuple[Path, Run]) -> None:
    place, _ = compiled
    done = rag("evaluate", "recipe.toml", "questions.jsonl", "--rows", "rows.jsonl", "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == 60
    assert {"answer", "score", "seconds", "prompt_tokens", "error"} <= set(rows[0])


def test_a_user_without_a_home_has_one_while_a_command_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/dev/null/nobody")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert CliRunner().invoke(app, ["index", "list", str(tmp_path)]).exit_code == 0
    assert Path.home().parent == tmp_path


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "garbage"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_libraries_are_told_of_a_container_s_share_of_the_cores(
    files: dict[str, str], limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(surroundings, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for name in surroundings.THREADS:
        monkeypatch.setenv(name, "9")  # so that what the call sets is undone
        monkeypatch.delenv(name)
    assert surroundings.core_limit() == limit
    surroundings.fit_environment()
    assert os.environ.get("RAYON_NUM_THREADS") == (limit and str(limit))
    monkeypatch.delenv("RAYON_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    surroundings.fit_environment()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ.get("RAYON_NUM_THREADS") == (limit and "7")


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_written_to_like_one_that_nobody_reads(
    closed: str, tmp_path: Path
) -> None:
    """Of the files that it opens, none gets the number of a stream that libraries print to."""
    code = (
        "import sys; from ragwright.artifacts.cli.surroundings import open_missing_streams as put;"
        f"put(); file = open({str(tmp_path / 'file')!r}, 'w');"
        "print(sys.stdin.read(0), flush=True); print('x', file=sys.stderr, flush=True);"
        "sys.stdout.isatty(); sys.exit(file.fileno() < 3)"
    )
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code],
        stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file").read_text() == ""


def test_without_docstrings_instructions_are_missed_and_that_is_said() -> None:
    code = "from ragwright.artifacts.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-OO", "-c", code, "index", "list", "."], capture_output=True, check=False
    )
    assert b"instructions" in done.stderr
    assert not done.returncode
