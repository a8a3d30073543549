"""What types alone cannot say: names that lead nowhere, parts that do not fit together."""

from __future__ import annotations

import pytest
from reading import config, issue, issues, warnings

from pluggably.config.checks import _circles
from pluggably.net.guard import Guard

# Two local models, a server on the own network, and a remote provider.
HOUSE = """
providers: {box: {preset: ollama, location: local}, openai: }
models:
  qwen: {weights: "file:q.gguf"}
  llama: {weights: "file:l.gguf"}
  smart: openai/gpt-5
"""


def house(*lines: str) -> str:
    """More entries under `models`; the first is line 7."""
    return HOUSE + "".join(f"  {line}\n" for line in lines)


# ── routes that are right ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_route_may_lead_to_whatever_there_is() -> None:
    """Local models, the demo, aliases, other routes, and any model of a provider that is set up."""
    read = config(
        house(
            "chat: {targets: [qwen, smart, box/llama3.2, demo, {model: openai/gpt-9, weight: 2}], choose: weight}",
            "wide: {targets: [chat], on_context_length: [llama, openai/gpt-5], on_content_filter: [llama]}",
            "near: {targets: [qwen, box/llama3.2], location: local, on_context_length: [llama]}",
            "nearer: {targets: [near, llama], location: local}",
            "any: wide",
        )
    )
    assert list(read.routes()) == ["chat", "wide", "near", "nearer"]
    assert read.routes()["chat"].target_names() == ["qwen", "smart", "box/llama3.2", "demo", "openai/gpt-9"]
    assert read.aliases() == {"smart": "openai/gpt-5", "any": "wide"}
    assert [model.id for model in read.local_models()] == ["qwen", "llama"]


def test_a_target_may_also_be_the_one_for_long_input() -> None:
    """The small model first, and the large one at once where the input is too long for the small one."""
    assert warnings(house("chat: {targets: [qwen, llama], on_context_length: [llama]}")) == []


def test_a_model_is_known_although_its_entry_is_wrong() -> None:
    """One mistake is told once, not again for each name that leads to it."""
    found = issues("providers: {groq: {api_kye: x}}\nmodels: {a: {slots: 0}, r: {targets: [a, groq/llama]}, s: a}")
    assert len(found) == 2
    assert "unknown key `api_kye`" in found[0]
    assert "models.a.slots" in found[1]


# ── routes that are wrong ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("r: {targets: [quen]}", "7:17: models.r.targets.0: there is no model `quen` in this file; did you mean "
         "`qwen`?"),
        ("r: {targets: [x]}", "7:17: models.r.targets.0: there is no model `x` in this file (known: `demo`, `llama`, "
         "`qwen`, `r`, `smart`)."),
        ("r: {targets: [{model: x1y2z3}]}", None),
        ("r: {targets: [qwen], on_content_filter: [opnai/x]}", "7:44: models.r.on_content_filter.0: there is no "
         "provider `opnai`; did you mean `openai`?"),
        ("r: {targets: [openai/]}", "7:17: models.r.targets.0: names no model; write `openai/` and the provider's own "
         "id."),
        ("r: {targets: [groq/x]}", "7:17: models.r.targets.0: the provider `groq` is not set up; set GROQ_API_KEY, or "
         "give it `api_key` under `providers.groq`."),
        ("r: {targets: [ollama/x]}", "7:17: models.r.targets.0: the provider `ollama` is not set up; give it under "
         "`providers.ollama`."),
        ("r: {targets: [shy/x]}", "7:17: models.r.targets.0: the provider `shy` is not set up; name it under "
         "`providers`: `shy: {}`."),
        ("r: {targets: [qwen, smart, qwen]}", "7:30: models.r.targets.2: stands here twice."),
        ("r: {targets: [smart, {model: openai/gpt-5}]}", "7:32: models.r.targets.1.model: stands here twice, as "
         "`smart`."),
        ("r: {targets: [qwen], on_context_length: [llama, llama]}", "7:51: models.r.on_context_length.1: stands here "
         "twice."),
        ("r: {targets: []}", "7:16: models.r.targets: must have at least 1 entry."),
        ("r: {targets: ['']}", "7:17: models.r.targets.0: must not be empty."),
        ("r: {targets: [{weight: 1}]}", "7:17: models.r.targets.0: the key `model` is missing."),
        ("r: {targets: [{model: qwen, weight: 0}]}", "7:39: models.r.targets.0.weight: must be more than 0."),
        ("r: {targets: [qwen], location: remote}", "7:34: models.r.location: must be `local`."),
        ("r: {targets: [smart], location: local}", "7:17: models.r.targets.0: may lead to `openai/gpt-5`, which is at "
         "a remote provider, so it could never be taken: this route promises `location: local`. A server on your own "
         "network has `location: local` under `providers.openai`."),
        ("r: {targets: [qwen], location: local, on_context_length: [openai/x]}", None),
        ("r: {targets: [r]}", "7:17: models.r.targets.0: goes in a circle: `r` → `r`."),
        ("r: {targets: [qwen], slots: 2}", "7:24: models.r.slots: is for a model on this machine, and this is a route "
         "(it has `targets`). Keep one of the two."),
        ("r: {weights: 'file:x', choose: price}", "7:26: models.r.choose: is for a route, and this is none; give "
         "`targets`."),
        ("r: {choose: price}", None),
        ("r: nothing", "7:6: models.r: there is no model `nothing` in this file (known: `demo`, `llama`, `qwen`, `r`, "
         "`smart`)."),
        ("r: groq/x", None),
    ],
)  # fmt: skip
def test_a_mistake_in_a_route_is_told_where_it_stands(line: str, expected: str | None) -> None:
    """One complaint for one mistake, with its line and column."""
    found = issue(house(line))
    assert expected is None or found == expected


