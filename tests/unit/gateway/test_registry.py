"""Registering, listing and removing models, over a pool that only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from snapshots import Facts, snapshot

from pluggably.domain.catalog import (
    Capabilities,
    Description,
    LocalModel,
    Model,
    Prospect,
    RemoteModel,
    Route,
    RouteSpec,
    Standing,
    WorkerReport,
)
from pluggably.errors import Conflict, InvalidRequest, ModelNotFound, ModelUnavailable, PermissionDenied, PluggablyError
from pluggably.gateway.catalog import Catalog
from pluggably.gateway.registry import Registry
from pluggably.gateway.snapshot import Live

T = TypeVar("T")


class Pool:
    """Remembers what it was told. A model whose file says `broken` cannot be described. `meanwhile` happens once, while
    a model is described."""

    def __init__(self) -> None:
        self.models: dict[str, LocalModel] = {}
        self.loaded: list[str] = []
        self.described: list[str] = []
        self.busy: set[str] = set()
        self.meanwhile: Callable[[], None] | None = None

    def add(self, model: LocalModel) -> None:
        if "bad" in model.options:
            raise InvalidRequest("bad options", pointer="/options")
        assert model.id not in self.models
        self.models[model.id] = model

    async def remove(self, model_id: str, *, at_once: bool = False) -> None:
        await asyncio.sleep(0)
        del self.models[model_id]

    async def load(self, model_id: str) -> None:
        self.loaded.append(model_id)

    async def unload(self, model_id: str) -> None:
        self.loaded.remove(model_id)

    async def describe(self, model_id: str) -> Description:
        self.described.append(model_id)
        weights = self._model(model_id).weights
        await asyncio.sleep(0)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        if weights is not None and Path(weights).read_text() == "broken":
            raise ModelUnavailable("the file is broken")
        return Description(
            name="Tiny",
            bytes=4,
            context_tokens=128,
            output_modalities=("embedding",) if "embed" in model_id else ("text",),
            capabilities=Capabilities(tools=True),
        )

    def _model(self, model_id: str) -> LocalModel:
        if model_id not in self.models:
            raise ModelNotFound(f"There is no local model {model_id}.")
        return self.models[model_id]

    def standing(self, model_id: str) -> Standing:
        self._model(model_id)
        return Standing(status="loaded" if model_id in self.loaded else "available")

    def workers(self) -> list[WorkerReport]:
        return [
            WorkerReport(
                model=name,
                runner="toy",
                pid=1,
                state="ready",
                slots=2,
                slots_in_use=1 if name in self.busy else 0,
                queue_length=0,
                started_at=datetime.now(UTC),
                idle_s=None,
                memory_bytes=None,
            )
            for name in self.loaded
        ]


class Kept:
    """Registrations in memory; may be told to fail."""

    def __init__(self) -> None:
        self.models: dict[str, LocalModel] = {}
        self.error: Exception | None = None

    async def add(self, model: LocalModel) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.models[model.id] = model

    async def remove(self, model_id: str) -> None:
        await asyncio.sleep(0)
        del self.models[model_id]


class Models:
    """A registry with a folder of files."""

    def __init__(self, tmp_path: Path, *, folders: bool = True) -> None:
        self.folder = tmp_path / "models"
        self.folder.mkdir()
        self.outside = tmp_path / "outside.gguf"
        for path in (self.folder / "tiny.gguf", self.outside):
            path.write_text("tiny")
        (self.folder / "broken.gguf").write_text("broken")
        mine = LocalModel(id="mine", runner="toy", weights=str(self.folder / "tiny.gguf"))
        self.pool, self.kept = Pool(), Kept()
        self.pool.add(mine)
        self.catalog = Catalog({"far": "remote"}, {"quick": "mine", "smart": "far/x"}, [mine])
        allowed = [self.folder] if folders else []
        current = snapshot(catalog=self.catalog, folders=tuple(allowed))
        self.live = Live(current)
        self.registry = Registry(self.live, self.pool, self.kept, ["toy", "command"])

    async def register(self, model_id: str = "new", source: str | None = None, **fields: Any) -> Model:
        given: dict[str, Any] = {
            "runner": "toy",
            "slots": 3,
            "queue": 4,
            "context_tokens": 64,
            "keep_alive_s": 5.0,
            "options": {},
            **fields,
        }
        return await self.registry.register(model_id, source or f"file:{self.folder}/tiny.gguf", **given)


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(tmp_path)


def run(main: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(main)


def refused(models: Models, error: type[PluggablyError], model_id: str = "new", source: str | None = None) -> str:
    """Registers what must be refused, and checks that nothing is left of it."""
    before = (models.catalog.names(), dict(models.pool.models), dict(models.kept.models))
    with pytest.raises(error) as caught:
        run(models.register(model_id, source))
    assert (models.catalog.names(), models.pool.models, models.kept.models) == before
    return caught.value.detail


def test_a_registered_model_is_there(models: Models) -> None:
    """It is kept, listed with what is known of it, and can be asked for."""
    model = run(models.register())
    assert (model.id, model.name, model.status, model.source, model.free) == ("new", "Tiny", "available", "api", True)
    assert (model.bytes, model.context_tokens, model.capabilities.tools) == (4, 128, True)
    kept = models.kept.models["new"]
    assert (kept.slots, kept.queue, kept.context_tokens, kept.keep_alive_s) == (3, 4, 64, 5.0)
    assert kept.weights == str((models.folder / "tiny.gguf").resolve())
    assert models.catalog.resolve("new").targets[0].backend == "new"
    assert [one.id for one in run(models.registry.models())] == ["mine", "new", "quick", "smart"]


def test_a_removed_model_is_gone(models: Models) -> None:
    """It is forgotten everywhere but on the disk, and may come again."""
    run(models.register())
    run(models.registry.remove("new", force=False))
    assert "new" not in models.catalog.names()
    assert "new" not in models.pool.models
    assert "new" not in models.kept.models
    assert (models.folder / "tiny.gguf").exists()
    run(models.register())


@pytest.mark.parametrize(
    ("name", "error"), [("mine", Conflict), ("quick", Conflict), ("none", ModelNotFound), ("far/x", ModelNotFound)]
)
def test_what_the_config_defines_stays(models: Models, name: str, error: type[Exception]) -> None:
    """Only what the API registered can be removed through it."""
    with pytest.raises(error):
        run(models.registry.remove(name, force=True))


def test_a_model_that_runs_is_removed_by_force_only(models: Models) -> None:
    """A model in use is not taken away without being told to."""
    run(models.register())
    run(models.registry.load("new"))
    models.pool.busy.add("new")
    with pytest.raises(Conflict):
        run(models.registry.remove("new", force=False))
    run(models.registry.remove("new", force=True))
    assert "new" not in models.catalog.names()


@pytest.mark.parametrize("model_id", ["mine", "quick", "far/x"])
def test_a_taken_id_is_a_conflict(models: Models, model_id: str) -> None:
    """An id that means something already is refused, and nothing is left behind."""
    refused(models, Conflict, model_id)


@pytest.mark.parametrize("model_id", ["load", "unload"])
def test_an_id_that_is_a_path_is_refused(models: Models, model_id: str) -> None:
    """A model could not be read or removed under a path that means something else."""
    refused(models, InvalidRequest, model_id)


@pytest.mark.parametrize("runner", ["command", "nothing", ""])
def test_a_runner_that_may_not_be_chosen(models: Models, runner: str) -> None:
    """Commands come from the config file only; what is no runner is refused, too, unnamed."""
    with pytest.raises(InvalidRequest) as caught:
        run(models.register(runner=runner))
    assert caught.value.pointer == "/runner"
    assert "nothing" not in caught.value.detail


def make_links(models: Models) -> None:
    (models.folder / "deep").mkdir()
    (models.folder / "deep" / "tiny.gguf").write_text("tiny")
    (models.folder / "out").symlink_to(models.outside)
    (models.folder / "up").symlink_to(models.folder.parent)
    (models.folder / "loop").symlink_to("loop")
    (models.folder / "in").symlink_to("tiny.gguf")
    (models.folder.parent / "models-twin").mkdir()
    (models.folder.parent / "models-twin" / "tiny.gguf").write_text("tiny")


@pytest.mark.parametrize(
    "source",
    [
        "file:{folder}/none.gguf",
        "file:{folder}",
        "file:{folder}/",
        "file:{folder}/deep",
        "file:{folder}/out",
        "file:{folder}/up/outside.gguf",
        "file:{folder}/loop",
        "file:{folder}/loop/x",
        "file:{folder}/../outside.gguf",
        "file:{folder}/deep/../../outside.gguf",
        "file:{folder}-twin/tiny.gguf",
        "file:{folder}/tiny.gguf\0",
        "file:{folder}/" + "a" * 300,
        "file:{folder}/tiny.gguf/x",
        "file:tiny.gguf",
        "file:models/tiny.gguf",
        "file:~/tiny.gguf",
        "file://host/tiny.gguf",
        "file:/dev/zero",
        "file:",
        "file",
        "",
        "{folder}/tiny.gguf",
        "hf:org/repo",
        "https://example.org/x.gguf",
    ],
)
def test_a_source_outside_is_refused(models: Models, source: str) -> None:
    """Whatever leads out of the allowed folders, or to no file, is refused, all in the same words."""
    make_links(models)
    detail = refused(models, InvalidRequest, source=source.format(folder=models.folder) or " ")
    assert str(models.folder) not in detail


@pytest.mark.parametrize(
    "source",
    [
        "file:{folder}/deep/tiny.gguf",
        "file:{folder}/in",
        "file:{folder}/tiny.gguf/",
        "file:{folder}/deep/../tiny.gguf",
        "file://{folder}/in",
    ],
)
def test_a_source_inside_is_taken(models: Models, source: str) -> None:
    """Folders, links and dots that stay inside are followed, and the real path is kept."""
    make_links(models)
    run(models.register(source=source.format(folder=models.folder)))
    weights = models.kept.models["new"].weights
    assert weights is not None
    assert Path(weights).resolve() == Path(weights)


def test_without_folders_nothing_is_taken(tmp_path: Path) -> None:
    """Where the operator allows no folder, the API registers nothing."""
    refused(Models(tmp_path, folders=False), PermissionDenied)


def test_what_cannot_be_described_is_not_registered(models: Models) -> None:
    """A file that no runner can read is told now, not at the first request."""
    refused(models, ModelUnavailable, source=f"file:{models.folder}/broken.gguf")


def test_what_cannot_be_kept_is_not_registered(models: Models) -> None:
    """A database that fails leaves nothing behind."""
    models.kept.error = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        run(models.register())
    assert "new" not in models.pool.models
    assert "new" not in models.catalog.names()


def test_options_that_are_wrong_leave_nothing(models: Models) -> None:
    """What the pool refuses is not registered."""
    with pytest.raises(InvalidRequest):
        run(models.register(options={"bad": 1}))
    assert "new" not in models.pool.models
    assert "new" not in models.catalog.names()


def test_of_two_that_register_at_once_one_wins(models: Models) -> None:
    """Twenty registrations of one id at once: one is taken, the others are conflicts."""

    async def main() -> list[Model | BaseException]:
        return await asyncio.gather(*(models.register() for _ in range(20)), return_exceptions=True)

    results = run(main())
    assert sum(isinstance(result, Model) for result in results) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    assert set(models.kept.models) == {"new"}


def test_registering_and_removing_at_once_stays_whole(models: Models) -> None:
    """However registrations and removals of one id interleave, the three places agree afterwards."""

    async def main() -> None:
        await asyncio.gather(
            *(models.register() if turn % 2 else models.registry.remove("new", force=True) for turn in range(40)),
            return_exceptions=True,
        )

    run(main())
    there = "new" in models.catalog.names()
    assert there == ("new" in models.pool.models) == ("new" in models.kept.models)


def test_a_cancelled_registration_leaves_nothing(models: Models) -> None:
    """A client that leaves in the middle of a registration leaves no half of it."""

    async def main() -> None:
        for steps in range(1, 8):
            task = asyncio.create_task(models.register())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done = await asyncio.gather(task, return_exceptions=True)
            there = "new" in models.catalog.names()
            assert there == ("new" in models.pool.models) == ("new" in models.kept.models), (steps, done)
            if there:
                await models.registry.remove("new", force=True)

    run(main())


def test_models_that_are_somewhere_else(models: Models) -> None:
    """An alias stands for what it means, under its own name; a provider's model is known by its name only."""
    quick = run(models.registry.get("quick"))
    assert (quick.id, quick.name, quick.location, quick.source) == ("quick", "Tiny", "local", "file")
    smart = run(models.registry.get("smart"))
    assert (smart.location, smart.backends, smart.free, smart.source) == ("remote", ["far"], None, "file")
    other = run(models.registry.get("far/y"))
    assert (other.id, other.status, other.source) == ("far/y", "available", "discovered")
    with pytest.raises(ModelNotFound):
        run(models.registry.get("none"))


