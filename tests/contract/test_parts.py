"""Which part may stand in a message of which role is the same on every wire, and so is the error for another."""

from __future__ import annotations

from typing import Any

import pytest
from vendor_forms import VENDORS, WIRES

from pluggably.errors import PluggablyError
from pluggably.plugins import CODECS, Plugins
from pluggably.providers.presets import PRESETS
from pluggably.testing import codecs
from pluggably.wire.codec import Address

CODEC = Plugins(CODECS)
TEXT = {"type": "text", "text": "Hi"}
IMAGE = {"type": "image", "data": "iVBORw0KGgo=", "media_type": "image/png"}
CALL = {"type": "tool_call", "id": "call_000a", "name": "f", "arguments": "{}"}
RESULT = {"type": "tool_result", "tool_call_id": "call_000a", "content": "1"}
TOOL = {"type": "function", "name": "f", "description": "", "input_schema": {"type": "object", "properties": {}}}
CALLED = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [CALL]}]
MISPLACED: dict[str, tuple[Any, str, str]] = {
    "a text of a tool": ({"role": "tool", "content": "1"}, "invalid_request", "/input/2/content"),
    "a text beside results": ({"role": "tool", "content": [RESULT, TEXT]}, "invalid_request", "/input/2/content"),
    "a call of the user": ({"role": "user", "content": [CALL]}, "invalid_request", "/input/2/content/0"),
    "a refusal of the user": (
        {"role": "user", "content": [TEXT, {"type": "refusal", "text": "No."}]},
        "invalid_request",
        "/input/2/content/1",
    ),
    "a result of the assistant": ({"role": "assistant", "content": [RESULT]}, "invalid_request", "/input/2/content/0"),
    "a result of the system": ({"role": "system", "content": [RESULT]}, "invalid_request", "/input/2/content/0"),
    "an image of the system": ({"role": "system", "content": [IMAGE]}, "unsupported_parameter", "/input/2/content/0"),
}


def begun(wire: str, *messages: Any) -> None:
    preset_name, model = VENDORS[wire]
    preset = PRESETS[preset_name]
    codec = codecs.make(CODEC[wire], preset.options if preset.codec == wire else {})
    request = codecs.generation_request({"input": [*CALLED, *messages], "tools": [TOOL]})
    codec.begin(request, Address(base_url="https://vendor.test", model=model, backend=wire, stream=False))


@pytest.mark.parametrize("name", MISPLACED)
@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "native"])
def test_a_part_in_the_wrong_role_is_refused_alike(wire: str, name: str) -> None:
    """With the same code and the same place; another gateway, which is handed everything, says so itself."""
    message, code, pointer = MISPLACED[name]
    with pytest.raises(PluggablyError) as raised:
        begun(wire, message)
    assert (raised.value.code, raised.value.pointer) == (code, pointer)


@pytest.mark.parametrize("wire", WIRES)
def test_a_result_may_stand_in_a_message_of_the_user(wire: str) -> None:
    """Beside what the user says then, as on the wires on which it is the user's word."""
    begun(wire, {"role": "user", "content": [TEXT, RESULT]})
