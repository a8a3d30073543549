"""Hugging Face's wire: OpenAI's with the router's differences, and feature extraction."""