def test_a_model_that_its_provider_does_not_list_is_doubted(models: Models) -> None:
    """With the reason; and who is held to a location is told of it only what is there."""
    far = Facts(RemoteModel(id="y"))
    models.live.current = snapshot(catalog=Catalog({"far": "remote"}, {}), remote={"far": far})
    listed, doubted = run(models.registry.get("far/y")), run(models.registry.get("far/z"))
    assert (listed.status, listed.detail) == ("available", None)
    assert (doubted.status, doubted.detail) == ("unavailable", "z is not listed")
    with pytest.raises(ModelNotFound, match="where it must stay"):
        run(models.registry.get("far/y", "local"))


def test_a_model_that_cannot_be_read_is_listed_with_its_error(models: Models) -> None:
    """One broken file does not spoil the list."""
    (models.folder / "tiny.gguf").write_text("broken")
    listed = run(models.registry.models())
    assert (listed[0].id, listed[0].status, listed[0].detail) == ("mine", "error", "the file is broken")
    assert [model.id for model in listed] == ["mine", "quick", "smart"]


def test_a_model_that_is_loaded_stays_so_without_its_file(models: Models) -> None:
    """It still answers; that its file has gone is told beside."""
    run(models.registry.load("mine"))
    (models.folder / "tiny.gguf").write_text("broken")
    model = run(models.registry.get("mine"))
    assert (model.status, model.detail) == ("loaded", "the file is broken")


