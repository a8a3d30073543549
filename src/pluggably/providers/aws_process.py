"""The keys that another program prints: `credential_process` of a profile.

The program is the operator's own and is started as AWS's tools start it: without a shell, in the environment of the
gateway (but for the gateway's own variables). What surprises: it has nobody to talk to. It reads nothing, has no
terminal, and what it writes beside its answer is thrown away, since it may hold secrets; nothing that it prints is ever
logged. When its time is over it is killed, with all that it started.

Source: docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html (2026-11).
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from contextlib import suppress

import msgspec
from msgspec import Struct

from pluggably.providers.aws_signature import AwsKeys
from pluggably.providers.aws_surroundings import Surroundings, seconds
from pluggably.providers.credentials import Fetched

# Longer than an answer over the network: such programs start slowly, and ask over the network themselves.
PROCESS_S = 20.0
MAX_BYTES = 64 * 1024


async def keys_of_process(
    around: Surroundings, profile: str, command: str, limit_s: float = PROCESS_S
) -> Fetched[AwsKeys]:
    """Raises: BackendAuthenticationFailed."""
    program = f"the `credential_process` of the profile `{profile}`"
    try:
        words = shlex.split(command)
    except ValueError:
        words = []
    if not words:
        raise around.refused(f"{program} is no command: check its quotes.")
    environment = {name: value for name, value in around.environment.items() if not name.startswith("PLUGGABLY_")}
    loop = asyncio.get_running_loop()
    try:
        transport, printed = await loop.subprocess_exec(
            lambda: _Printed(loop),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = (isinstance(error, OSError) and error.strerror) or "it is no command"
        raise around.refused(f"{program} cannot be started: {why}.") from None
    try:
        async with asyncio.timeout(limit_s):
            await printed.ended
        is_whole = printed.is_over
    except TimeoutError:
        raise around.refused(
            f"{program} did not end within {limit_s:g} s. It has nobody to talk to, so it must ask for nothing."
        ) from None
    finally:
        try:
            if not printed.is_over:
                await _kill(transport, printed)
        finally:
            transport.close()
    if is_whole and transport.get_returncode() != 0:
        raise around.refused(f"{program} ended with status {transport.get_returncode()}. Run it yourself to see why.")
    return _keys(around, program, bytes(printed.output))


async def _kill(transport: asyncio.SubprocessTransport, printed: _Printed) -> None:
    """With all of its group: what it has started may hold its output open after it is gone."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await printed.gone


class _Printed(asyncio.SubprocessProtocol):
    """What a program prints, up to a limit; `ended` once it is gone and its output closed, or the limit reached; `gone`
    once it is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.output = bytearray()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.is_over = False

    def pipe_data_received(self, _: int, data: bytes) -> None:
        self.output += data
        if len(self.output) > MAX_BYTES:
            self._end()

    def process_exited(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def connection_lost(self, _: Exception | None) -> None:
        self.is_over = True
        self._end()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class _Answer(Struct):
    version: int = msgspec.field(name="Version")
    access_key: str = msgspec.field(name="AccessKeyId")
    secret_key: str = msgspec.field(name="SecretAccessKey")
    token: str | None = msgspec.field(default=None, name="SessionToken")
    expiration: str | None = msgspec.field(default=None, name="Expiration")


def _keys(around: Surroundings, program: str, output: bytes) -> Fetched[AwsKeys]:
    try:
        told = msgspec.json.decode(output, type=_Answer)
        expires_at = seconds(told.expiration or "")
    except (msgspec.DecodeError, ValueError, RecursionError):
        told = None
    if told is None or len(output) > MAX_BYTES or not told.access_key or not told.secret_key:
        raise around.refused(
            f"{program} did not print keys. It must print a JSON object with Version, AccessKeyId and SecretAccessKey, "
            "and SessionToken and Expiration where they run out."
        )
    if told.version != 1:
        raise around.refused(f"{program} printed version {told.version}; only version 1 is known.")
    # Without a date they are for good, and the program is not asked again.
    return Fetched(AwsKeys(told.access_key, told.secret_key, told.token or None), expires_at)