def test_everything_that_is_wrong_with_a_route_is_told_at_once() -> None:
    """The keys of a local model, and each target, in one run."""
    found = issues(
        house("r:", "  targets: [nope, qwen, qwen]", "  weights: file:x", "  queue: 1", "  context_tokens: 9")
    )
    wrong = ["targets.0", "targets.2", "weights", "queue", "context_tokens"]
    assert [text.split(" ")[1] for text in found] == [f"models.r.{name}:" for name in wrong]


def test_an_empty_key_of_the_other_kind_is_no_mistake() -> None:
    """`targets:` with everything behind it commented out makes no route, and `weights:` no model."""
    read = config(house("m: {weights: 'file:m', targets: }", "r: {targets: [qwen], weights: , codec: }"))
    assert list(read.routes()) == ["r"]


def test_circles_are_shown() -> None:
    """Through aliases and through the models for long input too, once for each circle."""
    found = issues(
        house("a: {targets: [qwen, b]}", "b: c", "c: {targets: [llama], on_context_length: [d]}", "d: {targets: [a]}")
    )
    assert found == ["10:17: models.d.targets.0: goes in a circle: `a` → `b` → `c` → `d` → `a`."]
    found = issues(house("e: {targets: [f], location: local}", "f: {targets: [e]}"))
    assert found == ["8:17: models.f.targets.0: goes in a circle: `e` → `f` → `e`."]


def test_each_circle_is_found_although_others_were_walked_before() -> None:
    """Two circles that share a way are two, and a way that is shared without one is none."""
    edges = {"a": ["b", "c"], "b": ["d"], "c": ["d", "c"], "d": ["a", "e"], "e": [], "f": ["a", "e"]}
    found = _circles({name: [(to, (name, to)) for to in leads] for name, leads in edges.items()})
    assert list(found) == [(("d", "a"), ["a", "b", "d", "a"]), (("c", "c"), ["c", "c"])]


def test_a_long_chain_of_routes_is_read() -> None:
    """However many routes lead to one another, the gateway does not run out of stack."""
    lines = [f"r{number}: {{targets: [r{number + 1}], location: local}}" for number in range(1500)]
    assert len(config(house(*lines, "r1500: {targets: [qwen]}")).routes()) == 1501


def test_weights_that_do_not_count_are_warned_of() -> None:
    """A weight says nothing unless the route chooses by weight."""
    text = house("r: {targets: [{model: qwen, weight: 3}, llama]}", "s: {targets: [{model: qwen}]}")
    assert warnings(text) == ["7:39: models.r.targets.0.weight: counts only with `choose: weight`."]


def test_a_provider_that_is_switched_off_serves_nothing() -> None:
    """`enabled: false`, and a route or an alias still counts on it."""
    found = issues("providers: {openai: {enabled: false}}\nmodels: {a: openai/x, r: {targets: [demo, openai/y]}}")
    assert found == [
        "2:13: models.a: the provider `openai` is switched off (`enabled: false`).",
        "2:43: models.r.targets.1: the provider `openai` is switched off (`enabled: false`).",
    ]


