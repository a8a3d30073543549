"""OpenAI's other wire: the Responses API."""
