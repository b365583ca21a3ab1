"""A light installation: without torch and its kin it searches, and what it lacks is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ragwright.retrievers.extras import BRINGS, missing_extra, require

BLOCKED = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        absent = name.partition(".")[0] in %r
        return None if absent else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
"""
ABSENT = {"torch", "transformers", "sentence_transformers", "datasets", "mlflow", "pandas",
          "scipy", "pyarrow", "matplotlib", "sklearn", "openvino", "onnx", "optuna"}  # fmt: skip


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "script.py"
    script.write_text(BLOCKED % ABSENT + code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, str(script)], cwd=folder, capture_output=True, text=True, check=False
    )


def test_ingest_and_search_with_the_default_embedder(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tide.md").write_text("# Tides\n\nThe moon pulls the water.")
    (tmp_path / "recipe.toml").write_text('[index]\npath = "index"\ndocuments = "docs"\n')
    ran = run(
        "from ragwright.artifacts.cli import app\n"
        "for command in (['ingest'], ['search', 'What moves?'], ['ask', 'What pulls?']):\n"
        "    app([command[0], 'recipe.toml', *command[1:]], standalone_mode=False)\n"
        "import ragwright.artifacts.server\n",
        tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    assert "moon pulls the water" in ran.stdout
    assert "embedded by onnx float32" in ran.stdout
    assert "[1] tide.md, characters" in ran.stdout


def test_what_is_missing_is_named_by_its_extra(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[data]\ntrainset = 'none.jsonl'\n")
    ran = run(
        "from ragwright.retrievers.errors import MissingExtra\n"
        "from ragwright.retrievers.extras import require\n"
        "for name in ('torch', 'mlflow'):\n"
        "    try:\n"
        "        require(name)\n"
        "    except MissingExtra as error:\n"
        "        print(error)\n"
        "from ragwright.artifacts.cli import app\n"
        "@app.command('needy')\n"
        "def needy() -> None:\n"
        "    import mlflow\n"
        "app(['needy'], standalone_mode=False)\n",
        tmp_path,
    )
    assert "pip install 'ragwright[torch]'" in ran.stdout, ran.stderr
    assert "'mlflow', which a light installation does not have" in ran.stderr
    assert "Traceback" not in ran.stderr.partition("error: ")[0]


def test_only_packages_of_extras_are_named() -> None:
    assert missing_extra(ModuleNotFoundError("no", name="a_users_own")) is None
    found = missing_extra(ModuleNotFoundError("no", name="mlflow.entities"))
    assert found is not None
    assert "ragwright[compile]" in str(found)
    require("json")
    pyproject = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert not [extra for extra in set(BRINGS.values()) if f"\n{extra} = [" not in pyproject]
