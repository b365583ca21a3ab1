"""The offline language model `extractive`: a `dspy.LM` engine that needs no network and no key.

    request -> prompt.parse_prompt -> ranking.rank -> form.learn_form -> spans.best_span
            -> answering.fill -> prompt.render -> response

Each arrow is a module that knows only what its docstring says; `engine` holds the contract with
DSPy. Use `ragwright.programs.lm.build_lm("extractive")`.
"""

from ragwright.programs.extractive.answering import NO_ANSWER
from ragwright.programs.extractive.engine import VERSION, AsyncExtractiveEngine, ExtractiveEngine

__all__ = ["NO_ANSWER", "VERSION", "AsyncExtractiveEngine", "ExtractiveEngine"]
