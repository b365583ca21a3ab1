"""Text of any language in; its normal form, words, sentences and search terms out. Pure functions.

Everything that compares texts (keyword search, labels, metrics, leakage) compares them in the one
normal form of `normal.py`. Segmentation follows Unicode (UAX #29) through the `regex` library,
which knows the properties and the default word boundaries in C: `uniseg` does the same in Python,
more slowly, and ICU needs a library of the system. Stemmers and stop words are those that
tantivy carries (Snowball's). Scripts written without spaces are cut into character bigrams: that
needs no dictionary, and finds what a dictionary lacks.
"""

from ragwright.retrievers.text.analysis import ANALYSIS_VERSION, Analysis
from ragwright.retrievers.text.language import LANGUAGES, Language, detect, language_of
from ragwright.retrievers.text.normal import comparable, folded
from ragwright.retrievers.text.segments import (
    answer_words,
    holds_words,
    safe_cuts,
    sentence_ends,
    shortened_to,
    words,
)

__all__ = [
    "ANALYSIS_VERSION",
    "LANGUAGES",
    "Analysis",
    "Language",
    "answer_words",
    "comparable",
    "detect",
    "folded",
    "holds_words",
    "language_of",
    "safe_cuts",
    "sentence_ends",
    "shortened_to",
    "words",
]
