"""What a model's name means, and what is told where it means nothing."""

from __future__ import annotations

import pytest

from pluggably.domain.catalog import LocalModel, Route, RouteSpec
from pluggably.errors import Conflict, ModelNotFound
from pluggably.gateway.catalog import MOST_CHARACTERS, MOST_KEPT, Catalog


def catalog() -> Catalog:
    return Catalog(
        {"openai": "remote", "box": "local"},
        {"smart": "openai/gpt-5", "quick": "qwen", "loop": "loop", "chain": "smart", "nowhere": "gone/x"},
        [LocalModel(id="qwen", runner="llama.cpp"), LocalModel(id="team/chat:v2", runner="llama.cpp", source="api")],
    )


@pytest.mark.parametrize(
    ("name", "backend", "model", "location"),
    [
        ("qwen", "qwen", "qwen", "local"),
        ("team/chat:v2", "team/chat:v2", "team/chat:v2", "local"),
        ("openai/gpt-5", "openai", "gpt-5", "remote"),
        ("openai/org/model:free", "openai", "org/model:free", "remote"),
        ("box/llama3.2", "box", "llama3.2", "local"),
        ("smart", "openai", "gpt-5", "remote"),
        ("quick", "qwen", "qwen", "local"),
    ],
)
def test_a_name_means_a_target(name: str, backend: str, model: str, location: str) -> None:
    """Local models, aliases, and a provider's models by its name and a slash."""
    target = catalog().resolve(name).targets[0]
    assert (target.backend, target.model, target.location) == (backend, model, location)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("qwem", "Did you mean 'qwen'?"),
        ("smrt", "Did you mean 'smart'?"),
        ("zzz", "GET /v1/models"),
        ("", "GET /v1/models"),
        ("x" * 512, "GET /v1/models"),
        ("x" * 513, "more than 512 characters"),
        ("openai/" + "x" * 100_000, "more than 512 characters"),
        ("opnai/gpt-5", "no such provider (providers: box, openai)"),
        ("/gpt-5", "no such provider"),
        ("openai/", "No model has this name"),
        ("openai", "No model has this name"),
        ("QWEN", "No model has this name"),
        ("qwen ", "Did you mean 'qwen'?"),
        ("loop", "No model has this name"),
        ("chain", "No model has this name"),
        ("nowhere", "No model has this name"),
    ],
)
def test_an_unknown_name_is_told_what_comes_close(name: str, words: str) -> None:
    """The message helps, and says nothing of what was sent but what exists."""
    with pytest.raises(ModelNotFound) as caught:
        catalog().resolve(name)
    assert words in caught.value.detail
    assert "zzz" not in caught.value.detail
    assert "opnai" not in caught.value.detail


def test_names_are_listed_in_order() -> None:
    """Local models and aliases, each once."""
    names = catalog().names()
    assert names == sorted(names)
    assert {"qwen", "team/chat:v2", "smart"} <= set(names)


def test_a_local_model_comes_before_an_alias() -> None:
    """Where both have a name, the model is meant."""
    both = Catalog({}, {"qwen": "openai/gpt-5"}, [LocalModel(id="qwen", runner="x")])
    assert both.resolve("qwen").targets[0].backend == "qwen"
    assert not both.is_alias("qwen")


@pytest.mark.parametrize("name", ["qwen", "smart", "team/chat:v2", "openai/mine", "box/x"])
def test_a_taken_name_is_a_conflict(name: str) -> None:
    """A new model may not have the name of a model or an alias, nor look like a provider's."""
    with pytest.raises(Conflict) as caught:
        catalog().add(LocalModel(id=name, runner="x"))
    assert caught.value.pointer == "/id"


@pytest.mark.parametrize("name", ["new", "openai2", "openai", "other/qwen", "qwen/2"])
def test_a_free_name_can_be_added_and_removed(name: str) -> None:
    """What is added can be asked for, and what is removed cannot."""
    models = catalog()
    models.add(LocalModel(id=name, runner="x", source="api"))
    assert models.resolve(name).targets[0].backend == name
    assert models.local(name) is not None
    models.remove(name)
    assert models.local(name) is None
    with pytest.raises(ModelNotFound):
        models.resolve(name)


@pytest.mark.parametrize(("name", "error"), [("qwen", Conflict), ("smart", Conflict), ("none", ModelNotFound)])
def test_only_registrations_can_be_removed(name: str, error: type[Exception]) -> None:
    """What the config file defines stays, and what is not there cannot go."""
    models = catalog()
    with pytest.raises(error):
        models.remove(name)
    assert "qwen" in models.names()


# ── routes ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def routed(**routes: RouteSpec) -> Catalog:
    return Catalog(
        {"openai": "remote", "groq": "remote", "box": "local"},
        {"smart": "openai/gpt-5", "talk": "chat"},
        [LocalModel(id="qwen", runner="llama.cpp"), LocalModel(id="mine", runner="llama.cpp", source="api")],
        routes,
    )


