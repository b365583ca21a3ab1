"""What notebooks show of passages, answers and figures: small HTML, every text in it escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LONGEST = 600
"""Characters of a passage that are shown."""


def html_text_of(value: object, longest: int = LONGEST) -> str:
    """Return a value as HTML text, shortened; control characters are shown as what they are."""
    said = str(value)
    said = said if len(said) <= longest else said[: longest - 1] + "\u2026"
    seen = "".join(one if one.isprintable() or one == "\n" else "\ufffd" for one in said)
    return escape(seen).replace("\n", "<br>")


def html_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; numbers stand to the right, everything is escaped."""
    top = "".join(f"<th>{html_text_of(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f'<td style="text-align:right">{value:.3f}</td>'
    side = "right" if isinstance(value, int) else "left"
    return f'<td style="text-align:{side}">{html_text_of(value)}</td>'
