"""How groups of commands list what they have: the whole sentence on each, wrapped, never cut."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

WHOLE = 10_000
"""More characters than the first sentence of a help text has."""


class Group(TyperGroup):
    """A group of commands whose help is told to the end of its first sentence.

    Click cuts it at the width of the terminal, and what is cut is what tells commands apart.
    """

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        named = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(WHOLE))
            for name, command in named
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
