"""Converts rows of other tools' training sets to our keys.

Known are SQuAD 1 and 2, HotpotQA, 2Wiki, MuSiQue, NQ-open, RAGAS, LlamaIndex, AutoRAG and MLflow's
evaluation data, told by their keys. A row of no known format is returned as it is, without what is
null.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from ragwright.optimize.questions.cells import cell_value
from ragwright.retrievers.errors import InputError

SourceRow = dict[str, Any]
UNANSWERABLE = "unanswerable"
"""A key of a converted row whose source says that nothing answers it."""
PARAGRAPHS = "_paragraphs"
"""A key of a converted row: the texts of its documents, by which an index may know them."""
NAMES = "_names"
"""A key of a converted row: what its documents may be called, of which an index may know some."""

_TEXTS = frozenset({"answer", "answers", "document", "documents", "evidence"})
"""Keys whose values are texts; a number there is one too."""
_LISTS = re.compile(
    r"\w*contexts|evidence|documents|answers|ground_truths?|passages|\w*aliases|relevant_docs"
)
"""Keys whose values are lists."""
_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")


def convert_row(row: Mapping[str, Any], form: str = "") -> SourceRow:
    """Return a row with our keys; where it is in our form, what is null is left out.

    A key that is null tells the format as well as one that is not: test sets keep their answers.

    Args:
        row: As it was read.
        form: One of `FORMS`; told by the row's keys if it is empty.
    """
    present = {key: _list_of(key, value) for key, value in row.items() if value is not None}
    convert = _BY_NAME[form] if form else _told(row)
    return without_empty(convert(present))


def _list_of(key: str, value: Any) -> Any:
    """Return the list that a text writes, in a column of lists, as pandas writes JSON."""
    return cell_value(value) if isinstance(value, str) and _LISTS.fullmatch(key) else value


def without_empty(row: Mapping[str, Any]) -> SourceRow:
    """Leave out what is null, or a text or list of nothing; 0 is an id, a group or a time."""
    return {key: value for key, value in row.items() if value or isinstance(value, int | float)}


def check_format(form: str) -> None:
    """Make sure that a format is known.

    Raises:
        InputError: It is none of `FORMS`.
    """
    if form and form not in _BY_NAME:
        raise InputError(f"There is no format {form!r}.", hint=f"It is one of {', '.join(FORMS)}.")


def is_known_form(row: Mapping[str, Any]) -> bool:
    """Tell whether a row is of one of these formats by its keys; one in our own form is not."""
    return any(one.keys <= row.keys() for one in _FORMATS)


def _told(row: Mapping[str, Any]) -> Callable[[SourceRow], SourceRow]:
    found = (one.convert for one in _FORMATS if one.keys <= row.keys())
    return next(found, _lists)


def _lists(row: SourceRow) -> SourceRow:
    """Take one text for a list of one, and a list of answers as that."""
    if isinstance(row.get("answer"), list | tuple):
        row = {**row, "answers": [*texts_in(row.get("answers")), *row["answer"]]}
        del row["answer"]
    if row.get("kind") == UNANSWERABLE and not row.get("answer") and not row.get("answers"):
        row = {**row, UNANSWERABLE: True}
    texts = {key: scalars_as_text(row[key]) for key in _TEXTS & row.keys()}
    listed = ("answers", "documents", "evidence")
    alone = {key: [one] for key, one in texts.items() if key in listed and isinstance(one, str)}
    return {**row, **texts, **{key: one for key, one in alone.items() if any(one)}}


def scalars_as_text(value: Any) -> Any:
    """Return a number, a truth value or a date as the text that it stands for; so in a list.

    Anything else is returned as it is, and what is not a number (NaN) as None.
    """
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple):
        return [text for text in map(scalars_as_text, plain) if text is not None]
    if isinstance(plain, float) and math.isnan(plain):
        return None
    if isinstance(plain, bool | int | float):
        return json.dumps(plain)
    return str(plain) if isinstance(plain, date | Decimal) else plain


def _squad(row: SourceRow) -> SourceRow:
    given = row.get("answers") or []
    if isinstance(given, Mapping):  # as on the hub; the original has a list of objects
        starts = given.get("answer_start") or []
        answers, start = texts_in(given.get("text")), (starts or [None])[0]
    else:
        answers = texts_in([one["text"] for one in given if isinstance(one, Mapping)] or given)
        start = next((one.get("answer_start") for one in given if isinstance(one, Mapping)), None)
    around = sentence_at(str(row["context"]), start) if answers else ""
    return {
        "id": row.get("id"),
        "question": row["question"],
        "answers": answers,
        "evidence": [around] if around else [],
        "group": row.get("title"),
        PARAGRAPHS: texts_in(row["context"]),
        UNANSWERABLE: not answers,
    }


def sentence_at(text: str, start: object) -> str:
    """Return the sentence that a character lies in; the whole text if it is not known."""
    if not isinstance(start, int) or isinstance(start, bool) or not 0 <= start < len(text):
        return text
    ends = [0, *(found.end() for found in _ENDS.finditer(text)), len(text)]
    first = max(end for end in ends if end <= start)
    return text[first : min(end for end in ends if end > start)].strip()


def _hops(row: SourceRow) -> SourceRow:
    """HotpotQA and 2Wiki: supporting facts are titles with the numbers of sentences."""
    facts, context = _pairs(row.get("supporting_facts")), dict(_pairs(row.get("context")))
    evidence = [
        context[title][number].strip()
        for title, number in facts
        if isinstance(number, int) and 0 <= number < len(context.get(title, ()))
    ]
    titles = list(dict.fromkeys(title for title, _ in facts))
    return {
        "id": row.get("_id", row.get("id")),
        "question": row["question"],
        "answers": texts_in(row.get("answer")),
        "documents": titles,
        "evidence": evidence,
        PARAGRAPHS: [" ".join(map(str, context[title])) for title in titles if title in context],
    }


def _pairs(value: Any) -> list[tuple[str, Any]]:
    """Return pairs from a list of pairs, or from two lists side by side as on the hub."""
    if isinstance(value, Mapping):
        titles = value.get("title") or []
        others: Any = next((other for key, other in value.items() if key != "title"), [])
        return list(zip(titles, others, strict=False))
    return [(str(one[0]), one[1]) for one in value or [] if len(one) == 2]


def _musique(row: SourceRow) -> SourceRow:
    holding = [one for one in row["paragraphs"] if one.get("is_supporting")]
    answerable = row.get("answerable", True)
    return {
        "id": row.get("id"),
        "question": row["question"],
        "answers": texts_in(row.get("answer"), row.get("answer_aliases")) if answerable else [],
        "documents": list(dict.fromkeys(str(one["title"]) for one in holding)),
        "evidence": [one["paragraph_text"] for one in holding] if answerable else [],
        UNANSWERABLE: not answerable,
    }


def _ragas(row: SourceRow) -> SourceRow:
    evidence = row.get("reference_contexts", row.get("contexts", row.get("retrieved_contexts")))
    return {
        "question": last_said(row.get("user_input", row.get("question"))),
        "answers": texts_in(
            row.get("reference"), row.get("ground_truth"), row.get("ground_truths")
        ),
        "evidence": texts_in(evidence),
        "synthetic": "synthesizer_name" in row,
    }


def last_said(asked: Any) -> Any:
    """Return the last words of a user in a conversation, or the question as it is."""
    if isinstance(asked, Mapping) and isinstance(asked.get("messages"), list):
        asked = asked["messages"]
    if not isinstance(asked, list):
        return asked
    people = {"user", "human"}
    turns = [one for one in asked if isinstance(one, Mapping)]
    said = [one for one in turns if one.get("role", one.get("type")) in people] or turns
    return said[-1].get("content") if said else None


def _llamaindex(row: SourceRow) -> SourceRow:
    return {
        "question": row["query"],
        "answers": texts_in(row.get("reference_answer")),
        "evidence": texts_in(row.get("reference_contexts")),
    }


def _autorag(row: SourceRow) -> SourceRow:
    return {
        "id": row.get("qid"),
        "question": row["query"],
        "answers": texts_in(row.get("generation_gt")),
        "documents": texts_in(row.get("retrieval_gt")),
        PARAGRAPHS: texts_in(row.get("retrieval_gt_contents")),
    }


def _mlflow(row: SourceRow) -> SourceRow:
    inputs, wanted = row["inputs"], row.get("expectations", row.get("ground_truth"))
    if not isinstance(inputs, Mapping):
        inputs = {"question": inputs}
    if not isinstance(wanted, Mapping):
        wanted = {"expected_response": wanted}
    names = ("question", "query", "input", "request")
    asked = next((inputs[name] for name in names if name in inputs), None) or (
        last_said(inputs) if "messages" in inputs else None
    )
    found = wanted.get("expected_retrieved_context") or row.get("expected_retrieved_context") or []
    response = wanted.get("expected_response", row.get("expected_response"))
    shown = [one for one in found if isinstance(one, Mapping)]
    return {
        "question": asked if asked is not None else next(iter(inputs.values()), None),
        "answers": texts_in(response) or texts_in(wanted.get("expected_facts")),
        "documents": texts_in([one.get("doc_uri") for one in shown]),
        PARAGRAPHS: texts_in([one.get("content") for one in shown]),
    }


def texts_in(*values: Any) -> list[str]:
    """Return all texts in values that are texts, lists of such, or arrays of a table."""
    found: list[str] = []
    for value in values:
        plain = value.tolist() if hasattr(value, "tolist") else value
        if isinstance(plain, list | tuple):
            found.extend(texts_in(*plain))
            continue
        text = scalars_as_text(plain)
        if text is not None and str(text).strip():
            found.append(str(text))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class _Format:
    """A tool's form of a row: what it is called, the keys that tell it, and how it is converted."""

    name: str
    keys: frozenset[str]
    convert: Callable[[SourceRow], SourceRow]


_FORMATS = tuple(
    _Format(name, frozenset(keys.split()), convert)
    for name, keys, convert in (
        ("squad", "question context answers", _squad),
        ("musique", "question paragraphs", _musique),
        ("hotpotqa", "question answer supporting_facts", _hops),
        ("2wiki", "question answer evidences", _hops),
        ("hotpotqa", "question answer level", _hops),
        ("2wiki", "question answer type _id", _hops),
        ("hotpotqa", "_id question context", _hops),
        ("ragas", "user_input", _ragas),
        ("ragas", "question ground_truth", _ragas),
        ("ragas", "question ground_truths", _ragas),
        ("autorag", "query generation_gt", _autorag),
        ("autorag", "query retrieval_gt", _autorag),
        ("llamaindex", "query reference_answer", _llamaindex),
        ("llamaindex", "query reference_contexts", _llamaindex),
        ("mlflow", "inputs", _mlflow),
    )
)
_BY_NAME: Mapping[str, Callable[[SourceRow], SourceRow]] = {
    **{one.name: one.convert for one in _FORMATS},
    **dict.fromkeys(("nq-open", "beir", "ragwright"), _lists),
}
FORMS = tuple(sorted(_BY_NAME))
"""Names of the formats that are known; BEIR's is a folder."""
