"""Reading the config: what a good file means, and what a wrong one is told."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import VOCABULARY, config, issue, issues, load

from pluggably.config import Config, ConfigError, ModelEntry, Provider, References, Secret, load_config
from pluggably.config.walk import parse_size
from pluggably.errors import StartupError

# ── good files ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "server:\nmodels:\n", "---\n"])
def test_an_empty_file_means_the_defaults(text: str) -> None:
    """A file, or a section, in which everything is commented out is not an error."""
    assert config(text) == Config()


def test_the_example_of_the_design_means_what_it_says() -> None:
    """Providers, local models, commands and aliases are read into their types."""
    read = config(
        """
        version: 1
        server: {host: 0.0.0.0, port: 80, max_body_bytes: 1MiB}
        providers:
          openai: {api_key: "${KEY}"}
          ollama:
          mine: {codec: openai, base_url: "http://10.0.0.5:9000/v1", headers: {X-Key: "${KEY}"}}
        models:
          qwen: {runner: llama.cpp, weights: "file:/models/qwen.gguf", context_tokens: 8192, options: {threads: 4}}
          sd: {runner: command, command: ["sd", "{weights}", "{port}"], ready: /health, weights: "file:sd.gguf"}
          smart: openai/gpt-5
        model_folders: [/models, ~/more]
        demo: false
        """
    )
    assert (read.server.host, read.server.port, read.server.max_body_bytes) == ("0.0.0.0", 80, 1024 * 1024)
    assert read.providers["openai"].api_key == Secret("sk-123")
    assert read.providers["ollama"] == Provider()
    assert read.providers["mine"].headers["X-Key"].reveal() == "sk-123"
    assert read.model_folders == [Path("/models"), Path("/home/pip/more")]
    assert read.aliases() == {"smart": "openai/gpt-5"}
    qwen, sd = read.local_models()
    assert (qwen.weights, qwen.context_tokens, qwen.options) == ("/models/qwen.gguf", 8192, {"threads": 4})
    assert (sd.weights, sd.runner) == ("/etc/pluggably/sd.gguf", "command")
    assert sd.options == {"command": ["sd", "{weights}", "{port}"], "ready": "/health"}
    assert not read.demo


@pytest.mark.parametrize("word", ["no", "on", "1.10", "1e3", "0x10", "2026-11-22", "1:30", "true", "=", "<<"])
def test_text_is_text_where_text_is_wanted(word: str) -> None:
    """YAML's guesses (a country that is false, a version that is a number) do not change a name."""
    assert config(f"server: {{host: {word}}}").server.host == word


def test_numbers_may_be_quoted_or_come_from_the_environment() -> None:
    """A value is read as what is wanted at its place."""
    read = config('server: {port: "${PORT}", body_timeout_s: "1.5", open_metrics: "${NO}", max_nesting: 0_99}')
    server = read.server
    assert (server.port, server.body_timeout_s, server.open_metrics, server.max_nesting) == (9000, 1.5, False, 99)


def test_options_without_a_type_are_read_as_json_would_read_them() -> None:
    """Without the plug-in's own type, only true, false, null and plain numbers are not text."""
    text = "models: {m: {options: {a: no, b: true, c: 7, d: 1.5, e: '7', f: null, g: [1:30, 010], h: {i: off}}}}"
    (model,) = config(text, vocabulary=None).local_models()
    values = {"a": "no", "b": True, "c": 7, "d": 1.5, "e": "7", "f": None, "g": ["1:30", "010"], "h": {"i": "off"}}
    assert model.options == values


def test_options_are_read_by_the_types_of_their_plug_in() -> None:
    """`mode: no` is text because the runner says so."""
    (model,) = config("models: {m: {weights: 'file:m', options: {mode: no, threads: '4'}}}").local_models()
    assert model.options == {"mode": "no", "threads": 4}


def test_a_reference_may_stand_anywhere_in_a_text() -> None:
    """`${NAME}` is replaced inside of a text, and `$${` is the way to write the characters themselves."""
    read = config('providers: {mine: {codec: openai, base_url: "http://h:${PORT}/v1", api_key: "a${KEY}b$${KEY}"}}')
    assert read.providers["mine"].base_url == "http://h:9000/v1"
    assert read.providers["mine"].api_key == Secret("ask-123b${KEY}")


