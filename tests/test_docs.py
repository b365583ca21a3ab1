"""The documentation says what the code does: commands, examples and links are checked."""

from __future__ import annotations

import doctest
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PACKAGES = ("retrievers", "programs", "optimize", "artifacts")

FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?P<inline>[^)\s]+)[^)]*\)|(?:src|href)=\"(?P<html>[^\"]+)\"")
ELSEWHERE = ("http://", "https://", "mailto:", "#")


OFFICES = tuple(f"office {letter}" for letter in "ABCDEFGHIJKLMNOPQRST")
HANDBOOK = {
    "leave": (
        "In {} there are 30 days of paid leave.",
        "How much paid leave is there in {}?",
        "30",
    ),
    "travel": ("From {} people travel by train.", "How do people travel from {}?", "train"),
    "lunch": ("Lunch in {} costs nothing.", "What does lunch in {} cost?", "nothing"),
}
RECIPE = """
name = "handbook"
index = { documents = "handbook/", embedder = "hash" }
data = { trainset = "questions.jsonl", train = 0.3, dev = 0.3 }
compile = { optimizer = "labeled", retrieval_trials = 5 }
"""


def pages() -> list[Path]:
    return [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


def modules_with_examples() -> list[str]:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    shown = [file for file in files if ">>> " in file.read_text(encoding="utf-8")]
    paths = [file.relative_to(ROOT).with_suffix("") for file in shown]
    return [".".join(("ragwright", *path.parts)) for path in paths]


def commands(group: Any, path: str = "rag") -> Iterator[tuple[str, Any]]:
    """Walk the command tree: ("rag compile", its click command), depth first."""
    for name, command in group.commands.items():
        if not command.hidden:
            yield f"{path} {name}", command
            yield from commands(command, f"{path} {name}") if hasattr(command, "commands") else ()


def relative_links(text: str) -> list[str]:
    found = LINK.finditer(FENCE.sub("", text))
    targets = [match["inline"] or match["html"] for match in found]
    return [target.split("#")[0] for target in targets if not target.startswith(ELSEWHERE)]


def python_blocks(text: str) -> list[str]:
    return [match["body"] for match in FENCE.finditer(text) if match["language"] == "python"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the README's Python examples run in: a recipe, its index, an artifact."""
    from ragwright.artifacts import save
    from ragwright.programs import Recipe, build_program
    from ragwright.programs.build import index_settings
    from ragwright.retrievers import read_documents
    from ragwright.retrievers.ingest import ingest

    monkeypatch.chdir(tmp_path)
    Path("handbook").mkdir()
    questions = []
    for topic, (rule, question, answer) in HANDBOOK.items():
        for office in OFFICES:
            Path("handbook", f"{topic}-{office}.md").write_text(rule.format(office), "utf-8")
            asked = {"question": question.format(office), "answer": answer}
            questions.append(asked | {"documents": [f"{topic}-{office}.md"]})
    lines = (json.dumps(question) + "\n" for question in questions)
    Path("questions.jsonl").write_text("".join(lines), "utf-8")
    Path("recipe.toml").write_text(RECIPE, "utf-8")
    recipe = Recipe.from_toml("recipe.toml")
    ingest(read_documents(recipe.index.documents), recipe.index.path, index_settings(recipe))
    save(build_program(recipe), "artifacts/compiled/handbook", recipe=recipe)
    return tmp_path


def test_every_command_has_help_and_is_documented() -> None:
    from ragwright.artifacts.cli import app

    found = dict(commands(typer.main.get_command(app)))
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    assert found
    assert [path for path, command in found.items() if not command.help] == []
    assert [path for path in found if not re.search(rf"{path}\b", text)] == []


def test_the_python_examples_of_the_readme_run_in_order(workspace: Path) -> None:
    blocks = python_blocks(README.read_text(encoding="utf-8"))
    assert blocks
    namespace: dict[str, Any] = {"__name__": "readme"}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), namespace)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    links = relative_links(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_links_and_examples_are_found_in_a_page() -> None:
    text = """[a](docs/a.md#part "title") ![b](b.png) <img src="c.svg"> [d](https://d.org) [e](#e)
```python
x = 1
```
```sh
[not](a-link)
```
"""
    assert relative_links(text) == ["docs/a.md", "b.png", "c.svg"]
    assert python_blocks(text) == ["x = 1\n"]


def test_commands_are_found_at_every_depth() -> None:
    app, registry = typer.Typer(), typer.Typer()
    app.add_typer(registry, name="registry")
    app.command("ask")(lambda: None)
    registry.command("list")(lambda: None)
    registry.command("push")(lambda: None)
    found = dict(commands(typer.main.get_command(app)))
    assert set(found) == {"rag ask", "rag registry", "rag registry list", "rag registry push"}


@pytest.mark.parametrize("name", modules_with_examples())
def test_what_a_docstring_shows_is_what_happens(name: str) -> None:
    shown = doctest.testmod(importlib.import_module(name))
    assert shown.attempted > 0
    assert shown.failed == 0


def test_what_kubernetes_is_told_to_run_is_a_command_of_ours() -> None:
    from ragwright.artifacts.cli import app

    file = ROOT / "docs/production/kubernetes.yaml"
    deployment, service = yaml.safe_load_all(file.read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:2] == ["rag", "serve"]
    words = [*container["command"][2:], *container["args"]]
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    with command.make_context("serve", words) as found:
        assert found.params["store"] == ""
        drain = found.params["drain"]
    assert pod["terminationGracePeriodSeconds"] > drain
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]
