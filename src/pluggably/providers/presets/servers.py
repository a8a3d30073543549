"""Servers that run on a machine of your own."""

from __future__ import annotations

from pluggably.providers.presets.preset import Preset

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
        },
        always_streams=True,
    ),
    # As of 2026-11, read at docs.ollama.com/api/openai-compatibility.
    "ollama": Preset(
        title="Ollama",
        checked="2026-11-22",
        base_url="http://127.0.0.1:11434/v1",
        docs="https://docs.ollama.com/api/openai-compatibility",
        needs_key=False,
        options={
            "reasoning_back": "reasoning",
            "embedding_encoding": "base64",
            # "Image URL (HTTP/HTTPS)" has no check mark.
            "inputs": ("image",),
            # Neither among the supported fields, and what it does not know it ignores without a word.
            "lacks": ("top_k", "min_p", "tool_choice", "parallel_tool_calls"),
        },
        always_streams=True,
    ),
}
