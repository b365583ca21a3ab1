"""Analyzes texts and queries into the weighted terms of keyword search.

A word is a term in its normal form, stemmed by the language of its script. What is written without
spaces gives its characters and their bigrams, also those across a sign, a space or the border to
another script; an identifier, a path, an address or a hyphenated word gives its parts and the
whole. A word of a language with many endings is a term as it stands too, and so is a Korean word
beside its bigrams: who asks for the exact form finds it first. Other words than English ones give
each four letters in a row, which derived and compound words share. Stop words weigh half.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import regex

from ragwright.retrievers.remembering import remember_words
from ragwright.retrievers.text import language as lang
from ragwright.retrievers.text.language import SCRIPT_OF, Language, script_of, stem_words
from ragwright.retrievers.text.normal import compose_visible, strip_accents
from ragwright.retrievers.text.numbers import ungroup_numbers
from ragwright.retrievers.text.rejoined import rejoin_words
from ragwright.retrievers.text.segments import UNSPACED, clusters, grams

ANALYSIS_VERSION = 13
"""Grows when the terms of some text change, or the fields of the keyword index; one of another
version is built anew."""

K3 = 8.0
"""How soon a word that a query repeats stops counting more."""

LONGEST = 80
"""Characters of a term, at most; a longer one is cut."""

_CACHED = 48
_MOST_KNOWN = 1 << 18
_OUTER = ",;:!?()[]{}<>\"'*|"
_ACRONYM = "="
_FORM = "'"
_PART = "^"
_WORD = '"'
_BORDER = "\x1f"
"""Stands between two characters that a space parts; a space itself, so that no run holds it."""
_PART_LETTERS = 4
"""Of a part of a word (McNamee and Mayfield, 2004); measured by `benchmarks/translated.py`."""
_BARE_WEIGHT = 0.15
"""Of a word without its accents, where it is asked for with them: Vietnamese has six of "ma"."""
_INSIDE_WEIGHT = 0.25
"""Of a Chinese character within a run of several, which may be a word: +0.005 of nDCG@10 (0.002 to
0.008) on XQuAD Chinese, and alike from 0.2 to 0.6."""
_STOP_WEIGHT = 0.5
"""Measured on messages in 20 languages, asked for by some of their words, and on XQuAD German."""
_WEIGHTS = {_FORM: 0.5, _PART: 0.5, _WORD: 0.25}
"""By what a term begins with; the bigrams of a Korean word count besides."""
_KEPT_APART = rf"{UNSPACED}\u30fc\uff70\p{{Hangul}}"
_WRAPPED = regex.compile(rf"(?<=[{UNSPACED}])[ \t]*\n[ \t]*(?=[{UNSPACED}])")
_PIECE = regex.compile(
    rf"(?P<grams>[{_KEPT_APART}][{_KEPT_APART}\p{{M}}]*)"
    rf"|(?P<word>(?:(?![{_KEPT_APART}])[\p{{L}}\p{{N}}\p{{M}}])+(?:\+\+|\+(?!\p{{L}})|#(?!\p{{L}}))?)",
    regex.V1,
)
_UNSPACED = regex.compile(rf"[{_KEPT_APART}]", regex.V1)
_HAN = regex.compile(r"\p{Han}")
_HANGUL = regex.compile(r"\p{Hangul}")
_ALPHABETIC = regex.compile(r"[\p{L}\p{M}]+")
_FIRST = regex.compile(r"[\p{L}\p{N}]\p{M}*")
_LAST = regex.compile(r"[\p{L}\p{N}]\p{M}*(?=[^\p{L}\p{N}]*+$)")
_LETTERS = r"(?<![\p{L}\p{N}\p{M}])[\p{L}\p{N}\p{M}]++"
"""A word from its start, so that what follows it is looked at once and not from each letter."""
_WHOLE = regex.compile(
    rf"(?:(?<![\p{{L}}\p{{N}}])\.)?{_LETTERS}(?:(?:[._:@&/\\~=-]|://)[\p{{L}}\p{{N}}\p{{M}}]+)+"
    r"|(?<![\p{L}\p{N}])\.\p{L}[\p{L}\p{N}\p{M}]*"
)
_CASE_PARTS = regex.compile(r"\p{Lu}+(?!\p{Ll})|\p{Lu}?[\p{Ll}\p{M}]+|\p{Lu}|\p{Lo}+|\p{N}+")
_KIND_PARTS = regex.compile(r"\p{N}+|[^\p{N}]+")
_UPPER_INSIDE = regex.compile(r"\p{Ll}\p{M}*\p{Lu}|\p{Lu}\p{Lu}\p{Ll}")
_DIGIT_BESIDE = regex.compile(r"\p{N}[\p{L}]|[\p{L}\p{M}]\p{N}")
_DOTTED = regex.compile(
    r"(?<![\p{L}\p{N}\p{M}.])(?:\p{L}{1,2}(?:\.\p{L}{1,2})+|\p{L}+\.\p{L}{2})(?![\p{L}\p{N}\p{M}])"
)
"""Abbreviations and names that are written without their full stops as often: U.S., Node.js."""
_GLUE = regex.compile(r"[-'\u2019\"]")
_GLUED = regex.compile(
    rf"{_LETTERS}(?:(?:[-'\u2019]|(?<=\p{{Hebrew}})\"(?=\p{{Hebrew}}))[\p{{L}}\p{{N}}\p{{M}}]+){{1,3}}"
)
_SIGN = regex.compile(
    r"\p{Regional_Indicator}{2}|[\p{Extended_Pictographic}\p{Sm}--\p{ASCII}--[©®™]]|\p{Sc}",
    regex.V1,
)
"""Flags, emoji, signs of mathematics and of money, which are asked for as words are."""
_GLUED_PARTS = 4
_FAR = re.compile("[\u0e00-\u1cff\u2e80-\U0001f2ff\U0001fb00-\U0010ffff]")
"""What may be of a script without spaces, or become it in its normal form."""
_INNER = re.compile(r"[._:@&/\\~=]")
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+(?:\+\+|\+(?![A-Za-z])|#(?![A-Za-z]))?")
_POSSESSIVE = regex.compile(r"(?<=\p{L})['\u2019][sS](?![\p{L}\p{N}])")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
_WITH_UMLAUTS = (None, "english", "german")
_TURKISH = str.maketrans({"I": "\u0131", "\u0130": "i"})

Term = tuple[str, str]
"""A term, and the lower-cased word it was made of, if that may be a stop word; "" if not."""


class Analysis:
    """How the texts of an index, and the queries to it, become terms.

    Args:
        languages: What words are stemmed in, one language a script at most.
        parted: Whether words that are not English are known by their parts too.
    """

    def __init__(self, languages: Sequence[Language] = (), *, parted: bool = True) -> None:
        self.languages = tuple(languages)
        self._parted = parted
        self._by_script = {SCRIPT_OF[language]: language for language in languages}
        self._known: dict[str, str] = {}
        self._stems: dict[str, str] = {}
        self._forms: dict[str, str] = {}
        self._stem = remember_words(self._cut)

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text, as often as they stand in it."""
        return self.joined([text])[0].split()

    def joined(self, texts: Sequence[str]) -> list[str]:
        """Return the terms of each text with spaces between them, as an index takes them."""
        split, known = [_split(rejoin_words(text)) for text in texts], self._known
        if len(known) > _MOST_KNOWN:
            known.clear()
            self._stems.clear()
            self._forms.clear()
        unknown = set[str]().union(*split).difference(known)
        rare = {run: self._of_run(compose_visible(run)) for run in unknown if len(run) > _CACHED}
        self._learn(unknown.difference(rare))
        found = {**known, **rare} if rare else known
        return [" ".join(map(found.__getitem__, runs)) for runs in split]

    def asked(self, query: str) -> Mapping[str, float]:
        """Return the terms of a query with their weights.

        The weight of a term that the query holds n times is (K3 + 1) n / (K3 + n), the factor of
        query term frequency in Okapi BM25 (Robertson et al., Okapi at TREC-3, 1995; k3 = 8 is in
        the range of 7 to 1000 that they used). Of single characters of a script without spaces,
        those that stand alone are asked for, and Chinese ones within a run a little.
        """
        shouted = query.isupper() and len(query.split()) > 1
        whole = rejoin_words(query)
        runs = _runs(whole.lower() if shouted else whole)
        found = [term for run in runs for term in self._run_terms(run)]
        said = [term for term, word in found if not (word and self._is_stop(word))]
        chosen = [term for term, _ in found]
        pairs = (clusters(term) for term in chosen if _UNSPACED.match(term))
        longer = {character for pair in pairs if len(pair) > 1 for character in pair}
        inside = {term for term in longer if _HAN.match(term)}
        counts = Counter(term for term in chosen if term not in longer - inside) or Counter(chosen)
        weights = {term: (K3 + 1) * n / (K3 + n) for term, n in counts.items()}
        minor = set(counts).difference(said) if said else set()
        bare = {self._stem(_unaccented(term)) for term in counts if self._is_marked(term)}
        return {
            term: weight
            * (_STOP_WEIGHT if term in minor else 1)
            * _WEIGHTS.get(term[0], 1)
            * (_BARE_WEIGHT if term in bare else 1)
            * (_INSIDE_WEIGHT if term in inside else 1)
            for term, weight in weights.items()
        }

    def _learn(self, runs: Iterable[str]) -> None:
        """Note the terms of runs; plain words are stemmed all at once, which is what takes time."""
        bare = {run: _bare(run if run.isascii() else compose_visible(run)) for run in runs}
        plain = {word: self._plain_parts(word) for word in set(bare.values())}
        self._learn_stems({part for parts in plain.values() for part in parts})
        made = {
            word: self._of_parts(*parts) if parts else self._of_run(word)
            for word, parts in plain.items()
        }
        self._known.update((run, made[word]) for run, word in bare.items())

    def _of_parts(self, *parts: str) -> str:
        """Return the terms of a plain word, or of parts and, last, of the whole of them."""
        if len(parts) == 1:
            return self._forms[parts[0]]
        return " ".join([*(self._forms[part] for part in parts[:-1]), self._stems[parts[-1]]])

    def _learn_stems(self, words: set[str]) -> None:
        """Note the stems of plain words."""
        unknown = list(words.difference(self._stems))
        latin = self._by_script.get("latin")
        lowered = [self._lowered(word)[:LONGEST] for word in unknown]
        stems = stem_words(latin, lowered) if latin else lowered
        for word, low, stem in zip(unknown, lowered, stems, strict=True):
            self._stems[word] = found = low if word[0].isdigit() else strip_accents(stem) or low
            self._forms[word] = " ".join((found, *self._besides(low, found)))

    def _besides(self, lowered: str, stem: str) -> tuple[str, ...]:
        """Return the terms that a word is besides its stem, if it is not English."""
        script = script_of(lowered)
        language = self._by_script.get(script) if script else None
        if language == "english":
            return ()
        form = strip_accents(lowered)[: LONGEST - 1]
        found = [_FORM + form] if language and form != stem else []
        if self._parted and len(form) >= _PART_LETTERS - 1 and _ALPHABETIC.fullmatch(form):
            at = range(len(form) - _PART_LETTERS + 2)
            found += dict.fromkeys(_PART + f"_{form}"[i : i + _PART_LETTERS] for i in at)
        return tuple(found)

    def _plain_parts(self, word: str) -> tuple[str, ...]:
        """Return the words whose stems are all the terms of a word; none if it takes more to tell.

        These are words, capitals and numbers in ASCII, and what hyphens make of them.
        """
        if not word.isascii():
            return ()
        if self._is_plain(word):
            return (word,)
        parts = word.split("-")
        if 1 < len(parts) <= _GLUED_PARTS and all(map(self._is_plain, parts)):
            return (*parts, "".join(parts))
        return ()

    def _is_plain(self, word: str) -> bool:
        """Tell whether a word's only term is its stem: no signs, no inner capitals, no acronym."""
        if word.isalpha():
            if word.islower() or word.istitle():
                return True
            return word.isupper() and not self._is_stop(self._lowered(word))
        return word.isdigit()

    def _of_run(self, run: str) -> str:
        if _BORDER in run:
            return self._border(run)
        return " ".join([term for part in run.split() for term, _ in self._run_terms(part)])

    def _border(self, pair: str) -> str:
        return _gram(self._lowered("".join(pair.split())))

    def _run_terms(self, run: str) -> tuple[Term, ...]:
        """Return the terms of what stands between two spaces."""
        if _BORDER in run:
            return ((self._border(run), ""),)
        run = _bare(run)
        if "'" in run or "\u2019" in run:
            run = _POSSESSIVE.sub("", run)
        found: list[Term] = []
        if run.isascii():
            for word in _ASCII_WORD.findall(run):
                found += self._stemmed(word)
            return (*found, *((whole, "") for whole in self._wholes(run)))
        before = ""
        for match in _PIECE.finditer(run):
            found += [(self._border(pair), "") for pair in _pair(before, match[0])]
            before = match[0]
            if match.lastgroup == "grams":
                found += [(_gram(gram), "") for gram in grams(match[0])]
                if _HANGUL.match(match[0]):
                    found.append((_WORD + _gram(match[0])[: LONGEST - 1], ""))
            else:
                found += self._stemmed(match[0])
        found += [(whole, "") for whole in self._wholes(run)]
        # The normal form of a lone accent has a space in it.
        spaceless = (("".join(term.split()), word) for term, word in found)
        return tuple((term, word) for term, word in spaceless if term)

    def _wholes(self, run: str) -> Iterator[str]:
        if run.isalnum():
            return
        yield from _SIGN.findall(run)
        if _INNER.search(run):
            for match in _WHOLE.finditer(run):
                if _INNER.search(match[0]):
                    yield self._folded(match[0])[:LONGEST]
        for match in _GLUED.finditer(run):
            yield self._stem(_GLUE.sub("", match[0]))
        for match in _DOTTED.finditer(run):
            yield self._stem(match[0].replace(".", ""))
        yield from ungroup_numbers(run, LONGEST)

    def _stemmed(self, word: str) -> tuple[Term, ...]:
        """Return the terms of a word: itself, the word without its signs, and its parts."""
        bare = word.rstrip("+#")
        found: list[Term] = []
        if bare != word:
            found.append(((self._folded(bare)[: LONGEST - 2] + word[len(bare) :]), ""))
            if len(bare) == 1:
                return tuple(found)
        lowered = self._lowered(bare)
        if bare.isupper() and len(bare) > 1 and self._is_stop(lowered):
            found.append((_ACRONYM + lowered, ""))
        stem = self._stem(bare)
        found += [(term, lowered) for term in (stem, *self._besides(lowered, stem))]
        if not bare.isascii():
            for other in (_unaccented(lowered), self._spelled_out(lowered)):
                plain = self._stem(other)
                found += [(plain, lowered)] if (plain, lowered) not in found else []
            if lowered != _unaccented(lowered) and self._keeps_marks(lowered):
                found.append((lowered[:LONGEST], lowered))
        return (*found, *((part, "") for part in self._parts(bare)))

    def _spelled_out(self, lowered: str) -> str:
        """Return a word with `ue` for `ü`, as German and names are written where it is not had."""
        language = self._by_script.get("latin")
        return lowered.translate(_UMLAUTS) if language in _WITH_UMLAUTS else lowered

    def _keeps_marks(self, lowered: str) -> bool:
        """Tell whether a word is a term with its accents too, which may be all that tells it.

        As in Vietnamese; a stemmer's language has endings instead.
        """
        return "latin" not in self._by_script and script_of(lowered) == "latin"

    def _is_marked(self, term: str) -> bool:
        return not term.isascii() and self._keeps_marks(term) and term != _unaccented(term)

    def _parts(self, word: str) -> list[str]:
        """Return the terms of the parts of camelCase and of letters mixed with digits."""
        if word.islower() and word.isalpha():
            return []
        cased = _UPPER_INSIDE.search(word) is not None
        mixed = not word.isalpha() and _DIGIT_BESIDE.search(word) is not None
        if len(word) > 4 * LONGEST or not (cased or mixed):
            return []
        parts = [*_CASE_PARTS.findall(word), *_KIND_PARTS.findall(word)]
        return [self._stem(part) for part in dict.fromkeys(parts) if part != word]

    def _cut(self, word: str) -> str:
        """Return a word in its normal form, without its ending."""
        if word in self._stems:
            return self._stems[word]
        lowered = self._lowered(word)[:LONGEST]
        script = script_of(lowered)
        language = self._by_script.get(script) if script else None
        if language is None:
            return strip_accents(lowered)
        return strip_accents(stem_words(language, [lowered])[0]) or lowered

    def _folded(self, text: str) -> str:
        return strip_accents(self._lowered(text))

    def _lowered(self, text: str) -> str:
        turkish = self._by_script.get("latin") == "turkish"
        return (text.translate(_TURKISH) if turkish else text).casefold()

    def _is_stop(self, lowered: str) -> bool:
        script = script_of(lowered)
        language = self._by_script.get(script) if script else None
        return language is not None and lang.is_stop_word_in(language)(lowered)


