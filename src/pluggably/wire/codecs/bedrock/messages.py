"""A conversation as Bedrock's Converse takes it: system prompts apart, then user and assistant in turns.

What surprises: reasoning goes back only signed, and only to models of its maker. Results of tools are a user's.
Messages of one side that follow each other become one, blank texts are left out, and a conversation that the assistant
begins gets a first word of the user, because Bedrock refuses all others. And a cache point is a block of its own here,
behind what it marks: `provider_options` of a part, a message or a tool with `cachePoint` put one there.

Source: docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html, …/prompt-caching.html and
…/APIReference/API_runtime_ContentBlock.html (2026-11); the shapes of botocore 1.44.5.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pluggably.domain.generation import (
    Audio,
    File,
    Image,
    JsonObject,
    Message,
    Part,
    ProviderItem,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from pluggably.errors import UnsupportedParameter
from pluggably.wire.codecs.bedrock.media import Media
from pluggably.wire.codecs.bedrock.options import Profile
from pluggably.wire.omissions import OPENING, Omissions
from pluggably.wire.parts import (
    UserPart,
    arguments_of,
    merged,
    nothing_said,
    own_options,
    told_apart,
)

_TOOL_USE_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
# In the state of reasoning: whose it is, where it is not Claude's.
MAKER = "maker"
BESIDE_DOCUMENTS = "(See the attached document.)"


class Conversation:
    """Builds the messages of one request."""

    def __init__(
        self, backend: str, media: Media, omissions: Omissions, profile: Profile, *, is_rewritten: bool = False
    ) -> None:
        """`is_rewritten`: what stands before the model's reasoning is not what it was, so none of it may go back."""
        self._backend = backend
        self._media = media
        self._omissions = omissions
        self._profile = profile
        self._is_rewritten = is_rewritten
        # Whether what stands before reasoning may be another thing than when it was written.
        self.is_prefix_changed = False
        self.prompts: list[JsonObject] = []
        self.messages: list[JsonObject] = []
        # For each of the vendor's messages, the index of the message that it began with.
        self.origins: list[int] = []
        self.has_tool_blocks = False

    def build(self, messages: Sequence[Message]) -> None:
        """Raises: UnsupportedParameter, InvalidRequest."""
        said: list[tuple[int, str, list[JsonObject]]] = []
        for index, message in enumerate(messages):
            role: str = "user" if message.role == "tool" else message.role
            pointer = f"/input/{index}"
            blocks = self._system(message, pointer) if role == "system" else self._blocks(message, role, pointer)
            if blocks:
                said.append((index, role, blocks))
            elif role != "system":
                self._omissions.empty_message(index)
        waiting: list[tuple[int, list[JsonObject]]] = []
        spoken = -1
        for index, side, content in said:
            if side != "system":
                if side == "assistant":
                    waiting = self._placed(waiting, spoken)
                self._add(index, side, content)
                spoken = index
            elif not self.messages:
                self.prompts += content
            elif self._profile.system_messages:
                waiting.append((index, content))
            else:
                self._move(index, content)
        if not self.messages:
            raise nothing_said(self._backend)
        for index, content in self._placed(waiting, spoken):
            self._move(index, content)
        self._settle()

    def _add(self, index: int, role: str, content: list[JsonObject]) -> None:
        if self.messages and self.messages[-1]["role"] == role:
            self.messages[-1]["content"] += content
        else:
            self.messages.append({"role": role, "content": content})
            self.origins.append(index)

    def _placed(self, waiting: list[tuple[int, list[JsonObject]]], spoken: int) -> list[tuple[int, list[JsonObject]]]:
        """Puts what the system says in the midst of a conversation, which must follow the user, and be followed by
        nothing but the assistant (platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages,
        2026-11). What may not stand here waits on, until the user has spoken; `spoken` is the last message that is not
        the system's."""
        if not waiting or self.messages[-1]["role"] == "assistant":
            return waiting
        for index, content in waiting:
            if index < spoken:
                self._omissions.change(
                    f"/input/{index}",
                    "takes no system message at this place; it was put behind what the user says next",
                )
            self._add(index, "system", content)
        return []

    def _move(self, index: int, content: list[JsonObject]) -> None:
        """Puts what the system says before the conversation."""
        self._omissions.system_moved(index)
        self.is_prefix_changed = self.is_prefix_changed or self.has_thoughts
        self.prompts += content

    @property
    def has_thoughts(self) -> bool:
        """Whether the model's own reasoning has gone back by now."""
        return any("reasoningContent" in block for turn in self.messages for block in turn["content"])

    @property
    def is_prefilled(self) -> bool:
        """Whether the answer is to continue an assistant's message, and not one that was paused for the vendor's own
        tools."""
        last = self.messages[-1]
        return bool(last["role"] == "assistant" and not any(map(_is_of_own_tools, last["content"])))

    def _settle(self) -> None:
        if self.messages[0]["role"] == "assistant":
            self._omissions.opened(self.origins[0])
            self.messages.insert(0, {"role": "user", "content": [{"text": OPENING}]})
            self.origins.insert(0, self.origins[0])
        for message, origin in zip(self.messages, self.origins, strict=True):
            if "text" in message["content"][0]:
                continue  # nearly always
            kinds = {key for block in message["content"] for key in block}
            if "document" in kinds and "text" not in kinds:
                self._omissions.change(f"/input/{origin}", "takes a document only beside a text; a short one was added")
                message["content"].append({"text": BESIDE_DOCUMENTS})
        last = self.messages[-1]
        if self.is_prefilled and "prefill" in self._profile.lacks:
            raise UnsupportedParameter(
                f"{self._backend} does not continue an assistant's message with this model; end with one of the user.",
                pointer=f"/input/{self.origins[-1]}",
            )
        if last["role"] == "assistant" and "text" in last["content"][-1]:
            # A beginning of the answer must not end in white space.
            last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()

    def _system(self, message: Message, pointer: str) -> list[JsonObject]:
        if isinstance(message.content, str):
            return self._prose(message.content, message)
        blocks: list[JsonObject] = []
        for part, place in told_apart(message.content, pointer)[1]:
            blocks += self._content(part, place)
        return blocks + _cache_points(own_options(message.provider_options, self._backend))

    def _blocks(self, message: Message, role: str, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            return self._prose(content, message)
        blocks: list[JsonObject] = []
        if role == "assistant":
            for index, said in enumerate(content):
                blocks += self._said(said, f"{pointer}/content/{index}")
        else:
            results, others = told_apart(content, pointer)
            for result, place in results:
                blocks += self._result(result, place)
            for part, place in others:
                blocks += self._content(part, place)
        return blocks + _cache_points(own_options(message.provider_options, self._backend)) if blocks else blocks

    def _prose(self, text: str, message: Message) -> list[JsonObject]:
        """A message that is but a text; a blank one is refused, and says nothing."""
        blocks: list[JsonObject] = [{"text": text}] if text.strip() else []
        own = own_options(message.provider_options, self._backend)
        return blocks + _cache_points(own) if own else blocks

    def _content(self, part: UserPart, pointer: str) -> list[JsonObject]:
        """What a user or a tool says."""
        if isinstance(part, Text):
            return self._text(part.text, own_options(part.provider_options, self._backend))
        own = own_options(part.provider_options, self._backend)
        if isinstance(part, Image):
            block, own = _guarded(self._media.image(part, pointer), "image", own)
        elif isinstance(part, File):
            block = self._media.document(part, pointer)
        else:
            block = self._media.audio(part, pointer)
        return _with_own(block, own)

    def _said(self, part: Part, pointer: str) -> list[JsonObject]:
        """What the assistant said before."""
        if isinstance(part, Text | Refusal):
            return self._text(part.text, own_options(part.provider_options, self._backend))
        if isinstance(part, ToolCall):
            self.has_tool_blocks = True
            given = arguments_of(part, self._omissions, pointer)
            use = {"toolUseId": _tool_use_id(part.id), "name": part.name, "input": given}
            return _with_own({"toolUse": use}, own_options(part.provider_options, self._backend))
        if isinstance(part, Reasoning):
            return self._reasoning(part, pointer)
        return self._handed_back(part, pointer) if isinstance(part, ProviderItem) else []

    def _text(self, text: str, own: Mapping[str, Any]) -> list[JsonObject]:
        if not text.strip():
            return _cache_points(own)  # blank texts are refused, and say nothing
        if isinstance(own.get("guardContent"), dict):
            return _with_own(*_guarded({"text": {"text": text}}, "text", own))
        return _with_own({"text": text}, own)

    def _result(self, part: ToolResult, pointer: str) -> list[JsonObject]:
        self.has_tool_blocks = True
        content: list[JsonObject] = []
        if isinstance(part.content, str):
            content += self._text(part.content, {})
        else:
            for index, piece in enumerate(part.content):
                place = f"{pointer}/content/{index}"
                if isinstance(piece, Audio):
                    raise UnsupportedParameter(f"{self._backend} takes no audio in a tool's result.", pointer=place)
                own = own_options(piece.provider_options, self._backend)
                content += [{"json": own["json"]}] if "json" in own else self._content(piece, place)
        # None stands within a result, so those of its pieces come behind it.
        points = [block for block in content if "cachePoint" in block]
        content = [block for block in content if "cachePoint" not in block]
        result: JsonObject = {"toolUseId": _tool_use_id(part.tool_call_id), "content": content}
        if part.is_error:
            result["status"] = "error"
        return _with_own({"toolResult": result}, own_options(part.provider_options, self._backend)) + points[:1]

    def _reasoning(self, part: Reasoning, pointer: str) -> list[JsonObject]:
        state = part.provider_state
        if state is None:
            self._omissions.stateless_reasoning(pointer)
        elif state.provider != self._backend or not _is_reasoning(state.data):
            self._omissions.foreign_reasoning(state, pointer)
        elif not self._is_taken_back(state.data):
            self._omissions.reasoning_of_another_model(pointer)
        elif self._is_rewritten:
            self._omissions.reasoning_cut_off(pointer)
        else:
            return [{"reasoningContent": {key: value for key, value in state.data.items() if key != MAKER}}]
        return []

    def _is_taken_back(self, state: JsonObject) -> bool:
        """What is not signed is refused: "User messages cannot contain reasoning content" (github.com/langchain-ai/
        langchain-aws/issues/401, github.com/vercel/ai/pull/17591, 2026-07); so is any by most models."""
        return is_signed(state) and self._profile.reasoning_back == state.get(MAKER, "anthropic")

    def _handed_back(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        if part.provider == self._backend and isinstance(part.data, dict):
            return [dict(part.data)]
        self._omissions.foreign_item(part, pointer)
        return []


def is_signed(thought: JsonObject) -> bool:
    """Whether a model can tell that a block of reasoning is its own."""
    text = thought.get("reasoningText")
    return bool(thought.get("redactedContent") or (isinstance(text, dict) and text.get("signature")))


def _is_of_own_tools(block: JsonObject) -> bool:
    use = block.get("toolUse")
    return "toolResult" in block or (isinstance(use, dict) and "type" in use)


def _is_reasoning(state: Any) -> bool:
    return isinstance(state, dict) and bool(state.keys() & {"reasoningText", "redactedContent"})


def _tool_use_id(given: str) -> str:
    """Another vendor's id may not fit, and the same one must become the same in each place."""
    return given if _TOOL_USE_ID.fullmatch(given) else f"call_{hashlib.sha256(given.encode()).hexdigest()[:32]}"


def _guarded(block: JsonObject, kind: str, own: Mapping[str, Any]) -> tuple[JsonObject, Mapping[str, Any]]:
    """What a guardrail is to look at, where `provider_options` say so, and what else they say."""
    guard = own.get("guardContent")
    if not isinstance(guard, dict):
        return block, own
    rest = {key: value for key, value in own.items() if key != "guardContent"}
    return {"guardContent": {kind: {**block[kind], **guard}}}, rest


def _with_own(block: JsonObject, own: Mapping[str, Any]) -> list[JsonObject]:
    rest = {key: value for key, value in own.items() if key != "cachePoint"}
    return [merged(block, rest) if rest else block, *_cache_points(own)]


def _cache_points(own: Mapping[str, Any]) -> list[JsonObject]:
    return [{"cachePoint": own["cachePoint"]}] if "cachePoint" in own else []