def test_a_promise_holds_against_providers_that_only_the_environment_names() -> None:
    """A preset is remote unless the file says that it is local."""
    found = issue("models: {r: {targets: [ready/x], location: local}}")
    assert "1:24: models.r.targets.0: is at a remote provider" in found


def test_without_the_vocabulary_only_the_file_counts() -> None:
    """A command that reads a config for its address need not know which presets there are."""
    text = "models: {a: groq/x, r: {targets: [else/x, quen, {model: demo}]}}"
    assert issue(text, vocabulary=None).startswith("1:43: models.r.targets.1: there is no model `quen`")


# ── providers ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai: {api_key: a, api_keys: [b]}", "1:44: providers.openai.api_keys: stands beside `api_key`; keep one of "
         "the two."),
        ("openai: {api_keys: [a, '']}", "1:36: providers.openai.api_keys.1: The secret is empty."),
        ("openai: {api_keys: [a, ]}", "never"),
        ("openai: {api_keys: [a, ~]}", "1:36: providers.openai.api_keys.1: has no value; text is wanted."),
        ("groq:", "1:18: providers.groq: it has no key; set GROQ_API_KEY, or give `api_key`."),
        ("mine: {preset: groq, api_keys: []}", "1:19: providers.mine: it has no key; set GROQ_API_KEY, or give "
         "`api_key`."),
        ("groq: {enabled: false}", "never"),
        ("groq: {codec: openai, base_url: 'http://x/v1'}", "never"),
        ("cloud: {api_key: x}", "1:20: providers.cloud: its address needs `account` (your account); give it under "
         "`variables`, or set CLOUD_ACCOUNT."),
        ("dated: {base_url: 'https://x', variables: {version: v1}}", "1:20: providers.dated: its address needs "
         "`folder` (where); give it under `variables`."),
        ("dated: {base_url: 'https://x', variables: {version: v1, folder: f}}", "never"),
        ("cloud: {api_key: x, variables: {account: me}}", "never"),
        ("cloud: {api_key: x, base_url: 'https://x/{region}/v1'}", "never"),
        ("cloud: {api_key: x, variables: {account: me, regin: eu}}", "1:65: providers.cloud.variables.regin: is not "
         "known; did you mean `region`?"),
        ("openai: {variables: {account: me}}", "1:43: providers.openai.variables.account: is not known; the address "
         "has no gap to fill."),
        ("cloud: {api_key: x, base_url: 'https://{acount}/{model}'}", "1:43: providers.cloud.base_url: nothing fills "
         "the gap `{acount}`; did you mean `account`?"),
        ("mine: {codec: openai, base_url: 'https://{x}/v1'}", "1:45: providers.mine.base_url: nothing fills the gap "
         "`{x}`."),
        ("openai: {models: {m: {price: {input_per_million: -1}}}}", "1:62: providers.openai.models.m.price."
         "input_per_million: must be an amount of US dollars, such as 0.15."),
        ("openai: {models: {m: {price: {input_per_million: cheap}}}}", None),
        ("openai: {models: {m: {price: {input_per_million: 1e3}}}}", None),
        ("openai: {models: {m: {price: {input_per_million: .inf}}}}", None),
        ("openai: {models: {m: {price: {input_per_million: '٣'}}}}", None),
        ("openai: {models: {m: {prize: 1}}}", None),
        ("signed: {aws: [{profile: work}, {access_key_id: a, secret_access_key: b}]}", "never"),
        ("openai: {aws: [{profile: work}]}", "1:27: providers.openai.aws: means nothing here: this provider's calls "
         "are not signed so."),
        ("signed: {google: ['{}']}", "1:30: providers.signed.google: means nothing here: this provider's calls are not "
         "signed so."),
        ("signed: {aws: [{access_key_id: a}]}", "1:28: providers.signed.aws.0: must be `access_key_id` and "
         "`secret_access_key`, or a `profile`."),
        ("signed: {aws: [{}]}", "1:28: providers.signed.aws.0: must be `access_key_id` and `secret_access_key`, or a "
         "`profile`."),
        ("signed: {aws: [{access_key_id: a, secret_access_key: b, profile: c}]}", "1:28: providers.signed.aws.0: must "
         "be `access_key_id` and `secret_access_key`, or a `profile`."),
    ],
)  # fmt: skip
def test_a_mistake_in_a_provider_is_told_where_it_stands(text: str, expected: str | None) -> None:
    """Keys, the gaps of an address, prices."""
    text = "providers: {" + text + "}"
    if expected == "never":
        assert warnings(text) == []
    else:
        found = issue(text)
        assert expected is None or found == expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{openai: {api_key: "sk-1\\n"}}', "1:31: providers.openai.api_key"),
        ('{openai: {api_keys: [k, "sk-1\\r"]}}', "1:36: providers.openai.api_keys.1"),
        ('{openai: {headers: {X-Key: "a\\nb"}}}', "1:39: providers.openai.headers.X-Key"),
        (
            '{signed: {aws: [{access_key_id: a, secret_access_key: "b\\n"}]}}',
            "1:66: providers.signed.aws.0.secret_access_key",
        ),
    ],
)
def test_what_no_header_can_hold_is_told_where_it_stands(text: str, place: str) -> None:
    """A line break in a key or a header; every call would fail of it. The value is not shown."""
    found = issue(f"providers: {text}")
    assert found.startswith(f"{place}: has a line break") and "sk-1" not in found


