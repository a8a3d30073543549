"""The pool's decisions, with workers that are no processes: who gets a slot, who waits, and when a worker ends."""

import asyncio
import itertools
import math
from contextlib import aclosing
from typing import Any, ClassVar

import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from pluggably.domain.catalog import Description, LocalModel, Target
from pluggably.domain.generation import Progress
from pluggably.errors import (
    Conflict,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    ShuttingDown,
)
from pluggably.runners.pool import Pool, PoolSettings
from pluggably.runners.runner import Launch
from pluggably.wire.endpoint import Endpoint

WAIT_S = 5.0


class FakeWorker:
    """A worker whose life the test decides."""

    def __init__(self, launch, on_exit):
        self.launch, self._on_exit = launch, on_exit
        self.state, self.pid, self.exit_code, self.log = "starting", 4_000_000, None, []
        self.may_become_ready, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.start_error = None

    async def start(self):
        try:
            await self.may_become_ready.wait()
            if self.start_error is not None:
                raise ModelUnavailable(self.start_error)
        except BaseException:
            self.state = "exited"
            raise
        self.state = "ready"
        return "http://127.0.0.1:1"

    async def stop(self, grace_s=0.0):
        self.state = "stopping"
        await self.may_end.wait()
        self.state = "exited"
        self._on_exit(self)

    def crash(self, line="E the roof fell in"):
        self.log.append(line)
        self.state, self.exit_code = "exited", -9
        self._on_exit(self)

    def how_it_ended(self):
        return f"signal {-self.exit_code}"

    def last_words(self):
        return f"Its log says: {self.log[-1]}" if self.log else None


class FakeRunner:
    class Options(Struct, forbid_unknown_fields=True):
        threads: int = 1

    def __init__(self):
        self.placements = []
        self.error = None

    def describe(self, model, options):
        if self.error is not None:
            raise self.error
        return Description(context_tokens=64)

    def launch(self, model, options, description, placement):
        self.placements.append(placement)
        return Launch(command=["none"], model="own-name", headers={"Authorization": f"Bearer {placement.secret}"})


class FakeCodec:
    class Options(Struct, forbid_unknown_fields=True):
        pass

    accepts: ClassVar[Any] = {}


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class House:
    """A pool and what a test turns in it."""

    def __init__(self, ready=True, **settings):
        self.ready = ready
        self.workers = []
        self.runner, self.clock = FakeRunner(), Clock()
        self.pool = Pool(
            {"fake": self.runner},
            {"openai": FakeCodec},
            http=None,
            environment={},
            settings=PoolSettings(progress_every_s=0.01, unload_grace_s=WAIT_S, **settings),
            clock=self.clock,
            make_worker=self.make_worker,
        )

    def make_worker(self, launch, port, on_exit):
        worker = FakeWorker(launch, on_exit)
        if self.ready:
            worker.may_become_ready.set()
        self.workers.append(worker)
        return worker

    def add(self, name="m", **fields):
        self.pool.add(LocalModel(id=name, runner="fake", **fields))
        return self

    def lease(self, name="m", keep_alive_s=None):
        return aclosing(self.pool.lease(Target(backend="fake", model=name, location="local"), keep_alive_s))

    async def endpoint(self, lease):
        async for step in lease:
            if isinstance(step, Endpoint):
                return step
        raise AssertionError("the lease ended without an endpoint")

    async def use(self, **how):
        async with self.lease(**how) as lease:
            return await self.endpoint(lease)

    async def until(self, is_so):
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                await asyncio.sleep(0.001)

    async def worker_number(self, number):
        await self.until(lambda: len(self.workers) >= number)
        return self.workers[number - 1]

    @property
    def report(self):
        (report,) = self.pool.workers()
        return report


def run(scenario):
    async def bounded():
        async with asyncio.timeout(WAIT_S):
            await scenario()

    asyncio.run(bounded())


