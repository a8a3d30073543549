"""The command runner: what it fills in, and what it refuses."""

import msgspec
import pytest

from pluggably.domain.catalog import Description, LocalModel
from pluggably.errors import InvalidRequest, ModelUnavailable
from pluggably.runners.command import Command, CommandOptions
from pluggably.runners.runner import Placement

RUNNER = Command(find_program=lambda name: f"/bin/{name}")
PLACEMENT = Placement(port=4321, secret="s3cret", threads=2, parent_pid=1)


def options_of(**fields):
    return msgspec.convert({"command": ["serve", "--port", "{port}"], **fields}, CommandOptions)


def test_fills_in_everywhere():
    """The command, its environment and the headers get port, secret, weights and sizes; other braces stay."""
    options = options_of(
        command=["serve", "--port={port}", "-m", "{weights}", "--json", '{"n": {slots}, "c": {context_tokens}}'],
        env={"KEY": "{secret}", "NAME": "{model}", "T": "{threads}"},
        headers={"X-Key": "{secret}"},
        ready="/up",
        base_path="/api",
        codec="other",
        ready_timeout_s=9,
        model="inner",
    )
    model = LocalModel(id="m", runner="command", weights="/w/x.bin", slots=3, context_tokens=64)
    launch = RUNNER.launch(model, options, Description(), PLACEMENT)
    assert launch.command == ["serve", "--port=4321", "-m", "/w/x.bin", "--json", '{"n": 3, "c": 64}']
    assert launch.env == {"KEY": "s3cret", "NAME": "m", "T": "2"}
    assert launch.headers == {"X-Key": "s3cret"}
    assert (launch.ready_path, launch.base_path, launch.codec) == ("/up", "/api", "other")
    assert (launch.model, launch.start_timeout_s, launch.guarded) == ("inner", 9, True)


def test_defaults():
    """By default the server speaks OpenAI's wire, is sent the secret as a bearer token, and knows our model's id."""
    launch = RUNNER.launch(LocalModel(id="m", runner="command"), options_of(), Description(), PLACEMENT)
    assert (launch.codec, launch.base_path, launch.ready_path, launch.model) == ("openai", "/v1", "/health", "m")
    assert launch.headers == {"Authorization": "Bearer s3cret"}


def test_only_from_the_config():
    """A model that was registered over the API cannot bring a command."""
    with pytest.raises(InvalidRequest, match="config file"):
        RUNNER.describe(LocalModel(id="m", runner="command", source="api"), options_of())


def test_needs_a_port_and_what_it_names(tmp_path):
    """A command without `{port}`, with weights that are not there, or with no such program is refused."""
    model = LocalModel(id="m", runner="command")
    with pytest.raises(msgspec.ValidationError, match=r"\{port\}"):
        options_of(command=["serve"])
    assert RUNNER.describe(model, options_of(command=["serve"], env={"PORT": "{port}"}))
    with pytest.raises(InvalidRequest, match=r"\{weights\}"):
        RUNNER.describe(model, options_of(command=["serve", "{port}", "{weights}"]))
    with pytest.raises(ModelUnavailable, match="not installed"):
        Command(find_program=lambda name: None).describe(model, options_of())
    missing = LocalModel(id="m", runner="command", weights=str(tmp_path / "none.bin"))
    with pytest.raises(ModelUnavailable, match=r"none\.bin.*No such file") as refused:
        RUNNER.describe(missing, options_of())
    assert str(tmp_path) not in refused.value.detail


def test_measures_weights(tmp_path):
    """The bytes of a file, or of the files of a folder, are told."""
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    for path, size in [(tmp_path, 8), (tmp_path / "a", 5)]:
        model = LocalModel(id="m", runner="command", weights=str(path))
        assert RUNNER.describe(model, options_of()).bytes == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": []},
        {"ready": "health"},
        {"base_path": "v1"},
        {"base_path": "/v1/"},
        {"x": 1},
        {"headers": {"A": "b\nc"}},
    ],
)
def test_options_are_strict(wrong):
    """An empty command, a path that is none, or an unknown option is refused."""
    with pytest.raises(msgspec.ValidationError):
        options_of(**wrong)
