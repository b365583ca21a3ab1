"""`rag mlflow`: runs opened in MLflow's own pages, and copied to a team's tracking server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Annotated, Any
from urllib.parse import quote

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.terminal import escape_controls
from ragwright.retrievers.errors import InputError, ModelError

PORT = 5000
PATIENCE = 10.0
"""Seconds that MLflow's processes get to end."""
READY_WITHIN = 300.0
"""Seconds that MLflow's server gets to answer; it takes some ten on two idle cores."""
ENVIRONMENT = {
    # Without a network, what these switch off hangs or fails: a price list, jobs, telemetry.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
WORKERS = 1
"""One person looks; each further worker imports MLflow once more, some five seconds of a core."""
STORE = Path(".rag/mlflow.db")
_MLFLOW_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_TIME = 20
MOST_SAID = 300
"""Characters of MLflow's last line that are shown."""


class _Open(Group):
    """Takes `rag mlflow [RECIPE]` for `rag mlflow open [RECIPE]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] != ["--help"] and (not args or args[0] not in self.commands):
            args = ["open", *args]
        return super().parse_args(ctx, args)


group = typer.Typer(
    cls=_Open, rich_markup_mode=None, help="Look at runs in MLflow, or copy them to a server."
)

OptionalRecipeArgument = Annotated[
    Path | None,
    typer.Argument(metavar="[RECIPE]", help="Whose runs; by default those of this folder."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="mlflow")


@group.command("open")
def open_(
    recipe: OptionalRecipeArgument = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="An MLflow store, instead of the recipe's.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Start MLflow's pages over a recipe's runs; works without a network. Ctrl-C ends it."""
    from ragwright.retrievers.mlflow_database import make_database

    uri = tracking_uri or f"sqlite:///{_store(recipe)}"
    chosen = _free(port)
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(chosen),
        "--backend-store-uri", uri, "--workers", str(WORKERS),
    ]  # fmt: skip
    typer.echo("starting MLflow ...", err=True)
    make_database(uri)
    with TemporaryFile() as said, _running(command, said) as server:
        address = f"http://127.0.0.1:{chosen}"
        _wait(server, address, said)
        page = f"{address}/{_latest(address)}"
        typer.echo(escape_controls(page))
        if browser:
            webbrowser.open(page)
        server.wait()


@contextmanager
def _running(command: list[str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run MLflow's server, and end it with all processes that it started, however this one ends.

    Args:
        command: What starts it.
        said: Where it writes what goes wrong.
    """
    for ending in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:
        signal.signal(ending, lambda number, _frame: sys.exit(128 + number))
    server = subprocess.Popen(
        command,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        _end(server, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
        _end(server, signal.SIGKILL)
        server.wait()


def _end(server: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Signal the group of a server, which may outlive the process that began it."""
    with suppress(ProcessLookupError):
        os.killpg(server.pid, how)


@group.command()
def push(
    run: Annotated[str, typer.Argument(help="The id of an MLflow run, or a run's folder.")],
    recipe: OptionalRecipeArgument = None,
    tracking_uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="The server to copy to.")
    ] = "",
    experiment: Annotated[
        str, typer.Option(envvar="MLFLOW_EXPERIMENT_NAME", help="Its experiment, if another.")
    ] = "",
) -> None:
    """Copy a run, with its candidates, files and data, to a tracking server.

    What has been copied before is not copied again.
    """
    from ragwright.artifacts.cli.store import quiet_mlflow
    from ragwright.optimize.report.mlflow_copy import copy_run

    if not tracking_uri:
        raise InputError(
            "No tracking server was given.", hint="Give --tracking-uri, or set MLFLOW_TRACKING_URI."
        )
    quiet_mlflow()
    source = f"sqlite:///{_store(recipe)}"
    done = copy_run(run, source=source, target=tracking_uri, experiment=experiment)
    typer.echo(
        escape_controls(f"run {done.run_id} in {done.experiment!r}: {done.copied} runs copied")
    )


def _store(recipe: Path | None) -> Path:
    """Return the file of a recipe's MLflow store.

    Raises:
        InputError: Nothing has been compiled there.
    """
    from ragwright.programs.variants import parse_recipe_reference

    file = Path() if recipe is None else parse_recipe_reference(recipe)[0]
    if not file.exists():
        raise InputError(f"There is no {str(file)!r}.", hint="Name a recipe, or its folder.")
    home = file if file.is_dir() else file.parent
    places = [home / STORE, home / STORE.name]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise InputError(
        f"There are no runs at {str(places[0])!r}.",
        hint="Compile first: rag compile RECIPE. Or name a store: --tracking-uri.",
    )


def _free(port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        InputError: Something else listens there.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"Port {port} is in use.", hint="Give another: --port 0 takes a free one."
            ) from error
        return int(tried.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], address: str, said: IO[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ModelError(
                f"MLflow ended with exit code {server.returncode}{_last_words(said)}.",
                hint="Check the address of the store: --tracking-uri.",
            )
        try:
            if httpx.get(f"{address}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise ModelError(f"MLflow did not answer within {READY_WITHIN:.0f} seconds.")


def _last_words(said: IO[bytes]) -> str:
    """Return the last line of what MLflow wrote; "" if it wrote nothing."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return f": {lines[-1].strip()[:MOST_SAID].rstrip('.')}" if lines else ""


def _latest(address: str) -> str:
    """Return the address, within MLflow's pages, of the last compile or study.

    The server is asked: to import MLflow's client for it takes longer than the answer.
    """
    experiments = _found(address, "experiments", {"max_results": 1000})
    ids = [str(one.get("experiment_id")) for one in experiments]
    runs = [
        run.get("info", {})
        for wanted in ("tags.verdict != ''", "tags.stage = 'study'")
        for run in _found(
            address, "runs", {"experiment_ids": ids, "filter": wanted, "max_results": 1}
        )
    ]
    named = [one for one in runs if _MLFLOW_ID.fullmatch(str(one.get("run_id") or ""))]
    if not named:
        return ""
    info = max(named, key=_started)
    return f"#/experiments/{quote(str(info.get('experiment_id')))}/runs/{info['run_id']}"


def _started(run: Mapping[str, Any]) -> int:
    """When a run began; the store is of whoever could write it, and may say anything."""
    said = str(run.get("start_time"))
    return int(said) if said.isdecimal() and len(said) < _LONGEST_TIME else 0


def _found(address: str, kind: str, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Search MLflow's experiments or runs over HTTP."""
    import httpx

    place = f"{address}/api/2.0/mlflow/{kind}/search"
    try:
        reply = httpx.post(place, json=wanted, timeout=READY_WITHIN, trust_env=False)
        found = reply.raise_for_status().json().get(kind, [])
        return [dict(one) for one in found]
    except (httpx.HTTPError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"MLflow did not say what runs it has: {error}") from error
