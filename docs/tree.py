"""Write the tree of modules, each with the first line of its docstring, into docs/tree.md.

The README gets the packages alone.

    python docs/tree.py          rewrite both
    python docs/tree.py --check  exit with 1 if that would change one

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


def lines(folder: Path, indent: int = 0, *, modules: bool) -> list[str]:
    """Return a line for the folder and one for each package, or module, below it."""
    pad = "  " * indent
    found = [f"{pad + folder.name + '/':<{COLUMN}}{note(folder / '__init__.py')}".rstrip()]
    for file in sorted(folder.glob("*.py")):
        if modules and file.name != "__init__.py":
            found.append(f"{pad + '  ' + file.name:<{COLUMN}}{note(file)}".rstrip())
    for child in sorted(folder.iterdir()):
        if (child / "__init__.py").is_file():
            found += lines(child, indent + 1, modules=modules)
    return found


def written(text: str, *, modules: bool) -> str:
    """Return a page with the tree as it is now."""
    before, _, rest = text.partition(BEGIN)
    tree = [line for package in PACKAGES for line in lines(ROOT / package, modules=modules)]
    return before + BEGIN + "```\n" + "\n".join(tree) + "\n```\n" + END + rest.partition(END)[2]


def main() -> None:
    """Rewrite the pages, or with `--check` only tell whether they are up to date."""
    pages = {ROOT / "README.md": False, ROOT / "docs" / "tree.md": True}
    found = {page: page.read_text(encoding="utf-8") for page in pages}
    wanted = {page: written(found[page], modules=modules) for page, modules in pages.items()}
    if "--check" in sys.argv:
        sys.exit(wanted != found)
    for page, text in wanted.items():
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
