"""What a model's name means, and what is told where it means nothing."""

from __future__ import annotations

import pytest

from pluggably.domain.catalog import LocalModel
from pluggably.errors import Conflict, ModelNotFound
from pluggably.gateway.catalog import Catalog


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
        ("x" * 100_000, "GET /v1/models"),
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
