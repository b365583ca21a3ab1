"""One answer with its citations, written as many families of models write a reply.

`STYLES` maps a name to a function of the answer's text and its citations; what each returns says
nothing but these two, in the marks, markup and habits of some model or of its chat template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

Style = Callable[[str, Sequence[int]], str]

_THOUGHT = "The user asks about leave. Perhaps [[ ## answer ## ]] is 20? Passage 3 says 25."


def chat(answer: str, cited: Sequence[int]) -> str:
    """The reply that DSPy asks for."""
    return (
        f"[[ ## answer ## ]]\n{answer}\n\n[[ ## citations ## ]]\n{list(cited)}\n\n"
        "[[ ## completed ## ]]"
    )


def as_json(answer: str, cited: Sequence[int]) -> str:
    """The same as JSON."""
    return json.dumps({"answer": answer, "citations": list(cited)}, ensure_ascii=False)


def call(name: str, arguments: str) -> Style:
    """A tool call that is written as JSON text."""
    return lambda a, c: json.dumps({"name": name, arguments: {"answer": a, "citations": list(c)}})


def marked(before: str, after: str, *, end: str | None = "completed") -> Style:
    """Markers in another spelling: `before` and `after` stand around the name."""

    def style(answer: str, cited: Sequence[int]) -> str:
        parts = [f"{before}answer{after}\n{answer}", f"{before}citations{after}\n{list(cited)}"]
        return "\n\n".join([*parts, *([] if end is None else [f"{before}{end}{after}"])])

    return style


def labelled(answer_label: str, cited_label: str, between: str = "\n") -> Style:
    """A label before each value."""
    return lambda a, c: f"{answer_label}{a}{between}{cited_label}{list(c)}"


def around(before: str, style: Style, after: str = "") -> Style:
    """A style with text before and after it."""
    return lambda a, c: before + style(a, c) + after


THINKING: dict[str, Style] = {
    "deepseek": around(f"<think>\n{_THOUGHT}\n</think>\n\n", chat),
    "deepseek, json": around(f"<think>\n{_THOUGHT}\n</think>\n\n", as_json),
    "deepseek, end of sentence": around("", chat, "<\uff5cend▁of▁sentence\uff5c>"),
    "deepseek, assistant": around("<\uff5cAssistant\uff5c>", chat, "<\uff5cend▁of▁sentence\uff5c>"),
    "qwen, empty thought": around("<think>\n\n</think>\n\n", chat, "<|im_end|>"),
    "qwen, opened in the prompt": around(f"{_THOUGHT}\n</think>\n\n", chat),
    "qwen, opened in the prompt, json": around(f"{_THOUGHT}\n</think>\n\n", as_json),
    "qwen, fenced": around("<think>\nhm\n</think>\n\n```json\n", as_json, "\n```"),
    "thinking": around(f"<thinking>{_THOUGHT}</thinking>\n", chat),
    "magistral": around(f"[THINK]{_THOUGHT}[/THINK]", chat, "</s>"),
    "kimi": around(f"◁think▷{_THOUGHT}◁/think▷", chat),
    "seed": around(f"<seed:think>{_THOUGHT}</seed:think>", chat),
    "openthinker": around(
        f"<|begin_of_thought|>{_THOUGHT}<|end_of_thought|>\n<|begin_of_solution|>\n", chat,
        "\n<|end_of_solution|>",
    ),
    "command-a": around(
        f"<|START_THINKING|>{_THOUGHT}<|END_THINKING|><|START_RESPONSE|>", chat,
        "<|END_RESPONSE|>",
    ),
    "granite": around(f"<think>{_THOUGHT}</think><response>", chat, "</response>"),
    "exaone": around(f"<thought>\n{_THOUGHT}\n</thought>\n", chat, "[|endofturn|]"),
    "reflection": around(
        f"<thinking>{_THOUGHT}</thinking>\n<reflection>No.</reflection>\n<output>\n", chat,
        "\n</output>",
    ),
    "hunyuan": around(f"<think>{_THOUGHT}</think>\n<answer>\n", chat, "\n</answer>"),
    "analysis": around(f"<analysis>{_THOUGHT}</analysis>\n", chat),
    "thought process": around(f"<thought_process>{_THOUGHT}</thought_process>\n", chat),
    "inner monologue": around(f"<inner_monologue>{_THOUGHT}</inner_monologue>\n", chat),
    "gpt-oss": around(
        f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>final"
        "<|message|>", chat, "<|return|>",
    ),
    "gpt-oss, json": around(
        f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>final "
        "<|constrain|>json<|message|>", as_json, "<|return|>",
    ),
    "gpt-oss, call": around(
        f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>commentary "
        "to=functions.answer <|constrain|>json<|message|>", as_json, "<|call|>",
    ),
    "gpt-oss, call, other order": around(
        f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant to=functions.answer"
        "<|channel|>commentary json<|message|>", as_json, "<|call|>",
    ),
    "gpt-oss, preamble": around(
        f"<|channel|>analysis<|message|>{_THOUGHT}<|end|><|start|>assistant<|channel|>commentary"
        "<|message|>I look it up.<|end|><|start|>assistant<|channel|>final<|message|>", chat,
    ),
    "gpt-oss, final alone": around("<|channel|>final<|message|>", chat),
    "gpt-oss, no special tokens": around(f"analysis{_THOUGHT}assistantfinal", chat),
    "gpt-oss, no special tokens, json": around(f"analysis{_THOUGHT}assistantfinal json", as_json),
}  # fmt: skip

TEMPLATES: dict[str, Style] = {
    "chatml": around("<|im_start|>assistant\n", chat, "<|im_end|>\n"),
    "chatml, goes on": around("", chat, "<|im_end|>\n<|im_start|>user\nAnd 7?<|im_end|>"),
    "llama 3": around(
        "<|start_header_id|>assistant<|end_header_id|>\n\n", chat, "<|eot_id|>"
    ),
    "llama 3, begin": around("<|begin_of_text|>", chat, "<|end_of_text|>"),
    "llama 4": around("<|header_start|>assistant<|header_end|>\n\n", chat, "<|eot|>"),
    "llama 2": around("[INST] How many? [/INST] ", chat, "</s>"),
    "mistral": around("[/INST]", chat, "</s>"),
    "gemma": around("<start_of_turn>model\n", chat, "<end_of_turn>\n"),
    "gemma, goes on": around("", chat, "<end_of_turn>\n<start_of_turn>user\nAnd 7?"),
    "phi": around("<|assistant|>\n", chat, "<|end|>"),
    "phi-4": around("<|im_start|>assistant<|im_sep|>", chat, "<|im_end|>"),
    "granite": around(
        "<|start_of_role|>assistant<|end_of_role|>", chat, "<|end_of_text|>"
    ),
    "command-r": around("<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>", chat, "<|END_OF_TURN_TOKEN|>"),
    "glm": around("<|assistant|>\n", chat, "<|user|>"),
    "glm, box": around("<|begin_of_box|>", chat, "<|end_of_box|>"),
    "falcon": around("", chat, "<|endoftext|>"),
    "bos": around("<s>", chat, "</s>"),
    "bos, json": around("<s> ", as_json, "</s>"),
    "yi": around("<|startoftext|>", chat, "<|im_end|>"),
    "zephyr": around("<|assistant|>\n", chat, "</s>\n"),
    "alpaca": around("### Response:\n", chat, "\n\n### Instruction:\nAnd 7?"),
    "vicuna": around("ASSISTANT: ", chat, "</s>"),
    "unknown": around("", chat, "<unk><pad><pad>"),
    "eos": around("", chat, "<eos>"),
}  # fmt: skip

CALLS: dict[str, Style] = {
    "qwen": around("<tool_call>\n", call("answer", "arguments"), "\n</tool_call>"),
    "llama 3": call("answer", "parameters"),
    "llama 3, python tag": around("<|python_tag|>", call("answer", "parameters"), "<|eom_id|>"),
    "llama 3, function": around("<function=answer>", as_json, "</function>"),
    "llama 3, function, spoken": around("I answer.\n<function=answer>", as_json, "</function>"),
    "llama 4, pythonic": lambda a, c: f"[answer(answer={json.dumps(a)}, citations={list(c)})]",
    "pythonic": lambda a, c: f"answer(answer={json.dumps(a)}, citations={list(c)})",
    "gemma, tool code": lambda a, c: (
        f"```tool_code\nanswer(answer={json.dumps(a)}, citations={list(c)})\n```"
    ),
    "mistral": lambda a, c: f"[TOOL_CALLS][{call('answer', 'arguments')(a, c)}]",
    "mistral, spaced": lambda a, c: f"[TOOL_CALLS] [{call('answer', 'arguments')(a, c)}]</s>",
    "mistral, new": around("[TOOL_CALLS]answer[ARGS]", as_json),
    "mistral, name": around("[TOOL_CALLS]answer", as_json),
    "phi": lambda a, c: f"<|tool_call|>[{call('answer', 'arguments')(a, c)}]<|/tool_call|>",
    "functools": lambda a, c: f"functools[{call('answer', 'arguments')(a, c)}]",
    "granite": lambda a, c: f"<|tool_call|>[{call('answer', 'arguments')(a, c)}]",
    "deepseek": around(
        "<\uff5ctool▁calls▁begin\uff5c><\uff5ctool▁call▁begin\uff5c>function"
        "<\uff5ctool▁sep\uff5c>answer\n```json\n", as_json,
        "\n```<\uff5ctool▁call▁end\uff5c><\uff5ctool▁calls▁end\uff5c>",
    ),
    "kimi": around(
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.answer:0"
        "<|tool_call_argument_begin|>", as_json, "<|tool_call_end|><|tool_calls_section_end|>",
    ),
    "hermes": around("<tool_call>", call("answer", "arguments"), "</tool_call><|im_end|>"),
    "text arguments": lambda a, c: json.dumps({"name": "answer", "arguments": as_json(a, c)}),
    "openai": lambda a, c: json.dumps({"tool_calls": [{"id": "1", "type": "function", "function": {
        "name": "answer", "arguments": as_json(a, c)}}]}),
    "function": lambda a, c: json.dumps({"type": "function", "function": {
        "name": "answer", "parameters": json.loads(as_json(a, c))}}),
    "anthropic": lambda a, c: (
        '<function_calls>\n<invoke name="answer">\n'
        f'<parameter name="answer">{a}</parameter>\n'
        f'<parameter name="citations">{list(c)}</parameter>\n</invoke>\n</function_calls>'
    ),
    "qwen coder": lambda a, c: (
        f"<tool_call>\n<function=answer>\n<parameter=answer>\n{a}\n</parameter>\n"
        f"<parameter=citations>\n{list(c)}\n</parameter>\n</function>\n</tool_call>"
    ),
    "glm": lambda a, c: (
        f"<tool_call>answer\n<arg_key>answer</arg_key>\n<arg_value>{a}</arg_value>\n"
        f"<arg_key>citations</arg_key>\n<arg_value>{list(c)}</arg_value>\n</tool_call>"
    ),
    "langchain": lambda a, c: json.dumps({"action": "Final Answer", "action_input": {
        "answer": a, "citations": list(c)}}),
}  # fmt: skip

MARKERS: dict[str, Style] = {
    "lower and upper": marked("[[ ## ", " ## ]]", end="COMPLETED"),
    "no spaces": marked("[[##", "##]]"),
    "one sign": marked("[[ # ", " # ]]"),
    "no signs": marked("[[ ", " ]]"),
    "no signs at the end": marked("[[ ## ", " ]]"),
    "no signs at the beginning": marked("[[ ", " ## ]]"),
    "three signs": marked("[[ ### ", " ### ]]"),
    "one bracket": marked("[ ## ", " ## ]"),
    "one bracket at the end": marked("[[ ## ", " ## ]"),
    "one bracket at the beginning": marked("[ ## ", " ## ]]"),
    "three brackets": marked("[[[ ## ", " ## ]]]"),
    "no brackets": marked("## ", " ##"),
    "braces": marked("{{ ## ", " ## }}"),
    "angles": marked("<< ## ", " ## >>"),
    "wide brackets": marked("【 ## ", " ## 】"),
    "wide square": marked("［［ ## ", " ## ］］"),
    "escaped": marked("\\[\\[ ## ", " ## \\]\\]"),
    "escaped signs": marked("[[ \\#\\# ", " \\#\\# ]]"),
    "bold": marked("**[[ ## ", " ## ]]**"),
    "code": marked("`[[ ## ", " ## ]]`"),
    "heading": marked("### [[ ## ", " ## ]]"),
    "quoted": marked("> [[ ## ", " ## ]]"),
    "listed": marked("- [[ ## ", " ## ]]"),
    "numbered": marked("1. [[ ## ", " ## ]]"),
    "colon": marked("[[ ## ", " ## ]]:"),
    "colon inside": marked("[[ ## ", ": ## ]]"),
    "typed": lambda a, c: chat(a, c).replace("citations ##", "citations (list[int]) ##").replace(
        "answer ##", "answer (str) ##"),
    "typed with a colon": lambda a, c: chat(a, c).replace(
        "citations ##", "citations: list[int] ##").replace("answer ##", "answer: str ##"),
    "hard spaces": lambda a, c: chat(a, c).replace("[[ ## ", "[[\xa0##\xa0").replace(
        " ## ]]", "\xa0##\xa0]]"),
    "zero width": marked("\u200b[[ ## ", " ## ]]\u200b"),
    "same line": lambda a, c: (
        f"[[ ## answer ## ]] {a} [[ ## citations ## ]] {list(c)} [[ ## completed ## ]]"
    ),
    "windows": lambda a, c: chat(a, c).replace("\n", "\r\n"),
    "indented": lambda a, c: "\n".join(f"    {line}".rstrip() for line in chat(a, c).split("\n")),
    "doubled": lambda a, c: f"[[ ## answer ## ]]\n{chat(a, c)}",
    "doubled, a line": lambda a, c: f"[[ ## answer ## ]] {chat(a, c)}",
    "nested": marked("[[ [[ ## ", " ## ]] ]]"),
    "many": lambda a, c: "[[ ## answer ## ]]\n" * 60 + chat(a, c),
    "closed": lambda a, c: (
        f"[[ ## answer ## ]]\n{a}\n[[ ## /answer ## ]]\n\n[[ ## citations ## ]]\n{list(c)}\n"
        "[[ ## /citations ## ]]"
    ),
    "ended": lambda a, c: (
        f"[[ ## answer ## ]]\n{a}\n[[ ## end answer ## ]]\n\n[[ ## citations ## ]]\n{list(c)}\n"
        "[[ ## end citations ## ]]"
    ),
    "reversed": lambda a, c: (
        f"[[ ## citations ## ]]\n{list(c)}\n\n[[ ## answer ## ]]\n{a}\n\n[[ ## completed ## ]]"
    ),
    "reasoned": around("[[ ## reasoning ## ]]\nPassage 3 says so.\n\n", chat),
    "twice": lambda a, c: f"{chat(a, c)}\n\n{chat('7 days', (9,))}",
    "template first": around(
        "[[ ## answer ## ]]\n{answer}\n\n[[ ## citations ## ]]\n{citations}\n\n"
        "[[ ## completed ## ]]\n\n", chat,
    ),
    "prompt first": around(
        "[[ ## context ## ]]\n[1] «30»\n\n[[ ## question ## ]]\nHow many?\n\n", chat
    ),
    "fenced": around("```\n", chat, "\n```"),
    "fenced, text": around("```text\n", chat, "\n```"),
    "fenced, told": around("Here you go:\n\n```markdown\n", chat, "\n```\nAnything else?"),
    "tildes": around("~~~\n", chat, "\n~~~"),
    "bold answer label": lambda a, c: chat(f"**Answer:** {a}", c),
    "answer label": lambda a, c: chat(f"Answer: {a}", c),
    "greeting": around("Sure! Here is the answer in the requested format:\n\n", chat),
    "german": lambda a, c: chat(a, c).replace("answer", "Antwort").replace("citations", "Quellen"),
    "chinese": lambda a, c: chat(a, c).replace("answer", "答案").replace("citations", "引用"),
    "translated end": lambda a, c: chat(a, c).replace("completed", "terminé"),
    "bom": around("\ufeff", chat),
}  # fmt: skip

_ENDS = (
    "[[ ## Completed ## ]]", "[[completed]]", "[[ ## complete ## ]]", "[[ ## end ## ]]",
    "[[ ## done ## ]]", "[[ ## finished ## ]]", "[[ ## completed", "[[ ## completed ##",
    "[[ ## completed ## ]", "## completed ##", "[ completed ]", "[completed]", "[[ completed ]]",
    "[[ ## completed ## ]].", "**[[ ## completed ## ]]**", "`[[ ## completed ## ]]`",
    "[[ ## completed ## ]]\n\nNote: I read passage 3.", "[[ ## completed ## ]]\nUser: And 7?",
    "{{ completed }}", "<completed>", "</completed>", "<<completed>>", "[[ ## compl",
    "[[ ## completed ## ]][[ ## completed ## ]]", "[[ ## completed ## ]]\n" * 40, "[[", "[[ ##",
    "[[ ## ", "[", "[[ ## completed ## ]]\n```", "---\n[[ ## completed ## ]]", "---",
    "(completed)",
)  # fmt: skip


def ended(end: str, *, last: str) -> Style:
    """A reply that ends otherwise, after its citations or after its answer."""

    def style(answer: str, cited: Sequence[int]) -> str:
        if last == "citations":
            return chat(answer, cited).replace("[[ ## completed ## ]]", end)
        return f"[[ ## citations ## ]]\n{list(cited)}\n\n[[ ## answer ## ]]\n{answer}\n\n{end}"

    return style


ENDS: dict[str, Style] = {
    f"{last}, {end!r}": ended(end, last=last) for end in _ENDS for last in ("answer", "citations")
}
"""Ways to end a reply: what stands in the place of DSPy's last marker."""

