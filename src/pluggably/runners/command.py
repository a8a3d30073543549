"""Any server as a runner, by config alone: a command line, the path that says when it is ready, and a codec.

What surprises: such a model can come only from the config file, never from the API, since a command line is the right
to run anything; and a `{secret}` is better put into `env` than into the command, which everyone on the machine can
read.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct, field

from pluggably.domain.catalog import Description, LocalModel
from pluggably.domain.generation import Modality
from pluggably.errors import InvalidRequest, ModelUnavailable
from pluggably.runners.runner import Launch, Placement

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class CommandOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's `options`.

    In `command`, `env` and `headers` these stand for what they say: `{port}` (one of them must be there), `{secret}`,
    `{weights}`, `{model}`, `{slots}`, `{threads}`, `{context_tokens}`. `ready` is the path whose GET answers 200 when
    the server is ready, `base_path` what the codec's paths come after, `model` the server's own name for the model.
    `always_streams` is for servers that go on computing when the client of a plain answer has gone.
    """

    command: Annotated[list[str], Meta(min_length=1)]
    env: dict[str, str] = {}
    headers: dict[str, str] = field(default_factory=lambda: {"Authorization": "Bearer {secret}"})
    ready: Annotated[str, Meta(pattern="^/")] = "/health"
    ready_timeout_s: Annotated[float, Meta(gt=0)] | None = None
    base_path: Annotated[str, Meta(pattern="^(/.*[^/])?$")] = "/v1"
    codec: str = "openai"
    codec_options: dict[str, Any] = {}
    model: str | None = None
    output_modalities: tuple[Modality, ...] = ("text",)
    always_streams: bool = False

    def __post_init__(self) -> None:
        """Raises: ValueError, which whoever reads a config is told with its place."""
        if not any("{port}" in text for text in (*self.command, *self.env.values())):
            raise ValueError("the command must say where the port goes: put `{port}` into `command` or `env`")
        if any(_CONTROL.search(value) for value in self.headers.values()):
            raise ValueError("a header must have no line break and no other control character in it")


class Command:
    """The runner `command`. The parameter is there for tests: how a program is looked for."""

    Options: ClassVar[type[Struct]] = CommandOptions

    def __init__(self, *, find_program: Callable[[str], str | None] = shutil.which) -> None:
        self._find_program = find_program

    def describe(self, model: LocalModel, options: CommandOptions) -> Description:
        if model.source != "file":
            raise InvalidRequest("A model with a command can only be defined in the config file.")
        asked = [*options.command, *options.env.values()]
        if model.weights is None and any("{weights}" in text for text in asked):
            raise InvalidRequest(
                f"The command of {model.id} wants {{weights}}, and the model has none.", pointer="/weights"
            )
        if self._find_program(options.command[0]) is None:
            raise ModelUnavailable(
                f"The program {Path(options.command[0]).name} of {model.id} is not installed, or not on the PATH."
            )
        return Description(
            bytes=_weights_bytes(model),
            context_tokens=model.context_tokens,
            output_modalities=options.output_modalities,
        )

    def launch(self, model: LocalModel, options: CommandOptions, _: Description, placement: Placement) -> Launch:
        values = {
            "{port}": str(placement.port),
            "{secret}": placement.secret,
            "{weights}": model.weights or "",
            "{model}": model.id,
            "{slots}": str(model.slots),
            "{threads}": str(placement.threads),
            "{context_tokens}": "" if model.context_tokens is None else str(model.context_tokens),
        }

        def filled(text: str) -> str:
            for name, value in values.items():
                text = text.replace(name, value)
            return text

        return Launch(
            command=[filled(text) for text in options.command],
            env={name: filled(text) for name, text in options.env.items()},
            address="chosen",
            ready_path=options.ready,
            base_path=options.base_path,
            model=options.model or model.id,
            codec=options.codec,
            codec_options=options.codec_options,
            headers={name: filled(text) for name, text in options.headers.items()},
            always_streams=options.always_streams,
            start_timeout_s=options.ready_timeout_s,
        )


def _weights_bytes(model: LocalModel) -> int | None:
    """Raises: ModelUnavailable."""
    if model.weights is None:
        return None
    path = Path(model.weights)
    try:
        if path.is_dir():
            return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
        return path.stat().st_size
    except OSError as error:
        raise ModelUnavailable(f"The weights of {model.id} ({path.name}) cannot be read: {error.strerror}.") from error
