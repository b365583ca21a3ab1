"""Detects the languages of texts by their words, and stems words.

Stemmers and stop words are Snowball's, as tantivy carries them. A language of the Latin or Cyrillic
script is told by its function words: the language whose list holds the largest share of a text's
words. Other scripts have one stemmer at most, so the script tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, get_args

import regex
import tantivy

from ragwright.retrievers.remembering import remember_words

Language = Literal[
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian",
    "italian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "tamil",
    "turkish",
]  # fmt: skip
LANGUAGES: tuple[Language, ...] = get_args(Language)
Script = Literal["latin", "cyrillic", "greek", "arabic", "tamil"]

SCRIPT_OF: dict[Language, Script] = {
    **dict.fromkeys(LANGUAGES, "latin"),
    "russian": "cyrillic",
    "greek": "greek",
    "arabic": "arabic",
    "tamil": "tamil",
}
_UNLISTED: dict[str, str] = {
    "turkish": "ve bir bu da de için ile çok olarak daha gibi en ne var kadar sonra olan ancak "
    "değil ya ki her olduğu ise veya tarafından",
    "romanian": "și de la în a cu pe nu o un din este că mai sau pentru care să au fost al prin "
    "ale ca ce sunt după dar",
    "polish": "i w na z do się nie jest to że o jak przez od po za oraz ale był dla są jego",
    "czech": "a v se na je že s z do i o to k ve pro za by jsou jako po ale od který byl",
    "vietnamese": "và của là có được trong các một cho không với những người này đã đến từ khi để",
    "indonesian": "yang dan di dari untuk dengan pada ini itu dalam adalah tidak akan oleh sebagai",
    "ukrainian": "і в на з що не до та як у за від це про є або бути його її були для",
    "bulgarian": "и на в за се от да е са с по не че ще като до бе към един или си",
    "catalan": "i de la el els que les en per un una amb del és va ser dels no com més al",
}
"""Function words of languages that tantivy has no stop words for, so that they are not taken for
another one; of most of them there is no stemmer either."""

_LEAST_SHARE = 0.15
_LEAST_LED_SHARE = 0.1
_LEAD = 1.7
"""A language of endings instead of function words has fewer of them (Turkish 14 % on TQuAD, Finnish
14 % of messages) and is told by how much more of its own it has than of the next language's."""

_LEAST_CODE_SHARE = 0.05
_LEAST_DIFFERENT = 4
_FEW_WORDS = 100
_COMMON = 1000
_FEW_LETTERS = 20
_SAMPLE = 20_000
_TOKEN = regex.compile(r"[\p{L}\p{M}]+")
_NOT_ARABIC = regex.compile(r"[پچژگٹڈڑںے]")
_NOT_RUSSIAN = regex.compile(r"[іїєґўјљњћђџѓќ]")
_SCRIPTS: dict[Script, regex.Pattern[str]] = {
    "latin": regex.compile(r"\p{Latin}"),
    "cyrillic": regex.compile(r"\p{Cyrillic}"),
    "greek": regex.compile(r"\p{Greek}"),
    "arabic": regex.compile(r"\p{Arabic}"),
    "tamil": regex.compile(r"\p{Tamil}"),
}
_WRITTEN = {
    "latin": _SCRIPTS["latin"],
    "cyrillic": _SCRIPTS["cyrillic"],
    "chinese": regex.compile(r"\p{Han}"),
    "japanese": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "korean": regex.compile(r"\p{Hangul}"),
    "greek": _SCRIPTS["greek"],
    "arabic": _SCRIPTS["arabic"],
    "tamil": _SCRIPTS["tamil"],
    "hebrew": regex.compile(r"\p{Hebrew}"),
    "hindi": regex.compile(r"\p{Devanagari}"),
    "bengali": regex.compile(r"\p{Bengali}"),
    "thai": regex.compile(r"\p{Thai}"),
    "lao": regex.compile(r"\p{Lao}"),
    "khmer": regex.compile(r"\p{Khmer}"),
    "burmese": regex.compile(r"\p{Myanmar}"),
    "georgian": regex.compile(r"\p{Georgian}"),
    "armenian": regex.compile(r"\p{Armenian}"),
}


def script_of(word: str) -> Script | None:
    """Return the script of a word's first letter, if there are stemmers for it."""
    if "a" <= word[:1] <= "z":
        return "latin"
    return next((name for name, held in _SCRIPTS.items() if held.match(word)), None)