def test_first_requests_share_one_start():
    """Requests that come together for a model that is not loaded start one worker and all get it."""

    async def scenario():
        house = House(ready=False).add(slots=3)
        tasks = [asyncio.create_task(house.use()) for _ in range(3)]
        worker = await house.worker_number(1)
        assert house.pool.standing("m").status == "loading"
        worker.may_become_ready.set()
        endpoints = await asyncio.gather(*tasks)
        assert len(house.workers) == 1
        assert {endpoint.base_url for endpoint in endpoints} == {"http://127.0.0.1:1/v1"}
        assert endpoints[0].model == "own-name"
        assert endpoints[0].headers["Authorization"].startswith("Bearer ")
        assert house.pool.standing("m").status == "loaded"

    run(scenario)


def test_how_a_model_was_last_reached_is_remembered():
    """Before its first worker nothing is known of a model's wire; after it, also once the worker has gone. It has the
    name by which it is asked for, as a lease has."""

    async def scenario():
        house = House().add()
        known = Target(backend="m", model="m", location="local")
        unknown = Target(backend="fake", model="n", location="local")
        assert house.pool.last_endpoint(known) is None
        endpoint = await house.use()
        await house.pool.unload("m")
        last = house.pool.last_endpoint(known)
        assert (last.codec, last.backend) == (endpoint.codec, "m")
        assert house.pool.last_endpoint(unknown) is None

    run(scenario)


def test_waiting_tells_progress():
    """A lease tells that the model loads, then its place in the queue, until it has its endpoint."""

    async def scenario():
        house = House(ready=False).add(slots=1)
        async with house.lease() as first, house.lease() as second:
            assert (await anext(first)).stage == "loading"
            waits = await anext(second)
            assert isinstance(waits, Progress)
            (await house.worker_number(1)).may_become_ready.set()
            await house.endpoint(first)
            waits = await anext(second)
            assert (waits.stage, waits.position) == ("queued", 1)
            await first.aclose()
            assert isinstance(await house.endpoint(second), Endpoint)

    run(scenario)


def test_slots_are_given_in_order_of_arrival():
    """With one slot, leases get it in the order in which they came."""

    async def scenario():
        house = House().add(slots=1)
        order = []

        async def one(number):
            async with house.lease() as lease:
                await house.endpoint(lease)
                assert house.report.slots_in_use == 1
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(number) for number in range(6)))
        assert order == list(range(6))

    run(scenario)


def test_full_queue_is_refused():
    """Beyond the slots and the queue a request is refused as overloaded, with a time to come back."""

    async def scenario():
        house = House(ready=False).add(slots=1, queue=1)
        async with house.lease() as first, house.lease() as second, house.lease() as third:
            await anext(first)
            await anext(second)
            with pytest.raises(Overloaded, match="full") as refused:
                await anext(third)
            assert refused.value.retry_after_s >= 1

    run(scenario)


def test_a_model_without_a_queue_still_starts():
    """`queue: 0` means that nobody waits behind the slots, not that a start cannot be waited for."""

    async def scenario():
        house = House().add(slots=1, queue=0)
        assert isinstance(await house.use(), Endpoint)

    run(scenario)


def test_start_goes_on_without_the_client_that_caused_it():
    """A client that leaves while the model loads takes nothing from those who wait with it."""

    async def scenario():
        house = House(ready=False).add()
        first, second = asyncio.create_task(house.use()), asyncio.create_task(house.use())
        worker = await house.worker_number(1)
        first.cancel()
        await asyncio.wait((first,))
        worker.may_become_ready.set()
        assert isinstance(await second, Endpoint)
        assert len(house.workers) == 1

    run(scenario)


@pytest.mark.parametrize("ready", [True, False])
def test_a_cancelled_lease_never_keeps_a_slot(ready):
    """Wherever a request is cancelled, its slot and its place in the queue come back."""

    async def scenario():
        house = House(ready=ready, first_backoff_s=0.0).add(slots=1, queue=8)

        async def ask():
            async with house.lease() as lease:
                await house.endpoint(lease)
                await asyncio.sleep(0)

        for steps in itertools.chain(range(25), range(25)):
            tasks = [asyncio.create_task(ask()) for _ in range(3)]
            for _ in range(steps):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if house.pool.workers():
                assert (house.report.slots_in_use, house.report.queue_length) == (0, 0)
        for worker in house.workers:
            worker.may_become_ready.set()
        house.ready = True
        assert isinstance(await house.use(), Endpoint)
        assert (house.report.slots_in_use, house.report.queue_length) == (0, 0)

    run(scenario)


