"""`rag init`: looks at a folder of documents and writes a recipe that fits it.

What it chooses is decided by what is there: the kinds of files, and the language models that this
machine can reach. Nothing is read but the folder, and nothing is asked but the loopback and the
server that the environment names.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from ragwright.artifacts.cli.first_look import name_of_documents
from ragwright.artifacts.cli.options import JsonOption
from ragwright.artifacts.cli.terminal import printable
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text.numbers import count_with_noun

CODE = frozenset(
    """.c .cc .cpp .cs .go .h .hpp .java .js .jsx .kt .php .py .rb .rs .scala .swift .ts
    .tsx""".split()
)
MARKED = frozenset({".htm", ".html", ".markdown", ".md", ".mdx", ".xhtml"})
ROWS = frozenset({".csv", ".jsonl", ".parquet"})
MANY_IN_ONE = ROWS | {
    ".json",
    ".tsv",
    ".xml",
    ".mbox",
    ".zip",
    ".tar",
    ".tgz",
    ".gz",
    ".bz2",
    ".xz",
}
"""Files that may hold a document in each of their rows, or many files."""
FEW_FILES = 6
"""Fewer documents than these cannot be dealt to three sides so that a test shows anything."""
LOOKED_AT = 50_000
"""Files of a folder that are counted at most, so that a look at a disk ends."""
MANY_FILES = 5_000
MANY_BYTES = 200_000_000
"""From here on a folder is called large: some 200,000 passages, two hours on a core."""

HOSTED: Mapping[str, str] = {
    "OPENAI_API_KEY": "openai/gpt-4o-mini",
    "ANTHROPIC_API_KEY": "anthropic/claude-3-5-haiku-latest",
    "GEMINI_API_KEY": "gemini/gemini-2.0-flash",
    "MISTRAL_API_KEY": "mistral/mistral-small-latest",
    "GROQ_API_KEY": "groq/llama-3.1-8b-instant",
}
"""The variable that holds a provider's key, and a small model of that provider."""
LOCAL: Mapping[str, int] = {"Ollama": 11434, "llama.cpp": 8080, "LM Studio": 1234, "vLLM": 8000}
"""The port on which a server of OpenAI's protocol listens where nobody changed it."""
WAIT = 0.5
"""Seconds for a server on this machine to answer."""
SLOW = 5.0
"""Seconds for a server elsewhere."""
NO_WRITERS = ("embed", "rerank", "whisper", "tts", "moderation", "dall-e", "guard")
"""Names of models that a server may list before those that answer hold one of these."""


@dataclass(frozen=True)
class Survey:
    """What lies in a source of documents.

    Attributes:
        files: How many files there are.
        size: Their bytes together.
        suffixes: Files by suffix, the most frequent first.
    """

    files: int
    size: int
    suffixes: Mapping[str, int]

    def share(self, suffixes: frozenset[str]) -> float:
        """The share of files, from 0 to 1, with one of these suffixes."""
        return sum(self.suffixes.get(suffix, 0) for suffix in suffixes) / max(self.files, 1)


@dataclass(frozen=True)
class ReachableModel:
    """A language model that this machine can reach, and how that was found out."""

    name: str
    why: str
    api_base: str = ""


@dataclass(frozen=True)
class Proposal:
    """A recipe's text, where it goes, and the reasons for what stands in it."""

    path: Path
    text: str
    reasons: tuple[str, ...]
    survey: Survey = field(repr=False)


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(init)


