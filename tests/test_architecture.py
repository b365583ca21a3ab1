"""The rules that the source tree keeps, checked on the syntax tree of every module."""

from __future__ import annotations

import ast
import gc
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "retrievers": set(),
    "programs": {"retrievers"},
    "optimize": {"retrievers", "programs"},
    "artifacts": {"retrievers", "programs"},
}
SEES_ALL = "artifacts/cli/*.py"
MAX_LINES = 400
HEAVY = {
    "datasets",
    "litellm",
    "matplotlib",
    "mlflow",
    "optuna",
    "sentence_transformers",
    "torch",
    "transformers",
}
RUN_BY_MLFLOW = "artifacts/pyfunc_model.py"
"""MLflow runs this file as a model from code: by then MLflow is loaded."""
PICKLERS = {"pickle", "cloudpickle", "joblib", "dill", "torch.load", "torch.save"}
PICKLING_FLAGS = {"allow_pickle", "save_program"}
TOP_LEVEL = {
    *MAY_IMPORT,
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "AGENTS.md",
    "Makefile",
    "mkdocs.yml",
    "README.md",
    "benchmarks",
    "compose.yaml",
    "constraints.txt",
    "docs",
    "examples",
    "pyproject.toml",
    "src",
    "tests",
}


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the root of the repository."""

    path: str
    source: str

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @property
    def sees_all(self) -> bool:
        return fnmatch(self.path, SEES_ALL)

    @property
    def tree(self) -> ast.Module:
        # Python 3.11 counts the depth of all trees together: what a collection runs in between,
        # in this thread or another, ends the parsing with a SystemError.
        gc.disable()
        try:
            return ast.parse(self.source, self.path)
        finally:
            gc.enable()

    def at(self, node: ast.expr | ast.stmt, what: str) -> str:
        return f"{self.path}:{node.lineno} {what}"


def modules() -> Iterator[Module]:
    for package in MAY_IMPORT:
        for file in sorted((ROOT / package).rglob("*.py")):
            path = file.relative_to(ROOT).as_posix()
            if not path.startswith("artifacts/compiled/"):
                yield Module(path, file.read_text(encoding="utf-8"))


class ImportFinder(ast.NodeVisitor):
    """Collects (node, dotted name, whether it is imported together with the module)."""

    def __init__(self) -> None:
        self.found: list[tuple[ast.expr | ast.stmt, str, bool]] = []
        self._inside = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append((node, alias.name, not self._inside))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names if node.level == 0 else []:
            self.found.append((node, f"{node.module}.{alias.name}", not self._inside))

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func) in {"__import__", "import_module", "importlib.import_module"}:
            name = ast.unparse(node.args[0]).strip("'\"")
            self.found.append((node, name, not self._inside))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            self._visit_inside(node)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_inside(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_inside(node)

    def _visit_inside(self, node: ast.AST) -> None:
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1


def imports(module: Module) -> list[tuple[ast.expr | ast.stmt, str, bool]]:
    finder = ImportFinder()
    finder.visit(module.tree)
    return finder.found


def imports_from_the_left_only(module: Module) -> list[str]:
    seen = set(MAY_IMPORT) if module.sees_all else {module.package, *MAY_IMPORT[module.package]}
    unseen = {f"ragwright.{package}" for package in set(MAY_IMPORT) - seen}
    unseen |= {"tests", "examples", "benchmarks", *MAY_IMPORT}
    return [
        module.at(n, f"imports {name}")
        for n, name, _ in imports(module)
        if name.split(".")[0] in unseen or ".".join(name.split(".")[:2]) in unseen
    ]


def imports_heavy_libraries_late(module: Module) -> list[str]:
    if module.path == RUN_BY_MLFLOW:
        return []
    early = [(node, name) for node, name, early in imports(module) if early]
    return [module.at(n, f"imports {name}") for n, name in early if name.split(".")[0] in HEAVY]


def leaves_printing_to_the_command(module: Module) -> list[str]:
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    printing = [node for node in calls if ast.unparse(node.func) == "print"]
    return [module.at(node, "prints") for node in printing if not module.sees_all]


def never_pickles(module: Module) -> list[str]:
    named: list[tuple[ast.expr | ast.stmt, str]] = [(n, name) for n, name, _ in imports(module)]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            named.append((node, ast.unparse(node)))
        if isinstance(node, ast.keyword) and node.arg in PICKLING_FLAGS:
            flag = ast.unparse(node.value)
            named += [(node.value, "pickle")] if flag != "False" else []
    return [
        module.at(node, f"uses {name}")
        for node, name in named
        if name in PICKLERS or name.split(".")[0] in PICKLERS
    ]


def has_a_docstring(module: Module) -> list[str]:
    return [] if ast.get_docstring(module.tree) else [f"{module.path} has no docstring"]


def is_short(module: Module) -> list[str]:
    lines = len(module.source.splitlines())
    return [f"{module.path} has {lines} lines"] if lines > MAX_LINES else []


def names_defaults_of_fields(module: Module) -> list[str]:
    """Checkers without pydantic's plugin take a default for one only where it is named."""
    called = (node for node in ast.walk(module.tree) if isinstance(node, ast.Call))
    fields = (node for node in called if ast.unparse(node.func) == "Field" and node.args)
    return [module.at(node, "writes a default without its name") for node in fields]