def broken_first(models: Models, *targets: str) -> Route:
    """A route in a snapshot of its own: a model that cannot be described, then others."""
    known = [LocalModel(id=name, runner="toy", weights=str(models.folder / file)) for name, file in FILES.items()]
    models.pool.models = {model.id: model for model in known}
    catalog = Catalog({"far": "remote"}, {}, known, {"chat": RouteSpec(targets=targets)})
    models.live.current = snapshot(catalog=catalog)
    return catalog.resolve("chat")


FILES = {"bad": "broken.gguf", "worse": "broken.gguf", "fine": "tiny.gguf"}


@pytest.mark.parametrize(
    ("targets", "made"),
    [(("bad", "fine"), ["text"]), (("fine", "bad"), ["text"]), (("bad", "far/x"), None)],
)
def test_a_broken_target_leaves_the_others_of_its_route(models: Models, targets: Any, made: Any) -> None:
    """A model whose file is broken makes nothing; what the others make counts."""
    broken_first(models, *targets)
    assert run(models.registry.meaning("chat"))[1] == made


def test_a_route_of_broken_targets_is_unavailable(models: Models) -> None:
    """Where no target can be described, the first one's trouble is told."""
    broken_first(models, "bad", "worse")
    with pytest.raises(ModelUnavailable, match="the file is broken"):
        run(models.registry.meaning("chat"))