def init(
    documents: Annotated[
        Path, typer.Argument(metavar="[DOCUMENTS]", help="A folder of documents, or a file.")
    ] = Path(),
    output: Annotated[Path, typer.Option(help="The recipe to write.")] = Path("recipe.toml"),
    overwrite: Annotated[bool, typer.Option(help="Replace a recipe that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at a folder of documents and write a recipe that fits it."""
    from ragwright.artifacts.cli import view

    if output.exists() and not overwrite:
        raise InputError(
            f"{str(output)!r} is there already.", hint="Give --output, or replace it: --overwrite."
        )
    made = propose_recipe(documents, output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(made.text, encoding="utf-8")
    if json:
        view.print_json({"recipe": str(output), "reasons": made.reasons, **asdict(made.survey)})
        return
    view.stdout_console().print(
        f"{view.short_path(output)}: for {_described(made.survey)}", soft_wrap=True
    )
    for reason in made.reasons:
        view.stdout_console().print(f"  {reason}", soft_wrap=True)
    view.show_next(
        view.shell_command("rag", "ingest", output),
        f"{view.shell_command('rag', 'questions', output)}        # if you have none",
        view.shell_command("rag", "compile", output),
    )


def propose_recipe(documents: Path, path: Path) -> Proposal:
    """Look at documents and return the recipe that fits them; nothing is written.

    Args:
        documents: A folder, or a file.
        path: Where the recipe will lie; paths in it count from its folder.

    Raises:
        InputError: There are no documents.
    """
    from ragwright.retrievers.metadata import has_unstorable_characters

    survey = survey_documents(documents)
    place = os.path.relpath(documents.resolve(), path.resolve().parent).replace(os.sep, "/")
    if has_unstorable_characters(place):
        raise InputError(
            f"A recipe cannot name '{printable(place)}': that is not UTF-8.", hint="Rename it."
        )
    chunking, why = _chunking(survey)
    model = find_reachable_model()
    much = _much(survey)
    text = _TEMPLATE.format(
        name=name_of_documents(documents),
        place=_quoted(f".rag/{_own(path, 'index')}"),
        questions=_quoted(f"{_own(path, 'questions')}.jsonl"),
        documents=_quoted(place),
        found=_described(survey),
        chunking=chunking,
        chunking_why=why,
        model=_model(model),
        model_why=model.why,
        split=_SPLIT if _few(survey) else "",
    )
    reasons = tuple(filter(None, (
        f"chunking: {why}", f"language model: {model.why}", _sent(model, path), much,
    )))  # fmt: skip
    return Proposal(path, text, reasons, survey)


def survey_documents(documents: Path) -> Survey:
    """Count the files of a source; hidden ones are left out.

    Raises:
        InputError: There is nothing there.
    """
    suffixes: Counter[str] = Counter()
    size = 0
    for path in _files(documents):
        suffixes[path.suffix.lower()] += 1
        size += path.stat().st_size
        if suffixes.total() >= LOOKED_AT:
            break
    if not suffixes:
        raise InputError(
            f"There are no documents at {str(documents)!r}.",
            hint="Give a folder with text, Markdown, HTML or office files, or a JSONL file.",
        )
    return Survey(suffixes.total(), size, dict(suffixes.most_common()))


def find_reachable_model() -> ReachableModel:
    """Return the language model to begin with: a local server's, a hosted one, or the offline one.

    A server that the environment names comes first, one on this machine next, since it costs
    nothing; then a key in the environment.
    """
    if named := _named():
        return named
    for name, port in LOCAL.items():
        if served := _served(port):
            base = f"http://127.0.0.1:{port}/v1"
            return ReachableModel(f"openai/{served}", f"{name} answers on port {port}", base)
    for variable, model in HOSTED.items():
        if os.environ.get(variable):
            return ReachableModel(model, f"{variable} is set{_elsewhere(model)}")
    return ReachableModel(
        "extractive", "no local server answers and no key is set: the offline model"
    )


def _named() -> ReachableModel | None:
    """Return a model that the server of OpenAI's protocol lists which the environment names.

    The key stays in the environment. Without one, the recipe has to say where the server is.
    """
    variable = _address_of("OPENAI")
    if not variable:
        return None
    base, key = os.environ[variable].rstrip("/"), os.environ.get("OPENAI_API_KEY", "")
    if not (served := _listed(base, key)):
        return None
    if key:
        why = f"OPENAI_API_KEY is set, and {variable} says at which server: it lists {served}"
        return ReachableModel(f"openai/{served}", why)
    return ReachableModel(f"openai/{served}", f"the server at {variable} lists {served}", base)


def _elsewhere(model: str) -> str:
    """Say which other server the environment names for a provider's models; "" without one."""
    variable = _address_of(model.partition("/")[0].upper())
    if not variable:
        return ""
    return (
        f", and {variable} says at which server; that server lists no models here, so put a name "
        "of its own in the recipe if it has not this one"
    )


def _address_of(provider: str) -> str:
    """Return the variable that names a server for a provider's models; "" without one."""
    names = (f"{provider}_BASE_URL", f"{provider}_API_BASE")
    return next((name for name in names if os.environ.get(name)), "")


def _files(documents: Path) -> Iterator[Path]:
    if documents.is_file():
        yield documents
        return
    for folder, folders, names in os.walk(documents):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file():
                yield path


def _served(port: int) -> str:
    """Return a model of an OpenAI-compatible server on this machine, or nothing."""
    return _listed(f"http://127.0.0.1:{port}/v1")


def _listed(base: str, key: str = "") -> str:
    """Return a model that a server of OpenAI's protocol lists and that may write, or nothing.

    The usual small one is taken where it is listed, else the first.
    """
    import httpx

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    local = base.startswith(("http://127.0.0.1", "http://localhost"))
    try:
        reply = httpx.get(
            f"{base}/models", timeout=WAIT if local else SLOW, trust_env=not local, headers=headers
        )
        listed: Any = reply.raise_for_status().json()
        names = [one["id"] for one in listed["data"]]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError, TypeError):
        return ""
    usual = HOSTED["OPENAI_API_KEY"].partition("/")[2]
    named = [name for name in names if isinstance(name, str) and name.isprintable()]
    writing = [name for name in named if not any(word in name.lower() for word in NO_WRITERS)]
    return usual if usual in writing else next(iter(writing), "")


def _chunking(survey: Survey) -> tuple[str, str]:
    if survey.share(CODE) > 0.5:
        return 'kind = "code"', "most files are source code, so definitions are kept apart"
    if survey.share(MARKED) > 0.5:
        return 'kind = "markdown"', "most files have headings, so sections are kept apart"
    return 'kind = "recursive"', "plain text is cut at paragraphs and sentences"


def _few(survey: Survey) -> bool:
    """Whether there are too few documents for some of them to be kept for the test."""
    return survey.files < FEW_FILES and not survey.share(MANY_IN_ONE)


def _much(survey: Survey) -> str:
    """Say of a large folder what it means to take all of it; "" of one that is not."""
    if survey.files < MANY_FILES and survey.size < MANY_BYTES:
        return ""
    return (
        "size: this is much for a first look, and embedding it may take hours: begin with a part, "
        "or name what is no document in a .ragignore file; rag ingest shows how far it is"
    )


def _sent(model: ReachableModel, recipe: Path) -> str:
    """Say of a provider's model what goes there, and how to see its price; "" of another."""
    if model.api_base or model.name == "extractive":
        return ""
    return (
        f"  {model.name} is sent questions and passages, and costs money: rag lm check {recipe} "
        f"tries it, rag compile {recipe} --dry-run estimates a compile"
    )


def _described(survey: Survey) -> str:
    # A comment of the recipe, which a name of a file must not end.
    kinds = [
        f"{count} {printable(suffix) or 'without suffix'}"
        for suffix, count in survey.suffixes.items()
    ]
    more = f" and {len(kinds) - 5} kinds more" if len(kinds) > 5 else ""
    least = "at least " if survey.files >= LOOKED_AT else ""
    files, size = count_with_noun(survey.files, "file"), _size(survey.size)
    return f"{least}{files}, {size}: {', '.join(kinds[:5])}{more}"


def _size(size: int) -> str:
    if size < 1000:
        return count_with_noun(size, "byte")
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} KB"


def _model(model: ReachableModel) -> str:
    lines = [f"model = {_quoted(model.name)}"]
    if model.api_base:
        lines.append(f"api_base = {_quoted(model.api_base)}")
        lines.append("# max_tokens = 300    # shorter replies: see `rag lm check`")
    return "\n".join(lines)


def _own(path: Path, usual: str) -> str:
    """Name what a recipe makes after it, so that two recipes in a folder share nothing."""
    return usual if path.stem == "recipe" else f"{path.stem}-{usual}"


def _quoted(text: str) -> str:
    """Write a TOML basic string."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_SPLIT = 'split = "question"    # too few documents to keep some of them for the test\n'
_TEMPLATE = """\
# Made by `rag init`. Every key, with its range and default: docs/recipe.md
name = "{name}"

[index]
documents = {documents}     # {found}
path = {place}

[index.chunking]
{chunking}      # {chunking_why}
size = 200      # tokens of a chunk, at most

[program]
kind = "rerank"             # vectors and keywords, fused, then reranked by
reranker = "maxsim"         # late interaction over the token vectors of the same small model

[lm]
# {model_why}
{model}

[data]
trainset = {questions}    # `rag questions` writes it, or write your own: docs/training-set.md
{split}
[compile]
optimizer = "bootstrap-random-search"
metric = "answer_f1"
"""
