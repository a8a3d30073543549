"""Makes a provider of its preset and of what the operator says beside it.

What the operator says stands over the preset. What surprises: codecs are found by name in a mapping that is handed in,
so a preset may name a codec of another package, and one that is not there is an error at the start, not at a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pluggably.domain.generation import Location
from pluggably.errors import StartupError
from pluggably.providers.aws_signature import AwsAccess
from pluggably.providers.presets import Preset
from pluggably.providers.presets.preset import CodecRule
from pluggably.providers.provider import MODEL_GAP, Provider, Wire
from pluggably.wire.codec import Codec
from pluggably.wire.endpoint import Signer

# What may stand in a gap of an address: nothing that would end the part of the address in which it stands.
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_GAP = re.compile(r"\{(\w+)\}")


def build_provider(
    name: str,
    preset: Preset | None,
    codecs: Mapping[str, type[Codec]],
    *,
    codec: str | None = None,
    base_url: str | None = None,
    api_keys: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    location: Location | None = None,
    always_streams: bool | None = None,
    aws: Sequence[AwsAccess] = (),
    google: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Provider:
    """A provider that starts from its preset, or without one from `codec` and `base_url`. `aws` and `google` (texts of
    credentials files) are credentials of accounts; without any, and without a key, a preset that signs looks in the
    usual places, for which it needs the `environment`.

    Raises: StartupError."""
    spoken = codecs.get(codec or (preset.codec if preset else ""))
    address = base_url or (preset.base_url if preset else None)
    if spoken is None or address is None:
        raise StartupError(f"Provider {name}: it needs a known `preset`, or a known `codec` and a `base_url`.")
    if preset is not None and preset.not_behind:
        address = address.rstrip("/").removesuffix(preset.not_behind)
    if preset is not None and preset.needs_key and not api_keys:
        raise StartupError(f"Provider {name}: it has no key. Set {preset.key_env}, or give `api_key` in the config.")
    row = preset or Preset(base_url=address, docs="", checked="", title=name)
    try:
        return Provider(
            name=name,
            base_url=filled(address, row, variables or {}, name),
            codec=spoken,
            options={**row.options, **(options or {})},
            rules=[_wire(rule, codecs, name, may_stream=always_streams is None) for rule in row.codec_rules],
            api_keys=api_keys,
            key_header=row.key_header,
            location=location or "remote",
            always_streams=row.always_streams if always_streams is None else always_streams,
            headers={**_all_filled(row.headers, row, variables or {}, name), **(headers or {})},
            query=_all_filled(row.query, row, variables or {}, name),
            signers=_signers(name, row, bool(api_keys), variables or {}, aws, google, environment or {}),
        )
    except msgspec.ValidationError as error:
        raise StartupError(f"Provider {name}: its options are wrong: {error}") from error


def filled(template: str, preset: Preset, given: Mapping[str, str], name: str) -> str:
    """A text of the preset with its gaps filled; the model's stays open. Raises: StartupError."""

    def value(gap: re.Match[str]) -> str:
        variable = preset.variables.get(gap[1])
        if gap[0] == MODEL_GAP:
            return MODEL_GAP
        if variable is None:
            raise StartupError(f"Provider {name}: `{gap[0]}` in its address means nothing.")
        found = given.get(gap[1]) or variable.default
        if found is None:
            where = f"Set {variable.env}, or give" if variable.env else "Give"
            raise StartupError(
                f"Provider {name}: it needs `{gap[1]}` ({variable.means}). {where} `variables: {{{gap[1]}: …}}` in the "
                "config."
            )
        if not _VALUE.fullmatch(found):
            raise StartupError(f"Provider {name}: `{gap[1]}` may hold only letters, digits, and . _ -")
        return found

    return _GAP.sub(value, template)


def _all_filled(templates: Mapping[str, str], preset: Preset, given: Mapping[str, str], name: str) -> dict[str, str]:
    return {key: filled(value, preset, given, name) for key, value in templates.items()}


def _signers(
    name: str,
    row: Preset,
    has_key: bool,
    variables: Mapping[str, str],
    aws: Sequence[AwsAccess],
    google: Sequence[str],
    environment: Mapping[str, str],
) -> list[Signer]:
    # What finds the credentials is imported only now: most gateways have no account there.
    if row.signing == "aws":
        from pluggably.providers.aws_keys import aws_signer

        region = filled("{region}", row, variables, name) if aws or not has_key else ""
        return [
            aws_signer(name, access, region, row.signing_service, environment)
            for access in aws or ([] if has_key else [AwsAccess()])
        ]
    if row.signing == "google":
        from pluggably.providers.google_tokens import google_signer

        files: Sequence[str | None] = google or ([] if has_key else [None])
        return [google_signer(name, credentials, environment) for credentials in files]
    return []


def _wire(rule: CodecRule, codecs: Mapping[str, type[Codec]], name: str, *, may_stream: bool) -> Wire:
    spoken = codecs.get(rule.codec)
    if spoken is None:
        raise StartupError(f"Provider {name}: there is no codec `{rule.codec}`, which some of its models need.")
    return Wire(spoken, rule.options, rule.models, rule.always_streams and may_stream)
