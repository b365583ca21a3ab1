"""`rag artifacts ...`: saved versions listed, compared, checked, promoted, deleted and published.

What these need is imported by the command that runs, so that `rag --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ragwright.artifacts.cli.groups import Group
from ragwright.artifacts.cli.options import JsonOption
from ragwright.retrievers.errors import InputError

group = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Saved programs: versions, aliases, checks, MLflow's registry.",
)

ONE = "NAME[@VERSION]"
Reference = Annotated[
    str,
    typer.Argument(
        metavar=ONE, help="A name, a folder or models:/NAME@ALIAS; VERSION is a number or alias."
    ),
]
Home = Annotated[str, typer.Argument(metavar="NAME", help="A name or a folder.")]
OtherIndexOption = Annotated[
    Path | None, typer.Option("--index", help="The index's folder, if not the artifact's.")
]
OtherLMOption = Annotated[
    str | None, typer.Option("--lm", help="A language model, if not its own.")
]
Threads = Annotated[int, typer.Option(min=1, help="Questions answered at once.")]
TrackingStoreOption = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        envvar="MLFLOW_TRACKING_URI",
        help="The MLflow store, if not the one that recorded the compile.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(group, name="artifacts")


@group.command("list")
def list_(
    folder: Annotated[
        Path | None,
        typer.Argument(help="An artifact, or a folder of them.  [default: artifacts/compiled]"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List artifacts with their versions, aliases and scores."""
    from ragwright.artifacts.addresses import COMPILED
    from ragwright.artifacts.cli import store

    store.show_list(store.list_versions(folder or COMPILED), json)


@group.command()
def show(reference: Reference, json: JsonOption = False) -> None:
    """Show what a version is made of: settings, knobs, predictors, scores."""
    from ragwright.artifacts.addresses import address_of, fetch_version
    from ragwright.artifacts.cli import actions
    from ragwright.artifacts.cli.show import show_described

    with fetch_version(address_of(reference)) as version:
        show_described(actions.load_description(version), json)


@group.command()
def diff(
    first: Annotated[str, typer.Argument(metavar=ONE)],
    second: Annotated[str, typer.Argument(metavar=ONE)],
    json: JsonOption = False,
) -> None:
    """Show what differs between two versions: settings, knobs, prompts, scores, answers."""
    from ragwright.artifacts.cli import store

    store.show_diff(first, second, json)


@group.command()
def verify(
    reference: Reference,
    index: OtherIndexOption = None,
    replay: Annotated[
        bool, typer.Option("--replay/--no-replay", help="Ask the golden questions too.")
    ] = True,
    threads: Threads = 4,
    json: JsonOption = False,
) -> None:
    """Recompute the hashes of a version and ask its golden questions again.

    Exit code 1 if a file or an answer is not what was saved.
    """
    from ragwright.artifacts.addresses import address_of
    from ragwright.artifacts.cli import golden, golden_view, view

    with view.progress_bars() as progress:
        wanted = golden.ReplayRequest(address_of(reference), index, None, None, threads)
        found = golden.verify_version(wanted, progress, replay=replay)
    golden_view.show_verified(found, json)
    raise typer.Exit(1 if found.findings else 0)


@group.command()
def check(
    reference: Reference,
    index: OtherIndexOption = None,
    lm: OtherLMOption = None,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Ask so many golden questions only.")
    ] = None,
    threads: Threads = 4,
    json: JsonOption = False,
) -> None:
    """Ask the golden questions after the documents changed, and say what moved.

    Exit code 1 if the score dropped significantly: the 95 % interval of the change lies below 0.
    """
    from ragwright.artifacts.addresses import address_of
    from ragwright.artifacts.cli import golden, golden_view, view

    with view.progress_bars() as progress:
        wanted = golden.ReplayRequest(address_of(reference), index, lm, limit, threads)
        found = golden.check_golden(wanted, progress)
    golden_view.show_checked(found, json)
    raise typer.Exit(1 if found.dropped else 0)


@group.command()
def promote(
    reference: Annotated[
        str, typer.Argument(metavar=ONE, help="The candidate, if no VERSION is given.")
    ],
    json: JsonOption = False,
) -> None:
    """Make a version the champion: the one that its name means, and that servers switch to."""
    from ragwright.artifacts.addresses import artifact_folder
    from ragwright.artifacts.cli import store
    from ragwright.artifacts.promotion import promote as make_champion
    from ragwright.artifacts.versions import CANDIDATE

    name, _, selector = reference.partition("@")
    home = artifact_folder(name)
    store.show_aliases(home, make_champion(home, selector or CANDIDATE), json)


@group.command()
def rollback(name: Home, json: JsonOption = False) -> None:
    """Make the champion before this one the champion again."""
    from ragwright.artifacts.addresses import artifact_folder
    from ragwright.artifacts.cli import store
    from ragwright.artifacts.promotion import roll_back

    home = artifact_folder(name)
    store.show_aliases(home, roll_back(home), json)


@group.command()
def delete(
    reference: Annotated[str, typer.Argument(metavar="NAME@VERSION")],
    whole: Annotated[bool, typer.Option("--all", help="The artifact with all versions.")] = False,
    yes: Yes = False,
    json: JsonOption = False,
) -> None:
    """Delete a version that is not in use, or with --all an artifact with all its versions."""
    from ragwright.artifacts.addresses import artifact_folder
    from ragwright.artifacts.cli import store

    name, _, selector = reference.partition("@")
    if whole == bool(selector):
        raise InputError(
            f"{reference!r} does not say what to delete.",
            hint="Give NAME@VERSION, or NAME and --all.",
        )
    home = artifact_folder(name)
    if not yes:
        what = f"version {selector}" if selector else "all versions"
        typer.confirm(f"Delete {what} of {home}?", abort=True, err=True)
    store.delete_and_print(home, selector, json)


@group.command()
def publish(
    reference: Reference,
    tracking_uri: TrackingStoreOption = None,
    model: Annotated[
        str | None, typer.Option(help="The registered model, if not the artifact's name.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make a version a model version in MLflow's registry, with the aliases it has here."""
    from ragwright.artifacts.cli import store

    store.publish_and_print(reference, tracking_uri, model, json)


@group.command()
def pull(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The registered model.")],
    tracking_uri: TrackingStoreOption = None,
    output: Annotated[
        Path | None,
        typer.Option(help="The artifact's folder.  [default: artifacts/compiled/MODEL]"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Bring the champion and the candidate of a registered model here, and make them those here."""
    from ragwright.artifacts.cli import store

    store.pull_and_print(model, tracking_uri, output, json)
