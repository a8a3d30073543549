"""Clouds whose accounts sign calls, or bear tokens that run out: no key of their own is needed."""

from __future__ import annotations

from pluggably.providers.presets.preset import Preset, Variable

CLOUDS: dict[str, Preset] = {
    # docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, …/userguide/endpoints.html and
    # …/userguide/api-keys-use.html (2026-11)
    "bedrock": Preset(
        title="Amazon Bedrock",
        checked="2026-11-23",
        codec="bedrock",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        variables={
            "region": Variable(means="the AWS region whose models are asked, such as `us-east-1`", env="AWS_REGION")
        },
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        price_list="aws",
        # A key of Bedrock's own. AWS_ACCESS_KEY_ID and its like are set on many machines for something else, so they
        # count only where there is an entry.
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        needs_key=False,
        signing="aws",
        # ListFoundationModels is at another host, `bedrock.{region}.amazonaws.com`, and its calls have to be signed.
        models=None,
    ),
}
