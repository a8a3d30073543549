"""Clouds whose accounts sign calls, or bear tokens that run out: no key of their own is needed."""

from __future__ import annotations

from typing import Any

from pluggably.providers.presets.google import GEMINI_MODEL_RULES
from pluggably.providers.presets.makers import ANTHROPIC_MODEL_RULES
from pluggably.providers.presets.preset import CodecRule, ModelList, Preset, Variable

_VERTEX = {
    "project": Variable(means="the id of the Google Cloud project", env="GOOGLE_CLOUD_PROJECT"),
    "location": Variable(means="the region whose models are asked", default="global"),
    # Of a region: its name, a hyphen, and this.
    "host": Variable(means="the server of that region", default="aiplatform.googleapis.com"),
}

_CLAUDE: dict[str, Any] = {
    "path": "publishers/anthropic/models/{model}:rawPredict",
    "stream_path": "publishers/anthropic/models/{model}:streamRawPredict",
    # platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai: it "must be set" to this. anthropic 2.12 sends
    # the version of its own API.
    "extra_body": {"anthropic_version": "vertex-2023-10-16"},
    # Only the Claude API itself is documented to fetch what a URL leads to.
    "inputs": ("image", "file"),
}
# Google retires models later than Anthropic does: Opus 4.1 was still there in 2026-08, says
# github.com/promptfoo/promptfoo/pull/10484. From platform.claude.com/docs/en/about-claude/models/overview, "Max output"
# and "Extended thinking", as it stood when Anthropic had these models, too.
_CLAUDE_BEFORE_4_5: tuple[dict[str, Any], ...] = (
    {"models": r"claude-3-", "max_tokens": 4096},
    {"models": r"claude-3-5-", "max_tokens": 8192},
    {"models": r"claude-3-(?!7)", "lacks": ("reasoning",)},
    {"models": r"claude-(3-7-|sonnet-4)", "max_tokens": 64_000},
    {"models": r"claude-opus-4", "max_tokens": 32_000},
    # "temperature and top_p cannot both be specified for this model".
    {"models": r"claude-opus-4-1", "one_of_sampling": True},
    # …/build-with-claude/structured-outputs: from Opus 4.1 on.
    {"models": r"claude-(?!opus-4-1)", "lacks": ("json_schema",)},
)

# Claude at Bedrock is as at its maker's, but that older models are still there, with a date behind 4.
_OLDER_CLAUDE = r"claude-(v\d|instant|[23]|(opus|sonnet)-4-(1|20\d\d))"
BEDROCK_MODEL_RULES: tuple[dict[str, Any], ...] = (
    *({**rule, "models": f"(?!{_OLDER_CLAUDE})(?:{rule['models']})"} for rule in ANTHROPIC_MODEL_RULES),
    # docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-call.html: {"top_k": 200} (2026-11)
    {"models": r"claude-", "effort_field": "thinking", "reasoning_back": "anthropic", "top_k": ("top_k",)},
    # platform.claude.com/docs/en/build-with-claude/citations: "all active models" but Haiku 3.
    {"models": r"claude-(?!v\d|instant|2|3-(haiku|opus|sonnet))", "pdf_citations": True},
    # …/about-claude/models/migration-guide: 3.7 was the first that thinks; "use only temperature or top_p" from 4.1 on.
    {"models": r"claude-(v\d|instant|2|3-(?!7))", "lacks": ("reasoning",)},
    {"models": r"claude-(3-7|sonnet-4-20\d\d)", "max_tokens": 64_000},
    {"models": r"claude-opus-4-(1|20\d\d)", "max_tokens": 32_000},
    {"models": r"claude-opus-4-1(?!\d)", "one_of_sampling": True},
    # What these names lead to is not to be seen; only Claude signs its reasoning, and it is most likely the one that
    # wrote it.
    {"models": r":(application-inference-profile|provisioned-model)/", "reasoning_back": "anthropic"},
    # docs.aws.amazon.com/nova/latest/userguide/using-converse-api.html: {"inferenceConfig": {"topK": 20}} (2026-11)
    {"models": r"amazon\.nova", "top_k": ("inferenceConfig", "topK")},
    # docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html (2026-11): "disabled by default".
    {"models": r"amazon\.nova-2", "effort_field": "reasoningConfig", "efforts": ("none", "low", "medium", "high")},
    # github.com/camunda/connectors/issues/8272 (2026-08); the others refuse this field, take the Responses API's, and
    # hand back encrypted reasoning: github.com/anomalyco/opencode/pull/48195 (2026-09, tried there).
    {"models": r"openai\.gpt-oss", "effort_field": "reasoning_effort", "efforts": ("low", "medium", "high")},
    {
        "models": r"openai\.gpt-(?!oss)",
        "effort_field": "reasoning",
        "efforts": ("none", "low", "medium", "high", "xhigh", "max"),
        "reasoning_back": "openai",
    },
    {"models": r"openai\.gpt-6-astra", "efforts": ("low", "medium", "high", "xhigh", "max")},
)

