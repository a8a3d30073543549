"""Cohere's wire: the second version of its API."""