def backends(route: Route) -> list[str]:
    return [one.backend for one in route.targets]


def test_a_route_means_its_targets_in_order() -> None:
    """Each once, under the route's name, with what the operator chose for it; an alias of a route means the same."""
    spec = RouteSpec(
        targets=("qwen", "smart", "openai/gpt-5", "box/x"),
        choose="latency",
        location="local",
        on_context_length=("openai/long", "smart"),
        on_content_filter=("qwen",),
    )
    models = routed(chat=spec)
    for name in ("chat", "talk"):
        route = models.resolve(name)
        assert (route.id, backends(route)) == (name, ["qwen", "openai", "box"])
        assert (route.choose, route.location, route.weights) == ("latency", "local", ())
        assert [one.model for one in route.on_context_length] == ["long", "gpt-5"]
        assert [one.model for one in route.on_content_filter] == ["qwen"]
    assert models.is_route("chat") and not models.is_route("talk") and models.is_alias("talk")
    assert models.resolve("chat") is models.resolve("chat")


def test_a_route_inside_a_route_has_its_share_of_the_weight() -> None:
    """Its targets divide what the outer route gives it; one that is named twice has both shares."""
    models = routed(
        pair=RouteSpec(targets=("openai/a", "groq/b"), choose="weight", weights=(3.0, 1.0)),
        chat=RouteSpec(targets=("pair", "groq/b", "qwen"), choose="weight", weights=(2.0, 1.0, 1.0)),
        plain=RouteSpec(targets=("pair", "qwen")),
    )
    route = models.resolve("chat")
    assert backends(route) == ["openai", "groq", "qwen"]
    assert route.weights == pytest.approx((0.375, 0.375, 0.25))
    assert backends(models.resolve("plain")) == ["openai", "groq", "qwen"]
    assert models.resolve("plain").weights == ()


def test_the_promise_of_a_route_holds_inside_another() -> None:
    """A route that promises `local` brings no remote target into the route that names it, in any of its lists."""
    models = routed(
        private=RouteSpec(targets=("qwen", "openai/a", "box/x"), location="local"),
        chat=RouteSpec(targets=("private", "groq/b"), on_context_length=("private",), on_content_filter=("private",)),
    )
    route = models.resolve("chat")
    assert backends(route) == ["qwen", "box", "groq"]
    assert [one.backend for one in (*route.on_context_length, *route.on_content_filter)] == ["qwen", "box"] * 2
    assert backends(models.resolve("private")) == ["qwen", "openai", "box"], "its own name tells why one is not tried"


def test_a_model_that_went_leaves_the_route_without_it() -> None:
    """What the API unregisters is tried no more; with nothing left the name still means the route."""
    models = routed(chat=RouteSpec(targets=("mine", "qwen")), alone=RouteSpec(targets=("mine",)))
    assert backends(models.resolve("chat")) == ["mine", "qwen"]
    models.remove("mine")
    assert backends(models.resolve("chat")) == ["qwen"]
    assert models.resolve("alone").targets == ()
    models.add(LocalModel(id="mine", runner="llama.cpp", source="api"))
    assert backends(models.resolve("alone")) == ["mine"]


def test_routes_in_a_circle_end() -> None:
    """The config refuses them; here they mean what they name besides."""
    models = routed(a=RouteSpec(targets=("b", "qwen")), b=RouteSpec(targets=("a", "box/x")))
    assert backends(models.resolve("a")) == ["box", "qwen"]


def test_the_name_of_a_route_is_taken() -> None:
    """No model can be registered under it, and it is no registration to remove."""
    models = routed(chat=RouteSpec(targets=("qwen",)))
    with pytest.raises(Conflict):
        models.add(LocalModel(id="chat", runner="x"))
    with pytest.raises(Conflict):
        models.remove("chat")
    assert "chat" in models.names()


def test_the_names_that_clients_make_up_are_bounded() -> None:
    """Of too many names the early ones are forgotten, and worked out again when they are asked for."""
    models = routed()
    first = models.resolve("openai/made-up-0")
    assert models.resolve("openai/made-up-0") is first
    for i in range(MOST_KEPT + 1):
        models.resolve(f"openai/made-up-{i}")
    assert models.resolve("openai/made-up-0") is not first
    assert models.resolve("openai/made-up-0") == first


def test_no_name_is_kept_that_is_too_long() -> None:
    """A provider's models may have any name, so only their length bounds what is remembered of them."""
    names = catalog()
    longest = "openai/" + "x" * (MOST_CHARACTERS - len("openai/"))
    assert names.resolve(longest).targets[0].backend == "openai"
    with pytest.raises(ModelNotFound):
        names.resolve(longest + "x")