_AWS_REGION = Variable(means="the AWS region whose models are asked, such as `us-east-1`", env="AWS_REGION")

CLOUDS: dict[str, Preset] = {
    # docs.aws.amazon.com/claude-platform/latest/userguide/making-requests.html (2026-11); what is sent and how it is
    # signed is also in anthropic's own package (2.12.0), lib/aws.
    "anthropic-aws": Preset(
        title="Claude Platform on AWS",
        checked="2026-11-30",
        codec="anthropic",
        base_url="https://aws-external-anthropic.{region}.api.aws/v1",
        variables={
            "region": _AWS_REGION,
            "workspace": Variable(
                means="the id of the workspace, such as `wrkspc_01AbCdEf`", env="ANTHROPIC_AWS_WORKSPACE_ID"
            ),
        },
        docs="https://docs.aws.amazon.com/claude-platform/latest/userguide/making-requests.html",
        price_list="anthropic",
        # …/authentication.html: "present your API key as a bearer token". AWS_ACCESS_KEY_ID and its like count only
        # where there is an entry.
        key_env="ANTHROPIC_AWS_API_KEY",
        needs_key=False,
        signing="aws",
        signing_service="aws-external-anthropic",
        headers={"anthropic-version": "2023-06-01", "anthropic-workspace-id": "{workspace}"},
        models=ModelList(path="/models?limit=1000", form="anthropic"),
        # As at `anthropic`: the same API.
        always_streams=True,
        options={"thinking_display": "summarized", "model_rules": ANTHROPIC_MODEL_RULES},
    ),
    # docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, …/userguide/endpoints.html and
    # …/userguide/api-keys-use.html (2026-11)
    "bedrock": Preset(
        title="Amazon Bedrock",
        checked="2026-11-23",
        codec="bedrock",
        base_url="https://bedrock-runtime.{region}.amazonaws.com",
        variables={"region": _AWS_REGION},
        docs="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
        price_list="aws",
        # A key of Bedrock's own. AWS_ACCESS_KEY_ID and its like are set on many machines for something else, so they
        # count only where there is an entry.
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        needs_key=False,
        signing="aws",
        # docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html and
        # …_ListInferenceProfiles.html; a key of Bedrock's own is good for both: …/userguide/api-keys.html (2026-11)
        models=ModelList(
            server="https://bedrock.{region}.amazonaws.com",
            path="/foundation-models",
            form="bedrock",
            also=(
                ModelList(
                    server="https://bedrock.{region}.amazonaws.com",
                    path="/inference-profiles?maxResults=1000&type=SYSTEM_DEFINED",
                    form="bedrock-profiles",
                ),
            ),
        ),
        # As at Claude's maker.
        options={"thinking_display": "summarized", "model_rules": BEDROCK_MODEL_RULES},
    ),
    # platform.claude.com/docs/en/build-with-claude/claude-in-amazon-bedrock (2026-11); what is sent and how it is
    # signed is also in anthropic's own package (2.12.0), lib/bedrock/_mantle.py.
    "bedrock-claude": Preset(
        title="Amazon Bedrock, by Claude's wire",
        checked="2026-11-30",
        codec="anthropic",
        base_url="https://bedrock-mantle.{region}.api.aws/anthropic/v1",
        variables={"region": _AWS_REGION},
        docs="https://platform.claude.com/docs/en/build-with-claude/claude-in-amazon-bedrock",
        price_list="aws",
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        needs_key=False,
        # The same key is that of `bedrock`.
        needs_entry=True,
        signing="aws",
        signing_service="bedrock-mantle",
        headers={"anthropic-version": "2023-06-01"},
        models=None,
        options={
            # Only the Claude API itself is documented to fetch what a URL leads to.
            "inputs": ("image", "file"),
            "thinking_display": "summarized",
            # Its ids have the maker before them and nothing behind.
            "model_rules": tuple(
                {**rule, "models": rf"anthropic\.(?:{rule['models']})"} for rule in ANTHROPIC_MODEL_RULES
            ),
        },
    ),
    # docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference and …/docs/partner-models/claude/
    # use-claude (2026-11); what is sent for Claude is also in anthropic's own package, lib/vertex.
    "vertex": Preset(
        title="Google Vertex AI",
        checked="2026-11-23",
        codec="gemini",
        base_url="https://{host}/v1/projects/{project}/locations/{location}",
        variables=_VERTEX,
        docs="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference",
        # Only access tokens, which run out after an hour; Google's variables are set on many machines for something
        # else.
        needs_key=False,
        needs_entry=True,
        signing="google",
        price_list="google",
        # docs.cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/publishers.models (2026-11): at the root of the
        # server, and in this version of the API only.
        models=ModelList(
            path="../../../../../v1beta1/publishers/google/models?pageSize=100",
            form="vertex",
            also=(ModelList(path="../../../../../v1beta1/publishers/anthropic/models?pageSize=100", form="vertex"),),
        ),
        options={
            "resource": "publishers/google/models/{model}",
            # Tuned models are deployed to endpoints.
            "collections": ("endpoints",),
            # By other operations, with bodies of their own.
            "lacks": ("embeddings",),
            # "mimeType … Required": …/docs/model-reference/inference, FileData; else "it has an empty mimeType
            # parameter in fileData", says the 400.
            "typed_urls": True,
            "model_rules": GEMINI_MODEL_RULES,
        },
        codec_rules=(
            # As at Anthropic, which says why.
            CodecRule(
                models=r"claude-(3-|(opus|sonnet)-4(-1)?(@|$))",
                codec="anthropic",
                always_streams=True,
                options={**_CLAUDE, "model_rules": _CLAUDE_BEFORE_4_5},
            ),
            CodecRule(
                models=r"claude-",
                codec="anthropic",
                always_streams=True,
                options={**_CLAUDE, "thinking_display": "summarized", "model_rules": ANTHROPIC_MODEL_RULES},
            ),
            # …/docs/embeddings/get-text-embeddings (2026-11): "each request can only include a single input text".
            CodecRule(models=r"gemini-embedding-001", codec="vertex_embeddings", options={"texts_per_call": 1}),
            # …/gemini-enterprise-agent-platform/models/gemini/embedding-2 (2026-11)
            CodecRule(models=r"gemini-embedding-", codec="vertex_embeddings", options={"method": "embedContent"}),
            CodecRule(models=r"text(-multilingual)?-embedding-|textembedding-gecko", codec="vertex_embeddings"),
        ),
    ),
    # docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/call-vertex-using-openai-library and
    # …/docs/authentication (2026-11)
    "vertex-openai": Preset(
        title="Google Vertex AI, by OpenAI's wire",
        checked="2026-11-23",
        base_url="https://{host}/v1/projects/{project}/locations/{location}/endpoints/openapi",
        variables=_VERTEX,
        docs="https://docs.cloud.google.com/vertex-ai/generative-ai/docs/multimodal/call-vertex-using-openai-library",
        needs_key=False,
        needs_entry=True,
        signing="google",
        price_list="google",
        models=None,
        options={
            # "Supported parameters" names neither of these.
            "lacks": ("top_k", "min_p", "embeddings"),
            # ai.google.dev/gemini-api/docs/thought-signatures, "FAQs" and "OpenAI compatibility" (2026-11): Gemini 3
            # refuses a conversation whose calls have no signature, but for this one, "for functions that were not
            # generated by the API".
            "foreign_calls": {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
        },
    ),
}
