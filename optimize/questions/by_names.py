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
    PARAGRAPHS,
    UNANSWERABLE,
    SourceRow,
    is_known_form,
    last_said,
    sentence_at,
    texts_in,
    without_empty,
)

_QUESTIONS: Sequence[str] = (
    "question questiontext query querytext userinput inputquestion input prompt instruction claim "
    "ambiguousquestion body anchor q frage pregunta domanda pergunta vraag вопрос 问题 質問 سؤال"
).split()
_ANSWERS: Sequence[str] = (
    "answers answer goldanswer goldanswers goldenanswers groundtruth groundtruths referenceanswer "
    "reference expectedanswer expectedoutput expectedresponse expected ideal exactanswer "
    "idealanswer possibleanswers correctanswer answersspans shortanswers outputanswer output "
    "response completion target finalanswer longanswer label a antwort respuesta risposta reponse "
    "resposta antwoord ответ 答案 回答 جواب"
).split()
_CONTEXTS = (
    "context contexts passage passages passagetext support referencecontexts referencecontext "
    "expectedchunks positivectxs positivepassages pos positive positives goldcontext goldcontexts "
    "goldpassage goldpassages goldchunk goldchunks goldenchunk goldenchunks goldencontext "
    "goldencontexts goldenpassages goldendocuments golddocuments relevantpassages relevantchunks "
    "relevantcontexts relevantdocuments supportingpassages supportingtexts evidence evidences "
    "evidencetext evidencetexts goldevidence supportingevidence snippet snippets chunk chunks "
    "excerpt excerpts paragraph docs documents text documenttext story"
).split()
_IDS = "id qid questionid queryid exampleid sampleid pubid".split()
_WRAPPERS = "inputs input outputs output data vars expectations referenceoutputs expected".split()
_SAYS = ("text", "content", "value", "inputtext", "spans", "aliases", "contexts", "passagetext",
         "paragraphtext", "pagecontent", "answer", "output", "result", "response")  # fmt: skip
"""Keys of an object that hold its text, by turns."""
_NOTHING = frozenset(
    ("no answer present.", "cannotanswer", "not enough info", "unanswerable", "no answer")
)
_TURNS = ("messages", "conversations")
_EXPECTED = frozenset({"expectations", "ground_truth", "expected_response"})
"""Keys of MLflow's data that say what is right; where none is there, outputs do (LangSmith)."""
_DOCUMENT = re.compile(r"^document \d{1,9}: ", re.IGNORECASE)


def is_question_name(name: object) -> bool:
    """Whether a key is one of those under which questions stand."""
    return isinstance(name, str) and _plain(name) in _QUESTIONS


def asks(row: Mapping[Any, Any]) -> bool:
    """Whether an object looks like a row: it has a key under which a question may stand."""
    named = {_plain(name) for name in row if isinstance(name, str)}
    return bool(named & {*_QUESTIONS, *_TURNS, "inputs", "vars", "paragraphs"})


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
    for needed, convert in _SHAPES:
        if needed <= named.keys():
            return without_empty(convert(named))
    asked = next((found for name in _QUESTIONS if (found := _words(named.get(name)))), "")
    if "instruction" in named and named.get("input"):
        asked = f"{_words(named['instruction'])}\n{_words(named['input'])}"
    if not asked and "title" in named and "answers" in named:  # a question of a forum
        asked = _words(named["title"])
    if not asked:
        raise ValueError("no key of it is known to hold a question: " + _listed(row))
    holding = [name for name in _ANSWERS if name in named]
    answers = next((texts for name in holding if (texts := _said(named[name]))), [])
    contexts = next((texts for name in _CONTEXTS if (texts := _said(named.get(name)))), [])
    if not holding and not contexts:
        raise ValueError("no key of it is known to hold an answer: " + _listed(row))
    made = _answered(asked, answers, contexts)
    titles = [_words(one.get("title")) for one in _objects(named, _CONTEXTS)]
    documents = [*filter(None, titles), *_links(named)]
    return without_empty({**made, "id": _first(named, _IDS), "documents": documents})


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


def _plain(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())


def _unwrapped(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by their plain names; those within `inputs`, `outputs` and the like too."""
    named = {_plain(name): value for name, value in row.items() if name}
    for outer in _WRAPPERS:
        inner = named.get(outer)
        if isinstance(inner, Mapping):
            del named[outer]
            for name, value in inner.items():
                named.setdefault("reply" if _plain(name) in named else _plain(name), value)
    if isinstance(turns := named.get("messages") or named.get("conversations"), list):
        said = _turns(turns)
        named.setdefault("question", last_said(said))
        named.setdefault("answer", next((t["content"] for t in _turns(
            named.get("reply") or turns)[::-1] if t["role"] == "assistant"), None))  # fmt: skip
    return named


def _turns(turns: Any) -> list[dict[str, Any]]:
    """Return what was said in a conversation, whatever its roles are called."""
    people = {"human": "user", "gpt": "assistant", "ai": "assistant", "bot": "assistant"}
    found = []
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, Mapping):
            role = str(turn.get("role") or turn.get("from") or turn.get("type") or "")
            said = turn.get("content", turn.get("value"))
            found.append({"role": people.get(role, role), "content": _words(said)})
    return found


def _said(value: Any) -> list[str]:
    """Return the texts in a value: in a list all, of an object what it says."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        read = cell_value(value)
        return texts_in(value) if isinstance(read, str) else _said(read)
    if isinstance(value, Mapping):
        named = {_plain(name): one for name, one in value.items()}
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


def _objects(named: Mapping[str, Any], names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    for name in names:
        value = named.get(name)
        if isinstance(value, list):
            yield from (one for one in value if isinstance(one, Mapping))


def _links(named: Mapping[str, Any]) -> list[str]:
    """Return titles of the pages of Wikipedia, and files, that a row names."""
    found = _said(named.get("wikilinks"))
    files = [*_said(named.get("sourcefile")), *_said(named.get("source"))]
    pages = [link.rpartition("/wiki/")[2].replace("_", " ") for link in found]
    return [*pages, *(one for one in files if re.search(r"\.\w{1,5}$", one))]


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
        ("questions answers", _conversation),
        ("assert", _ask_only),
    )
)

__all__ = ["asks", "is_foreign", "is_question_name", "row_by_names"]
