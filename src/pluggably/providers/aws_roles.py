"""The keys of a role, asked for at AWS's token service: with other keys, or with a token of another identity.

Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html and …_AssumeRoleWithWebIdentity.html,
…/sdkref/latest/guide/feature-assume-role-credentials.html (2026-11).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from pluggably.errors import BackendError
from pluggably.providers.aws_signature import AwsKeys, signed_headers
from pluggably.providers.aws_surroundings import Surroundings, seconds
from pluggably.providers.credentials import FETCH_S, Fetched

ROLE_SESSION = "pluggably"


async def keys_of_role(around: Surroundings, role: str, entry: Mapping[str, str], own: AwsKeys) -> Fetched[AwsKeys]:
    """A role's keys, asked for with others; `entry` is the profile that names the role.

    Raises: BackendAuthenticationFailed, BackendError."""
    form = {"RoleArn": role, "RoleSessionName": entry.get("role_session_name") or ROLE_SESSION}
    if "external_id" in entry:
        form["ExternalId"] = entry["external_id"]
    if entry.get("duration_seconds", "").isdecimal():
        form["DurationSeconds"] = entry["duration_seconds"]
    return await _asked(around, "AssumeRole", form, own)


async def keys_of_web_identity(
    around: Surroundings, role: str, token_file: str, session: str | None
) -> Fetched[AwsKeys]:
    """A role's keys, asked for with the token that the file holds now.

    Raises: BackendAuthenticationFailed, BackendError."""
    try:
        token = (await asyncio.to_thread(Path(token_file).read_text, "utf-8")).strip()
    except (OSError, ValueError):
        raise around.refused(f"the token of the role's web identity cannot be read from {token_file}.") from None
    form = {"RoleArn": role, "RoleSessionName": session or ROLE_SESSION, "WebIdentityToken": token}
    return await _asked(around, "AssumeRoleWithWebIdentity", form, None)


async def _asked(around: Surroundings, action: str, form: Mapping[str, str], keys: AwsKeys | None) -> Fetched[AwsKeys]:
    url = around.endpoint("STS", "sts", around.region) + "/"
    body = urlencode({"Action": action, "Version": "2011-06-15", **form}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    if keys is not None:
        headers |= signed_headers(
            "POST", url, headers, body, keys=keys, region=around.region, service="sts", at=around.at()
        )
    reply = await around.ask("POST", url, headers, body, FETCH_S)
    text = reply.body.decode("utf-8", "replace")
    if reply.status != 200:
        code = _element(text, "Code") or str(reply.status)
        told = f"AWS did not give the keys of {form['RoleArn']}: {code[:80]}."
        if reply.status >= 500 or reply.status == 429:
            raise BackendError(f"{around.name}: {told}", backend_status=reply.status)
        raise around.refused(f"{told} Check the role, its trust policy, and the clock of this machine.")
    keys = AwsKeys(
        _element(text, "AccessKeyId"), _element(text, "SecretAccessKey"), _element(text, "SessionToken") or None
    )
    if not keys.access_key_id or not keys.secret_access_key:
        raise around.refused("AWS's answer to the question for a role's keys has no keys in it.")
    return Fetched(keys, seconds(_element(text, "Expiration")))


def _element(xml: str, name: str) -> str:
    """The text of the first element of this name. What is looked for has no characters that XML escapes."""
    found = re.search(rf"<{name}>([^<]*)</{name}>", xml)
    return found[1].strip() if found else ""
