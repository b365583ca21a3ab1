"""The wheel: one importable name, and nothing of a user's own beside it is taken for ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = "raise SystemExit('a file of the user was imported')"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as pip unpacks it, of a tree in which something was compiled."""
    folder = tmp_path_factory.mktemp("wheel")
    report = ROOT / "artifacts" / "compiled" / "of-the-wheels-test" / "1" / "report.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("<p>A user's own.</p>")
    building = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    building += ["--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(
        [*building, "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(report.parent.parent)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(folder / "site")
    return folder / "site"


def test_one_name_is_put_on_the_path(installed: Path) -> None:
    names = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"ragwright"}
    assert (installed / "ragwright" / "py.typed").is_file()
    assert not (installed / "ragwright" / "artifacts" / "compiled").exists()
    assert not [path for path in installed.rglob("*") if path.is_symlink()]


def test_files_of_a_user_are_left_alone(installed: Path, tmp_path: Path) -> None:
    for name in ("optimize.py", "programs.py", "retrievers.py", "artifacts/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(HOSTILE)
    script = tmp_path / "script.py"
    script.write_text(
        "import ragwright, ragwright.optimize, ragwright.artifacts.cli\n"
        "missing = [name for name in ragwright.__all__ if getattr(ragwright, name) is None]\n"
        "print(ragwright.__file__, missing)\n"
    )
    ran = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == [str(installed / "ragwright" / "__init__.py"), "[]"]