def test_a_lease_that_is_granted_and_cancelled_at_once_gives_its_slot_back():
    """A grant that reaches a client in the moment of its leaving goes to the next in the queue."""

    async def scenario():
        house = House().add(slots=1)
        async with house.lease() as first:
            await house.endpoint(first)
            second = asyncio.create_task(house.use())
            third = asyncio.create_task(house.use())
            await house.until(lambda: house.report.queue_length == 2)
            await first.aclose()
            second.cancel()
            assert isinstance(await third, Endpoint)
            await asyncio.wait((second,))
        assert house.report.slots_in_use == 0

    run(scenario)


def test_a_crash_is_told_and_waited_out():
    """After a second crash requests are refused with how it ended and the time left, twice as long after each, then
    served."""

    async def scenario():
        house = House().add()
        await house.use()
        house.workers[-1].crash()
        await house.use()
        for number, wait_s in enumerate((1, 2, 4, 8), start=2):
            house.workers[-1].crash()
            standing = house.pool.standing("m")
            assert standing.status == "error"
            assert "signal 9" in standing.detail
            with pytest.raises(ModelUnavailable, match="signal 9") as refused:
                await house.use()
            assert refused.value.retry_after_s == wait_s
            house.clock.now_s += wait_s
            await house.use()
            assert len(house.workers) == number + 1
        house.clock.now_s += 60
        house.workers[-1].crash()
        assert isinstance(await house.use(), Endpoint), "a worker that was well for long is as good as a new one"

    run(scenario)


def test_who_waits_at_a_crash_is_served_by_the_next_worker():
    """One crash refuses nobody: those in the queue have the worker that follows. At a second one they are refused."""

    async def scenario():
        house = House().add(slots=1)
        async with house.lease() as lease:
            await house.endpoint(lease)
            waiting = [asyncio.create_task(house.use()) for _ in range(2)]
            await house.until(lambda: house.report.queue_length == 2)
            house.workers[0].crash()
            assert len([await task for task in waiting]) == len(house.workers) == 2
        async with house.lease() as lease:
            await house.endpoint(lease)
            waiting = asyncio.create_task(house.use())
            await house.until(lambda: house.report.queue_length == 1)
            house.workers[1].crash()
            with pytest.raises(ModelUnavailable):
                await waiting

    run(scenario)


def test_what_a_worker_says_is_for_operators():
    """They are told why it ended, and nobody else is. Once it has had a request, below the level debug nothing that it
    says is logged: it may quote the request."""

    async def scenario():
        house = House().add()
        await house.pool.load("m")
        house.workers[0].crash("E the roof fell in")
        standing = house.pool.standing("m")
        assert "roof" not in standing.detail and "the roof fell in" in standing.for_operators
        await house.use()
        house.workers[1].crash("error: request my prompt")
        standing = house.pool.standing("m")
        assert standing.for_operators == "Its log says: error: request my prompt"
        with pytest.raises(ModelUnavailable) as refused:
            await house.use()
        assert "prompt" not in f"{standing.detail} {refused.value.detail}"
        assert refused.value.for_operators == standing.for_operators

    with capture_logs() as lines:
        run(scenario)
    ended = [line for line in lines if line["event"] == "worker_ended"]
    assert "the roof fell in" in str(ended[0]) and "signal 9" in str(ended[1])
    assert [line["log_level"] for line in lines if "my prompt" in str(line)] == ["debug"]


def test_backoff_is_bounded():
    """However often a worker crashes, a minute is the longest wait."""

    async def scenario():
        house = House().add()
        for _ in range(80):
            await house.use()
            house.workers[-1].crash()
            house.clock.now_s += 60

    run(scenario)


