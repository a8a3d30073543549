"""How a dialogue becomes text: the chat template of the model, in Python and in Jinja.

Training renders dialogues with `render`; llama.cpp renders them with `TEMPLATE`, which travels inside
the GGUF file. Both must give the same text, and `check_template` in score.py compares them.
"""

import json
from dataclasses import dataclass, field

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
SPECIAL_TOKENS = [PAD, START, END]


@dataclass(frozen=True)
class Message:
    role: str  # system, user, assistant or tool
    text: str


@dataclass(frozen=True)
class Tool:
    """A tool as the model sees it: its name and the names of its parameters."""

    name: str
    parameters: tuple[str, ...]


@dataclass
class Dialogue:
    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)

    def say(self, role: str, text: str) -> None:
        self.messages.append(Message(role, text))


def tool_call(name: str, arguments: dict[str, object]) -> str:
    """One call, in the form that llama.cpp finds by reading the template."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{call}\n</tool_call>"


def render(dialogue: Dialogue) -> str:
    parts = []
    if dialogue.tools:
        lines = "\n".join(f"{tool.name}({', '.join(tool.parameters)})" for tool in dialogue.tools)
        parts.append(f"{START}tools\n{lines}{END}\n")
    parts += [f"{START}{message.role}\n{message.text}{END}\n" for message in dialogue.messages]
    return "".join(parts)


TEMPLATE = """
{%- if tools %}
{{- '<|im_start|>tools\\n' }}
{%- for tool in tools %}
{%- set function = tool.function if tool.function is defined else tool %}
{{- function.name + '(' }}
{%- if function.parameters is defined and function.parameters.properties is defined %}
{{- function.parameters.properties.keys() | list | join(', ') }}
{%- endif %}
{{- ')' }}
{%- if not loop.last %}{{- '\\n' }}{%- endif %}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + ('system' if message.role == 'developer' else message.role) + '\\n' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- if message.tool_calls %}
{%- if message.content %}{{- '\\n' }}{%- endif %}
{%- for call in message.tool_calls %}
{%- set function = call.function if call.function is defined else call %}
{{- '<tool_call>\\n{"name": "' + function.name + '", "arguments": ' }}
{{- function.arguments if function.arguments is string else function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- if not loop.last %}{{- '\\n' }}{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
""".strip()
