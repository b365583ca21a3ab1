"""The house in numbers: lines, files, share of imports, and where one reranker is named.

    python benchmarks/house.py [FOLDER ...]

Give the checkouts to compare, such as a worktree of an earlier release and this one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("retrievers", "programs", "optimize", "artifacts")


def modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the source files of a checkout's packages with their texts."""
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            if "compiled" not in file.relative_to(root).parts:
                yield file.relative_to(root), file.read_text(encoding="utf-8")


def imported(source: str) -> int:
    """How many lines of a module are imports."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import | ast.ImportFrom)]
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes)


def measured(root: Path) -> dict[str, float]:
    """Count what a checkout is made of."""
    found = list(modules(root))
    lines = sum(len(source.splitlines()) for _, source in found)
    return {
        "files": len(found),
        "lines": lines,
        "lines that are imports, %": 100 * sum(imported(source) for _, source in found) / lines,
        "longest file": max(len(source.splitlines()) for _, source in found),
        'files that name "maxsim"': sum("maxsim" in source.lower() for _, source in found),
        'files that name "listwise"': sum("listwise" in source.lower() for _, source in found),
        'files that name "qdrant"': sum("qdrant" in source.lower() for _, source in found),
        'files that name "multihop"': sum("multihop" in source.lower() for _, source in found),
        'files that name "rerank_depth"': sum("rerank_depth" in source for _, source in found),
        'files that name "answer_f1"': sum("answer_f1" in source for _, source in found),
    }


def main() -> None:
    """Print a table with a column per checkout."""
    roots = [Path(name) for name in sys.argv[1:]] or [Path(__file__).resolve().parent.parent]
    columns = [measured(root) for root in roots]
    for name in columns[0]:
        print(f"{name:36}", *(f"{column[name]:>10,.1f}" for column in columns))


if __name__ == "__main__":
    main()
