"""Artifacts in MLflow's registry: published once, aliases in both directions, served by MLflow."""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import dspy
import mlflow
import pytest
from mlflow import MlflowClient

from ragwright.artifacts import (
    load,
    log_artifact,
    promote,
    publish_model,
    pull_model,
    read_artifact,
    save,
)
from ragwright.artifacts.addresses import download
from ragwright.artifacts.registry import PACKAGES, REQUIREMENTS
from ragwright.artifacts.versions import read_aliases, resolve_version
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import ArtifactError
from tests.servers.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

QUESTION = "What is the capital of Peru?"
ROOT = Path(__file__).resolve().parents[2]
NOT_LOADED = {"cli", "server", "client.py", "calls.py"}
"""Packages and modules that no model imports."""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def two(home: Path, program: dspy.Module, recipe: Recipe) -> Path:
    """An artifact whose first version is the champion, and whose second asks differently."""
    promote(home)
    program.respond.signature = program.respond.signature.with_instructions("Answer shortly.")
    save(program, home, recipe=recipe)
    return home


def test_a_version_is_published_once(two: Path, uri: str) -> None:
    before = mlflow.get_tracking_uri()
    first = publish_model(two, tracking_uri=uri)
    assert (first.name, first.version, first.created) == ("capitals", 1, True)
    again = publish_model(two, tracking_uri=uri)
    assert (again.version, again.created) == (1, False)
    second = publish_model(f"{two}@candidate", tracking_uri=uri)
    assert (second.version, second.created) == (2, True)
    assert second.aliases == {"champion": 1, "candidate": 2}
    client = MlflowClient(tracking_uri=uri)
    assert client.get_registered_model("capitals").aliases == {"champion": 1, "candidate": 2}
    assert "6 documents" in client.get_model_version("capitals", "1").description
    assert mlflow.get_tracking_uri() == before


def test_the_model_of_the_compile_is_the_one_registered(
    home: Path, tmp_path: Path, uri: str
) -> None:
    client = MlflowClient(tracking_uri=uri)
    place = (tmp_path / "files").as_uri()
    run = client.create_run(client.create_experiment("capitals", artifact_location=place))
    model = log_artifact(home, tracking_uri=uri, run_id=run.info.run_id)
    published = publish_model(home, tracking_uri=uri, name="towns")
    version = client.get_model_version("towns", str(published.version))
    logged = client.get_logged_model(model.removeprefix("models:/"))
    assert version.source == logged.artifact_location
    assert version.run_id == run.info.run_id
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": "towns", "version": 1}]
    assert logged.name == "capitals"
    assert logged.params["knobs.k"] == "2"


