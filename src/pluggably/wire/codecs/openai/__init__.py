"""OpenAI's wire, Chat Completions and Embeddings, which many other servers speak."""
