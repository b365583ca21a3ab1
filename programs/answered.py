"""What a program of ours returns: a `dspy.Prediction` that a notebook shows with its sources."""

from __future__ import annotations

import dspy

from ragwright.retrievers import html


class Answer(dspy.Prediction):
    """An answer with the passages that it cites."""

    def _repr_html_(self) -> str:
        """What a notebook shows: the answer, what is degraded, and the cited passages."""
        cited, passages = self.get("citations") or [], self.get("passages") or []
        rows = [
            (f"[{number}]", passages[number - 1].document, str(passages[number - 1]))
            for number in cited
            if 1 <= number <= len(passages)
        ]
        said = f"<p><b>{html.text(self.get('answer', ''), 10_000)}</b></p>"
        notes = "".join(f"<p>{html.text(note)}</p>" for note in self.get("degraded") or [])
        return said + notes + (html.table(("", "document", "passage"), rows) if rows else "")