Rule = Callable[[Module], list[str]]
BREACHES: list[tuple[Rule, str, str]] = [
    (
        imports_from_the_left_only,
        "retrievers/a.py",
        "def f():\n    from ragwright.programs.rag import RAG",
    ),
    (imports_from_the_left_only, "programs/a.py", "import ragwright.optimize.pool"),
    (imports_from_the_left_only, "optimize/a.py", "import artifacts"),
    (imports_from_the_left_only, "artifacts/a.py", "from ragwright.optimize import compile"),
    (imports_from_the_left_only, "artifacts/client.py", "from ragwright.optimize import compile"),
    (
        imports_from_the_left_only,
        "artifacts/a.py",
        "importlib.import_module('ragwright.optimize.pool')",
    ),
    (imports_heavy_libraries_late, "optimize/a.py", "try:\n    import mlflow.dspy\nfinally: ..."),
    (imports_heavy_libraries_late, "programs/a.py", "class A:\n    from torch import nn"),
    (leaves_printing_to_the_command, "artifacts/server.py", "def f():\n    print(1)"),
    (never_pickles, "artifacts/a.py", "def f():\n    import pickle"),
    (never_pickles, "artifacts/a.py", "from torch import load"),
    (never_pickles, "artifacts/a.py", "torch.load(path)"),
    (never_pickles, "artifacts/a.py", "np.load(path, allow_pickle=True)"),
    (never_pickles, "artifacts/a.py", "program.save(path, save_program=True)"),
    (has_a_docstring, "artifacts/a.py", "x = 1"),
    (is_short, "artifacts/a.py", "x = 1\n" * (MAX_LINES + 1)),
    (names_defaults_of_fields, "programs/a.py", "class A:\n    k: int = Field(5, ge=1)"),
]
KEPT: list[tuple[Rule, str, str]] = [
    (
        imports_from_the_left_only,
        "artifacts/cli/compile.py",
        "from ragwright.optimize import compile",
    ),
    (
        imports_from_the_left_only,
        "optimize/a.py",
        "from ragwright.programs.rag import RAG\nimport ragwright.retrievers",
    ),
    (imports_from_the_left_only, "optimize/a.py", "from .pool import Pool"),
    (imports_heavy_libraries_late, "optimize/a.py", "def f():\n    import mlflow"),
    (imports_heavy_libraries_late, "optimize/a.py", "if TYPE_CHECKING:\n    import mlflow"),
    (imports_heavy_libraries_late, RUN_BY_MLFLOW, "import mlflow"),
    (leaves_printing_to_the_command, "artifacts/cli/view.py", "print(1)"),
    (never_pickles, "artifacts/a.py", "np.load(path, allow_pickle=False)"),
    (is_short, "artifacts/a.py", "x = 1\n" * MAX_LINES),
    (names_defaults_of_fields, "programs/a.py", "class A:\n    k: int = Field(default=5, ge=1)"),
]
RULES = list(dict.fromkeys(rule for rule, _, _ in BREACHES))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule.__name__))
def test_every_module(rule: Rule) -> None:
    checked = list(modules())
    assert {module.package for module in checked} == set(MAY_IMPORT)
    assert [breach for module in checked for breach in rule(module)] == []


@pytest.mark.parametrize(("rule", "path", "source"), BREACHES)
def test_a_rule_sees_the_breach(rule: Rule, path: str, source: str) -> None:
    assert len(rule(Module(path, source))) == 1


@pytest.mark.parametrize(("rule", "path", "source"), KEPT)
def test_a_rule_allows_what_is_right(rule: Rule, path: str, source: str) -> None:
    assert rule(Module(path, source)) == []


def test_nothing_unexpected_stands_on_top_level() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip(f"git cannot list the files: {listed.stderr.decode().strip()}")
    tracked = {path.split("/")[0] for path in listed.stdout.decode().split("\0") if path}
    assert tracked - TOP_LEVEL == set()