def test_anchors_and_merge_keys_work() -> None:
    """What is said once may be used twice; an own key comes before a merged one."""
    read = config(
        """
        providers:
          one: &one {codec: openai, base_url: "http://one/v1", location: local}
          two: {<<: *one, base_url: "http://two/v1"}
          three: {<<: [{location: remote}, *one]}
        """
    )
    assert read.providers["two"] == Provider(codec="openai", base_url="http://two/v1", location="local")
    assert read.providers["three"] == Provider(codec="openai", base_url="http://one/v1", location="remote")


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    """The final line break of the file is not part of the secret; a file for all to read is warned of."""
    (tmp_path / "key").write_bytes(b" sk-9 \r\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "open").write_text("sk-8")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "p.yaml").write_text('providers: {openai: {api_key: "file:key"}, ollama: {api_key: "file:open"}}')
    loaded = load_config(tmp_path / "p.yaml", {}, VOCABULARY)
    assert loaded.config.providers["openai"].api_key == Secret(" sk-9 ")
    assert loaded.config.providers["ollama"].api_key == Secret("sk-8")
    assert [warning for warning in loaded.warnings if "chmod 600" in warning] == list(loaded.warnings)
    assert len(loaded.warnings) == 1


def test_a_model_that_needs_no_file_has_no_weights() -> None:
    """A command may bring its own weights."""
    (model,) = config("models: {m: {runner: command, command: [serve, '{port}']}}").local_models()
    assert model.weights is None


# ── wrong files ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_everything_that_is_wrong_is_told_at_once_and_in_order() -> None:
    """One run is enough to repair a file: each error with its line and column, from top to bottom."""
    found = issues(
        """\
server: {prot: 80, port: 99999, max_body_bytes: lots}
timeouts: [1]
log: {level: loud}
providers:
  openai: {api_key: "${NOPE}"}
  openai: {}
models:
  q: {weights: /m.gguf, slots: 0}
demo: perhaps
oops: 1
"""
    )
    assert found == [
        "1:10: server: unknown key `prot`; did you mean `port`?",
        "1:26: server.port: must be at most 65535.",
        "1:49: server.max_body_bytes: must be a size: bytes, or such as `20MiB`.",
        "2:11: timeouts: must be a mapping (`key: value` lines), not a list.",
        "3:14: log.level: must be one of `debug`, `error`, `info`, `warning`.",
        "5:21: providers.openai.api_key: The environment variable NOPE is not set.",
        "6:3: providers.openai: stands here twice; the first is in line 5.",
        "8:16: models.q.weights: must be `file:` and a path, such as `file:/models/qwen.gguf`.",
        "8:32: models.q.slots: must be at least 1.",
        "9:7: demo: must be true or false.",
        "10:1: unknown key `oops` (known: `demo`, `inputs`, `log`, `model_folders`, `models`, `providers`, "
        "`retry`, `server`, `timeouts`, `version`).",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 2", "1:10: version: must be `1`."),
        ("server: {port: }", "1:15: server.port: has no value; a whole number is wanted."),
        ("server: {port: 1.5}", "1:16: server.port: must be a whole number."),
        ("server: {port: [1]}", "1:16: server.port: must be a whole number, not a list."),
        ("server: {host: ''}", "1:16: server.host: must not be empty."),
        ("timeouts: {idle_s: .inf}", "1:20: timeouts.idle_s: must be a number."),
        ("timeouts: {idle_s: 1.5h}", "1:20: timeouts.idle_s: must be a number of seconds, so `5400` for `1.5h`."),
        ("timeouts: {idle_s: 500 ms}", "1:20: timeouts.idle_s: must be a number of seconds, so `0.5` for `500 ms`."),
        ("timeouts: {idle_s: 1 week}", "1:20: timeouts.idle_s: must be a number."),
        ("timeouts: {idle_s: inf}", "1:20: timeouts.idle_s: must be a finite number."),
        ("timeouts: {idle_s: 0}", "1:20: timeouts.idle_s: must be more than 0."),
        ("server: 8080", "1:9: server: must be a mapping (`key: value` lines), not a single value."),
        ("- a", "1:1: must be a mapping (`key: value` lines), not a list."),
        ("models: {m: [x]}", "1:13: models.m: must be a mapping or text, not a list."),
        ("models: {m: }", "1:12: models.m: must be a mapping or text, not nothing."),
        ("models: {a b: x}", "1:10: models.a b: must be a model's id: letters, digits, and . _ : - /, such as "
         "qwen3-0.6b or team/chat:v2."),
        ("models: {m: ''}", "1:13: models.m: must not be empty."),
        ("models: {m: m}", "1:13: models.m: an alias cannot mean itself."),
        ("providers: {openai: }\nmodels: {a: openai/x, m: a}", "2:26: models.m: an alias cannot mean another "
         "alias; name the model itself."),
        ("models: {openai/x: demo}", "1:20: models.openai/x: the models of the provider `openai` have names of "
         "this form; choose another id."),
        ("models: {m: {slots: 1}}", "1:13: models.m: there is nothing to run; give `weights`, such as "
         "`file:/models/x.gguf`, or `targets`, for a route."),
        ("models: {m: {weights: 'file:'}}", "1:23: models.m.weights: must be a path."),
        ("models: {m: {runner: lama.cpp, weights: 'file:x'}}", "1:22: models.m.runner: there is no runner `lama.cpp`; "
         "did you mean `llama.cpp`?"),
        ("models: {m: {weights: 'file:x', options: {thread: 1}}}", "1:43: models.m.options: unknown key `thread`; did "
         "you mean `threads`?"),
        ("models: {m: {weights: 'file:x', threads: 1}}", None),
        ("models: {m: {weights: 'file:x', codec: openai}}", "1:33: models.m.codec: means nothing to the runner "
         "`llama.cpp`; a command line is run by `runner: command`."),
        ("models: {m: {runner: command, weights: 'file:x'}}", "1:13: models.m.options: the key `command` is missing."),
        ("models: {m: {runner: command, command: []}}", "1:40: models.m.command: must have at least 1 entry."),
        ("models: {m: {runner: command, command: [x], options: {command: [y]}}}", "1:55: models.m.options.command: "
         "stands beside `options` too; keep one of the two."),
        ("models: {m: {runner: command, command: [x], ready: y}}", "1:52: models.m.ready: must be a path that starts "
         "with /."),
        ("models: {m: {runner: command, command: [x], options: {slow: 1}}}", None),
        ("providers: {x/y: {}}", "1:13: providers.x/y: must be a provider's name: letters, digits, and . _ -."),
        ("providers: {openia: {}}", "1:21: providers.openia: there is no preset `openia`; did you mean `openai`? Give "
         "`preset`, or `codec` and `base_url`."),
        ("providers: {x: {preset: openia}}", "1:25: providers.x.preset: there is no preset `openia`; did you mean "
         "`openai`?"),
        ("providers: {x: {codec: opnai, base_url: 'http://x'}}", "1:24: providers.x.codec: there is no codec `opnai`; "
         "did you mean `openai`?"),
        ("providers: {openai: {options: {stop_limit: x}}}", "1:44: providers.openai.options.stop_limit: must be a "
         "whole number."),
        ("providers: {openai: {options: {max_tokens_field: x}}}", "1:50: providers.openai.options.max_tokens_field: "
         "must be one of `max_completion_tokens`, `max_tokens`."),
        ("providers: {openai: {base_url: 'ftp://x'}}", None),
        ("providers: {openai: {base_url: 'http://me:pw@x/v1'}}", None),
        ("providers: {openai: {headers: {'X Y': z}}}", "1:32: providers.openai.headers.X Y: must be the name of a "
         "header."),
        ("providers: {openai: {api_key: ''}}", "1:31: providers.openai.api_key: The secret is empty."),
        ("providers: {openai: {api_key: 'file:nowhere'}}", "1:31: providers.openai.api_key: The secret's file "
         "/etc/pluggably/nowhere cannot be read: No such file or directory."),
        ("server: {host: '${PORT'}", "1:16: server.host: `${` is never closed. Write `$${` where you mean the "
         "characters themselves."),
        ("server: {host: '${A B}'}", "1:16: server.host: Between `${` and `}` the name of an environment variable is "
         "wanted."),
        ("server: !!python/name:os.system {}", "1:9: server: YAML tags (`!…`) mean nothing here."),
        ("server: {? [a] : b}", "1:12: server: A key must be plain text."),
        ("server: {<<: 1}", "1:14: server: `<<` takes a mapping, or a list of mappings."),
        ("a: &a [*a]", None),
        ("a: *b", '1:4: This is not valid YAML: found undefined alias \'b\'.'),
        ("a: {b: ${C}}", '1:8: Within braces or brackets a value with `${` needs quotes: "${NAME}".'),
        ("a: [x, ${C}]", '1:8: Within braces or brackets a value with `${` needs quotes: "${NAME}".'),
        ("a: 'b", "1:6: This is not valid YAML: found unexpected end of stream."),
        ("a: 1\n---\nb: 2", "2:1: A second document starts here (`---`); the config is one document."),
        ("server:\n\tport: 1", "2:1: A tab stands here; YAML is indented with spaces only."),
        ("# ok\nserver: {host: a\x00}", "2:17: The character U+0000 may not stand in YAML."),
        (b"# ok\nserver: {host: \xc3\xa4\xff}", "2:17: The file is not UTF-8 from here on. Save it as UTF-8."),
    ],
)  # fmt: skip
def test_a_mistake_is_told_where_it_stands(text: str | bytes, expected: str | None) -> None:
    """Each message says what was wanted, at the place where it is wrong."""
    found = issue(text)
    assert expected is None or found == expected