def test_a_tab_may_stand_in_a_header() -> None:
    """RFC 9110 lets it."""
    assert warnings('providers: {openai: {headers: {X-Key: "a\\tb"}}}') == []


def test_a_key_that_stands_twice_is_warned_of() -> None:
    """The same key behind two references is of no more use than one; neither is shown."""
    found = warnings('providers: {openai: {api_keys: ["${KEY}", other, sk-123]}}')
    assert found == ["1:50: providers.openai.api_keys.2: is the same key as one before it."]


def test_prices_are_kept_as_they_are_written() -> None:
    """Money is never a binary fraction: 0.10 stays 0.10, quoted or not."""
    read = config("providers: {openai: {models: {m: {price: {input_per_million: 0.10, output_per_million: '2'}}}}}")
    price = read.providers["openai"].models["m"].price
    assert price is not None
    assert (price.input_per_million, price.cached_input_per_million, price.output_per_million) == ("0.10", None, "2")


# ── what may be fetched ─────────────────────────────────────────────────────────────────────────────────────────────


def test_hosts_may_be_names_addresses_and_networks() -> None:
    """What an operator may mean by a host is taken as it stands, and the guard takes all of it."""
    hosts = [
        "files.corp.example",
        "box",
        "a_b-c.x",
        "xn--bcher-kva.example",
        "10.1.2.3",
        "10.1.0.0/16",
        "::1",
        "fd00::/8",
    ]
    read = config(f"inputs: {{allow_hosts: [{', '.join(map(repr, hosts))}]}}")
    assert read.inputs.allow_hosts == hosts
    Guard(hosts)


@pytest.mark.parametrize(
    ("host", "complaint"),
    [
        ("10.1.2.3/16", "is no address and no network. A network has zeros where its hosts differ: `10.1.0.0/16`."),
        ("10.1.2.300", "is no address and no network."),
        ("127.1", "is no address and no network."),
        ("box:8080", "is no address and no network."),
        ("https://box", "is no address and no network."),
        ("a..b", "is not a host's name."),
        ("-a", "is not a host's name."),
        ("box.", "is not a host's name."),
        ("*.example.com", "must be a host's name, an address or a network"),
        ("", "must be a host's name, an address or a network"),
    ],
)
def test_a_host_that_is_none_is_wrong(host: str, complaint: str) -> None:
    """What the guard could not take is told where it stands, and the guard would not take it."""
    [found] = issues(f'inputs: {{allow_hosts: ["files.corp.example", "{host}"]}}')
    assert found.startswith(f"1:46: inputs.allow_hosts.1: {complaint}")
    with pytest.raises(ValueError):
        Guard([host])


def test_a_command_line_without_its_runner() -> None:
    """A key that belongs to `runner: command` is told as such, where it stands, and not as an unknown option."""
    assert issues('models: {a: {weights: "file:q.gguf", ready: /health}}') == [
        "1:38: models.a.ready: means nothing to the runner `llama.cpp`; a command line is run by `runner: command`."
    ]
