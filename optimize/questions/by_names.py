"""Converts rows of tools and data sets that are not in `formats.py`, by what their keys are called.

Question, answer and contexts have few names, whoever writes them: in any case, with or without
strokes, within `inputs` and `outputs` or not. Where a row has keys and none of them is known to
hold an answer, that is an error: it must not count as a question that nothing answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from ragwright.optimize.questions.cells import cell_value
from ragwright.optimize.questions.formats import (
    NAMES,
    PARAGRAPHS,
    UNANSWERABLE,
    SourceRow,
    is_known_form,
    last_said,
    sentence_at,
    texts_in,
    without_empty,
)
from ragwright.optimize.questions.naming import (
    answer_names,
    context_names,
    document_names,
    is_question_name,
    more_answer_names,
    plain_name,
    question_names,
)

_IDS = "id qid questionid queryid exampleid sampleid pubid".split()
_WRAPPERS = "inputs input outputs output data vars expectations referenceoutputs expected".split()
_SAYS = ("text", "content", "value", "inputtext", "spans", "aliases", "contexts", "passagetext",
         "paragraphtext", "paragraphs", "pagecontent", "evidencetext", "chunktext", "quote",
         "excerpt", "sentence", "passage", "chunk", "answer", "output", "result",
         "response")  # fmt: skip
"""Keys of an object that hold its text, by turns."""
_CHOSEN = ("isselected", "issupporting", "isrelevant", "isgold")
"""Keys of an object that say whether it is one of those that hold the answer."""
_NOTHING = frozenset(
    ("no answer present.", "cannotanswer", "not enough info", "unanswerable", "no answer")
)
_TURNS = ("messages", "conversations")
_EXPECTED = frozenset({"expectations", "ground_truth", "expected_response"})
"""Keys of MLflow's data that say what is right; where none is there, outputs do (LangSmith)."""
_LONGEST_NAME = 300
"""Characters that the name of a document has at most."""
_LONGEST_TITLE = 8
"""Words up to which what stands under a key of documents is a name, and no text."""
_DOCUMENT = re.compile(r"^document \d{1,9}: ", re.IGNORECASE)


def asks(row: Mapping[Any, Any]) -> bool:
    """Whether an object looks like a row: it has a key under which a question may stand."""
    named = {plain_name(name) for name in row if isinstance(name, str)}
    others = {*_TURNS, "conversationturns", "inputs", "vars", "paragraphs"}
    return bool(named & others) or any(is_question_name(name) for name in named)


def is_foreign(row: Mapping[str, Any], own: Collection[str]) -> bool:
    """Whether a row is in none of the formats, ours among them: it has other keys.

    Args:
        row: As it stands in the file.
        own: The keys of our form.
    """
    answered_by_outputs = "outputs" in row and "inputs" in row and not _EXPECTED & row.keys()
    own_keys = row.keys() <= {*own, PARAGRAPHS, UNANSWERABLE}
    objects = isinstance(row.get("question"), Mapping)
    return answered_by_outputs or objects or not (own_keys or is_known_form(row))


def row_by_names(row: Mapping[str, Any]) -> SourceRow:
    """Return a row with our keys.

    Raises:
        ValueError: It has no question, or keys of which none is known to hold an answer; or its
            questions lean on each other, as those of a conversation do.
    """
    named = _unwrapped(row)
    if _is_wrong_pair(named):
        return {"question": _words(named["question"]), UNANSWERABLE: True}
    for needed, convert in _SHAPES:
        if needed <= named.keys():
            return without_empty(convert(named))
    asked = _asked(named)
    if not asked:
        raise ValueError("no key of it is known to hold a question: " + _listed(row))
    holding = [*answer_names(named)]
    answers = next((texts for name in holding if (texts := _said(named[name]))), [])
    answers += [text for name in more_answer_names(named) for text in _said(named[name])]
    placing = [name for name in context_names(named) if name not in holding]
    contexts = _contexts(named, placing) or _contexts_beside(named, holding)
    names = _names_of_documents(named, [*placing, *holding])
    if not holding and not contexts and not names:
        raise ValueError("no key of it is known to hold an answer: " + _listed(row))
    made = {**_answered(asked, answers, contexts), "id": _first(named, _IDS)}
    if names and not answers and not contexts:
        return {**without_empty(made), "documents": names, UNANSWERABLE: False}
    return without_empty({**made, NAMES: [*names, *_links(named)]})


