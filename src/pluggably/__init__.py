"""Pluggably: a self-hosted, pluggable gateway to generative models."""

__version__ = "0.1.0"