def test_a_lease_on_a_dead_worker_holds_no_slot_of_the_next():
    """A client that has not yet noticed the crash does not stand in the way of the worker that follows."""

    async def scenario():
        house = House(first_backoff_s=0.0).add(slots=1)
        async with house.lease() as stale:
            await house.endpoint(stale)
            house.workers[0].crash()
            async with house.lease() as fresh:
                await house.endpoint(fresh)
                await stale.aclose()
                assert house.report.slots_in_use == 1
            assert house.report.slots_in_use == 0

    run(scenario)


def test_a_failed_start_is_told_to_all_who_wait():
    """Everyone who waits for a start that fails learns why, and the next request waits out the back-off."""

    async def scenario():
        house = House(ready=False).add()
        tasks = [asyncio.create_task(house.use()) for _ in range(3)]
        worker = await house.worker_number(1)
        worker.start_error = "it did not load"
        worker.may_become_ready.set()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, ModelUnavailable)
            assert (result.detail, result.retry_after_s) == ("it did not load", 1)
        with pytest.raises(ModelUnavailable):
            await house.use()
        assert len(house.workers) == 1
        house.ready = True
        await house.pool.load("m")
        assert len(house.workers) == 2, "an operator's load does not wait for the back-off"

    run(scenario)


def test_missing_weights_need_no_backoff():
    """What fails before there is a process is looked at again by the next request."""

    async def scenario():
        house = House().add()
        house.runner.error = ModelUnavailable("there is no file")
        with pytest.raises(ModelUnavailable, match="no file"):
            await house.use()
        house.runner.error = None
        assert isinstance(await house.use(), Endpoint)

    run(scenario)


def test_a_broken_runner_is_an_unavailable_model():
    """Whatever a plugin raises, those who wait get a house error, and the pool goes on."""

    async def scenario():
        house = House().add()
        house.runner.error = ZeroDivisionError()
        with pytest.raises(ModelUnavailable, match="ZeroDivisionError"):
            await house.use()

    run(scenario)


def test_idle_workers_end():
    """A worker ends when its last request's keep-alive is over, and the next request starts another."""

    async def scenario():
        house = House(keep_alive_s=math.inf).add()
        await house.use()
        assert house.report.idle_s is not None
        await house.use(keep_alive_s=0)
        await house.until(lambda: not house.pool.workers())
        assert house.workers[0].state == "exited"
        assert house.pool.standing("m").status == "available"
        await house.use(keep_alive_s=0.02)
        assert len(house.workers) == 2
        await house.until(lambda: not house.pool.workers())

    run(scenario)


def test_a_request_during_the_end_of_idleness_gets_a_new_worker():
    """A request that comes while the idle worker is being ended is not lost between the two."""

    async def scenario():
        house = House().add()
        for _ in range(20):
            await house.use(keep_alive_s=0)
            await asyncio.sleep(0)
            assert isinstance(await house.use(keep_alive_s=0), Endpoint)

    run(scenario)


def test_a_busy_worker_is_not_idle():
    """Keep-alive counts from the end of the last generation, not from its beginning."""

    async def scenario():
        house = House(keep_alive_s=0.0).add()
        async with house.lease() as lease:
            await house.endpoint(lease)
            for _ in range(5):
                await asyncio.sleep(0)
            assert house.report.state == "ready"
            assert house.report.idle_s is None

    run(scenario)


def test_unload_lets_running_generations_end():
    """An unload refuses those who wait, and ends the worker when the last generation has ended."""

    async def scenario():
        house = House().add(slots=1)
        async with house.lease() as running:
            await house.endpoint(running)
            waiting = asyncio.create_task(house.use())
            await house.until(lambda: house.report.queue_length == 1)
            unload = asyncio.create_task(house.pool.unload("m"))
            with pytest.raises(ModelUnavailable, match="unloaded"):
                await waiting
            assert house.workers[0].state == "ready"
            late = asyncio.create_task(house.use())
            await asyncio.sleep(0)
        await unload
        assert house.workers[0].state == "exited"
        assert isinstance(await late, Endpoint), "who came during the unload gets a new worker"

    run(scenario)


