"""A provider's address, credentials and wires: what is filled in, what is quoted, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from yarl import URL

from pluggably.domain.catalog import Target
from pluggably.errors import ModelNotFound, StartupError
from pluggably.providers.aws_signature import AwsAccess
from pluggably.providers.build import build_provider
from pluggably.providers.presets import CodecRule, Preset, Variable
from pluggably.providers.provider import Provider, Wire
from pluggably.wire.codecs.openai.codec import OpenAICodec
from pluggably.wire.codecs.openai.options import OpenAIOptions
from pluggably.wire.endpoint import Endpoint

ADDRESS = "https://acme.test/openai/deployments/{model}"


class OtherCodec(OpenAICodec):
    """Another wire, as far as a provider knows."""


CODECS: dict[str, Any] = {"openai": OpenAICodec, "other": OtherCodec}
GAPPED = Preset(
    title="Acme",
    checked="2026-11-22",
    docs="https://acme.test/docs",
    base_url="https://{account}.{zone}.acme.test/v1/{model}",
    key_env="ACME_API_KEY",
    key_header="api-key",
    headers={"X-Version": "2"},
    query={"api-version": "{version}"},
    options={"stop_limit": 4, "inputs": ("image",)},
    variables={
        "account": Variable(means="the account's id", env="ACME_ACCOUNT"),
        "zone": Variable(means="the region", default="eu"),
        "version": Variable(means="the API's version", default="2024-10-21"),
    },
    codec_rules=(
        CodecRule(models=r"pro-\d", codec="other", options={"stop_limit": 1}),
        CodecRule(models=r"pro-", codec="other", options={"stop_limit": 2}),
    ),
)


def endpoint_of(provider: Provider, model: str, credential: int = 0) -> Endpoint:
    return provider.endpoint(Target(backend=provider.name, model=model, location="remote"), credential)


def built(preset: Preset | None = GAPPED, **given: Any) -> Provider:
    return build_provider("acme", preset, CODECS, **{"api_keys": ["k1"], "variables": {"account": "a-1"}, **given})


# ── the model in the address ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "segment"),
    [
        ("gpt-4o", "gpt-4o"),
        ("team/chat", "team%2Fchat"),
        ("x?api-version=1", "x%3Fapi-version=1"),
        ("x#y", "x%23y"),
        ("%2e%2e", "%252e%252e"),
        ("a%2F..", "a%252F.."),
        ("a b\\c", "a%20b%5Cc"),
        ("ü", "%C3%BC"),
    ],
)
def test_a_model_never_leaves_its_part_of_the_address(model: str, segment: str) -> None:
    """Clients name the models. What is sent is what the HTTP client makes of the URL."""
    provider = Provider(name="acme", base_url=ADDRESS, codec=OpenAICodec)
    sent = URL(f"{endpoint_of(provider, model).base_url}/chat/completions?api-version=1")
    assert sent.raw_path == f"/openai/deployments/{segment}/chat/completions"
    assert dict(sent.query) == {"api-version": "1"}
    assert (sent.host, sent.fragment) == ("acme.test", "")


@pytest.mark.parametrize(
    "model", [".", "..", "...", "", "a\nb", "a\x00b", "../../admin", "a/../b", "a\\..", "/a", "a//b"]
)
def test_a_name_that_cannot_stand_in_an_address_is_no_model(model: str) -> None:
    """`..` is a step of the path even when quoted, and a quoted slash is one to some servers."""
    provider = Provider(name="acme", base_url=ADDRESS, codec=OpenAICodec)
    with pytest.raises(ModelNotFound):
        endpoint_of(provider, model)


def test_where_no_address_names_the_model_it_may_have_any_name() -> None:
    """It only stands in the body, as JSON."""
    provider = Provider(name="acme", base_url="https://acme.test/v1", codec=OpenAICodec)
    assert endpoint_of(provider, "../x?y").base_url == "https://acme.test/v1"


# ── credentials and wires ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_goes_into_the_header_that_the_vendor_reads() -> None:
    """As it is, beside the preset's headers and under the operator's; one set of headers a key."""
    provider = built(api_keys=["k1", "k2"], headers={"X-Team": "t", "X-Version": "3"})
    assert provider.credentials == 2
    assert endpoint_of(provider, "m", 1).headers == {"api-key": "k2", "X-Version": "3", "X-Team": "t"}


def test_the_first_rule_that_matches_says_the_codec() -> None:
    """From the start of the vendor's id; all other models are spoken to by the preset's own codec."""
    provider = built()
    assert [
        (endpoint.codec, endpoint.options.stop_limit)
        for endpoint in (endpoint_of(provider, model) for model in ("pro-1", "pro-x", "my-pro-1"))
    ] == [(OtherCodec, 1), (OtherCodec, 2), (OpenAICodec, 4)]


def test_a_rule_without_models_is_for_all() -> None:
    """A rule alone stands in place of the codec."""
    provider = Provider(name="acme", base_url=ADDRESS, codec=OpenAICodec, rules=[Wire(OtherCodec)])
    assert endpoint_of(provider, "m").codec is OtherCodec


# ── the gaps of an address ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_gaps_of_an_address_are_filled() -> None:
    """With what is given, else with the default; also in the query."""
    endpoint = endpoint_of(built(variables={"account": "a-1", "version": "2025-01-01-preview"}), "m")
    assert endpoint.base_url == "https://a-1.eu.acme.test/v1/m"
    assert endpoint.query == "api-version=2025-01-01-preview"


def test_a_gap_that_nothing_fills_is_told_at_the_start() -> None:
    """With the name of the variable, of what it means, and of where it is looked for."""
    with pytest.raises(StartupError, match=r"`account` \(the account's id\)\. Set ACME_ACCOUNT, or give `variables"):
        built(variables={})


@pytest.mark.parametrize("value", ["evil.test/x", "a/b", "a?b", "a#b", "a@b", "..", "-x", "a:1", "ä"])
def test_what_fills_a_gap_stays_in_it(value: str) -> None:
    """The environment is not checked by the config's schema, so it is checked here."""
    with pytest.raises(StartupError, match="may hold only letters"):
        built(variables={"account": value})