def test_what_stands_against_a_target_is_told(models: Models) -> None:
    """Beside its place in the order; a target that is well has no word of it."""
    route = broken_first(models, "bad", "fine")
    prospects = [
        Prospect(backend=one.backend, model=one.model, location="local", position=i, reason="in order")
        for i, one in enumerate(route.targets, 1)
    ]
    told = run(models.registry.with_troubles(route, prospects))
    assert [(one.position, one.reason) for one in told] == [
        (1, "in order; it would fail now: the file is broken"),
        (2, "in order"),
    ]


def test_a_provider_whose_list_is_missing_is_named(models: Models) -> None:
    """With its reason, and only to those who may use it."""
    broken, well = Facts(), Facts()
    broken.detail = "no connection"
    catalog = Catalog({"far": "remote", "near": "local"}, {})
    models.live.current = snapshot(catalog=catalog, remote={"far": broken, "near": well})
    assert models.registry.list_problems() == {"far": "no connection"}
    assert models.registry.list_problems("local") == {}
    assert models.registry.list_problems("remote") == {"far": "no connection"}


def swap_while_described(models: Models, new: Catalog) -> None:
    """At the next description of a local model another snapshot becomes current, in which the pool has only `new`'s."""

    def swap() -> None:
        models.live.current = snapshot(catalog=new)
        models.registry.forget_all()
        models.pool.models = {model.id: model for model in new.locals()}

    models.pool.meanwhile = swap