@pytest.mark.parametrize(
    "text",
    [
        "providers: {mine: {codec: openai, base_url: 'sekrit', api_key: 'sekrit'}}",
        "server: {port: sekrit, host: {sekrit: 1}, open_metrics: sekrit}",
        "models: {m: {weights: sekrit, slots: sekrit}}",
        "log: {level: sekrit}\nversion: sekrit",
        "providers: {openai: {options: {max_tokens_field: sekrit, stop_limit: sekrit, rules: [sekrit]}}}",
        "providers: {openai: {api_key: 'sekrit${'}}",
        "providers: {openai: {api_key: 'sekrit\x01'}}",
        "providers: {openai: {api_key: sekrit: x}}",
        "models: {m: {runner: command, command: [x], options: {slow: sekrit}}}",
    ],
)
def test_no_message_quotes_a_value(text: str) -> None:
    """A value at a wrong place may be a secret, so no error shows one."""
    told = "\n".join(issues(text)).replace("server.host.sekrit", "")
    assert "unknown key `sekrit`" in told or "sekrit" not in told


def test_unknown_plug_in_names_pass_where_there_is_no_vocabulary() -> None:
    """The command line reads a config only for its address, and needs no plug-in for that."""
    read = config("providers: {x: {preset: who}}\nmodels: {m: {runner: who, options: {a: 1}}}", vocabulary=None)
    assert isinstance(read.models["m"], ModelEntry)


