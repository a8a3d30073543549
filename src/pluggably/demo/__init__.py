"""The demo model that ships with Pluggably: a tiny GGUF file, trained by the scripts in `training/`."""

from pathlib import Path

DEMO_WEIGHTS: Path = Path(__file__).with_name("demo.gguf")
