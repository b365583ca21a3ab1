"""Write the tree of modules, each with the first line of its docstring, into the README.

    python docs/tree.py          rewrite README.md
    python docs/tree.py --check  exit with 1 if that would change it

A note is written once, where it belongs: in the module.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("retrievers", "programs", "optimize", "artifacts")
BEGIN, END = "<!-- tree: made by docs/tree.py -->\n", "<!-- end of tree -->\n"
COLUMN = 30
WIDTH = 150


def note(file: Path) -> str:
    """Return the first sentence or line of a module's docstring, whichever is shorter."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(doc.split("\n\n")[0].split())
    sentence = paragraph.split(". ")[0].rstrip(".")
    room = WIDTH - COLUMN
    return sentence if len(sentence) <= room else sentence[: room - 3].rsplit(" ", 1)[0] + " ..."


def lines(folder: Path, indent: int = 0) -> list[str]:
    """Return a line for the folder and one for everything below it."""
    pad = "  " * indent
    found = [f"{pad + folder.name + '/':<{COLUMN}}{note(folder / '__init__.py')}".rstrip()]
    for file in sorted(folder.glob("*.py")):
        if file.name != "__init__.py":
            found.append(f"{pad + '  ' + file.name:<{COLUMN}}{note(file)}".rstrip())
    for child in sorted(folder.iterdir()):
        if (child / "__init__.py").is_file():
            found += lines(child, indent + 1)
    return found


def written(text: str) -> str:
    """Return the README with the tree as it is now."""
    before, _, rest = text.partition(BEGIN)
    tree = [line for package in PACKAGES for line in lines(ROOT / package)]
    return before + BEGIN + "```\n" + "\n".join(tree) + "\n```\n" + END + rest.partition(END)[2]


def main() -> None:
    """Rewrite the README, or with `--check` only tell whether it is up to date."""
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit(written(text) != text)
    readme.write_text(written(text), encoding="utf-8")


if __name__ == "__main__":
    main()