def _asked(named: Mapping[str, Any]) -> str:
    if "instruction" in named and named.get("input"):
        return f"{_words(named['instruction'])}\n{_words(named['input'])}"
    found = next((said for name in question_names(named) if (said := _words(named[name]))), "")
    forum = "title" in named and "answers" in named
    return found or (_words(named["title"]) if forum else "")


def _is_wrong_pair(named: Mapping[str, Any]) -> bool:
    """Whether a question stands with a sentence that does not answer it (WikiQA)."""
    judged = {"question", "answer", "label"} <= named.keys()
    return judged and str(named["label"]).casefold() in {"0", "0.0", "false"}


def _contexts(named: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the texts that hold the answer: those of the likeliest key that has some."""
    called = {*document_names(named)}
    for name in names:
        texts = _said(named[name])
        if texts and (
            name not in called or any(len(one.split()) > _LONGEST_TITLE for one in texts)
        ):
            return texts
    return []


def _contexts_beside(named: Mapping[str, Any], holding: Sequence[str]) -> list[str]:
    """Return the texts that an answer, where it is an object, has beside its own words."""
    for name in holding:
        if isinstance(value := named[name], Mapping):
            inner = {plain_name(str(key)): one for key, one in value.items()}
            if texts := _contexts(inner, [key for key in context_names(inner) if key != "text"]):
                return texts
    return []


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(name if len(name) <= 60 else name[:59] + "\u2026" for name in [*names][:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"


def _answered(asked: str, answers: Sequence[str], contexts: Sequence[str]) -> SourceRow:
    """Return a question, its answers, and the sentences of contexts that hold one of them."""
    real = [one for one in answers if one.casefold() not in _NOTHING]
    kept = [_DOCUMENT.sub("", one) for one in contexts]
    found = [sentence_at(one, at) for one in kept if (at := _place(one, real)) >= 0]
    return {
        "question": asked,
        "answers": real,
        "evidence": found or kept if real or not answers else [],
        PARAGRAPHS: kept,
        UNANSWERABLE: not real and (bool(answers) or not kept),
    }


def _place(text: str, answers: Sequence[str]) -> int:
    return next((at for one in answers if (at := text.find(one)) >= 0), -1)


def _unwrapped(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their plain names; those within `inputs`, `outputs` and the like too."""
    named = {plain_name(name): value for name, value in row.items() if name}
    for outer in _WRAPPERS:
        inner = named.get(outer)
        if isinstance(inner, Mapping):
            del named[outer]
            for name, value in inner.items():
                plain = plain_name(name)
                named.setdefault("reply" if plain in named else plain, value)
    if isinstance(turns := named.get("messages") or named.get("conversations"), list):
        said = _turns(turns)
        named.setdefault("question", last_said(said))
        named.setdefault("answer", next((t["content"] for t in _turns(
            named.get("reply") or turns)[::-1] if t["role"] == "assistant"), None))  # fmt: skip
    return named


def _turns(turns: Any) -> list[dict[str, Any]]:
    """Return what was said in a conversation, whatever its roles are called."""
    people = {
        "human": "user",
        **dict.fromkeys(("gpt", "ai", "bot", "chatbot", "model"), "assistant"),
    }
    found = []
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, Mapping):
            role = str(turn.get("role") or turn.get("from") or turn.get("type") or "").casefold()
            said = turn.get("content", turn.get("value"))
            found.append({"role": people.get(role, role), "content": _words(said)})
    return found


