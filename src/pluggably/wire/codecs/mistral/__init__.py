"""Mistral's wire, a sister of OpenAI's."""
