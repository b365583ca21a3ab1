"""Programs of one's own are saved without a recipe, loaded, asked, evaluated, shown and served."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import mlflow
import pytest
from fastapi.testclient import TestClient
from mlflow import MlflowClient
from typer.testing import CliRunner

from ragwright import JointOptimizer, build_lm, load, save
from ragwright.artifacts import log_artifact
from ragwright.artifacts.cli import app
from ragwright.artifacts.client import Client, ServerError
from ragwright.artifacts.server.app import create_app
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.programs.build import build_program
from ragwright.programs.kinds import RerankRAG
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError, InputError
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.mlflow_database import make_database
from ragwright.retrievers.trust import VARIABLE
from ragwright.retrievers.types import Document
from tests.outside.desk import Desk, Otherwise, Renamed, named

MODULE = "tests.outside.desk"
PRODUCTS = ("lamp", "kettle", "heater", "radio", "fan", "clock")
PLACES = ("Berlin", "Paris", "Madrid", "Rome", "Oslo")
ASKED = {"question": "Where do I return it in Rome?", "product": "kettle"}


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp("desk")
    handbook = [
        Document(f"{product}-{place}",
                 f"Customers in {place} return a {product} to warehouse {number}{place[0]}.",
                 metadata={"place": place})
        for number, product in enumerate(PRODUCTS) for place in PLACES
    ]  # fmt: skip
    tickets = [Document(f"t-{p}", f"A {p} that smokes was fetched.", metadata={"place": "Rome"})
               for p in PRODUCTS]  # fmt: skip
    for name, documents in (("handbook", handbook), ("tickets", tickets)):
        ingest(documents, folder / name, IndexSettings(embedder="hash"))
    yield str(folder / "handbook"), str(folder / "tickets")
    close_index(folder / "handbook")
    close_index(folder / "tickets")


def examples() -> list[dspy.Example]:
    return [
        dspy.Example(question=f"Where do I return it in {place}?", product=product,
                     answer=f"warehouse {number}{place[0]}", urgent=False,
                     documents=[f"{product}-{place}"]).with_inputs("question", "product")
        for number, product in enumerate(PRODUCTS) for place in PLACES
    ]  # fmt: skip


@pytest.fixture(scope="module")
def home(indexes: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled")
    optimizer = JointOptimizer(
        metric=named, prompts="labeled", lm=build_lm("extractive"), run_dir=folder / "run",
        retrieval_trials=6,
    )  # fmt: skip
    compiled = optimizer.compile(Desk(*indexes), trainset=examples())
    options = {"handbook": indexes[0], "tickets": indexes[1]}
    save(compiled, folder / "desk", options=options)
    return folder / "desk"


@pytest.fixture(autouse=True)
def nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def version(home: Path) -> Path:
    return home / "1"


def rag(*words: object) -> Any:
    done = CliRunner().invoke(app, [*map(str, words), "--trust", MODULE])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_the_manifest_names_class_signatures_stages_and_both_indexes(home: Path) -> None:
    manifest = json.loads((version(home) / "manifest.json").read_text())
    facts = manifest["program"]
    assert (facts["module"], facts["name"]) == (MODULE, "Desk")
    assert set(facts["stages"]) == {"handbook", "tickets"}
    paths = {stage["index"]["path"] for stage in facts["stages"].values()}
    assert len(paths) == 2
    assert facts["stages"]["handbook"]["signals"] == ["dense", "bm25", "maxsim"]
    assert manifest["provenance"]["comparison"]["metric"] == f"{MODULE}:named"
    report = json.loads((version(home) / "report" / "report.json").read_text())
    assert "tickets" in json.dumps(report)
    page = (version(home) / "report" / "report.html").read_text()
    assert "Search of the retrieval knobs of handbook" in page
    assert "Search of the retrieval knobs of tickets" in page


def test_it_is_loaded_into_a_program_or_by_trust(home: Path, indexes: tuple[str, str]) -> None:
    given = load(home, program=Desk(*indexes))
    trusted = load(home, trust=[MODULE])
    assert type(given) is type(trusted) is Desk
    assert given.dump_state() == trusted.dump_state()
    assert given(**ASKED).answer == trusted(**ASKED).answer
    with pytest.raises(InputError, match=r"--trust tests.outside.desk.*program=Desk"):
        load(home)


@pytest.mark.parametrize(
    ("other", "named"),
    [(Renamed, "'tickets'.*is missing.*'notes'.*is new"), (Otherwise, "urgent: bool.*urgent: str")],
)
def test_a_program_of_other_stages_or_signatures_is_refused_by_name(
    home: Path, indexes: tuple[str, str], other: type[dspy.Module], named: str
) -> None:
    with pytest.raises(ArtifactError, match=named):
        load(home, program=other(*indexes))


def test_a_manifest_that_was_changed_imports_nothing(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    (tmp_path / "bomb.py").write_text("raise SystemExit('imported')\n")
    for name in ("manifest.json", "recipe.json"):
        text = (copy / "1" / name).read_text()
        (copy / "1" / name).write_text(text.replace(MODULE, "bomb"))
    with pytest.raises(InputError, match="not allowed"):
        load(copy, trust=[MODULE])
    assert "bomb" not in sys.modules
    (copy / "1" / "recipe.json").write_text((home / "1" / "recipe.json").read_text())
    with pytest.raises(ArtifactError, match="names 'bomb:Desk'"):
        load(copy, trust=[MODULE])


def test_indexes_that_were_moved_are_found_or_given(
    home: Path, indexes: tuple[str, str], tmp_path: Path
) -> None:
    moved = tmp_path / "tickets"
    shutil.copytree(indexes[1], moved)
    program = load(home, trust=[MODULE], index={"tickets": moved})
    assert program.tickets.path == program.tickets.keyword.path == str(moved)
    assert program(**ASKED).answer
    with pytest.raises(InputError, match="several indexes"):
        load(home, trust=[MODULE], index=moved)
    close_index(moved)


def test_it_is_asked_evaluated_and_shown_from_the_command_line(home: Path, tmp_path: Path) -> None:
    said = json.loads(
        rag("ask", "--artifact", home, ASKED["question"], "--input", "product=kettle",
            "--json").stdout
    )  # fmt: skip
    assert "1R" in said["answer"]
    assert isinstance(said["urgent"], bool)
    missing = rag("ask", "--artifact", home, ASKED["question"])
    assert missing.exit_code == 2
    assert "product" in missing.stderr
    rows = [example.toDict() for example in examples()[:6]]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = rag("evaluate", "--artifact", home, data, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 6
    shown = rag("show", home).stdout
    assert "handbook: weight_dense" in shown
    assert "tickets: weight_dense" in shown
    assert f"{MODULE}:Desk" in shown


def test_what_it_sends_is_shown_and_an_index_of_it_is_searched_by_itself(
    home: Path, indexes: tuple[str, str]
) -> None:
    def rag(*words: str) -> Any:
        return CliRunner().invoke(app, list(words))

    asked = (ASKED["question"], "--input", "product=kettle", "--trust", MODULE)
    sent = rag("prompt", str(home), *asked)
    assert "[[ ## product ## ]]\nkettle" in sent.stdout
    assert (
        rag("ask", str(home), *asked).stdout == rag("ask", "--artifact", str(home), *asked).stdout
    )
    several = rag("search", str(home), "kettle", "--trust", MODULE)
    assert (several.exit_code, "2 retrieval stages" in several.stderr) == (2, True)
    assert "kettle" in rag("search", "--index", indexes[0], "kettle").stdout


def test_its_golden_questions_are_asked_again(home: Path) -> None:
    done = rag("artifacts", "verify", home, "--json")
    assert done.exit_code == 0, done.stdout
    said = json.loads(done.stdout)
    assert said["replayed"] > 5
    assert rag("artifacts", "check", home).exit_code == 0


def client(home: Path, **more: Any) -> Iterator[TestClient]:
    settings = ServerSettings(artifact=str(home), trust=(MODULE,), feedback="", reload=0, **more)
    with TestClient(create_app(settings, keys=()), base_url="http://localhost") as found:
        for _ in range(200):
            if found.get("/readyz").status_code == 200:
                break
        yield found


def test_it_is_served_with_its_inputs_as_keys_of_the_request(home: Path) -> None:
    for server in client(home):
        reply = server.post("/v1/ask", json=ASKED)
        assert reply.status_code == 200, reply.text
        said = reply.json()
        assert "1R" in said["answer"]
        assert said["outputs"]["urgent"] in (True, False)
        assert {one["document"] for one in said["passages"]} & {"kettle-Rome"}
        for body, name in (
            ({"question": "Where?"}, "product"),
            ({**ASKED, "level": "odd"}, "level"),
            ({**ASKED, "top": "many"}, "top"),
            ({**ASKED, "prodict": "x"}, "prodict"),
        ):
            refused = server.post("/v1/ask", json=body)
            assert refused.status_code == 422
            assert name in refused.json()["error"]["message"]
        assert server.post("/v1/ask", json={**ASKED, "top": 3, "level": "deep"}).status_code == 200
        where = {"place": "Oslo"}
        limited = server.post("/v1/ask", json={**ASKED, "where": where}).json()
        assert {one["document"] for one in limited["passages"]} <= {f"{p}-Oslo" for p in PRODUCTS}
        found = server.post("/v1/search", json={"question": "kettle in Rome"}).json()
        assert {one["document"][:2] for one in found["passages"]} & {"t-"}
        stream = server.post("/v1/ask/stream", json=ASKED)
        assert "event: done" in stream.text
        assert server.get("/v1/document", params={"id": "t-kettle"}).status_code == 200


def test_the_client_sends_its_inputs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for server in client(home):
        with Client("http://served") as asking:
            monkeypatch.setattr(asking, "_http", server)
            assert "1R" in asking.ask(ASKED["question"], product=ASKED["product"]).answer
            with pytest.raises(ServerError, match="product"):
                asking.ask("Where?")


@pytest.mark.filterwarnings("default")
def test_it_is_a_model_of_mlflow_that_takes_its_inputs(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    make_database(uri)
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    store, place = MlflowClient(tracking_uri=uri), (tmp_path / "mlartifacts").as_uri()
    run = store.create_run(store.create_experiment("desk", artifact_location=place))
    monkeypatch.setenv(VARIABLE, MODULE)
    model = log_artifact(home, tracking_uri=uri, run_id=run.info.run_id)
    mlflow.set_tracking_uri(uri)
    try:
        monkeypatch.delenv(VARIABLE)
        with pytest.raises(InputError, match=MODULE):
            mlflow.pyfunc.load_model(model)
        monkeypatch.setenv(VARIABLE, MODULE)
        loaded = mlflow.pyfunc.load_model(model)
    finally:
        mlflow.set_tracking_uri(before)
    asked = {"question": ASKED["question"], "inputs": {"product": "kettle", "top": "3"}}
    (answer,) = loaded.predict([asked])
    assert "1R" in answer.answer
    assert json.loads(answer.outputs)["urgent"] in (True, False)


def test_a_program_of_ours_needs_no_recipe_either(indexes: tuple[str, str], tmp_path: Path) -> None:
    program = RerankRAG(indexes[0])
    program.set_lm(build_lm("extractive"))
    save(program, tmp_path / "plain")
    again = load(tmp_path / "plain")
    assert type(again) is RerankRAG
    question = "Where do customers in Rome return a kettle?"
    assert again(question=question).answer == program(question=question).answer


def test_a_study_measures_every_stage_of_an_artifact_under_a_name_of_its_own(
    tmp_path: Path, indexes: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact may be called as the recipe's own way is, which gates go by."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(VARIABLE, MODULE)
    options = dict(zip(("handbook", "tickets"), indexes, strict=True))
    save(Desk(*indexes), tmp_path / "own", options=options)
    Path("r.toml").write_text(f'name = "x"\n[index]\npath = "{indexes[0]}"\nembedder = "hash"\n')
    recipe = Recipe.from_toml("r.toml")
    for home in ("recipe", "dense"):
        save(build_program(recipe), tmp_path / home, recipe=recipe)
    rows = [{"question": f"A kettle in {one}?", "documents": [f"kettle-{one}"]} for one in PLACES]
    Path("q.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    given = [word for home in ("own", "recipe", "dense") for word in ("--artifact", home)]
    done = CliRunner().invoke(
        app, ["study", "retrieval", "r.toml", "q.jsonl", *given, "--no-track", "--json"]
    )
    assert done.exit_code == 0, done.output
    ways = json.loads(done.stdout)["ways"]
    named = {"own handbook", "own tickets", "artifact recipe", "artifact dense"}
    assert named | {"recipe", "dense"} <= set(ways)
