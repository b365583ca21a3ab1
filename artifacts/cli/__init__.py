"""The `rag` command: its modules put together. Each one that has commands registers them; what they
need is imported by the command that runs, so that `rag --help` stays quick.

An error that ragwright raises on purpose is one line and exit code 2; Ctrl-C is exit code 130, and
output that nobody reads to its end (`| head`) 141.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from ragwright.artifacts.cli import (
    artifacts,
    commands,
    index,
    init,
    label,
    mlflow,
    models,
    questions,
    serve,
    study,
)
from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.surroundings import fit_environment, open_missing_streams
from ragwright.artifacts.cli.terminal import escape_controls, quiet_warnings, write_in_any_encoding
from ragwright.retrievers.errors import InputError, ModelError, RagError
from ragwright.retrievers.extras import missing_extra
from ragwright.retrievers.trust import VARIABLE


class _Group(Group):
    """Turns every `RagError` into one line on stderr, and gives every command `--trust`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        for one in getattr(command, "commands", {"": command}).values():
            if one is not None and all(param.name != "trust" for param in one.params):
                one.params.append(_trust_option())
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except BrokenPipeError as error:
            raise _unread() from error
        except _told_in_a_line() as error:
            named = _named_error(error)
            if named is None:
                raise
            typer.echo(f"error: {escape_controls(' '.join(str(named).split()))}", err=True)
            _point_to(named)
            raise typer.Exit(2) from error
        except TyperException as error:  # tells what was wrong in the words that were given
            if isinstance(said := getattr(error, "message", None), str):
                error.message = escape_controls(said.replace(": Value error, ", ": ", 1))
            raise
        except (KeyboardInterrupt, MemoryError) as error:
            raise _ended(error) from error


def _named_error(error: Exception) -> RagError | None:
    """Return an error as one of ours, which says what to do; None if we are at fault."""
    if isinstance(error, RagError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_extra(error)
    if not isinstance(error, OSError):
        from ragwright.programs.causes import cause_of

        cause = cause_of(error)
        return ModelError(cause.what, hint=cause.hint)
    file = error.filename2 or error.filename  # of a file that is moved, its place
    if file is None:  # of a connection, or of a pipe that nobody reads on
        return None
    reason = error.strerror or type(error).__name__
    said = f"{str(file)!r} cannot be read or written: {reason}."
    return InputError(said, hint="Check the path and its rights.")


def _ended(error: BaseException) -> typer.Exit:
    """Say why a command ends that nothing was wrong with; what it has written stays."""
    if isinstance(error, KeyboardInterrupt):
        typer.echo("stopped by Ctrl-C; what was written until then is kept", err=True)
        return typer.Exit(130)
    said = "There is not enough memory; what was written until then is kept."
    typer.echo(f"error: {said} Give the process more (`ulimit -v`, its container).", err=True)
    return typer.Exit(2)


def _unread() -> typer.Exit:
    """End as any program does before `| head`: 1 would say that a gate said no."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return typer.Exit(128 + signal.SIGPIPE)


def _point_to(error: RagError) -> None:
    """Say where to read on, to people; logs and pipes keep one line an error."""
    if people_read():
        typer.secho(f"see {error.page}", err=True, dim=True)


def people_read() -> bool:
    """Tell whether what is said of errors goes to a terminal."""
    return sys.stderr.isatty()


def _told_in_a_line() -> tuple[type[Exception], ...]:
    """Return what `_named_error` knows; DSPy's errors nothing raises that has not imported it."""
    of_models = getattr(sys.modules.get("dspy.utils.exceptions"), "DSPyError", None)
    ours = RagError, ModuleNotFoundError, OSError
    return ours if of_models is None else (*ours, of_models)


def _trust_option() -> Any:
    """The option as Typer makes it, for commands whose functions need not know of it."""
    apart = typer.Typer(add_completion=False)

    @apart.command()
    def only(
        trust: Annotated[
            list[str] | None,
            typer.Option(
                "--trust",
                callback=_trusted,
                expose_value=False,
                metavar="MODULE",
                help="A module that recipe and artifact may import; may be given again.",
            ),
        ] = None,
    ) -> None: ...

    return next(param for param in typer.main.get_command(apart).params if param.name == "trust")


def _trusted(modules: list[str] | None) -> None:
    """Tell this process, and those that it starts, which modules may be imported."""
    if modules:
        before = os.environ.get(VARIABLE, "")
        os.environ[VARIABLE] = ",".join(filter(None, (before, *modules)))


app = typer.Typer(
    name="rag",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compile retrieval-augmented programs against your own questions, and use them.",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ragwright {version('ragwright')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the release."),
    ] = False,
) -> None:
    """Compile retrieval-augmented programs against your own questions, and use them."""
    fit_environment()


init.register(app)
commands.register(app)
questions.register(app)
study.register(app)
label.register(app)
mlflow.register(app)
models.register(app)
index.register(app)
serve.register(app)
artifacts.register(app)


def main() -> None:
    """Run the command."""
    open_missing_streams()
    quiet_warnings()
    write_in_any_encoding()
    app(prog_name="rag")
