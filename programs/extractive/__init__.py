"""The offline language model `extractive`: a `dspy.LM` engine that needs no network and no key.

    request -> prompt.parse_prompt -> windows.windows_of -> reader.Reader.read
            -> answering.find_answer (form.learn_form) -> fields.field_value
            -> prompt.render_reply -> response

Each arrow is a module that knows only what its docstring says; `engine` holds the contract with
DSPy. Use `ragwright.programs.lm.build_lm("extractive")`.
"""

from ragwright.programs.extractive.engine import VERSION, AsyncExtractiveEngine, ExtractiveEngine
from ragwright.programs.extractive.fields import NO_ANSWER

__all__ = ["NO_ANSWER", "VERSION", "AsyncExtractiveEngine", "ExtractiveEngine"]
