"""Bedrock through the gateway, signed: with keys, with a role, and with a key of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from e2e.harness import Client, Gateway, eventually, start_gateway
from e2e.protocol import Json
from pluggably.testing.fake_bedrock import FakeBedrock, Recorded, running_fake_bedrock

WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ARN = "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/echo"


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeBedrock]:
    with running_fake_bedrock() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(fake: FakeBedrock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with keys of the config, a profile's role, the machine's role, and a key of Bedrock's own."""
    folder = tmp_path_factory.mktemp("gateway")
    profile = folder / "aws-config"
    profile.write_text(
        "[profile base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = base\n"
        "[profile role]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\n"
    )
    address = {"preset": "bedrock", "base_url": fake.base_url, "variables": {"region": "eu-west-1"}}
    keys = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "${AWS_SECRET}"}
    config = {
        "providers": {
            "bedrock": {**address, "aws": [keys]},
            "role": {**address, "aws": [{"profile": "role"}]},
            "machine": address,
            "key": {**address, "api_key": "bedrock-api-key-x"},
            "lost": {**address, "aws": [{"profile": "nobody"}]},
            "two": {**address, "aws": [{"profile": "nobody"}, keys]},
        },
        "demo": False,
    }
    unset = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN"), "")
    variables = {
        **unset,
        "AWS_SECRET": "secret",
        "AWS_CONFIG_FILE": str(profile),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_ENDPOINT_URL_STS": fake.base_url,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": fake.base_url,
    }
    with start_gateway(folder, config, **variables) as running:
        yield running


@pytest.fixture
def client(gateway: Gateway) -> Client:
    return gateway.client


def signed_by_the_vendor(fake: FakeBedrock, request: Recorded, keys: Credentials) -> str:
    """The signature that AWS's own library makes of what arrived, byte for byte."""
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    headers = {name: request.headers[name] for name in names}
    again = AWSRequest("POST", fake.base_url + request.raw_path, headers, request.body)
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(keys, "bedrock", "eu-west-1")
    return str(signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again))


@pytest.mark.parametrize(
    ("provider", "keys"),
    [
        ("bedrock", Credentials("AKIDEXAMPLE", "secret")),
        ("role", Credentials("ASIAFAKE", "fake/secret", "fake")),
        ("machine", Credentials("ASIAFAKE", "fake/secret", "fake-session")),
    ],
)
@pytest.mark.parametrize("model", ["echo", ARN])
def test_what_arrives_is_signed_as_the_vendor_signs(
    client: Client, fake: FakeBedrock, provider: str, keys: Credentials, model: str
) -> None:
    """Whatever the credentials come from, and however a model's name is quoted on its way."""
    generation = client.answer(f"{provider}/{model}", "Hällo there")
    assert generation["output"][0]["text"] == "Hällo there"
    request = fake.asked("/converse")[-1]
    authorization = request.headers["authorization"]
    signer = authorization.partition("Credential=")[2].partition("/")[0]
    assert signer.startswith(keys.access_key)  # the fake numbers those that it gives out
    keys = Credentials(signer, keys.secret_key, keys.token)
    assert request.headers.get("x-amz-security-token") == keys.token
    assert authorization.rpartition("Signature=")[2] == signed_by_the_vendor(fake, request, keys)


def test_a_role_is_asked_for_once(client: Client, fake: FakeBedrock) -> None:
    """All later calls use its keys until they are old."""
    client.answer("role/echo")
    before = len(fake.requests)
    for _ in range(3):
        client.answer("role/echo")
    assert [request.raw_path for request in fake.requests[before:]] == ["/model/echo/converse"] * 3


def test_a_key_of_bedrocks_own_is_a_bearers(client: Client, fake: FakeBedrock) -> None:
    """And nothing is signed."""
    client.answer("key/echo")
    request = fake.requests[-1]
    assert request.headers["authorization"] == "Bearer bedrock-api-key-x"
    assert "x-amz-date" not in request.headers


def test_credentials_that_are_not_there_are_told(client: Client, fake: FakeBedrock) -> None:
    """The gateway's fault, with what the operator must do, before any call."""
    before = len(fake.requests)
    reply = client.generate("lost/echo")
    assert (reply.status, reply.json()["code"]) == (502, "backend_authentication_failed")
    assert "there is no profile `nobody`" in reply.json()["detail"]
    assert len(fake.requests) == before


def test_another_credential_serves_where_one_is_not_there(client: Client, fake: FakeBedrock) -> None:
    """As with several keys."""
    assert client.answer("two/echo", "Hi")["output"][0]["text"] == "Hi"
    assert "Credential=AKIDEXAMPLE/" in fake.requests[-1].headers["authorization"]