def _bare(run: str) -> str:
    return run.strip(_OUTER).rstrip(".")


def _split(text: str) -> list[str]:
    """Return what stands between spaces, in its normal form only where the parts depend on it."""
    return text.split() if text.isascii() or not _FAR.search(text) else _runs(text)


def _runs(text: str) -> list[str]:
    """Return what stands between spaces; a line break inside a script without them is none."""
    if text.isascii():
        return text.split()
    runs = _WRAPPED.sub("", compose_visible(text)).split()
    if _UNSPACED.search(text):
        runs += [pair for before, after in pairwise(runs) for pair in _pair(before, after)]
    return runs


def _pair(before: str, after: str) -> list[str]:
    """Return the characters on both sides of a border, if one is of a script without spaces."""
    last, first = _LAST.search(before), _FIRST.search(after)
    if last is None or first is None:
        return []
    if not (_UNSPACED.match(last[0]) or _UNSPACED.match(first[0])):
        return []
    return [last[0] + _BORDER + first[0]]


@remember_words
def _gram(gram: str) -> str:
    return strip_accents(gram)[:LONGEST]


def _unaccented(lowered: str) -> str:
    """Return a word as those write it who leave accents out; й is a letter of its own."""
    return lowered.replace("ё", "е") if "й" in lowered else strip_accents(lowered)