def _said(value: Any) -> list[str]:
    """Return the texts in a value: in a list all, of an object what it says."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        read = cell_value(value)
        return texts_in(value) if isinstance(read, str) else _said(read)
    if isinstance(value, Mapping):
        named = {plain_name(str(name)): one for name, one in value.items()}
        if any(key in named and not named[key] for key in _CHOSEN):
            return []
        found = [text for key in _SAYS if key in named for text in _said(named[key])]
        return list(dict.fromkeys(found))
    if isinstance(value, list | tuple):
        return list(dict.fromkeys(text for one in value for text in _said(one)))
    return texts_in(value)


def _words(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return str(last_said(_turns(value)) or "")
    return next(iter(_said(value)), "").strip()


def _first(named: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((one for name in names if isinstance(one := named.get(name), str | int)), None)


def _names_of_documents(named: Mapping[str, Any], within: Sequence[str]) -> list[str]:
    """Return what a row, and the objects under some of its keys, call documents."""
    found = [text for name in document_names(named) for text in _said(named[name])]
    for name in within:
        found += _names_within(named[name])
    return [one for one in dict.fromkeys(found) if len(one) <= _LONGEST_NAME]


def _names_within(value: Any, depth: int = 3) -> Iterator[str]:
    value = cell_value(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        inner = {plain_name(str(name)): one for name, one in value.items()}
        for name in document_names(inner):
            yield from _said(inner[name])
        value = list(inner.values())
    if isinstance(value, list | tuple) and depth:
        for one in value:
            if isinstance(one, Mapping | list | tuple):
                yield from _names_within(one, depth - 1)


def _links(named: Mapping[str, Any]) -> list[str]:
    """Return titles of the pages of Wikipedia that a row names."""
    found = _said(named.get("wikilinks"))
    return [link.rpartition("/wiki/")[2].replace("_", " ") for link in found]


def _ms_marco(named: SourceRow) -> SourceRow:
    passages = named["passages"]
    if isinstance(passages, Mapping):
        passages = [
            {"is_selected": one, "passage_text": text}
            for one, text in zip(passages["is_selected"], passages["passage_text"], strict=True)
        ]
    chosen = [str(one["passage_text"]) for one in passages if one.get("is_selected")]
    written = _said(named.get("wellformedanswers")) or _said(named["answers"])
    found = _answered(_words(named["query"]), written, chosen)
    return {**found, "id": named.get("queryid")}


def _fever(named: SourceRow) -> SourceRow:
    label = str(named["label"])
    pages = [
        str(one[2])
        for group in named.get("evidence") or ()
        if isinstance(group, list)
        for one in group
        if isinstance(one, list) and len(one) > 2 and one[2]
    ]
    pages = [page.replace("_", " ") for page in (*pages, *_said(named.get("evidencewikiurl")))]
    nothing = label.casefold() in _NOTHING
    return {
        "id": named.get("id"),
        "question": named["claim"],
        "answers": [] if nothing else [label],
        "documents": [] if nothing else list(dict.fromkeys(pages)),
        UNANSWERABLE: nothing,
    }


def _natural_questions(named: SourceRow) -> SourceRow:
    """Short answers as texts, or by their tokens; the long answer is the evidence."""
    document = named.get("document") or {}
    tokens = (document.get("tokens") or {}) if isinstance(document, Mapping) else {}
    words = tokens.get("token") or str(named.get("documenttext", "")).split(" ")
    markup = tokens.get("is_html") or [word.startswith("<") for word in words]
    notes = named["annotations"]
    if isinstance(notes, Mapping):
        notes = [
            {"short_answers": short, "long_answer": long}
            for short, long in zip(notes["short_answers"], notes["long_answer"], strict=True)
        ]

    def span(one: Mapping[str, Any]) -> str:
        start, end = int(one["start_token"]), int(one["end_token"])
        pairs = zip(words[start:end], markup[start:end], strict=True)
        return " ".join(word for word, html in pairs if not html) if start >= 0 else ""

    short: list[str] = []
    for note in notes:
        given = note["short_answers"]
        short += _said(given.get("text")) if isinstance(given, Mapping) else map(span, given)
    long = [span(note["long_answer"]) for note in notes]
    asked = _words(named.get("question") or named.get("questiontext"))
    made = _answered(asked, [*filter(None, short)], [*filter(None, dict.fromkeys(long))])
    title = document.get("title") if isinstance(document, Mapping) else None
    nothing = not made["answers"] and not made["evidence"]
    return {**made, "documents": texts_in(title), UNANSWERABLE: nothing}


def _tydi(named: SourceRow) -> SourceRow:
    text, notes = str(named["documentplaintext"]).encode(), named["annotations"]
    ends = zip(notes["minimal_answers_start_byte"], notes["minimal_answers_end_byte"], strict=True)
    spans = [(start, end) for start, end in ends if start >= 0]
    answers = [text[start:end].decode("utf-8", "replace") for start, end in spans]
    whole = text.decode("utf-8", "replace")
    before = [len(text[:start].decode("utf-8", "replace")) for start, _ in spans]
    return {
        "question": named["questiontext"],
        "answers": answers,
        "documents": texts_in(named.get("documenttitle")),
        "evidence": list(dict.fromkeys(sentence_at(whole, at) for at in before)),
        UNANSWERABLE: not answers,
    }


def _choice(named: SourceRow) -> SourceRow:
    """The right one of several choices, by its number or its letter."""
    choices, right = named["choices"], named.get("answerkey", named.get("answer"))
    labels = choices["label"] if isinstance(choices, Mapping) else range(len(choices))
    texts = choices["text"] if isinstance(choices, Mapping) else choices
    answers = [str(text) for label, text in zip(labels, texts, strict=True) if label == right]
    return {**_answered(_words(named["question"]), answers or _said(right), []),
            "id": named.get("id")}  # fmt: skip


def _label_studio(named: SourceRow) -> SourceRow:
    values = [
        result.get("value") or {}
        for note in named["annotations"]
        for result in note.get("result") or ()
    ]
    answers = [text for one in values for text in _said(one.get("text", one.get("choices")))]
    asked = _words(named.get("question") or named.get("query") or named.get("prompt"))
    contexts = _said(named.get("context") or named.get("text") or named.get("passage"))
    return {**_answered(asked, answers, contexts), "id": named.get("id")}


def _conversation(_: SourceRow) -> SourceRow:
    raise ValueError(
        "its questions lean on those before them (CoQA, QuAC); write each so that it can be asked "
        "alone, and give question and answer"
    )


def _turn(named: SourceRow) -> SourceRow:
    """Bedrock: the last turn of a conversation."""
    last = {plain_name(name): one for name, one in named["conversationturns"][-1].items()}
    right, contexts = _said(last.get("referenceresponses")), _said(last.get("referencecontexts"))
    return _answered(_words(last["prompt"]), right, contexts)


def _ask_only(named: SourceRow) -> SourceRow:
    wanted = [one.get("value") for one in named["assert"] if isinstance(one, Mapping)]
    return _answered(_words(named.get("question") or named.get("query")), texts_in(wanted), [])


_SHAPES: Sequence[tuple[frozenset[str], Callable[[SourceRow], SourceRow]]] = tuple(
    (frozenset(keys.split()), convert)
    for keys, convert in (
        ("query passages answers", _ms_marco),
        ("claim label", _fever),
        ("documentplaintext annotations questiontext", _tydi),
        ("annotations documenttext", _natural_questions),
        ("annotations document question", _natural_questions),
        ("annotations id question", _label_studio),
        ("choices question", _choice),
        ("conversationturns", _turn),
        ("questions answers", _conversation),
        ("assert", _ask_only),
    )
)

__all__ = ["asks", "is_foreign", "row_by_names"]
