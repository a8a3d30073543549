"""The container files, the proxy's and the unit agree with the gateway and with each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluggably.config import Config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text("utf-8"))


def instructions(path: Path, *names: str) -> list[str]:
    """The instructions of a Dockerfile's last stage by these names, each on one line, without comments."""
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    stage = re.split(r"^FROM ", "\n".join(lines).replace("\\\n", " "), flags=re.MULTILINE)[-1]
    return [" ".join(line.split()) for line in stage.splitlines() if line.split(" ")[0] in names]


def test_no_variable_is_set_to_an_empty_text() -> None:
    """A container's variable has its value from outside, or is not there. (`make docs` writes those of presets.)"""
    environment = compose()["services"]["gateway"]["environment"]
    assert "PLUGGABLY_ADMIN_KEY" in environment
    assert set(environment.values()) == {None}


def test_what_can_be_set_is_used() -> None:
    """Every variable of the example stands in a compose file, but for Compose's own."""
    offered = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (DEPLOY / "example.env").read_text("utf-8"), re.MULTILINE))
    used = set(compose()["services"]["gateway"]["environment"])
    for path in (ROOT / "compose.yaml", DEPLOY / "compose.cloud.yaml"):
        used |= set(re.findall(r"\$\{([A-Z0-9_]+)", path.read_text("utf-8")))
    assert {"PLUGGABLY_NAME", "PLUGGABLY_TLS"} <= offered
    assert offered - used == {"COMPOSE_PROFILES"}


def test_a_stop_waits_for_running_answers() -> None:
    """Docker and systemd are more patient than the gateway, and so kill none that would end in order."""
    grace_s = Config().server.shutdown_grace_s
    unit = re.search(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "pluggably.service").read_text("utf-8"), re.MULTILINE)
    stop = re.fullmatch(r"(\d+)s", compose()["services"]["gateway"]["stop_grace_period"])
    assert unit is not None and stop is not None
    assert min(int(unit[1]), int(stop[1])) >= grace_s + 10


def test_nginx_takes_what_the_gateway_takes() -> None:
    """Its limit on a body is the gateway's own."""
    found = re.search(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text("utf-8"))
    assert found is not None
    assert int(found[1]) * 1024 * 1024 == Config().server.max_body_bytes


@pytest.mark.parametrize(
    "name", ["ENTRYPOINT", "CMD", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "WORKDIR", "COPY", "ARG"]
)
def test_the_images_run_alike(name: str) -> None:
    """Both Dockerfiles start the same gateway in the same way; only where llama.cpp comes from differs."""
    processor = instructions(ROOT / "Dockerfile", name)
    assert processor != []
    assert processor == instructions(DEPLOY / "cuda.Dockerfile", name)


def test_the_images_have_the_same_environment() -> None:
    """But for the folder of llama.cpp's program on the PATH."""
    [processor] = instructions(ROOT / "Dockerfile", "ENV")
    [cuda] = instructions(DEPLOY / "cuda.Dockerfile", "ENV")
    assert processor == cuda.replace(":/app:", ":")
