"""`rag questions`: a training set made from the documents themselves, and one looked over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import (
    IndexOption,
    JsonOption,
    MaxCalls,
    MaxCost,
    MaxTokens,
    RecipeArgument,
)
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text.numbers import count_with_noun

if TYPE_CHECKING:
    from ragwright.artifacts.cli.making import QuestionBatch
    from ragwright.optimize.questions.checking import TrainingSetCheck
    from ragwright.optimize.questions.data import Question
    from ragwright.optimize.questions.importing import ImportedSet
    from ragwright.programs.recipe import Recipe


class _Make(Group):
    """Takes `rag questions RECIPE` for `rag questions make RECIPE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["make", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=_Make,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make a training set from documents, and look one over.",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="questions")


@group.command()
def make(  # noqa: PLR0913, PLR0917 (one parameter per option)
    recipe: RecipeArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many questions.")] = 200,
    output: Annotated[
        Path | None, typer.Option(help="The file to write.  [default: the recipe's trainset]")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="A training set whose style is followed.")
    ] = None,
    lm: Annotated[str | None, typer.Option("--lm", help="The language model that writes.")] = None,
    index: IndexOption = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Written at once.  [default: the recipe's, or 4]")
    ] = None,
    max_calls: MaxCalls = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Write questions with answers and verbatim evidence from a recipe's own chunks.

    With a language model that writes, they are written and checked; without one, they are probes:
    good for tuning retrieval, not for judging answers.
    """
    from ragwright.artifacts.cli import actions, making, view
    from ragwright.optimize.questions.data import read_questions
    from ragwright.optimize.spending.budget import Caps

    read = actions.read_recipe(recipe, index)
    actions.open_ingested_index(read, recipe)
    target = output or Path(read.data.trainset or "questions.jsonl")
    if target.exists() and not overwrite:
        raise InputError(
            f"{str(target)!r} is there already.", hint="Give --output, or replace it: --overwrite."
        )
    examples = [one.question for one in read_questions(like).questions] if like else []
    with view.progress_bars() as progress:
        made = making.make_questions(
            making.QuestionRequest(
                read, count, lm, examples, Caps(max_calls, max_tokens, max_cost), threads
            ),
            progress,
        )
    if not made.rows:
        raise _nothing(made)
    _write(target, made.rows)
    _show_made(made, target, recipe, json)
    if not json:
        view.show_notes(_too_few(read, target))


@group.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A training set of another tool, or its folder.")
    ],
    recipe: Annotated[
        Path | None,
        typer.Argument(
            help="Whose index has the documents.  [default: recipe.toml, if it is here]"
        ),
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="Which tool's form it has.  [default: told by its keys]")
    ] = "",
    output: Annotated[
        Path | None, typer.Option(help="The file to write.  [default: the recipe's trainset]")
    ] = None,
    index: IndexOption = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    json: JsonOption = False,
) -> None:
    """Take over questions of another tool: SQuAD, HotpotQA, MuSiQue, NQ-open, BEIR, RAGAS and more.

    2Wiki, LlamaIndex, AutoRAG, MLflow's evaluation data and `rag feedback export` too. Where there
    is an index, documents are named as it names them: by id, by title, or by the paragraph's
    sentences.
    """
    from ragwright.artifacts.cli import actions, view
    from ragwright.optimize.questions.importing import import_questions
    from ragwright.retrievers.index import index_files_exist, open_index

    given = recipe or (Path("recipe.toml") if Path("recipe.toml").is_file() else None)
    read = actions.read_recipe(given, index) if given else None
    target = output or Path((read.data.trainset if read else "") or "questions.jsonl")
    if target.exists() and not overwrite:
        raise InputError(
            f"{str(target)!r} is there already.", hint="Give --output, or replace it: --overwrite."
        )
    place = index or (Path(read.index.path) if read else None)
    held = open_index(place) if place and index_files_exist(place) else None
    done = import_questions(file, form=form.lower(), chunks=held.chunks() if held else None)
    _write(target, done.rows)
    _show_imported(done, target, given, json, indexed=held is not None)
    if read and not json:
        view.show_notes(_too_few(read, target))


@group.command()
def check(
    recipe: RecipeArgument,
    trainset: Annotated[
        Path | None, typer.Argument(help="A training set, if not the recipe's.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look a training set over before anything is spent on it.

    Repetitions, documents and evidence that the index lacks, answers that are not in the evidence,
    and what so many questions can show. The exit code is 1 if something has to be repaired.
    """
    from ragwright.artifacts.cli import actions, view
    from ragwright.optimize.questions.checking import check_questions
    from ragwright.optimize.questions.columns import Columns
    from ragwright.optimize.questions.data import read_questions

    read = actions.read_recipe(recipe)
    questions = read_questions(_trainset(read, trainset), Columns.of(read), answered=False)
    test = 1 - read.data.train - read.data.dev
    found = check_questions(
        questions,
        actions.open_ingested_index(read, recipe),
        test_share=test,
        metric=read.compile.metric,
    )
    facts = asdict(found)
    if json:
        view.print_json({**facts, "problems": found.problems})
    else:
        for name, value in facts.items():
            said = len(value) if isinstance(value, (list, tuple)) else value
            if name not in {"notes", "smallest_p", "detectable"}:
                view.stdout_console().print(f"{_CHECKED.get(name, name.replace('_', ' '))}: {said}")
        view.stdout_console().print(_shows(found))
        view.show_notes((*found.notes, *_refused(read, questions.questions), *found.problems))
        if not found.problems:
            given = _unless_own(recipe, trainset)
            view.show_next(view.shell_command("rag", "study", "retrieval", recipe, *given))
    if found.problems:
        raise typer.Exit(1)


_CHECKED = {
    "duplicates": "rows that repeat a question, joined with it",
    "unanswerable": "left out, since nothing answers them",
    "unanswered": "without an answer, for retrieval alone",
    "labelled": "that name documents or evidence",
    "missing_evidence": "evidence that stands nowhere in the index",
    "unsupported": "answers that their evidence does not have word for word",
}
"""What people read in the place of the names that are none of theirs."""


def _shows(found: TrainingSetCheck) -> str:
    """Say what the test side of so many questions can show."""
    if found.detectable >= 1:
        return "can show: no gain at all, the test side is too small"
    return f"can show: a gain of {found.detectable:.2f} or more, 4 times out of 5"


def _too_few(recipe: Recipe, target: Path) -> list[str]:
    """Say what a compile would refuse in a training set that was just written."""
    from ragwright.optimize.questions.columns import Columns
    from ragwright.optimize.questions.data import read_questions

    written = read_questions(target, Columns.of(recipe), answered=False)
    return _refused(recipe, written.questions)


def _refused(recipe: Recipe, questions: Sequence[Question]) -> list[str]:
    from ragwright.optimize.questions.splitting import split_refusal

    why = split_refusal(questions, recipe.data)
    return [f"`rag compile` would refuse these questions: {why}"] if why else []


def _trainset(recipe: Recipe, given: Path | None) -> Path:
    if given is None and not recipe.data.trainset:
        raise InputError(
            "There are no questions to look over.",
            hint="Set trainset in the recipe's [data] table, or make some: rag questions RECIPE.",
        )
    return given or Path(recipe.data.trainset or "")


def _unless_own(recipe: Path, trainset: Path | None) -> tuple[str, ...]:
    """Return a training set as a command names it, if it is not the one that the recipe names."""
    from ragwright.artifacts.cli import actions, view

    own = actions.read_recipe(recipe).data.trainset
    if trainset is None or (own and Path(own).resolve() == trainset.resolve()):
        return ()
    return (view.short_path(trainset),)


def _nothing(made: QuestionBatch) -> InputError:
    """What is said where nothing was made: whoever had a model write is not sent to one."""
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items())
    why = f" Not kept: {dropped}." if dropped else ""
    if made.manner == "written":
        hint = (
            "Another model may write better: --lm; `--lm extractive` makes probes without one. "
            "`rag lm check RECIPE` looks at this one."
        )
    else:
        hint = (
            "Probes need headings, definitions, tables or docstrings; name a language model "
            "that writes: --lm openai/gpt-4o-mini."
        )
    return InputError(f"No question could be made from these documents.{why}", hint=hint)


def _write(target: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the file whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    partial.write_text("".join(lines), encoding="utf-8")
    partial.replace(target)


def _show_made(made: QuestionBatch, target: Path, recipe: Path, as_json: bool) -> None:
    from ragwright.artifacts.cli import view

    if as_json:
        view.print_json(
            {
                "file": str(target), "questions": len(made.rows), "manner": made.manner,
                "kinds": dict(made.kinds), "dropped": dict(made.dropped),
                "stopped": made.stopped, "calls": made.spent.calls if made.spent else 0,
                "tokens": made.spent.tokens if made.spent else 0,
                "cost": made.spent.cost if made.spent else 0.0,
            }
        )  # fmt: skip
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in made.kinds.items())
    view.stdout_console().print(
        f"{count_with_noun(len(made.rows), 'question')} ({kinds}) in {view.short_path(target)}",
        soft_wrap=True,
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in made.dropped.items())
    if dropped:
        view.stdout_console().print(f"not kept: {dropped}", soft_wrap=True)
    if made.manner == "probes":
        view.stdout_console().print(
            "These are probes: nobody asked them. Tune retrieval with them; to judge answers, "
            "write questions of your own or name a language model that writes.",
            soft_wrap=True,
        )
    if made.spent:
        view.stdout_console().print(view.describe_spend([made.spent]))
    if made.stopped:
        view.show_notes([f"ended early: {made.stopped}"])
    given = _unless_own(recipe, target)
    view.show_next(
        view.shell_command("rag", "questions", "check", recipe, *given),
        view.shell_command("rag", "study", "retrieval", recipe, *given),
    )


def _show_imported(
    done: ImportedSet, target: Path, recipe: Path | None, as_json: bool, *, indexed: bool
) -> None:
    from ragwright.artifacts.cli import view

    facts = {key: value for key, value in asdict(done).items() if key != "rows"}
    if as_json:
        view.print_json({"file": str(target), **facts, "indexed": indexed})
        return
    out, notes = view.stdout_console(), []
    out.print(
        f"{count_with_noun(done.questions, 'question')} in {view.short_path(target)}",
        soft_wrap=True,
    )
    if done.unanswerable:
        out.print(f"and {done.unanswerable} that nothing answers: a compile leaves them out")
    if done.duplicates:
        out.print(f"joined: {done.duplicates} that ask what another asks; each label counts")
    if done.matched:
        out.print(f"{done.matched} name their documents as the index does now")
    if done.unanswered:
        notes.append(
            f"{done.unanswered} have documents or evidence and no answer: measure retrieval with "
            "them (rag study retrieval); a compile wants answers."
        )
    if done.unknown:
        some = ", ".join(map(repr, done.unknown[:5]))
        notes.append(
            f"the index holds nothing of {len(done.unknown)} of them, such as {some}: are they "
            "about these documents?"
        )
    if not indexed:
        notes.append("documents are named as the source names them: there is no index here yet")
    view.show_notes(notes)
    wanted = (recipe or "RECIPE", view.short_path(target))
    view.show_next(view.shell_command("rag", "questions", "check", *wanted))