def test_an_alias_bomb_is_refused() -> None:
    """A few lines that stand for billions of values are stopped after some thousands."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = "models: {m: {options: {" + ", ".join(lines) + "}}}"
    assert "stands for more than" in issue(text, vocabulary=None)


@pytest.mark.parametrize("depth", [40, 5000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """A file cannot overflow the stack."""
    found = issue("models: {m: {options: {a: " + "[" * depth + "]" * depth + "}}}", vocabulary=None)
    assert "nests" in found


def test_a_huge_file_is_refused() -> None:
    """A file of many thousand lines is no config."""
    assert "larger than" in issue(b"#" * 256 * 1024 + b"#")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The path and the operating system's reason, not a traceback."""
    with pytest.raises(StartupError, match=r"folder cannot be read: Is a directory\."):
        (tmp_path / "folder").mkdir()
        load_config(tmp_path / "folder", {})


# ── pieces ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 10**12), st.sampled_from(["", "B", "KB", "MB", "GB", "KiB", "MiB", "GiB"]), st.booleans())
def test_sizes_have_units(number: int, unit: str, spaced: bool) -> None:
    """A unit with an i counts by 1024, one without by 1000."""
    factors = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    assert parse_size(f"{number}{' ' if spaced and unit else ''}{unit}") == number * factors[unit]


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(content: bytes) -> None:
    """Whatever stands in the file, it is read, or told as an error of the config."""
    try:
        load(content)
    except ConfigError as error:
        assert error.issues


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["server", "port", "models", "m", "providers", "openai", "api_key", "options", "weights"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=20,
    )
)
def test_no_structure_makes_it_crash(value: Any) -> None:
    """The same for files that are valid YAML (JSON is) of any shape."""
    try:
        load(msgspec.json.encode(value))
    except ConfigError as error:
        assert error.issues


LETTERS = st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="$"), min_size=1, max_size=12)


@given(st.dictionaries(LETTERS, LETTERS))
def test_untyped_options_come_through_unchanged(options: dict[str, str]) -> None:
    """Quoted text in options is what the runner gets, references aside."""
    text = msgspec.json.encode({"models": {"m": {"command": ["x"], "options": options}}})
    (model,) = load(text, vocabulary=None).config.local_models()
    assert {name: value for name, value in model.options.items() if name != "command" or name in options} == options


def test_a_secret_file_keeps_its_mode(tmp_path: Path) -> None:
    """Reading a secret changes nothing."""
    path = tmp_path / "key"
    path.write_text("x")
    path.chmod(0o640)
    assert References({}, tmp_path).secret("file:key") == "x"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