@pytest.mark.parametrize("steps", range(4))
def test_unload_during_a_load(steps):
    """An operator's load that is undone by an unload ends with an error, not as if its caller had been cancelled."""

    async def scenario():
        house = House(ready=False).add()
        load = asyncio.create_task(house.pool.load("m"))
        await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0.001)
        await house.pool.unload("m")
        with pytest.raises(ModelUnavailable):
            await load

    run(scenario)


@pytest.mark.parametrize("steps", range(8))
def test_unload_during_a_start(steps):
    """An unload in the middle of a start ends it, tells those who wait, and leaves the model ready to start again."""

    async def scenario():
        house = House(ready=False).add()
        waiting = asyncio.create_task(house.use())
        await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0.001)
        await house.pool.unload("m")
        with pytest.raises(ModelUnavailable, match="unloaded"):
            await waiting
        assert not house.pool.workers()
        house.ready = True
        assert isinstance(await house.use(), Endpoint)

    run(scenario)


def test_closing_refuses_and_waits():
    """A closing pool refuses new and waiting requests, lets running ones end, and starts nothing any more."""

    async def scenario():
        house = House().add(slots=1)
        async with house.lease() as running:
            await house.endpoint(running)
            waiting = asyncio.create_task(house.use())
            await house.until(lambda: house.report.queue_length == 1)
            closing = asyncio.create_task(house.pool.close())
            with pytest.raises(ShuttingDown):
                await waiting
            with pytest.raises(ShuttingDown):
                await house.use()
            with pytest.raises(ShuttingDown):
                await house.pool.load("m")
            assert not closing.done()
        await closing
        assert [worker.state for worker in house.workers] == ["exited"]

    run(scenario)


def test_closing_waits_no_longer_than_asked():
    """A generation that does not end in time is cut."""

    async def scenario():
        house = House().add()
        async with house.lease() as running:
            await house.endpoint(running)
            await house.pool.close(grace_s=0.01)
            assert house.workers[0].state == "exited"

    run(scenario)


def test_closing_during_the_end_of_idleness_starts_nothing():
    """A request that waits for a worker that is just ending is refused by the close, not started after it."""

    async def scenario():
        house = House().add()
        await house.pool.load("m")
        house.workers[0].may_end.clear()
        await house.use(keep_alive_s=0)
        await house.until(lambda: house.workers[0].state == "stopping")
        waiting = asyncio.create_task(house.use())
        await house.until(lambda: house.report.queue_length == 1)
        closing = asyncio.create_task(house.pool.close())
        await asyncio.sleep(0)
        house.workers[0].may_end.set()
        await closing
        with pytest.raises(ShuttingDown):
            await waiting
        assert len(house.workers) == 1

    run(scenario)


def test_models_come_and_go():
    """Models can be added and removed while the pool runs; a wrong one is refused with its reason."""

    async def scenario():
        house = House().add()
        with pytest.raises(Conflict):
            house.add()
        with pytest.raises(InvalidRequest, match="There is no runner") as refused:
            house.pool.add(LocalModel(id="x", runner="none"))
        assert refused.value.pointer == "/runner"
        with pytest.raises(InvalidRequest, match="colour"):
            house.add("x", options={"colour": 1})
        await house.use()
        await house.pool.remove("m")
        assert house.workers[0].state == "exited"
        with pytest.raises(ModelNotFound):
            await house.use()
        house.add()
        assert [model.id for model in house.pool.models()] == ["m"]

    run(scenario)


def test_a_missing_codec_is_told():
    """A launch that names a codec that is not installed makes the model unavailable, before any process."""

    async def scenario():
        house = House()
        house.pool = Pool({"fake": house.runner}, {}, http=None, environment={}, make_worker=house.make_worker)
        house.add()
        with pytest.raises(ModelUnavailable, match="codec"):
            await house.use()
        assert not house.workers

    run(scenario)


def test_workers_share_the_cores():
    """Each start gets the cores divided by the workers that run, and a secret of its own."""

    async def scenario():
        house = House(cores=8).add("a").add("b").add("c")
        for name in "abc":
            await house.use(name=name)
        assert [placement.threads for placement in house.runner.placements] == [8, 4, 2]
        assert len({placement.secret for placement in house.runner.placements}) == 3

    run(scenario)


