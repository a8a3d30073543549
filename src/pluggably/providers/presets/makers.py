"""Companies that serve the models they make themselves (OpenAI has a file of its own)."""

from __future__ import annotations

from typing import Any

from pluggably.providers.presets.preset import ModelList, Preset, Variable

# platform.claude.com/docs/en/build-with-claude/thinking and …/effort; …/about-claude/models/overview; "What's new" and
# "Migration guide" of each model; github.com/anthropics/skills, skills/claude-api, "Thinking & Effort" (2026-11). What
# is true of the newest models comes first, so that one which is newer still is asked like them.
ANTHROPIC_MODEL_RULES: tuple[dict[str, Any], ...] = (
    {
        "models": r"claude-",
        "max_tokens": 128_000,
        "thinking": "adaptive",
        "thinks": True,
        # …/build-with-claude/effort, "Effort levels"
        "efforts": ("low", "medium", "high", "xhigh", "max"),
        # …/build-with-claude/preserved-thinking: from Fable 5.1 on.
        "preserved_thinking": True,
    },
    {
        "models": r"claude-(mythos-preview|\w+-4-|(opus|sonnet|fable|mythos)-5(?!-\d(?!\d)|\d))",
        "preserved_thinking": False,
    },
    # "Non-default values: 400", from Opus 4.7 on.
    {"models": r"claude-(?!(opus|sonnet|haiku)-4-[56](?!\d))", "lacks": ("temperature", "top_p", "top_k")},
    # …/api/errors, "Prefill not supported": from 4.6 on.
    {"models": r"claude-(?!(opus|sonnet|haiku)-4-5(?!\d))", "lacks": ("prefill",)},
    # "Setting both returns a 400 error".
    {"models": r"claude-(opus|sonnet|haiku)-4-[56](?!\d)", "one_of_sampling": True},
    {"models": r"claude-(opus|sonnet|haiku)-4-5(?!\d)", "max_tokens": 64_000, "thinking": "budget"},
    # "Runs without thinking": where the field is left out.
    {"models": r"claude-(opus|sonnet|haiku)-4-[5-8](?!\d)", "thinks": False},
    # "`xhigh` arrived with Opus 4.7".
    {"models": r"claude-(opus|sonnet)-4-6(?!\d)", "efforts": ("low", "medium", "high", "max")},
    # "Thinking can't be disabled".
    {"models": r"claude-(fable-|mythos-|opus-5-5(?!\d))", "thinking_off": "never"},
    {"models": r"claude-sonnet-5-5(?!\d)", "thinking_off": "between_tools"},
    # "Forced tool use is not supported".
    {"models": r"claude-((fable|mythos)-5-\d|(opus|sonnet)-5-5)(?!\d)", "lacks": ("tool_choice",)},
    # …/build-with-claude/mid-conversation-system-messages
    {
        "models": r"claude-(opus-4-8|opus-5|(fable|mythos)-5|(sonnet|haiku)-5-5)(?!\d)",
        "system_messages": True,
    },
)

