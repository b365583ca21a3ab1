"""Text of any language in; its normal form, words, sentences and search terms out. Pure functions.

Everything that compares texts (keyword search, labels, metrics, leakage) compares them in the one
normal form of `normal.py`. Segmentation follows Unicode (UAX #29) through the `regex` library,
which knows the properties and the default word boundaries in C: `uniseg` does the same in Python,
more slowly, and ICU needs a library of the system. Stemmers and stop words are those that
tantivy carries (Snowball's). Scripts written without spaces are cut into character bigrams: that
needs no dictionary, and finds what a dictionary lacks.
"""

from ragwright.retrievers.text.analysis import ANALYSIS_VERSION, Analysis
from ragwright.retrievers.text.language import LANGUAGES, Language, detect_languages, language_of
from ragwright.retrievers.text.normal import normalize_quotation, normalize_text
from ragwright.retrievers.text.segments import (
    CLAUSE_END,
    SENTENCE_END,
    answer_words,
    cluster_before,
    cut_at_sentence,
    cut_before,
    has_words,
    normalized_words,
    sentence_ends,
)

__all__ = [
    "ANALYSIS_VERSION",
    "CLAUSE_END",
    "LANGUAGES",
    "SENTENCE_END",
    "Analysis",
    "Language",
    "answer_words",
    "cluster_before",
    "cut_at_sentence",
    "cut_before",
    "detect_languages",
    "has_words",
    "language_of",
    "normalize_quotation",
    "normalize_text",
    "normalized_words",
    "sentence_ends",
]