def test_load_and_its_keep_alive():
    """A load starts the worker, which then stays for the model's keep-alive, not for that of an earlier request."""

    async def scenario():
        house = House().add(keep_alive_s=math.inf)
        await house.use(keep_alive_s=0)
        await house.until(lambda: not house.pool.workers())
        await house.pool.load("m")
        await house.pool.load("m")
        await asyncio.sleep(0.01)
        assert house.report.state == "ready"
        assert len(house.workers) == 2

    run(scenario)


def test_a_model_that_stays_for_no_time_can_be_loaded():
    """The load has worked, also where the worker then leaves at once."""

    async def scenario():
        house = House().add(keep_alive_s=0)
        await house.pool.load("m")
        assert len(house.workers) == 1

    run(scenario)


def local(name="m", **fields):
    return LocalModel(id=name, runner="fake", **fields)


def test_a_model_that_is_as_it_was_keeps_its_worker():
    """A new set of models changes nothing for those that are in both."""

    async def scenario():
        house = House().add("same").add("other")
        await house.use(name="same")
        assert house.pool.replace([local("same"), local("new")], WAIT_S) == ["other"]
        assert [model.id for model in house.pool.models()] == ["same", "new"]
        await house.use(name="same")
        assert len(house.workers) == 1
        with pytest.raises(ModelNotFound):
            await house.use(name="other")
        await house.use(name="new")

    run(scenario)


@pytest.mark.parametrize("wrong", [{"runner": "none"}, {"options": {"colour": 1}}])
def test_a_wrong_model_among_many_changes_nothing(wrong):
    """The old set stays as a whole."""

    async def scenario():
        house = House().add("kept")
        with pytest.raises(InvalidRequest):
            house.pool.replace([local("new"), LocalModel(**{"id": "bad", "runner": "fake", **wrong})], WAIT_S)
        assert [model.id for model in house.pool.models()] == ["kept"]
        assert await house.use(name="kept")

    run(scenario)


@pytest.mark.parametrize("fields", [None, {"slots": 1, "queue": 5}])
def test_a_model_that_goes_serves_those_that_it_has(fields):
    """Who runs or waits is served by the old worker, which then ends; who comes now gets the new model, or none."""

    async def scenario():
        house = House().add(slots=1)
        async with house.lease() as running:
            await house.endpoint(running)
            waiting = asyncio.create_task(house.use())
            await house.until(lambda: house.report.queue_length == 1)
            assert house.pool.replace([] if fields is None else [local(**fields)], WAIT_S) == ["m"]
            if fields is None:
                with pytest.raises(ModelNotFound):
                    await house.use()
            else:
                assert isinstance(await house.use(), Endpoint)
                assert len(house.workers) == 2
            assert house.workers[0].state == "ready"
            assert len(house.pool.workers()) == len(house.workers), "one that retires is listed, too"
        assert isinstance(await waiting, Endpoint)
        await house.until(lambda: house.workers[0].state == "exited")
        await house.until(lambda: all(worker.state != "stopping" for worker in house.workers))
        assert len(house.workers) == (1 if fields is None else 2)

    run(scenario)


def test_a_model_that_goes_waits_no_longer_than_told():
    """A generation that is too long is cut off, and the worker ends."""

    async def scenario():
        house = House().add()
        async with house.lease() as running:
            await house.endpoint(running)
            house.pool.replace([], 3.0)
            await asyncio.sleep(0)
            house.clock.now_s += 2.0
            await asyncio.sleep(0)
            assert house.workers[0].state == "ready"
            house.clock.now_s += 2.0
            await house.until(lambda: house.workers[0].state == "exited")

    run(scenario)


def test_closing_ends_what_retires():
    """The worker of a model that went is ended with the pool, and not left behind."""

    async def scenario():
        house = House().add()
        async with house.lease() as running:
            await house.endpoint(running)
            house.pool.replace([], math.inf)
            await asyncio.sleep(0)
            await house.pool.close(0)
            assert house.workers[0].state == "exited"
        assert house.pool.workers() == []

    run(scenario)