JSONS: dict[str, Style] = {
    "indented": lambda a, c: json.dumps({"answer": a, "citations": list(c)}, indent=2),
    "fenced": around("```json\n", as_json, "\n```"),
    "fenced, told": around("Here is the JSON:\n\n```json\n", as_json, "\n```\n\nI hope it helps!"),
    "fenced, upper": around("```JSON\n", as_json, "\n```"),
    "fenced, no language": around("```\n", as_json, "\n```"),
    "fenced, inline": around("`", as_json, "`"),
    "fence never closed": around("```json\n", as_json),
    "named": around("json\n", as_json),
    "told": around("Here is the answer: ", as_json, "\nThe answer is in passage 3."),
    "explained": around("", as_json, "\n\nExplanation: passage 3 says {so}."),
    "two": lambda a, c: f"{as_json(a, c)}\n{as_json('7 days', (9,))}",
    "two, no line": lambda a, c: f"{as_json(a, c)}{as_json('7 days', (9,))}",
    "loop": lambda a, c: "\n".join([as_json(a, c)] * 40),
    "listed": lambda a, c: f"[{as_json(a, c)}]",
    "trailing comma": lambda a, c: f"{as_json(a, c)[:-1]},}}",
    "unclosed": lambda a, c: as_json(a, c)[:-1],
    "closed twice": lambda a, c: f"{as_json(a, c)}}}",
    "python": lambda a, c: repr({"answer": a, "citations": list(c), "enough": True, "x": None}),
    "no quotes around names": lambda a, c: f"{{answer: {json.dumps(a)}, citations: {list(c)}}}",
    "equals": lambda a, c: f'{{"answer" = {json.dumps(a)}, "citations" = {list(c)}}}',
    "curved quotes": lambda a, c: f"{{“answer”: “{a}”, “citations”: {list(c)}}}",
    "comment": lambda a, c: (
        f'{{\n  // what was asked\n  "answer": {json.dumps(a)}, // short\n'
        f'  "citations": {list(c)} /* numbers */\n}}'
    ),
    "hash comment": lambda a, c: (
        f'{{\n  "answer": {json.dumps(a)},  # short\n  "citations": {list(c)}\n}}'
    ),
    "not a number": lambda a, c: f"{as_json(a, c)[:-1]}, \"confidence\": NaN}}",
    "infinity": lambda a, c: f"{as_json(a, c)[:-1]}, \"confidence\": Infinity}}",
    "null beside": lambda a, c: f"{as_json(a, c)[:-1]}, \"note\": null}}",
    "raw lines": lambda a, c: f'{{"answer": "{a}\n", "citations": {list(c)}}}',
    "missing comma": lambda a, c: f'{{"answer": {json.dumps(a)} "citations": {list(c)}}}',
    "escaped": lambda a, c: as_json(a, c).replace('"', '\\"'),
    "as text": lambda a, c: json.dumps(as_json(a, c)),
    "capital names": lambda a, c: json.dumps({"Answer": a, "Citations": list(c)}),
    "spaced names": lambda a, c: json.dumps({" answer ": a, "citations ": list(c)}),
    "final answer": lambda a, c: json.dumps({"final_answer": a, "citations": list(c)}),
    "response": lambda a, c: json.dumps({"response": a, "citations": list(c)}),
    "within": lambda a, c: json.dumps({"output": {"answer": a, "citations": list(c)}}),
    "deep": lambda a, c: json.dumps({"a": {"b": [{"answer": a, "citations": list(c)}]}}),
    "object": lambda a, c: json.dumps({"answer": {"text": a}, "citations": list(c)}),
    "object, value": lambda a, c: json.dumps({"answer": {"value": a}, "citations": list(c)}),
    "object, typed": lambda a, c: json.dumps(
        {"answer": {"type": "string", "value": a}, "citations": {"type": "array", "value": list(c)}}
    ),
    "object, holds all": lambda a, c: json.dumps({"answer": {"text": a, "citations": list(c)}}),
    "in a list": lambda a, c: json.dumps({"answer": [a], "citations": list(c)}),
    "schema with values": lambda a, c: json.dumps(
        {"type": "object", "properties": {"answer": a, "citations": list(c)}}
    ),
    "fields": lambda a, c: json.dumps(
        [{"name": "answer", "value": a}, {"name": "citations", "value": list(c)}]
    ),
    "one each": lambda a, c: json.dumps([{"answer": a}, {"citations": list(c)}]),
    "lines": lambda a, c: f"{json.dumps({'answer': a})}\n{json.dumps({'citations': list(c)})}",
    "thought first": lambda a, c: json.dumps(
        {"reasoning": "Passage 3 says {so}.", "answer": a, "citations": list(c)}
    ),
    "citations first": lambda a, c: json.dumps({"citations": list(c), "answer": a}),
    "in markers": lambda a, c: f"[[ ## answer ## ]]\n{as_json(a, c)}\n\n[[ ## completed ## ]]",
    "in fenced markers": lambda a, c: f"[[ ## answer ## ]]\n```json\n{as_json(a, c)}\n```",
    "marker names": lambda a, c: json.dumps(
        {"[[ ## answer ## ]]": a, "[[ ## citations ## ]]": list(c)}
    ),
    "xml around": around("<json>", as_json, "</json>"),
    "answer tags": around("<answer>", as_json, "</answer>"),
    "german": lambda a, c: json.dumps({"antwort": a, "quellen": list(c)}),
    "chinese": lambda a, c: json.dumps({"答案": a, "引用": list(c)}, ensure_ascii=False),
    "french": lambda a, c: json.dumps({"réponse": a, "citations": list(c)}),
    "spanish": lambda a, c: json.dumps({"respuesta": a, "citas": list(c)}),
    "wide punctuation": lambda a, c: f'{{"answer"：{json.dumps(a)}，"citations"：{list(c)}}}',
    "hard spaces": lambda a, c: as_json(a, c).replace('": ', '":\xa0'),
}  # fmt: skip

