"""Messages on Gemini's wire: our messages and parts as its contents.

What surprises: there are two roles only. What tools answered is said by the user, in a content of its own, with
whatever else the user says in the next one; and what stands in a system message goes before the conversation, wherever
it stood. Functions are matched by name and order, and by an id where there is one; so a result finds its call here, and
takes its name from there. And a signature goes back exactly where it came: on a call or a text in that part's own
options, on thoughts and alone in `provider_state`.

Source: ai.google.dev/api/caching#Content, …/gemini-api/docs/function-calling, …/docs/thought-signatures and
…/docs/file-input-methods (2026-11); the types of google-genai 3.4.0. That results stand alone: …/docs/generate-content/
whats-new-gemini-3.5, "Inline instructions in function responses"; mixed, Vertex AI answers newer models with a 400 and
others say nothing, and apart they all answer (github.com/deepnoodle-ai/dive/pull/287 and
github.com/pydantic/pydantic-ai/issues/4210, 2026-08 and 2026-09).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Struct

from pluggably.domain.generation import (
    Audio,
    Image,
    JsonObject,
    Media,
    Message,
    ProviderItem,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from pluggably.errors import InvalidRequest, UnsupportedModality, UnsupportedParameter
from pluggably.wire.codecs.gemini.options import GeminiOptions, GeminiRule
from pluggably.wire.omissions import Omissions
from pluggably.wire.parts import (
    ResultMedia,
    UserPart,
    arguments_of,
    merged,
    nothing_said,
    own_options,
    told_apart,
)

# Our own note in the options of a text: how many of its characters came before the signed part.
SIGNED_FROM = "signed_from"
# "…you can use a dummy signature": for calls that this vendor did not make (docs/thought-signatures, "FAQs").
_NO_SIGNATURE = "skip_thought_signature_validator"
# What an answer says of itself beside its parts. It cannot go back.
METADATA = ("groundingMetadata", "citationMetadata", "urlContextMetadata")
# What a function's response may hold: docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling,
# "Multimodal function responses" (2026-11). Anything else "is not supported in `function_response.parts`", says the 400
# (github.com/google-gemini/gemini-cli/issues/16995).
_RESULT_TYPES = ("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain")
# The type of what a URL leads to, by the end of its path: …/docs/file-input-methods, "Supported content types".
_TYPES_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "m4a": "audio/m4a",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
}


class _Call(Struct, frozen=True):
    """A call that was made, as far as its result needs it: its place among the calls, its name, and the id with which
    it went."""

    place: int
    name: str
    sent_id: str | None


class Contents(Struct):
    """`prompt` is what the system says; `origins` has for each of the contents the index of the message that it begins
    with."""

    prompt: list[JsonObject]
    contents: list[JsonObject]
    origins: list[int]

    def begin(self, role: str, index: int, place: int | None = None) -> JsonObject:
        """A new content, at the end or at a place before it."""
        content: JsonObject = {"role": role, "parts": []}
        at = len(self.contents) if place is None else place
        self.contents.insert(at, content)
        self.origins.insert(at, index)
        return content


class _Turn(Struct):
    """What the user says between two answers, as two contents at most: what tools answered, and everything else."""

    results: JsonObject | None = None
    said: JsonObject | None = None


class ContentBuilder:
    """Turns messages into contents. One object a request; it holds what every step needs to know, and the calls."""

    def __init__(self, backend: str, options: GeminiOptions, rule: GeminiRule, omissions: Omissions) -> None:
        self._backend = backend
        self._inputs = options.inputs
        self._types_urls = options.typed_urls
        self._lacks = options.lacks_of(rule)
        self._signs_calls = rule.signs_calls
        self._omissions = omissions
        self._result_media = ResultMedia(omissions)
        # By our ids. Where one is used twice, a result belongs to the latest call.
        self._calls: dict[str, _Call] = {}
        self._call_count = 0

    def build(self, messages: Sequence[Message]) -> Contents:
        """Raises: UnsupportedParameter, InvalidRequest."""
        built = Contents([], [], [])
        turn = _Turn()
        for index, message in enumerate(messages):
            pointer = f"/input/{index}"
            if message.role == "system":
                if built.contents:
                    self._omissions.system_moved(index)
                built.prompt += self._system(message, pointer)
                continue
            if message.role == "assistant":
                last = self._put_answer(built, message, index)
                turn = _Turn() if last is not None else turn
            else:
                last = self._put_turn(built, turn, message, index)
            if last is None:
                self._omissions.empty_message(index)
            else:
                merged(last, own_options(message.provider_options, self._backend))
        if not built.contents:
            raise nothing_said(self._backend)
        if self._calls and self._signs_calls:
            for content in built.contents:
                _sign_first_call(content)
        if "prefill" in self._lacks and built.contents[-1]["role"] == "model":
            raise UnsupportedParameter(
                f"{self._backend} does not continue an assistant's message with this model; end with one of the user.",
                pointer=f"/input/{built.origins[-1]}",
            )
        return built

    def _put_answer(self, built: Contents, message: Message, index: int) -> JsonObject | None:
        """The content to which an answer's parts went; None: it has none."""
        parts = self._answered(message, f"/input/{index}")
        if not parts:
            return None
        follows = bool(built.contents) and built.contents[-1]["role"] == "model"
        content = built.contents[-1] if follows else built.begin("model", index)
        content["parts"] += parts
        return content

    def _put_turn(self, built: Contents, turn: _Turn, message: Message, index: int) -> JsonObject | None:
        """The last content to which parts of the user's turn went; None: there are none. The results of several calls
        belong in one content, right behind the calls and in their order, by which they are matched."""
        results, others = self._asked(message, f"/input/{index}")
        if results:
            if turn.results is None:
                before = len(built.contents) - (turn.said is not None)
                turn.results = built.begin("user", index, before)
            turn.results["parts"] += results
            turn.results["parts"].sort(key=lambda part: part.place)
        if others:
            if turn.said is None:
                turn.said = built.begin("user", index)
            turn.said["parts"] += others
        return turn.said if others else turn.results if results else None

    # ── what a client says ──────────────────────────────────────────────────────────────────────────────────────────

    def _system(self, message: Message, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            return [{"text": content}] if content else []
        return [theirs for part, place in told_apart(content, pointer)[1] for theirs in self._said(part, place)]

    def _asked(self, message: Message, pointer: str) -> tuple[list[_Placed], list[JsonObject]]:
        """What tools answered, and everything else."""
        content = message.content
        if isinstance(content, str):
            return [], [{"text": content}] if content else []
        results, others = told_apart(content, pointer)
        answered = [self._result(part, place) for part, place in results]
        said = self._result_media.waiting
        self._result_media.waiting = []
        for part, place in others:
            said += self._said(part, place)
        return answered, said

    def _said(self, part: UserPart, pointer: str) -> list[JsonObject]:
        return self._text(part) if isinstance(part, Text) else [self._block(part, pointer)]

    def _block(self, part: Text | Media, pointer: str) -> JsonObject:
        theirs = {"text": part.text} if isinstance(part, Text) else self._media(part, pointer)
        return merged(theirs, own_options(part.provider_options, self._backend))

    def _media(self, part: Media, pointer: str) -> JsonObject:
        """Raises: UnsupportedModality, UnsupportedParameter."""
        kind = "image" if isinstance(part, Image) else "audio" if isinstance(part, Audio) else "file"
        if kind not in self._inputs:
            raise UnsupportedModality(f"{self._backend} takes no {kind} for this model.", pointer=pointer)
        media_type = _type_of(part)
        if part.url is UNSET:
            return {"inlineData": {"mimeType": media_type, "data": part.data}}
        if ("image_url" if kind == "image" else "file_url") not in self._inputs:
            raise UnsupportedParameter(f"{self._backend} takes this only as `data`, not by URL.", pointer=pointer)
        if self._types_urls and not media_type:
            raise UnsupportedParameter(
                f"{self._backend} needs the `media_type` of what is given by this URL, which does not tell it.",
                pointer=pointer,
            )
        return {"fileData": {"fileUri": part.url, **({"mimeType": media_type} if media_type else {})}}

    def _result(self, part: ToolResult, pointer: str) -> _Placed:
        call = self._calls.get(part.tool_call_id)
        if call is None:
            raise InvalidRequest(
                "No call before this result has its `tool_call_id`.", pointer=f"{pointer}/tool_call_id"
            )
        texts = self._result_media.texts(
            part, f"call {call.place + 1} ({call.name})", pointer, self._block, self._stays_in_result
        )
        media = [
            self._block(piece, f"{pointer}/content/{index}")
            for index, piece in enumerate(part.content if not isinstance(part.content, str) else ())
            if not isinstance(piece, Text) and self._stays_in_result(piece)
        ]
        # "Use "output" key to specify function output and "error" key to specify error details": FunctionResponse.
        said = {"error" if part.is_error else "output": "\n".join(texts)}
        result: JsonObject = {"name": call.name, "response": said}
        if call.sent_id is not None:
            result["id"] = call.sent_id
        if media:
            result["parts"] = media
        theirs = merged({"functionResponse": result}, own_options(part.provider_options, self._backend))
        return _Placed(theirs, call.place)

    def _stays_in_result(self, part: Media) -> bool:
        return "media_results" not in self._lacks and _type_of(part) in _RESULT_TYPES

    def _text(self, part: Text) -> list[JsonObject]:
        """One part, or two where only the end of a text was signed: "Don't merge one part with a signature with
        another part without a signature" (docs/thought-signatures)."""
        own = dict(own_options(part.provider_options, self._backend))
        before = own.pop(SIGNED_FROM, 0)
        signed_from = min(before, len(part.text)) if isinstance(before, int) and before > 0 else 0
        parts: list[JsonObject] = [{"text": part.text[:signed_from]}] if signed_from else []
        if signed_from < len(part.text) or own:
            parts.append(merged({"text": part.text[signed_from:]}, own))
        return parts

    # ── what an answer said ─────────────────────────────────────────────────────────────────────────────────────────

    def _answered(self, message: Message, pointer: str) -> list[JsonObject]:
        content = message.content
        if isinstance(content, str):
            return [{"text": content}] if content else []
        parts: list[JsonObject] = []
        for index, part in enumerate(content):
            place = f"{pointer}/content/{index}"
            if isinstance(part, Text):
                parts += self._text(part)
            elif isinstance(part, ToolCall):
                parts.append(self._call(part, place))
            elif isinstance(part, Refusal):
                parts += [{"text": part.text}] if part.text else []
            elif isinstance(part, Reasoning):
                parts += self._reasoning(part, place)
            elif isinstance(part, ProviderItem):
                parts += self._handed_back(part, place)
        return parts

    def _call(self, part: ToolCall, pointer: str) -> JsonObject:
        call: JsonObject = {"name": part.name, "args": arguments_of(part, self._omissions, pointer)}
        if self._signs_calls and part.id:
            # "Always map function IDs", from Gemini 3 on (docs/function-calling); one of the vendor's own stands over
            # ours.
            call["id"] = part.id
        theirs = merged({"functionCall": call}, own_options(part.provider_options, self._backend))
        sent = theirs["functionCall"].get("id")
        self._calls[part.id] = _Call(self._call_count, part.name, sent if isinstance(sent, str) else None)
        self._call_count += 1
        return theirs

    def _reasoning(self, part: Reasoning, pointer: str) -> list[JsonObject]:
        state = part.provider_state
        if state is None:
            self._omissions.stateless_reasoning(pointer)
        elif state.provider != self._backend or not _is_signed(state.data):
            self._omissions.foreign_reasoning(state, pointer)
        else:
            return [{"text": part.text or "", **state.data}]
        return []

    def _handed_back(self, part: ProviderItem, pointer: str) -> list[JsonObject]:
        """As it came, and in a copy."""
        if part.provider != self._backend or not isinstance(part.data, dict) or not part.data:
            self._omissions.foreign_item(part, pointer)
            return []
        if part.data.keys() <= set(METADATA):
            return []
        return [dict(part.data)]


class _Placed(dict[str, Any]):
    """A tool's result, and the place of its call among all of them."""

    def __init__(self, part: JsonObject, place: int) -> None:
        super().__init__(part)
        self.place = place


def _type_of(part: Media) -> str:
    """The media type of a part; "" where nothing says it."""
    if part.url is UNSET:
        return part.media_type or ""
    path = part.url.partition("#")[0].partition("?")[0]
    return part.media_type or _TYPES_BY_SUFFIX.get(path.rpartition(".")[2].lower(), "")


def _sign_first_call(content: JsonObject) -> None:
    """A call that another vendor's model made has no signature, and without one on the first call the request is
    refused."""
    first = next((part for part in content["parts"] if "functionCall" in part), None)
    if first is not None:
        first.setdefault("thoughtSignature", _NO_SIGNATURE)


def _is_signed(state: Any) -> bool:
    return isinstance(state, Mapping) and bool(state) and state.keys() <= {"thought", "thoughtSignature"}