def test_a_name_means_what_it_means_in_one_snapshot(models: Models) -> None:
    """Where a reload comes while the weights are read, the name is looked up again in the new config."""

    async def main() -> None:
        swap_while_described(models, Catalog({"near": "remote"}, {"mine": "near/y"}))
        route, made = await models.registry.meaning("mine")
        assert ([target.backend for target in route.targets], made) == (["near"], None)

    run(main())


def test_a_name_that_a_reload_takes_away_is_not_found(models: Models) -> None:
    """The new config counts, also for a request that had begun to ask what the name means."""

    async def main() -> None:
        swap_while_described(models, Catalog({}, {}))
        with pytest.raises(ModelNotFound):
            await models.registry.meaning("mine")

    run(main())


def test_a_list_that_a_reload_overtakes_is_given(models: Models) -> None:
    """Of the models of the old config those that are gone are left out; the list does not fail for them."""

    async def main() -> None:
        await models.register("zebra")
        mine = models.catalog.local("mine")
        assert mine is not None
        swap_while_described(models, Catalog({"far": "remote"}, {}, [mine]))
        assert [model.id for model in await models.registry.models()] == ["mine", "quick", "smart"]
        await models.registry.get("mine")

    run(main())


def test_what_a_target_makes_is_asked_once(models: Models) -> None:
    """The weights are read once; a provider's model is not known."""

    async def main() -> None:
        await models.register("embed")
        models.pool.described.clear()
        for _ in range(3):
            target = models.catalog.resolve("embed")
            assert await models.registry.modalities(target) == ["embedding"]
        assert models.pool.described == ["embed"]
        assert await models.registry.modalities(models.catalog.resolve("far/x")) is None

    run(main())


def test_loading_is_for_local_models(models: Models) -> None:
    """A local model, or an alias of one, is loaded and unloaded; a provider's is not ours to load."""
    run(models.registry.load("quick"))
    assert models.pool.loaded == ["mine"]
    assert run(models.registry.get("mine")).status == "loaded"
    assert [worker.model for worker in models.registry.workers()] == ["mine"]
    run(models.registry.unload("mine"))
    assert models.pool.loaded == []
    for name in ("far/x", "smart"):
        with pytest.raises(InvalidRequest) as caught:
            run(models.registry.load(name))
        assert caught.value.pointer == "/model"
    with pytest.raises(ModelNotFound):
        run(models.registry.unload("none"))


def test_a_key_that_is_held_here_sees_what_it_may_ask_for(models: Models) -> None:
    """A route that has a target here is there for it, as a local one; what only a provider serves is not."""
    mine = models.pool.models["mine"]
    mixed = RouteSpec(targets=("mine", "far/x"))
    catalog = Catalog({"far": "remote"}, {"smart": "far/x"}, [mine], {"mixed": mixed})
    remote = {"far": Facts(RemoteModel(id="x"))}
    registry = Registry(Live(snapshot(catalog=catalog, remote=remote)), models.pool, models.kept, ["toy"])
    seen = {model.id: model.location for model in run(registry.models("local"))}
    assert seen == {"mine": "local", "mixed": "local"}
    assert set(run_ids(registry)) == {"mine", "mixed", "smart", "far/x"}


def run_ids(registry: Registry) -> list[str]:
    return [model.id for model in run(registry.models())]
