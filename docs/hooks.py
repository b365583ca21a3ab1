"""Fill the pages of the site that code knows best: commands, recipe keys, errors, llms.txt.

`mkdocs` calls the `on_...` functions. A page asks by a comment, such as `<!-- commands -->`; links
to files outside of docs/ lead to the repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
OUTSIDE = re.compile(r"\]\(\.\./([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"[#>|<*-]|\d+\.")
LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """Replace comments by what they ask for, and turn links to the tree into links to the web."""
    for name, make in MAKERS.items():
        mark = f"<!-- {name} -->"
        if mark in markdown:
            markdown = markdown.replace(mark, "\n".join(make()))
    return OUTSIDE.sub(rf"]({config.repo_url}/blob/main/\1)", markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Take away what asks GitHub's server for stars and releases whenever a page is opened."""
    return output.replace(' data-md-component="source"', "")


def on_post_build(*, config: Any, **_: Any) -> None:
    """Write llms.txt: every page with its first sentence, for tools that read rather than look."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for title, page in pages(config.nav):
        address = page.removesuffix("index.md").replace(".md", "/")
        lines.append(f"- [{title}](./{address}): {first_sentence(DOCS / page)}")
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def pages(nav: Any) -> Iterator[tuple[str, str]]:
    """Walk the navigation: the title and file of every page."""
    for entry in nav:
        for title, below in entry.items():
            yield from [(title, below)] if isinstance(below, str) else pages(below)


def first_sentence(page: Path) -> str:
    """Return the first sentence of a page's first paragraph, without links and marks."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    found = [part for part in text.split("\n\n") if part.strip() and not BLOCK.match(part.strip())]
    said = LINK.sub(r"\1", " ".join(found[0].split())) if found else ""
    return re.split(r"[.:] ", said.replace("**", ""))[0].rstrip(".:")


def commands() -> Iterator[str]:
    """Every command: what it does, its arguments and its options."""
    import typer

    from ragwright.artifacts.cli import app

    yield from _command("rag", typer.main.get_command(app))


def _command(path: str, command: Any) -> Iterator[str]:
    import typer

    yield from (f"## `{path}`", "", _help(command.help), "")
    context = typer.Context(command)
    records = [one.get_help_record(context) for one in command.params if one.name != "help"]
    if path != "rag" and any(records):
        yield from ("| argument or option | meaning |", "|---|---|")
        yield from (f"| `{_cell(one[0])}` | {_cell(one[1])} |" for one in records if one)
        yield ""
    for name, below in sorted(getattr(command, "commands", {}).items()):
        if not below.hidden:
            yield from _command(f"{path} {name}", below)


def recipe_keys() -> Iterator[str]:
    """Every table of a recipe, each key with its type and default, as the code declares them."""
    from ragwright.programs.recipe import Recipe

    yield from _table("", Recipe)


def _table(path: str, model: Any) -> Iterator[str]:
    yield from (f"## `[{path}]`" if path else "## Top level", "")
    yield from ("| key | type | default |", "|---|---|---|")
    tables = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if hasattr(kind, "model_fields"):
            tables.append((f"{path}.{name}".lstrip("."), kind))
        else:
            default = "" if field.is_required() else _default(field)
            yield f"| `{name}` | `{_cell(_type(kind))}` | {default} |"
    yield ""
    for below, kind in tables:
        yield from _table(below, kind)


def _type(kind: Any) -> str:
    named = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    named = re.sub(r"\b(?:typing|collections\.abc|ragwright(?:\.\w+)+|pathlib)\.", "", named)
    return named.replace(" | ", " or ")


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    return "" if value is None else f"`{_cell(repr(value))}`"


def errors() -> Iterator[str]:
    """Every error of the tree, with what it means."""
    from ragwright.retrievers import errors as tree

    found = [one for one in vars(tree).values() if isinstance(one, type)]
    for one in found:
        if issubclass(one, tree.RagError):
            above = "" if one is tree.RagError else f" A kind of `{one.__mro__[1].__name__}`."
            yield from (f"## `{one.__name__}`", "", (one.__doc__ or "").split("\n")[0] + above, "")
            yield from (HELP.get(one.__name__, ""), "")


def _help(text: str | None) -> str:
    return re.sub(r"\[/?[a-z]+\]", "", text or "").replace("\b", "").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def notebook() -> Iterator[str]:
    """The cells of the notebook, and what they printed."""
    for cell in json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        yield from (source, "") if cell["cell_type"] == "markdown" else _fenced("python", source)
        for output in cell.get("outputs", ()):
            shown = output.get("data", {"text/plain": output.get("text", "")})
            if "text/html" in shown:
                yield from ("".join(shown["text/html"]), "")
            else:
                yield from _fenced("text", "".join(shown["text/plain"]))


def _fenced(language: str, text: str) -> tuple[str, ...]:
    return (f"```{language}", text.rstrip(), "```", "")


MAKERS = {"commands": commands, "recipe keys": recipe_keys, "errors": errors,
          "notebook": notebook}  # fmt: skip
HELP = {
    "InputError": "The message names the file, line or value, and what was expected there.",
    "RecipeError": "The message names the key; [every key](recipe-keys.md) with its type and "
    "default, and [what keys mean](recipe.md).",
    "IndexFault": "`rag index verify` says what is damaged, `rag index repair` mends what the "
    "ledger can give back, `rag ingest` does the rest: [reliability](reliability.md).",
    "IdentityError": "An index keeps the embedder and chunking that it was made with: give the "
    "recipe another `path`, or make a [variant](recipe.md).",
    "DamagedStore": "`rag ingest` or `rag index repair` fills the store again from the ledger.",
    "ModelError": "`rag lm check RECIPE` asks the language model one question and says what it "
    "makes of it: [language models](models.md).",
    "StageError": "With `fallback` a served program answers all the same and says so in "
    "`degraded`: [in production](production.md).",
    "RecordFault": "Answers go on; see to the place on disk that the message names.",
    "ArtifactError": "`rag artifacts verify` checks the files; an artifact is tied to the index "
    "that it was compiled on: [artifacts](artifacts.md).",
    "CompileError": "The message says what is missing; `rag compile --dry-run` tells before a "
    "call is spent: [what a compile does](compile.md).",
}