def test_a_registered_model_is_loaded_by_its_alias(
    two: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_model(two, tracking_uri=uri)
    publish_model(f"{two}@2", tracking_uri=uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    champion, candidate = load("models:/capitals@champion"), load("models:/capitals@candidate")
    assert champion.respond.signature.instructions == "Name the city."
    assert candidate.respond.signature.instructions == "Answer shortly."
    here = load(two)(question=QUESTION)
    there = load("models:/capitals/1")(question=QUESTION)
    assert (there.answer, there.context) == (here.answer, here.context)
    assert read_artifact("models:/capitals/2").manifest.name == "capitals"


ABSENT = {
    "models:/capitals@nobody": "does not give 'models:/capitals@nobody'",
    "models:/nothing/1": "does not give 'models:/nothing/1'",
    "models:/m-0123456789abcdef": "does not give",
    "models:/capitals": "not the address of a model",
    "models:/../../etc/passwd": "not the address of a model",
    "models:/capitals/latest": "not the address of a model",
}


def test_what_is_not_there_is_one_line(
    home: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_model(home, tracking_uri=uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for address, message in ABSENT.items():
        with pytest.raises(ArtifactError, match=message) as caught:
            load(address)
        assert "\n" not in str(caught.value)


def test_a_promotion_in_mlflow_is_pulled(two: Path, uri: str, tmp_path: Path) -> None:
    publish_model(two, tracking_uri=uri)
    publish_model(f"{two}@2", tracking_uri=uri)
    elsewhere = tmp_path / "elsewhere" / "capitals"
    first = pull_model("capitals", elsewhere, tracking_uri=uri)
    assert (sorted(first.added), len(first.aliases)) == ([1, 2], 3)
    champion = load(elsewhere, index=tmp_path / "index")
    assert champion.respond.signature.instructions == "Name the city."

    MlflowClient(tracking_uri=uri).set_registered_model_alias("capitals", "champion", "2")
    again = pull_model("capitals", elsewhere, tracking_uri=uri)
    assert again.added == ()
    assert again.aliases["champion"] == again.aliases["candidate"] == again.aliases["current"]
    champion = load(elsewhere, index=tmp_path / "index")
    assert champion.respond.signature.instructions == "Answer shortly."
    assert pull_model("capitals", two, tracking_uri=uri).added == ()
    assert read_aliases(two) == {"candidate": 2, "champion": 2, "current": 2}


def test_a_pulled_version_is_checked(two: Path, uri: str, tmp_path: Path) -> None:
    publish_model(two, tracking_uri=uri)
    (state,) = (tmp_path / "mlartifacts" / "capitals" / "models").rglob("state.json")
    state.write_text(state.read_text().replace("Name the city.", "Name another."))
    with pytest.raises(ArtifactError, match="SHA-256"):
        pull_model("capitals", tmp_path / "elsewhere", tracking_uri=uri)
    assert not (tmp_path / "elsewhere").exists()


def test_only_what_the_manifest_names_is_pulled_and_no_link_followed(
    two: Path, uri: str, tmp_path: Path
) -> None:
    publish_model(two, tracking_uri=uri)
    (state,) = (tmp_path / "mlartifacts" / "capitals" / "models").rglob("state.json")
    (state.parent / "extra.py").write_text("never copied")
    (state.parent / "passwd").symlink_to("/etc/passwd")
    pulled = pull_model("capitals", tmp_path / "elsewhere", tracking_uri=uri)
    names = {file.name for file in pulled.home.rglob("*")}
    assert not names & {"extra.py", "passwd"}
    state.rename(state.with_name("real.json"))
    state.symlink_to("real.json")
    with pytest.raises(ArtifactError, match="is a link"):
        pull_model("capitals", tmp_path / "another", tracking_uri=uri)
    assert not (tmp_path / "another").exists()


def test_pulling_without_an_alias_is_refused(two: Path, uri: str, tmp_path: Path) -> None:
    publish_model(two, tracking_uri=uri)
    client = MlflowClient(tracking_uri=uri)
    client.delete_registered_model_alias("capitals", "champion")
    with pytest.raises(ArtifactError, match="no alias candidate or champion"):
        pull_model("capitals", tmp_path / "elsewhere", tracking_uri=uri)


def test_a_store_that_is_none_is_said_and_none_is_made(home: Path, tmp_path: Path) -> None:
    (tmp_path / "no.db").write_text("no database at all, but long enough to be read as one" * 20)
    damaged = f"sqlite:///{tmp_path}/no.db"
    for uri in (damaged, "nothing://here"):
        with pytest.raises(ArtifactError, match="refuses: "):
            publish_model(home, tracking_uri=uri)
        with pytest.raises(ArtifactError, match="refuses: "):
            pull_model("capitals", tmp_path / "pulled", tracking_uri=uri)
    with pytest.raises(ArtifactError, match="does not give"):
        download("models:/capitals@champion", tmp_path, tracking_uri=damaged)
    with pytest.raises(ArtifactError, match="There is no MLflow store"):
        pull_model("capitals", tmp_path / "pulled", tracking_uri=f"sqlite:///{tmp_path}/far/x.db")
    assert not (tmp_path / "far").exists()


@pytest.mark.parametrize("name", ["../capitals", "a' OR name != '", "", "a/b"])
def test_an_unsafe_name_is_refused(home: Path, uri: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="not a name for a model"):
        pull_model(name, tmp_path / "elsewhere", tracking_uri=uri)
    with pytest.raises(ArtifactError, match="not a name for a model"):
        publish_model(home, tracking_uri=uri, name=name or "/")


def test_a_model_says_what_it_needs() -> None:
    """Everything that loading imports, a new environment gets by these requirements."""
    distributions = packages_distributions()
    imported = {
        name
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if not NOT_LOADED & set(file.relative_to(ROOT).parts)
        for name in _early_imports(file)
    }
    brought = {
        name: {found.lower().replace("_", "-") for found in distributions[name]}
        for name in imported
        if name in distributions and name != "ragwright"
    }
    assert len(brought) > 5
    assert [name for name, found in brought.items() if not found & set(REQUIREMENTS)] == []


def _early_imports(file: Path) -> set[str]:
    """Top-level names imported together with a module."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


def test_mlflow_serves_it(home: Path, uri: str, tmp_path: Path) -> None:
    promote(home)
    publish_model(home, tracking_uri=uri)
    (tmp_path / "elsewhere").mkdir()
    port = free_port()
    words = ["-m", "models:/capitals@champion", "--env-manager", "local", "--port", str(port)]
    serving = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "models", "serve", *words],
        env={
            **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            "MLFLOW_TRACKING_URI": uri,
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        },
        cwd=tmp_path / "elsewhere",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        asked = {"inputs": [{"question": QUESTION}]}
        answered = _posted(f"http://127.0.0.1:{port}/invocations", asked, serving)
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.communicate()
    (found,) = answered["predictions"]
    here = load(home)(question=QUESTION)
    assert (found["answer"], found["context"]) == (here.answer, here.context)


def _posted(url: str, body: object, server: subprocess.Popen[bytes]) -> Any:
    """Send a request as soon as somebody listens."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    for _ in range(3000):
        assert server.poll() is None, server.communicate()[0].decode()
        try:
            with urllib.request.urlopen(request) as reply:
                return json.load(reply)
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                raise AssertionError(error.read().decode()) from error
            time.sleep(0.1)
    raise AssertionError("nobody listens")


def test_a_damaged_artifact_is_not_published(home: Path, uri: str, tmp_path: Path) -> None:
    shutil.rmtree(resolve_version(home) / "prompts")
    with pytest.raises(ArtifactError, match="lacks its file"):
        publish_model(home, tracking_uri=uri)
    assert not (tmp_path / "mlartifacts").exists()
