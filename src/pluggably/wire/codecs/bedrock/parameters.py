"""Sampling and reasoning as Bedrock's Converse takes them: a few fields for all models, everything else as each maker
has it, below `additionalModelRequestFields`.

What surprises: a model refuses what its maker's own API refuses, so what is only a hint gives way. Claude's thinking,
sampling, a demanded call and a prefill exclude each other as they do at its maker's (the codec `anthropic`, `request`).

Source: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InferenceConfiguration.html, …/userguide/
claude-messages-adaptive-thinking.html and …/nova/latest/nova2-userguide/extended-thinking.html (2026-11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pluggably.domain.generation import Effort, JsonObject, TextParameters
from pluggably.wire.codecs.bedrock.options import BedrockOptions, Profile
from pluggably.wire.lacks import check_stops
from pluggably.wire.omissions import EFFORT, Omissions

# API_runtime_Converse.html has no such fields.
_NO_FIELD = ("min_p", "seed", "presence_penalty", "frequency_penalty", "logprobs")
# "Must be ≥1024 and less than `max_tokens`": `budget_tokens` of Claude.
_LEAST_BUDGET = 1024


class Parameters(Struct):
    """What of a request each of its parameters depends on. `own_fields` are those that the client itself puts below
    `additionalModelRequestFields`."""

    backend: str
    wanted: TextParameters
    profile: Profile
    options: BedrockOptions
    omissions: Omissions
    demands_call: bool
    is_prefilled: bool
    own_fields: Mapping[str, Any]

    def put(self, value: JsonObject) -> None:
        """Raises: UnsupportedParameter."""
        fields: JsonObject = {}
        asked = self.wanted.reasoning
        effort = asked.effort if asked is not None else None
        if self.profile.effort_field == "thinking":
            self._put_thinking(value, fields, effort)
        elif effort is not None:
            self._put_effort(fields, effort)
        self._put_sampling(value, fields)
        if fields:
            value["additionalModelRequestFields"] = fields

    # ── reasoning ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _put_thinking(self, value: JsonObject, fields: JsonObject, effort: Effort | None) -> None:
        """Claude's. Where a call is demanded or an answer continued, it is an error, unless the model always thinks."""
        profile = self.profile
        if "thinking" in self.own_fields or (effort is None and not profile.thinks):
            return
        always = profile.thinking_off == "never"
        is_in_the_way = not always and (self.demands_call or self.is_prefilled)
        if "reasoning" in profile.lacks:
            if effort is not None:
                self.omissions.no_effort()
        elif effort == "none" and always:
            self.omissions.effort(effort, profile.efforts)
        elif effort == "none" or (is_in_the_way and profile.thinks):
            if effort not in (None, "none"):
                self._give_way()
            fields["thinking"] = {"type": profile.thinking_off}
        elif effort is not None and is_in_the_way:
            self._give_way()
        elif effort is not None and profile.thinking == "budget":
            self._put_budget(fields, effort)
        elif effort is not None:
            fields["thinking"] = {"type": "adaptive"}
            if self.options.thinking_display is not None:
                fields["thinking"]["display"] = self.options.thinking_display
            value["outputConfig"] = {"effort": self.omissions.effort(effort, profile.efforts)}

    def _give_way(self) -> None:
        self.omissions.hint(EFFORT, "cannot reason where a call is demanded or an assistant's message is continued")

    def _put_budget(self, fields: JsonObject, effort: Effort) -> None:
        limit = self.wanted.max_output_tokens or self.profile.max_tokens
        if limit <= _LEAST_BUDGET:
            self.omissions.hint(EFFORT, f"reasons only with more than {_LEAST_BUDGET} tokens in all")
            return
        # At least half of what a client allows is left for the answer, where the least budget leaves it.
        budget = min(self.options.budgets.get(effort, _LEAST_BUDGET), max(limit // 2, _LEAST_BUDGET))
        fields["thinking"] = {"type": "enabled", "budget_tokens": budget}

    def _put_effort(self, fields: JsonObject, effort: Effort) -> None:
        """That of the other makers' models."""
        field = self.profile.effort_field
        if field is None or "reasoning" in self.profile.lacks:
            self.omissions.no_effort()
            return
        if field in self.own_fields:
            return
        sent = self.omissions.effort(effort, self.profile.efforts)
        if sent is None:
            return
        if field == "reasoning_effort":
            fields[field] = sent
        elif field == "reasoning":
            fields[field] = {"effort": sent}
        elif sent == "none":
            fields[field] = {"type": "disabled"}
        else:
            if sent == "high" and self.wanted.max_output_tokens is not None:
                # "Must be unset" beside it, and a limit is no hint.
                self.omissions.change(EFFORT, "takes no limit of tokens beside the effort high; medium was asked for")
                sent = "medium"
            fields[field] = {"type": "enabled", "maxReasoningEffort": sent}

    # ── sampling ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _put_sampling(self, value: JsonObject, fields: JsonObject) -> None:
        wanted = self.wanted
        config: JsonObject = {}
        if wanted.max_output_tokens is not None:
            config["maxTokens"] = wanted.max_output_tokens
        if self._is_taken("temperature", wanted.temperature, fields, config):
            # API_runtime_InferenceConfiguration.html: from 0 to 1.
            config["temperature"] = self.omissions.within("temperature", wanted.temperature or 0, 0, 1)
        if self._is_taken("top_p", wanted.top_p, fields, config):
            config["topP"] = wanted.top_p
        if stops := wanted.stops():
            check_stops(stops, self.profile.lacks, None, self.backend)
            config["stopSequences"] = stops
        if config:
            value["inferenceConfig"] = config
        if self._is_taken("top_k", wanted.top_k, fields, config):
            entry: Any = wanted.top_k
            for field in reversed(self.profile.top_k):
                entry = {field: entry}
            fields.update(entry)
        for name in _NO_FIELD:
            if getattr(wanted, name) is not None:
                self.omissions.parameter(name)

    def _is_taken(self, name: str, given: float | None, fields: JsonObject, config: JsonObject) -> bool:
        if given is None:
            return False
        if name in self.profile.lacks or (name == "top_k" and not self.profile.top_k):
            self.omissions.parameter(name)
            return False
        clash = self._clash_of(name, given, fields, config)
        if clash is not None:
            self.omissions.hint(f"/parameters/{name}", f"takes no {name} {clash}")
        return clash is None

    def _clash_of(self, name: str, given: float, fields: JsonObject, config: JsonObject) -> str | None:
        """Beside what a sampling parameter is not taken, if it is not."""
        if name == "top_p" and self.profile.one_of_sampling and "temperature" in config:
            return "beside a temperature for this model"
        own = {**fields, **self.own_fields}
        if _entry(own, "reasoningConfig", "maxReasoningEffort") == "high" and name != "top_k":
            return "beside the effort high"
        thinks = _entry(own, "thinking", "type") in ("enabled", "adaptive")
        # "Isn't compatible with `temperature` or `top_k` modifications"; "`top_p` between 1 and 0.95".
        if thinks and (name == "top_k" or (name == "top_p" and given < 0.95) or (name == "temperature" and given != 1)):
            return "of this value while the model reasons"
        return None


def _entry(fields: Mapping[str, Any], name: str, key: str) -> Any:
    inner = fields.get(name)
    return inner.get(key) if isinstance(inner, Mapping) else None
