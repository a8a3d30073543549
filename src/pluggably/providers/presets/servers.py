"""Servers that run on a machine of your own."""

from __future__ import annotations

from pluggably.providers.presets.preset import ModelList, Preset

SERVERS: dict[str, Preset] = {
    # As of 2026-11, read in tools/server/README.md of github.com/ggml-org/llama.cpp.
    "llama-server": Preset(
        title="llama.cpp server",
        checked="2026-11-22",
        base_url="http://127.0.0.1:8080/v1",
        docs="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        needs_key=False,
        options={
            # "Reasoning support": as DeepSeek's `reasoning_content`, also as input.
            "reasoning_back": "reasoning_content",
            "embedding_encoding": "base64",
            # "For multimodal input": `image_url`, `input_audio`.
            "inputs": ("image", "image_url", "audio"),
            # "/completion-specific features … are also supported": top_k, min_p.
            "lacks": (),
            # `top_logprobs` becomes its own `n_probs`, of which 0 means no log probabilities at all.
            "least_top_logprobs": 1,
        },
        always_streams=True,
    ),
    # As of 2026-11, read at lmstudio.ai/docs/developer/openai-compat/chat-completions, "Supported payload parameters".
    "lm-studio": Preset(
        title="LM Studio",
        checked="2026-11-22",
        base_url="http://127.0.0.1:1234/v1",
        docs="https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        needs_key=False,
        options={
            # Else "'url' field must be a base64 encoded image" (github.com/lmstudio-ai/lmstudio-bug-tracker).
            "inputs": ("image",),
            # Not among the parameters; top_k is. "'response_format.type' must be 'json_schema' or 'text'".
            "lacks": ("min_p", "logprobs", "parallel_tool_calls", "json"),
        },
    ),
    # localai.io/features/text-generation and …/features/interleaved-thinking (2026-11)
    "localai": Preset(
        title="LocalAI",
        checked="2026-11-22",
        base_url="http://127.0.0.1:8080/v1",
        docs="https://localai.io/features/text-generation/",
        needs_key=False,
        options={
            # "LocalAI reads the returned `reasoning` back into the model's context".
            "reasoning_back": "reasoning",
            # …/features/gpt-vision: an image by URL, or as base64.
            "inputs": ("image", "image_url"),
            # "Available additional parameters: `top_p`, `top_k`, `max_tokens`".
            "lacks": ("min_p",),
        },
    ),
    # docs.ollama.com/api/chat, …/api/embed and …/api/tags (2026-11). Its other surface, shaped like OpenAI's, has no
    # top_k, min_p and keep_alive.
    "ollama": Preset(
        title="Ollama",
        checked="2026-11-23",
        codec="ollama",
        base_url="http://127.0.0.1:11434",
        # docs.ollama.com/api/openai-compatibility (2026-11): `http://localhost:11434/v1/`.
        not_behind="/v1",
        docs="https://docs.ollama.com/api/chat",
        needs_key=False,
        models=ModelList(path="/api/tags", form="ollama"),
        always_streams=True,
    ),
    # docs.sglang.ai/basic_usage/openai_api_completions and ChatCompletionRequest in
    # python/sglang/srt/entrypoints/openai/protocol.py of github.com/sgl-project/sglang (2026-11). It looks after
    # clients that are lost while it does not stream, too (…/managers/tokenizer_manager.py).
    "sglang": Preset(
        title="SGLang",
        checked="2026-11-22",
        base_url="http://127.0.0.1:30000/v1",
        docs="https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        needs_key=False,
        options={
            "reasoning_back": "reasoning_content",
            # Parts `image_url` and `audio_url`; the latter is not OpenAI's `input_audio`.
            "inputs": ("image", "image_url"),
            "lacks": (),
        },
    ),
    # docs.vllm.ai/en/latest/serving/openai_compatible_server and …/features/reasoning_outputs (2026-11). It looks after
    # clients that are lost while it does not stream, too (`with_cancellation`, vllm/entrypoints/utils.py).
    "vllm": Preset(
        title="vLLM",
        checked="2026-11-22",
        base_url="http://127.0.0.1:8000/v1",
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        key_env="VLLM_API_KEY",
        needs_key=False,
        options={
            # "`reasoning` used to be called `reasoning_content`".
            "reasoning_back": "reasoning",
            "embedding_encoding": "base64",
            # "We support both Vision- and Audio-related parameters".
            "inputs": ("image", "image_url", "audio"),
            # "vLLM supports some parameters that are not supported by OpenAI": top_k, min_p.
            "lacks": (),
        },
    ),
}