LABELS: dict[str, Style] = {
    "plain": labelled("Answer: ", "Citations: "),
    "lower": labelled("answer: ", "citations: "),
    "upper": labelled("ANSWER: ", "CITATIONS: "),
    "blank line": labelled("Answer: ", "Citations: ", "\n\n"),
    "next line": labelled("Answer:\n", "Citations:\n", "\n\n"),
    "bold": labelled("**Answer:** ", "**Citations:** "),
    "bold, colon outside": labelled("**Answer**: ", "**Citations**: "),
    "bold, next line": labelled("**Answer**\n", "**Citations**\n", "\n\n"),
    "bold, colon, next line": labelled("**Answer:**\n\n", "**Citations:**\n\n", "\n\n"),
    "bold, italic": labelled("***Answer:*** ", "***Citations:*** "),
    "italic": labelled("*Answer:* ", "*Citations:* "),
    "underlined": labelled("__Answer:__ ", "__Citations:__ "),
    "code": labelled("`answer`: ", "`citations`: "),
    "heading": labelled("## Answer\n", "## Citations\n", "\n\n"),
    "heading, colon": labelled("### Answer:\n\n", "### Citations:\n\n", "\n\n"),
    "heading, bold": labelled("### **Answer**\n", "### **Citations**\n", "\n\n"),
    "heading, numbered": labelled("### 1. Answer\n", "### 2. Citations\n", "\n\n"),
    "heading, underlined": labelled("Answer\n------\n", "Citations\n---------\n", "\n\n"),
    "heading, same line": labelled("# Answer: ", "# Citations: ", "\n"),
    "bullets": labelled("- **Answer**: ", "- **Citations**: "),
    "stars": labelled("* Answer: ", "* Citations: "),
    "numbered": labelled("1. **Answer:** ", "2. **Citations:** "),
    "quoted": labelled("> **Answer:** ", "> **Citations:** "),
    "dash": labelled("Answer – ", "Citations – "),
    "dash, long": labelled("**Answer** — ", "**Citations** — "),
    "equals": labelled("answer = ", "citations = "),
    "arrow": labelled("Answer -> ", "Citations -> "),
    "brackets": labelled("[Answer]: ", "[Citations]: "),
    "brackets alone": labelled("[Answer]\n", "[Citations]\n"),
    "final": labelled("Final Answer: ", "Citations: "),
    "bold final": labelled("**Final Answer:** ", "**Citations:** "),
    "short": labelled("Short answer: ", "Citations: "),
    "to the question": labelled("Answer to the question: ", "Citations: "),
    "sources": labelled("Answer: ", "Sources: "),
    "references": labelled("**Answer:** ", "**References:** "),
    "react": around("Thought: Passage 3 says so.\nAction: finish\n", labelled(
        "Final Answer: ", "Citations: ")),
    "reasoned": around("Reasoning: Passage 3 says so.\n", labelled("Answer: ", "Citations: ")),
    "reasoned, bold": around("**Reasoning:** Passage 3 says so.\n\n", labelled(
        "**Answer:** ", "**Citations:** ")),
    "step by step": around("Let's think step by step.\nPassage 3 says so.\n\n", labelled(
        "Answer: ", "Citations: ")),
    "asked again": around("Question: How many days?\n", labelled("Answer: ", "Citations: ")),
    "q and a": around("Q: How many days?\n", labelled("A: ", "Citations: ")),
    "table": lambda a, c: f"| answer | citations |\n|---|---|\n| {a} | {list(c)} |",
    "table, upright": lambda a, c: (
        f"| Field | Value |\n|:--|:--|\n| answer | {a} |\n| citations | {list(c)} |"
    ),
    "german": labelled("Antwort: ", "Quellen: "),
    "german, bold": labelled("**Antwort:** ", "**Quellen:** "),
    "french": labelled("Réponse : ", "Citations : "),
    "spanish": labelled("Respuesta: ", "Citas: "),
    "italian": labelled("Risposta: ", "Citazioni: "),
    "portuguese": labelled("Resposta: ", "Citações: "),
    "russian": labelled("Ответ: ", "Источники: "),
    "chinese": labelled("答案：", "引用："),
    "chinese, reply": labelled("回答：", "引用："),
    "japanese": labelled("回答: ", "引用: "),
    "korean": labelled("답변: ", "인용: "),
    "dutch": labelled("Antwoord: ", "Bronnen: "),
}  # fmt: skip