def detect_languages(texts: Iterable[str]) -> tuple[Language, ...]:
    """Return the languages that the words of these texts can be stemmed in, one a script at most.

    A short text without function words counts as English if it is ASCII (names, and code), and
    as Russian if it is Cyrillic.
    """
    found = [word for text in texts for word in islice(_TOKEN.findall(text.casefold()), 2000)]
    by_script: dict[Script, list[str]] = {}
    for word in found[:_SAMPLE]:
        if script := script_of(word):
            by_script.setdefault(script, []).append(word)
    languages = (_told(script, held) for script, held in by_script.items())
    return tuple(sorted(language for language in languages if language))


def language_of(text: str) -> str:
    """Return what a text's language is called, or its script where that says as much; or "".

    "" also for what is too short to tell, and for code and numbers.
    """
    letters = "".join(islice(filter(str.isalpha, text), 2000))
    counts = {name: len(held.findall(letters)) for name, held in _WRITTEN.items()}
    name, most = max(counts.items(), key=lambda item: item[1])
    if counts["japanese"] * 5 > counts["chinese"] > 0:
        name, most = "japanese", counts["japanese"] + counts["chinese"]
    if most * 2 < len(letters) or len(letters) < _FEW_LETTERS:
        return ""
    if name not in {"latin", "cyrillic"}:
        return name
    found = _TOKEN.findall(text[:_SAMPLE].casefold())
    told, share, _ = _by_function_words(found)
    different = sum(is_stop_word_in(told)(word) for word in set(found))
    return told if share >= _LEAST_SHARE and different >= _LEAST_DIFFERENT else ""


def stem_words(language: Language, found: Sequence[str]) -> list[str]:
    """Cut the endings off lower-cased words without spaces."""
    stems: list[str] = _stemmer(language).analyze(" ".join(found))
    return stems if len(stems) == len(found) else [_stem(language, word) for word in found]


@lru_cache(maxsize=64)
def is_stop_word_in(language: str) -> Callable[[str], bool]:
    """Return what tells whether a lower-cased word is a stop word of a language."""
    if language in _UNLISTED:
        return frozenset(_UNLISTED[language].split()).__contains__
    try:
        built = _stopper(language)
    except ValueError:  # tantivy has no list for it
        return lambda _: False

    @remember_words
    def listed(word: str) -> bool:
        return not built.analyze(word)

    return listed


def _told(script: Script, found: Sequence[str]) -> Language | None:
    match script:
        case "greek" | "tamil":
            return script
        case "arabic":
            foreign = sum(bool(_NOT_ARABIC.search(word)) for word in found)
            return "arabic" if foreign * 50 < len(found) else None
    name, share, lead = _by_function_words(found)
    if share >= _LEAST_SHARE or (share >= _LEAST_LED_SHARE and lead >= _LEAD):
        return next((known for known in LANGUAGES if known == name), None)
    plain = sum(word.isascii() for word in found)
    unsaid = len(found) < _FEW_WORDS or name == "english" or share < _LEAST_CODE_SHARE
    if script == "cyrillic":
        foreign = any(_NOT_RUSSIAN.search(word) for word in found)
        return "russian" if unsaid and not foreign else None
    return "english" if unsaid and plain > 0.95 * len(found) else None


def _by_function_words(found: Sequence[str]) -> tuple[str, float, float]:
    """Return the language with the most function words, their share, and its lead on the next."""
    common = dict(Counter(found).most_common(_COMMON))
    shares = {
        name: sum(common.values()) - sum(common[word] for word in _unstopped(name, common))
        for name in (*LANGUAGES, *_UNLISTED)
    }
    (name, most), (_, next_most), *_ = Counter(shares).most_common(2)
    return name, most / len(found), most / max(1, next_most)


def _unstopped(name: str, words: Iterable[str]) -> list[str]:
    """Return those of some words that are no stop words of a language."""
    if name in _UNLISTED:
        return list(set(words).difference(_UNLISTED[name].split()))
    try:
        left: list[str] = _stopper(name).analyze(" ".join(words))
    except ValueError:  # tantivy has no list for it
        return list(words)
    return left


@lru_cache(maxsize=64)
def _stopper(name: str) -> Any:
    return _analyzer(tantivy.Filter.stopword(name))


def _analyzer(keep: Any) -> Any:
    plain = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    return plain.filter(keep).build()


@lru_cache(maxsize=64)
def _stemmer(language: Language) -> Any:
    return _analyzer(tantivy.Filter.stemmer(language))


def _stem(language: Language, word: str) -> str:
    return " ".join(_stemmer(language).analyze(word)) or word