def test_an_operators_own_address_may_have_the_presets_gaps() -> None:
    """And one that means nothing is an error."""
    provider = built(base_url="https://{account}.other.test/v1/")
    assert endpoint_of(provider, "m").base_url == "https://a-1.other.test/v1"
    with pytest.raises(StartupError, match=r"`\{acount\}` in its address means nothing"):
        built(base_url="https://{acount}.other.test/v1")


# ── from a preset, or without one ───────────────────────────────────────────────────────────────────────────────────


def test_the_operators_options_stand_over_the_presets() -> None:
    """Key by key."""
    options = endpoint_of(built(options={"stop_limit": 2}), "m").options
    assert (options.stop_limit, options.inputs) == (2, ("image",))


def test_without_a_preset_a_codec_and_an_address_are_enough() -> None:
    """No key is needed then: many servers of one's own have none."""
    provider = built(None, codec="openai", base_url="http://box:1/v1", api_keys=[], location="local")
    endpoint = endpoint_of(provider, "m")
    assert (endpoint.base_url, endpoint.location, dict(endpoint.headers)) == ("http://box:1/v1", "local", {})
    assert endpoint.options == OpenAIOptions()


@pytest.mark.parametrize(
    ("preset", "given", "message"),
    [
        (None, {"codec": "openai"}, "needs a known `preset`"),
        (None, {"codec": "nope", "base_url": "http://x"}, "needs a known `preset`"),
        (GAPPED, {"api_keys": []}, "Set ACME_API_KEY"),
        (GAPPED, {"options": {"stop_limits": 4}}, "options are wrong: .*stop_limits"),
        (
            msgspec.structs.replace(GAPPED, codec_rules=(CodecRule(models="x", codec="nope"),)),
            {},
            "no codec `nope`, which some of its models need",
        ),
    ],
)
def test_what_makes_no_provider_is_an_error_at_the_start(
    preset: Preset | None, given: dict[str, Any], message: str
) -> None:
    """Never at the first request."""
    with pytest.raises(StartupError, match=message):
        built(preset, **given)


SIGNED = Preset(
    title="Cloud",
    checked="2026-11-22",
    docs="https://cloud.test/docs",
    base_url="https://{region}.cloud.test",
    needs_key=False,
    signing="aws",
    variables={"region": Variable(means="the region", env="CLOUD_REGION")},
)


def test_without_a_key_the_usual_credentials_sign() -> None:
    """Those that are found in the environment; a preset that does not sign has no signer."""
    provider = build_provider("cloud", SIGNED, CODECS, variables={"region": "eu"})
    assert provider.credentials == 1
    assert endpoint_of(provider, "m").signer is not None
    assert endpoint_of(provider, "m").headers == {}
    plain = build_provider("acme", GAPPED, CODECS, api_keys=["k"], variables={"account": "a"})
    assert endpoint_of(plain, "m").signer is None


def test_keys_come_before_credentials_that_sign() -> None:
    """Each is a credential of its own; with a key, nothing is looked for that nobody named."""
    provider = build_provider("cloud", SIGNED, CODECS, api_keys=["k"], variables={"region": "eu"})
    assert (provider.credentials, endpoint_of(provider, "m").signer) == (1, None)
    both = build_provider(
        "cloud", SIGNED, CODECS, api_keys=["k"], aws=[AwsAccess(profile="work")], variables={"region": "eu"}
    )
    assert both.credentials == 2
    first, second = endpoint_of(both, "m", 0), endpoint_of(both, "m", 1)
    assert (first.headers, first.signer) == ({"Authorization": "Bearer k"}, None)
    assert second.headers == {}
    assert second.signer is not None


def test_headers_of_the_operator_stand_beside_a_signature() -> None:
    """On every credential."""
    provider = build_provider("cloud", SIGNED, CODECS, headers={"X-Team": "a"}, variables={"region": "eu"})
    assert endpoint_of(provider, "m").headers == {"X-Team": "a"}


def test_a_signature_needs_a_region_also_at_an_address_of_the_operators_own() -> None:
    """It is a part of what is signed."""
    with pytest.raises(StartupError, match="CLOUD_REGION"):
        build_provider("cloud", SIGNED, CODECS, base_url="https://proxy.test")


@pytest.mark.parametrize("address", ["http://box:11434", "http://box:11434/v1", "http://box:11434/v1/"])
def test_what_another_wire_has_behind_the_address_is_taken_off(address: str) -> None:
    """Ollama's address is written with `/v1` wherever its OpenAI-shaped surface is meant."""
    row = Preset(title="B", checked="2026-11-23", docs="", base_url="http://b", not_behind="/v1", needs_key=False)
    assert built(row, base_url=address).base_url == "http://box:11434"