MARKUP: dict[str, Style] = {
    "xml": lambda a, c: f"<answer>{a}</answer>\n<citations>{list(c)}</citations>",
    "xml, lines": lambda a, c: (
        f"<answer>\n{a}\n</answer>\n\n<citations>\n{list(c)}\n</citations>"
    ),
    "xml, root": lambda a, c: (
        f"<response>\n  <answer>{a}</answer>\n  <citations>{list(c)}</citations>\n</response>"
    ),
    "xml, head": lambda a, c: (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<reply><answer>{a}</answer>'
        f"<citations>{list(c)}</citations></reply>"
    ),
    "xml, fenced": lambda a, c: (
        f"```xml\n<answer>{a}</answer>\n<citations>{list(c)}</citations>\n```"
    ),
    "xml, upper": lambda a, c: f"<ANSWER>{a}</ANSWER>\n<CITATIONS>{list(c)}</CITATIONS>",
    "xml, attributes": lambda a, c: (
        f'<answer type="short">{a}</answer>\n<citations kind="numbers">{list(c)}</citations>'
    ),
    "xml, items": lambda a, c: (
        f"<answer>{a}</answer>\n<citations>"
        + "".join(f"<citation>{number}</citation>" for number in c) + "</citations>"
    ),
    "xml, cdata": lambda a, c: (
        f"<answer><![CDATA[{a}]]></answer>\n<citations>{list(c)}</citations>"
    ),
    "xml, named fields": lambda a, c: (
        f'<field name="answer">{a}</field>\n<field name="citations">{list(c)}</field>'
    ),
    "xml, final": lambda a, c: (
        f"<final_answer>{a}</final_answer>\n<citations>{list(c)}</citations>"
    ),
    "xml, told": lambda a, c: (
        f"Here it is.\n<answer>{a}</answer>\n<citations>{list(c)}</citations>\nAnything else?"
    ),
    "xml, never closed": lambda a, c: f"<citations>{list(c)}</citations>\n<answer>{a}",
    "xml, reasoned": lambda a, c: (
        f"<reasoning>Passage 3 says so.</reasoning>\n<answer>{a}</answer>\n"
        f"<citations>{list(c)}</citations>"
    ),
    "xml, in markers": lambda a, c: chat(f"<answer>{a}</answer>", c),
    "yaml": lambda a, c: "\n".join([f"answer: {a}", "citations:", *(f"- {n}" for n in c)]),
    "yaml, indented": lambda a, c: "\n".join(
        [f"answer: {a}", "citations:", *(f"  - {n}" for n in c)]),
    "yaml, quoted": lambda a, c: f"answer: {json.dumps(a)}\ncitations: {list(c)}",
    "yaml, block": lambda a, c: f"answer: |\n  {a}\ncitations: {list(c)}",
    "yaml, folded": lambda a, c: f"answer: >-\n  {a}\ncitations: {list(c)}",
    "yaml, fenced": lambda a, c: f"```yaml\nanswer: {a}\ncitations: {list(c)}\n```",
    "yaml, document": lambda a, c: f"---\nanswer: {a}\ncitations: {list(c)}\n---",
    "yaml, root": lambda a, c: f"response:\n  answer: {a}\n  citations: {list(c)}",
    "toml": lambda a, c: f"answer = {json.dumps(a)}\ncitations = {list(c)}",
    "toml, fenced": lambda a, c: f"```toml\nanswer = {json.dumps(a)}\ncitations = {list(c)}\n```",
    "boxed": lambda a, c: f"\\boxed{{{a}}}\n\nCitations: {list(c)}",
    "boxed, told": lambda a, c: (
        f"Passage 3 says so.\n\n**Final Answer**\n\\boxed{{{a}}}\n\nCitations: {list(c)}"
    ),
    "boxed, display": lambda a, c: f"\\[\n\\boxed{{{a}}}\n\\]\n\nCitations: {list(c)}",
    "boxed, in markers": lambda a, c: chat(f"\\boxed{{{a}}}", c),
    "boxed, math, in markers": lambda a, c: chat(f"$\\boxed{{\\text{{{a}}}}}$", c),
    "box of glm": lambda a, c: chat(f"<|begin_of_box|>{a}<|end_of_box|>", c),
    "command-r": lambda a, c: chat(f"<co: {c[0]}>{a}</co: {c[0]}>", c),
    "command-r, two": lambda a, c: chat(f"<co: 0,1>{a}</co: 0,1>", c),
    "command-a": lambda a, c: chat(f"<co>{a}</co: 0:[1,2]>", c),
}  # fmt: skip

STYLES: dict[str, Style] = {
    f"{kind}: {name}": style
    for kind, styles in {
        "thinking": THINKING, "template": TEMPLATES, "call": CALLS, "markers": MARKERS,
        "end": ENDS, "json": JSONS, "label": LABELS, "markup": MARKUP,
    }.items()
    for name, style in styles.items()
}  # fmt: skip