@pytest.mark.parametrize("target", ["demo", "test", "quick", "attack", "fuzz", "fix", "clean"])
def test_make_can_plan_every_target(target: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ran = subprocess.run(
        [make, "--dry-run", "--always-make", target],
        cwd=ROOT, env=plain, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


LOADED = 'import sys; print(*sorted({"dspy", "chromadb", "mlflow", "torch"} & set(sys.modules)))'
HELP = """
from typer.testing import CliRunner
from ragwright.artifacts.cli import app
result = CliRunner().invoke(app, ["--help"])
assert result.exit_code == 0, result.output
"""
READING = """
import ragwright.artifacts.cli.store  # lists and promotes versions
import ragwright.artifacts.server.feedback
import ragwright.retrievers.upkeep
"""


@pytest.mark.parametrize("code", [HELP, READING], ids=["help", "reading"])
def test_what_answers_at_once_loads_no_heavy_library(code: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")


NAME_MAXSIM = {
    "artifacts/cli/init.py",  # the recipe that it writes says so
    "programs/__init__.py",
    "programs/rerank.py",
    "programs/sections.py",  # the default of recipes
    "retrievers/index.py",
    "retrievers/late.py",
}
"""Where one reranker is named: its own files, the exports, and the defaults."""


def ways_back(found: list[Module]) -> list[str]:
    """Return modules of which each imports the next, late too, and the last the first."""
    named = {re.sub(r"(/__init__)?\.py$", "", one.path).replace("/", "."): one for one in found}
    ways = {}
    for name, module in named.items():
        said = [target.removeprefix("ragwright.") for _, target, _ in imports(module)]
        ways[name] = {one if one in named else one.rpartition(".")[0] for one in said} - {name}
    try:
        TopologicalSorter(ways).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_imports_lead_back() -> None:
    assert ways_back(list(modules())) == []


def test_imports_that_lead_back_are_found() -> None:
    late = "def f():\n    from ragwright.programs import a"
    found = [Module("programs/a.py", "import ragwright.programs.b"), Module("programs/b.py", late)]
    assert set(ways_back(found)) == {"programs.a", "programs.b"}


SAID_TWICE = {"Verdict": {"artifacts/manifest.py", "optimize/scoring/statistics.py"}}
"""Types of one meaning on both sides of a border that no import crosses."""


def types_of(module: Module) -> Iterator[str]:
    """Yield the names of classes, and of types that stand for another one (`Where = Mapping`)."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for statement in module.tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        for target in targets:
            if isinstance(target, ast.Name) and re.match("_?[A-Z]+[a-z]", target.id):
                yield target.id


def test_the_name_of_a_type_stands_in_one_module() -> None:
    homes = defaultdict(set)
    for module in modules():
        for name in types_of(module):
            homes[name].add(module.path)
    assert len(homes) > 500
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == SAID_TWICE


NAMED_BY_OTHERS = {"command", "get", "post"}
"""What makes a function a command or an HTTP route: its name is one that users read."""


def functions_of(module: Module) -> Iterator[str]:
    """Yield the names of public functions of a module, but of commands and HTTP routes."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    registered = {ast.unparse(arg) for call in calls if registers(call.func) for arg in call.args}
    for node in module.tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name in registered or any(map(registers, node.decorator_list)):
            continue
        if not node.name.startswith("_"):
            yield node.name


def registers(node: ast.expr) -> bool:
    """Whether this is `app.command(...)`, `router.post(...)` or the like."""
    function = node.func if isinstance(node, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr in NAMED_BY_OTHERS


def test_the_name_of_a_function_stands_in_one_module() -> None:
    homes = defaultdict(set)
    for module in modules():
        for name in functions_of(module):
            homes[name].add(module.path)
    assert len(homes) > 800
    # Each module of commands has a `register`, which adds them to the app.
    shared = {name for name, paths in homes.items() if len(paths) > 1}
    assert {name: homes[name] for name in shared - {"register"}} == {}


def test_a_command_and_a_route_may_share_the_name_of_a_function() -> None:
    source = """
def register(app): app.command("look")(look)
def look(): ...
@group.command()
def show(): ...
@router.post("/ask")
async def ask(): ...
def _own(): ...
def find(): ...
"""
    assert list(functions_of(Module("artifacts/cli/a.py", source))) == ["register", "find"]


def test_few_files_name_one_reranker() -> None:
    naming = {module.path for module in modules() if "maxsim" in module.source.lower()}
    assert naming == NAME_MAXSIM