MAKERS: dict[str, Preset] = {
    # platform.claude.com/docs/en/api/messages/create, …/api/versioning and …/api/models-list (2026-11)
    "anthropic": Preset(
        title="Anthropic (Claude)",
        checked="2026-11-23",
        base_url="https://api.anthropic.com/v1",
        docs="https://platform.claude.com/docs/en/api/messages/create",
        codec="anthropic",
        price_list="anthropic",
        key_env="ANTHROPIC_API_KEY",
        key_header="x-api-key",
        # The version of 2026-10-21 adds nothing, and refuses more: `temperature`, `top_p` and `top_k` even at their
        # defaults and for all models, documents in messages of the assistant, and `citations` on a user's text
        # (…/api/migration-2026-10-21). Of these the codec only sends the first, unless `lacks` says otherwise.
        headers={"anthropic-version": "2023-06-01"},
        models=ModelList(path="/models?limit=1000", form="anthropic"),
        # …/api/errors, "Long requests": whatever may take ten minutes is to be streamed, since networks drop a
        # connection on which nothing moves.
        always_streams=True,
        options={
            # "The default depends on the model"; newer ones leave it out.
            "thinking_display": "summarized",
            "model_rules": ANTHROPIC_MODEL_RULES,
        },
    ),
    # docs.cohere.com/reference/chat and the types of cohere 7.3.1 (2026-11)
    "cohere": Preset(
        title="Cohere",
        checked="2026-11-23",
        codec="cohere",
        base_url="https://api.cohere.com",
        docs="https://docs.cohere.com/reference/chat",
        price_list="cohere",
        # "CO_API_KEY is preferred (and documented)": client.py of cohere 7.3.1.
        key_env="CO_API_KEY",
        # …/reference/list-models: 20 a page unless asked for more, 1,000 at most.
        models=ModelList(path="/v1/models?page_size=1000", form="cohere"),
        # …/docs/rate-limits: trial keys, "free but limited in usage".
        free_tier=True,
        options={
            "model_rules": (
                # …/docs/reasoning and …/docs/models: these do not reason.
                {"models": r"command-(r|a-(03|translate|vision))|c4ai-|tiny-aya", "lacks": ("reasoning",)},
                # `tool_choice`: "only compatible with models Command-r7b and newer".
                {"models": r"command-r(-plus)?($|-\d\d-2024)", "lacks": ("tool_choice",)},
            ),
        },
    ),
    # api-docs.deepseek.com/api/create-chat-completion and …/guides/thinking_mode (2026-11)
    "deepseek": Preset(
        title="DeepSeek",
        checked="2026-11-30",
        base_url="https://api.deepseek.com",
        docs="https://api-docs.deepseek.com/api/create-chat-completion",
        price_list="deepseek",
        key_env="DEEPSEEK_API_KEY",
        options={
            # "Thinking mode is enabled by default"; all efforts are mapped to low, high and max, and this turns it off.
            "efforts": (),
            "effort_none": {"thinking": {"type": "disabled"}},
            # After a call of a tool, the reasoning "must be passed back", or the answer is a 400, also where there was
            # none (github.com/deepseek-ai/deepseek-harness/discussions/739); elsewhere it is ignored.
            "reasoning_back": "reasoning_content",
            "reasoning_filler": "",
            # "Up to 16 sequences": `stop`.
            "stop_limit": 16,
            # …/guides/vision: images by URL or as a `data:` URL, for `deepseek-flash`.
            "inputs": ("image", "image_url"),
            # Not among the parameters. `response_format`: text or json_object.
            "lacks": ("top_k", "min_p", "seed", "parallel_tool_calls", "json_schema", "embeddings"),
            # "Thinking mode does not support the temperature, presence_penalty, or frequency_penalty parameters", and
            # ignores them; that it refuses logprobs stood there until 2026-03. To a call that is demanded it says
            # "Thinking mode does not support this tool_choice" (github.com/deepseek-ai/DeepSeek-V3/issues/1376,
            # github.com/mozilla-ai/any-llm/pull/1386; 2026-09).
            "model_rules": (
                {
                    "models": r"",
                    "lacks": ("temperature", "presence_penalty", "frequency_penalty", "logprobs", "tool_choice"),
                    "unless_effort": ("none",),
                    "default_effort": "high",
                },
            ),
        },
    ),
    # docs.mistral.ai/api/endpoint/chat and the types of mistralai 3.7.0 (2026-11)
    "mistral": Preset(
        title="Mistral AI",
        checked="2026-11-23",
        codec="mistral",
        base_url="https://api.mistral.ai/v1",
        docs="https://docs.mistral.ai/api/endpoint/chat",
        price_list="mistral",
        key_env="MISTRAL_API_KEY",
        # docs.mistral.ai/deployment/ai-studio/tier: the Experiment plan.
        free_tier=True,
        options={
            # …/capabilities/reasoning: `high` and `none`. Another is a 400, which names the two
            # (github.com/withceleste/celeste-python/pull/311, 2026-07).
            "efforts": ("none", "high"),
            "model_rules": (
                # …/models/overview: these do not reason. Any effort is a 4xx (…/NousResearch/hermes-agent/issues/11243,
                # 2026-04; …/tontinton/maki/pull/396, 2026-06).
                {
                    "models": r"(mistral-(large|nemo|tiny|code)|codestral|devstral|ministral|pixtral|voxtral|open-)",
                    "lacks": ("reasoning",),
                },
                # Z.ai's models, passed on as they are: …/anomalyco/models.dev/pull/7334 and
                # …/mistralai/mistral-vibe/issues/1117 (2026-09).
                {"models": r"zai-glm-(5-3|latest)", "efforts": ("low", "high", "max")},
                {"models": r"zai-glm-5-2", "efforts": ("none", "high", "max")},
            ),
        },
    ),
    # platform.kimi.ai/docs/api/chat (2026-11), with its OpenAPI document, and …/docs/api/models-overview
    "moonshot": Preset(
        title="Moonshot AI (Kimi)",
        checked="2026-11-22",
        # …/docs/api/errors: "Keys from the two platforms are completely independent and cannot be mixed."
        base_url="https://api.moonshot.{platform}/v1",
        variables={
            "platform": Variable(
                means="`ai` for a key of platform.kimi.ai, `cn` for one of platform.kimi.com", default="ai"
            )
        },
        docs="https://platform.kimi.ai/docs/api/chat",
        price_list="moonshotai",
        key_env="MOONSHOT_API_KEY",
        options={
            # "Deprecated, please refer to max_completion_tokens": `max_tokens`.
            "max_tokens_field": "max_completion_tokens",
            # "A maximum of 5 strings is allowed".
            "stop_limit": 5,
            # …/docs/guide/kimi-k2-6-quickstart: in a loop of tool calls it must be kept in the context. Where there was
            # none: "thinking is enabled but reasoning_content is missing in assistant tool call message", which "" does
            # not help, and " " does (github.com/theopenco/llmgateway/pull/2093, github.com/earendil-works/pi/pull/4178;
            # 2026-05).
            "reasoning_back": "reasoning_content",
            "reasoning_filler": " ",
            # "Image content specified via base64 encoding or file id".
            "inputs": ("image",),
            # None of them is in the OpenAPI document. …/docs/guide/migrating-from-openai-to-kimi lists what there is
            # beside chats: files.
            "lacks": ("top_k", "min_p", "seed", "parallel_tool_calls", "embeddings"),
            "model_rules": (
                # "Cannot be modified".
                {"models": r"kimi-", "lacks": ("temperature", "top_p", "presence_penalty", "frequency_penalty")},
                # `thinking`: {"type": "enabled"} or {"type": "disabled"}; enabled, "`tool_choice` can only be set to
                # "auto" or "none"" (quickstart).
                {"models": r"kimi-k2\.[56]", "effort_field": "thinking"},
                {"models": r"kimi-k2\.[56]", "lacks": ("tool_choice",), "unless_effort": ("none",)},
                # "`thinking` is always `enabled`".
                {"models": r"kimi-k2\.7", "lacks": ("reasoning", "tool_choice")},
                # …/docs/guide/use-thinking-effort: it always thinks, with these.
                {"models": r"kimi-k3", "efforts": ("low", "high", "max")},
                {"models": r"moonshot-v1", "lacks": ("reasoning",)},
            ),
            # …/docs/api/errors
            "error_codes": {
                "exceeded_current_quota_error": "quota",
                "invalid_authentication_error": "credential",
                "incorrect_api_key_error": "credential",
                "permission_denied_error": "credential",
                # "Not found the model … or Permission denied".
                "resource_not_found_error": "model",
            },
        },
    ),
    # docs.perplexity.ai/docs/agent-api/openai-compatibility, …/docs/agent-api/migrate-from-sonar/how-to, the types of
    # perplexityai 0.46.1, and github.com/vercel/ai, packages/perplexity, with what the Agent API really sent (2026-11).
    # The Sonar API, shaped like Chat Completions, ended on 2026-09-27 (github.com/vercel/ai/releases/tag/
    # @ai-sdk%2Fperplexity@3.1.0): "Sonar is now the Agent API".
    "perplexity": Preset(
        title="Perplexity",
        checked="2026-11-30",
        codec="openai_responses",
        base_url="https://api.perplexity.ai/v1",
        docs="https://docs.perplexity.ai/docs/agent-api/openai-compatibility",
        key_env="PERPLEXITY_API_KEY",
        options={
            # `input` is of these, each with its type.
            "plain_input": True,
            # `search_web` begins as a call, and ends as an item `search_results`.
            "calls_when_whole": True,
            # `response_format`: json_schema. There is no `text`.
            "format_field": "response_format",
            # Nor `include`.
            "encrypted_reasoning": False,
            # `reasoning.effort` is one of these.
            "efforts": ("minimal", "low", "medium", "high", "xhigh"),
            # `input_image`.
            "inputs": ("image", "image_url"),
            # Not among the parameters.
            "lacks": ("temperature", "top_p", "logprobs", "parallel_tool_calls", "tool_choice", "json"),
        },
    ),
    # As of 2026-11, read at alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions,
    # help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope and …/qwen-function-calling
    "qwen": Preset(
        title="Alibaba Model Studio (Qwen)",
        checked="2026-11-22",
        # "API keys differ by region".
        base_url="https://{host}/compatible-mode/v1",
        variables={
            "host": Variable(
                means="the key's region: `dashscope-intl.aliyuncs.com` for Singapore, `dashscope-us.aliyuncs.com` for "
                "Virginia, `dashscope.aliyuncs.com` for Beijing, `cn-hongkong.dashscope.aliyuncs.com` for Hong Kong",
                default="dashscope-intl.aliyuncs.com",
            )
        },
        docs="https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-openai-chat-completions",
        key_env="DASHSCOPE_API_KEY",
        options={
            # …/deep-thinking: on and off. From Qwen3.8 on there are levels.
            "effort_field": "enable_thinking",
            # "The thinking content, reply and tool calls of the previous assistant message" belong in the history.
            "reasoning_back": "reasoning_content",
            # …/embedding-interfaces-compatible-with-openai, "Batch size", of text-embedding-v4 and -v3.
            "texts_per_call": 10,
            "inputs": ("image", "image_url"),
            # Not among the parameters; `required` "is not supported by the Qwen series".
            "lacks": ("min_p", "frequency_penalty", "required_tool"),
            "model_rules": (
                {"models": r"qwen3\.[89]", "effort_field": "reasoning_effort"},
                # "The tool_choice parameter does not support being set to required or object in thinking mode"
                # (…/qwen-function-calling; github.com/cloudwego/eino/issues/994, 2026-04). Most think when told to, …
                {"models": r"", "lacks": ("tool_choice",), "unless_effort": ("none",), "default_effort": "none"},
                # … these unless told not to: …/deep-thinking.
                {
                    "models": r"qwen3\.[5-9]|qwen3-[\da-z.]*\db(?!.*instruct)|qwq|qvq|.*-thinking",
                    "lacks": ("tool_choice",),
                    "unless_effort": ("none",),
                    "default_effort": "high",
                },
            ),
            # …/model-studio/error-code
            "error_codes": {
                "data_inspection_failed": "filtered",
                "datainspectionfailed": "filtered",
                "arrearage": "quota",
                "commoditynotpurchased": "quota",
                "prepaidbilloverdue": "quota",
                "postpaidbilloverdue": "quota",
                "budgetlimitexceeded": "quota",
                # Its quota is that of tokens a minute, so this is no lack of credit as at OpenAI.
                "insufficient_quota": "rate",
                "throttling.allocationquota": "rate",
            },
        },
        # "parameter.enable_thinking must be set to false for non-streaming calls" (…/error-code): open models that
        # think, and QwQ, answer only in streams.
        always_streams=True,
    ),
    # docs.x.ai/developers/rest-api-reference/inference/chat and …/model-capabilities/text/reasoning (2026-11)
    "xai": Preset(
        title="xAI",
        checked="2026-11-22",
        base_url="https://api.x.ai/v1",
        docs="https://docs.x.ai/developers/rest-api-reference/inference/chat",
        price_list="x-ai",
        key_env="XAI_API_KEY",
        models=ModelList(path="/language-models", form="xai"),
        options={
            # `max_tokens` is its older name.
            "max_tokens_field": "max_completion_tokens",
            # …/model-capabilities/images/understanding: by URL or as base64.
            "inputs": ("image", "image_url"),
            "efforts": ("none", "low", "medium", "high"),
            "lacks": ("top_k", "min_p", "embeddings"),
            "model_rules": (
                # "presencePenalty, frequencyPenalty, and stop cannot be used with reasoning models. Requests that
                # include them return an error."
                {"models": r"(?!.*non-reasoning)", "lacks": ("presence_penalty", "frequency_penalty", "stop")},
                # "reasoning_effort is not supported by grok-4.20 or grok-4-1-fast. Specifying reasoning_effort on these
                # models will return an error", nor by those before.
                {
                    "models": r"grok-(2|3(?!-mini)|4($|-)|4\.20(?!-multi-agent)|code)",
                    "lacks": ("reasoning",),
                },
                # low, medium and high; "reasoning cannot be disabled".
                {"models": r"grok-4\.[5-9](?!\d)", "efforts": ("low", "medium", "high")},
                # `xhigh` came with Grok 4.6.
                {"models": r"grok-4\.[6-9](?!\d)", "efforts": ("low", "medium", "high", "xhigh")},
            ),
        },
    ),
    # docs.z.ai/api-reference/llm/chat-completion (2026-11). What it does not name it refuses, with the code 1210.
    "zai": Preset(
        title="Z.ai (GLM)",
        checked="2026-11-22",
        base_url="https://api.z.ai/api/paas/v4",
        docs="https://docs.z.ai/api-reference/llm/chat-completion",
        price_list="zai",
        key_env="ZAI_API_KEY",
        options={
            # …/guides/capabilities/thinking-mode
            "effort_field": "thinking",
            "reasoning_back": "reasoning_content",
            # Not named; the last chunk tells the usage unasked.
            "stream_options": False,
            # docs.bigmodel.cn/api-reference, "Chat completion": `maxItems: 4`.
            "stop_limit": 4,
            "inputs": ("image", "image_url"),
            # `tool_choice`: only `auto`. `response_format`: `text` and `json_object`.
            "lacks": (
                "top_k",
                "min_p",
                "seed",
                "presence_penalty",
                "frequency_penalty",
                "logprobs",
                "parallel_tool_calls",
                "tool_choice",
                "json_schema",
            ),
            "model_rules": (
                # `reasoning_effort`: GLM-5.2 takes all; GLM-5.3 low, high and max, and cannot be turned off.
                {
                    "models": r"glm-5\.2",
                    "effort_field": "reasoning_effort",
                    "efforts": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
                },
                {"models": r"glm-5\.3", "effort_field": "reasoning_effort", "efforts": ("low", "high", "max")},
                {"models": r"glm-4-", "lacks": ("reasoning",)},
            ),
            # …/api-reference/api-code; those about the account come with a status of 429.
            "error_codes": {
                "1110": "credential",
                "1111": "credential",
                "1112": "credential",
                "1113": "quota",
                "1121": "credential",
                "1211": "model",
                "1261": "context",
                "1301": "filtered",
            },
        },
    ),
}