def test_an_answer_is_the_same_plain_and_streamed(client: Client) -> None:
    """Text, reasoning and usage."""
    model = "bedrock/anthropic.claude-think"
    plain, streamed = client.answer(model, "So be it"), client.stream(model, "So be it").end()
    assert plain["output"] == streamed["output"]
    assert [item["type"] for item in plain["output"]] == ["reasoning", "text"]
    assert plain["output"][0]["provider_state"]["data"] == {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}
    counts = ("input_tokens", "output_tokens")
    assert [plain["usage"][name] for name in counts] == [streamed["usage"][name] for name in counts]
    assert plain["usage"]["input_tokens"] > 0


@pytest.mark.parametrize(
    ("before", "after", "warned"),
    [
        ("anthropic.claude-think", "anthropic.claude-think", []),
        ("anthropic.claude-think", "think", ["provider_state_dropped"]),
        ("think", "think", ["part_dropped"]),
    ],
)
def test_reasoning_goes_back_to_no_model_that_refuses_it(
    client: Client, before: str, after: str, warned: list[str]
) -> None:
    """Whether the model has changed, or the reasoning is of one that takes none back."""
    said = client.answer(f"bedrock/{before}", "So be it")["output"]
    user = {"role": "user", "content": "So be it"}
    answer = client.answer(f"bedrock/{after}", [user, {"role": "assistant", "content": said}, user])
    assert answer["output"][-1]["text"] == "So be it"
    assert [warning["code"] for warning in answer["warnings"]] == warned


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_tool_is_called_and_answers(client: Client, fake: FakeBedrock, is_streamed: bool) -> None:
    """The call goes back with its result."""

    def ask(conversation: list[Json]) -> Json:
        if is_streamed:
            return client.stream("bedrock/tools", conversation, tools=[WEATHER]).end()
        return client.answer("bedrock/tools", conversation, tools=[WEATHER])

    conversation: list[Json] = [{"role": "user", "content": "Rome?"}]
    called = ask(conversation)
    (call,) = called["output"]
    assert (called["finish_reason"], call["name"], call["arguments"].replace(" ", "")) == (
        "tool_calls",
        "get_weather",
        '{"city":"Rome"}',
    )
    result = {"type": "tool_result", "tool_call_id": call["id"], "content": "sunny"}
    conversation += [{"role": "assistant", "content": called["output"]}, {"role": "tool", "content": [result]}]
    assert ask(conversation)["output"][0]["text"] == "The tool said: sunny"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("ValidationException", 400, "invalid_request"),
        ("AccessDeniedException", 502, "backend_authentication_failed"),
        ("ResourceNotFoundException", 404, "model_not_found"),
        ("ThrottlingException", 429, "backend_rate_limited"),
        ("ModelTimeoutException", 504, "backend_timeout"),
        ("InternalServerException", 502, "backend_error"),
    ],
)
def test_an_exception_is_an_error_of_the_house(client: Client, name: str, status: int, code: str) -> None:
    """With its own status and code."""
    reply = client.generate(f"bedrock/error-{name}", routing={"fallbacks": False})
    assert (reply.status, reply.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("model", "code"),
    [("breaks-2-throttlingException", "backend_rate_limited"), ("ends-2", "backend_invalid_response")],
)
def test_a_stream_that_breaks_off_keeps_what_came(client: Client, model: str, code: str) -> None:
    """It fails with an error, and never as an answer."""
    generation = client.stream(f"bedrock/{model}").end()
    assert (generation["status"], generation["error"]["code"]) == ("failed", code)
    assert generation["output"][0]["text"] == "w0 w1"


def test_a_client_that_leaves_ends_the_call(client: Client, fake: FakeBedrock) -> None:
    """Within a second."""
    stream = client.stream("bedrock/slow-100-100")
    stream.next("output.delta")
    seen = fake.asked("slow-100-100")[-1]
    stream.leave()
    assert seen.finished.wait(1.0)
    assert seen.disconnected


@pytest.mark.parametrize(("model", "calls"), [("amazon.titan-embed-text-v2:0", 100), ("cohere.embed-v4:0", 2)])
def test_embeddings_are_made_one_after_the_other(client: Client, fake: FakeBedrock, model: str, calls: int) -> None:
    """As many texts a call as the model takes, and each call is signed for itself."""
    before = len(fake.requests)
    generation = client.answer(f"bedrock/{model}", ["a" * size for size in range(1, 101)], modality="embedding")
    assert [item["vector"] for item in generation["output"]] == [[float(size), 0.5] for size in range(1, 101)]
    assert generation["usage"]["input_tokens"] == 100
    signatures = {request.headers["authorization"] for request in fake.requests[before:]}
    assert len(signatures) == calls


def test_the_secrets_are_in_no_log(gateway: Gateway, client: Client) -> None:
    """Neither the keys, nor the signatures."""
    client.answer("bedrock/echo")
    client.generate("bedrock/error-AccessDeniedException")
    eventually(lambda: len(gateway.generations()) >= 2, 5, "the log tells of both")
    text = gateway.printed() + gateway.logged()
    assert "fake/secret" not in text
    assert "Signature=" not in text
