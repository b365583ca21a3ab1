"""What an installation takes: seconds, and megabytes by package.

    python benchmarks/install.py [--extras compile,files] [--installer uv] [--cold] [--show 12]

Builds the wheel of this tree, installs it with the versions of constraints.txt into an environment
that is made for it and removed afterwards, and counts the files of `site-packages` by distribution
without pip. Bytecode is counted apart: `pip install --no-compile` leaves it out, uv does so unless
it is told otherwise, and Python writes only that of what is imported. Packages come from the
installer's cache where they are in it; `--cold` gives it an empty one, so that the seconds are
those of the network too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MB = 1e6


def install(installer: str, python: Path, wanted: str, *, cache: str) -> float:
    """Install a wheel with the pinned versions, and return the seconds; "" is the usual cache."""
    words = ["install", "--quiet", "-c", f"{ROOT}/constraints.txt", wanted]
    if installer == "uv":
        command = ["uv", "pip", *words, "--python", str(python)]
    else:
        command = [str(python), "-m", "pip", "--disable-pip-version-check", *words]
    began = time.perf_counter()
    subprocess.run([*command, *(["--cache-dir", cache] if cache else [])], check=True)
    return time.perf_counter() - began


def sizes(one: Distribution) -> tuple[float, float]:
    """Return the megabytes of a distribution's files without bytecode, and of its bytecode."""
    paths = [Path(str(one.locate_file(file))) for file in one.files or ()]
    held = [(path.suffix == ".pyc", path.stat().st_size / MB) for path in paths if path.is_file()]
    return sum(s for code, s in held if not code), sum(s for code, s in held if code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--extras", default="", help="extras of ragwright, comma between them")
    parser.add_argument("--installer", choices=("pip", "uv"), default="pip")
    parser.add_argument("--cold", action="store_true", help="begin with an empty cache")
    parser.add_argument("--show", type=int, default=12, help="how many packages to list")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        build = ["wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        subprocess.run([sys.executable, "-m", "pip", *build], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        subprocess.run([sys.executable, "-m", "venv", f"{folder}/venv"], check=True)
        wanted = f"{wheel}[{options.extras}]" if options.extras else str(wheel)
        cache = f"{folder}/cache" if options.cold else ""
        python = Path(folder, "venv/bin/python")
        seconds = install(options.installer, python, wanted, cache=cache)
        (site,) = Path(folder, "venv/lib").glob("python*/site-packages")
        found = [one for one in distributions(path=[str(site)]) if one.name != "pip"]
        taken = sorted(((*sizes(one), one.name) for one in found), reverse=True)
    files, code = sum(row[0] for row in taken), sum(row[1] for row in taken)
    how = f"{options.installer}, {'empty' if options.cold else 'usual'} cache"
    print(
        f"{len(taken)} packages in {seconds:.0f} s ({how}, load {os.getloadavg()[0]:.1f}): "
        f"{files:.0f} MB, and {code:.0f} of bytecode"
    )
    for size, bytecode, name in taken[: options.show]:
        print(f"{size:6.0f} {bytecode:5.0f} {name}")


if __name__ == "__main__":
    main()
