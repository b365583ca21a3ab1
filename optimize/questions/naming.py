"""What the keys of a row may be called: those of questions, answers, contexts and documents.

A key is known by its plain name, in small letters without strokes. Names that public sets and tools
use come first, in the order in which they are to be believed; then what is built of their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_QUESTIONS = (
    "question questiontext query querytext userinput inputquestion input prompt instruction claim "
    "ambiguousquestion body anchor q frage pregunta domanda pergunta vraag вопрос 问题 質問 سؤال"
).split()
_ANSWERS = (
    "answers answer goldanswer goldanswers goldenanswers groundtruth groundtruths referenceanswer "
    "reference expectedanswer expectedoutput expectedresponse expected ideal exactanswer "
    "idealanswer possibleanswers correctanswer answersspans shortanswers outputanswer"
).split()
_SAID = (
    "output response completion target finalanswer longanswer label a antwort respuesta risposta "
    "reponse resposta antwoord ответ 答案 回答 جواب"
).split()
"""Answers where nothing better is there: a response may be that of the program under test."""
_OTHERS = frozenset("altans aliases answeraliases alternativeanswers otheranswers".split())
"""Further answers that are as right."""
_CONTEXTS = (
    "context contexts passage passages passagetext support referencecontexts referencecontext "
    "expectedchunks positivectxs positivepassages pos positive positives goldcontext goldcontexts "
    "facts evidence evidences snippets docs documents document text documenttext story beleg "
    "evidencia evidenza preuve 证据 根拠 доказательство"
).split()
_DOCUMENTS = frozenset("dokument documento documenti 文档 文件 文書 документ sourcefile".split())

_QUALITY = (
    "gt|gold|golden|ground|true|truth|ref|reference|best|correct|right|expected|ideal|exact|human|"
    "acceptable|accepted|valid|official|expert|verified|annotated|short|long|full|faq"
)
_WHOSE = (
    "gt|gold|golden|ground|truth|true|source|src|supporting|support|relevant|ref|reference|"
    "positive|pos|expected|original|correct|cited|oracle|evidence"
)
_KIND = "text|texts|string|str|body|content|contents|value|list|en|english"
_QUESTION_WORDS = re.compile(
    "(user|original|input|generated|synthetic|natural|test|eval|sample|faq|customer|final|"
    f"standalone|seed|search|nl)?(question|query|problem)({_KIND})?"
)
_ANSWER_WORDS = re.compile(
    f"((({_QUALITY})+|final)(answer|response|output|ans|truth|reply)s?|answers?)({_KIND})?"
)
_CONTEXT_WORDS = re.compile(
    f"(({_WHOSE})*(context|passage|chunk|evidence|snippet|excerpt|quote)"
    f"|({_WHOSE})+(ctx|paragraph|sentence|fact|document|doc|reference|text)|references)s?({_KIND})?"
)
_DOCUMENT_WORDS = re.compile(
    f"({_WHOSE}|wiki|wikipedia)*(doc|document|file|filename|filepath|article|source|title|page)s?"
    "(names?|ids?|uuids?|titles?|paths?|files?|docs?|documents?)?"
)


def plain_name(name: str) -> str:
    """Return a key in small letters, without strokes and marks."""
    return re.sub(r"[\W_]", "", name.casefold())


def question_names(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys under which the question may stand, the likeliest first.

    Args:
        named: Values by their plain names.
    """
    yield from _in_order(named, _QUESTIONS, _QUESTION_WORDS)


def answer_names(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys under which the answer may stand, the likeliest first."""
    yield from _in_order(named, _ANSWERS, _ANSWER_WORDS)
    yield from (name for name in _SAID if name in named)


def more_answer_names(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys of answers that are as right."""
    yield from (name for name in named if name in _OTHERS)


def context_names(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys under which texts may stand that hold the answer, the likeliest first."""
    yield from _in_order(named, _CONTEXTS, _CONTEXT_WORDS)


def document_names(named: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys that may name the documents which hold the answer."""
    yield from (n for n in named if n in _DOCUMENTS or _DOCUMENT_WORDS.fullmatch(n))


def is_question_name(name: object) -> bool:
    """Whether a key is one of those under which questions stand."""
    return isinstance(name, str) and any(question_names({plain_name(name): None}))


def _in_order(named: Mapping[str, Any], known: list[str], words: re.Pattern[str]) -> Iterator[str]:
    yield from (name for name in known if name in named)
    yield from (name for name in named if name not in known and words.fullmatch(name))
