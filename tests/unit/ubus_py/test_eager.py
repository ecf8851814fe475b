"""A coroutine's first step is taken at once, and is a task's step all the same."""

import asyncio
import contextvars
from collections.abc import Callable

import pytest

from ubus_py.eager import EagerTasks

seen = contextvars.ContextVar("seen", default="nothing")


async def started(work: Callable[[EagerTasks], object]) -> object:
    """What `work` gives, run where a connection starts its handlers: in the event loop, in no task."""
    loop = asyncio.get_running_loop()
    tasks = EagerTasks(loop)
    loop.call_soon(lambda: tasks.start(_nothing()))
    await asyncio.sleep(0.01)  # one is ready now
    given: asyncio.Future[object] = loop.create_future()
    loop.call_soon(lambda: given.set_result(work(tasks)))
    loop.call_later(0.5, tasks.close)
    return await given


async def test_what_never_waits_is_done_at_once() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    def start(tasks: EagerTasks) -> object:
        task = tasks.start(work())
        return task, list(done)

    assert await started(start) == (None, ["done"])


async def test_what_it_gives_or_raises_comes_at_once_or_from_the_task() -> None:
    async def give(value: str, waits: bool) -> str:
        if waits:
            await asyncio.sleep(0)
        if value == "nothing":
            raise LookupError(value)
        return value

    def start(tasks: EagerTasks) -> list[object]:
        with pytest.raises(LookupError):
            tasks.start(give("nothing", False))
        return [
            tasks.start(give("a", False)),
            tasks.start(give("a", True)),
            tasks.start(give("nothing", True)),
        ]

    begun = await started(start)
    assert isinstance(begun, list)
    at_once, later, failing = begun
    assert at_once == "a"
    assert await later == "a"
    with pytest.raises(LookupError):
        await failing


async def test_what_waits_goes_on_as_the_task_it_began_as() -> None:
    tasks_seen: list[asyncio.Task[None] | None] = []
    gate = asyncio.Event()

    async def work() -> None:
        for _ in range(3):
            tasks_seen.append(asyncio.current_task())
            await asyncio.sleep(0)
        tasks_seen.append(asyncio.current_task())
        gate.set()

    task = await started(lambda tasks: tasks.start(work()))
    await asyncio.wait_for(gate.wait(), 10)
    assert tasks_seen == [task] * 4
    assert isinstance(task, asyncio.Task)
    await task


async def test_many_at_a_time_are_tasks_of_their_own() -> None:
    order: list[str] = []

    async def work(name: str, waits: int) -> None:
        order.append(f"{name} begins")
        for _ in range(waits):
            await asyncio.sleep(0)
        order.append(f"{name} ends")

    def start(tasks: EagerTasks) -> list[asyncio.Task[None] | None]:
        return [tasks.start(work(name, waits)) for name, waits in (("a", 0), ("b", 3), ("c", 1), ("d", 0))]

    begun = await started(start)
    assert isinstance(begun, list)
    assert order[:3] == ["a begins", "a ends", "b begins"]
    a, b, c, _ = begun
    assert a is None
    assert b is not c
    await asyncio.gather(*(task for task in begun if task is not None))
    assert sorted(order) == sorted(f"{name} {what}" for name in "abcd" for what in ("begins", "ends"))


async def test_timeouts_work_in_the_first_step() -> None:
    outcome: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            outcome.append("timed out")
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        outcome.append("went on")

    task = await started(lambda tasks: tasks.start(work()))
    assert isinstance(task, asyncio.Task)
    await task
    assert outcome == ["timed out", "went on"]


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_cancellation_reaches_the_coroutine_whenever_it_comes(turns: int) -> None:
    heard: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heard.append("cancelled")
            await asyncio.sleep(0)  # tidying up may take a while
            heard.append("tidied up")
            raise

    def start(tasks: EagerTasks) -> object:
        task = tasks.start(work())
        assert task is not None
        if turns == 0:
            task.cancel()
        return task

    task = await started(start)
    assert isinstance(task, asyncio.Task)
    for _ in range(turns):
        await asyncio.sleep(0)
    if turns:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["cancelled", "tidied up"]


async def test_one_that_cancels_itself_leaves_the_others_alone() -> None:
    heard: list[str] = []

    async def rash() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def steady() -> None:
        await asyncio.sleep(0)
        heard.append("steady")

    def start(tasks: EagerTasks) -> object:
        with pytest.raises(asyncio.CancelledError):
            tasks.start(rash())
        return tasks.start(steady())

    task = await started(start)
    assert isinstance(task, asyncio.Task)
    await task
    assert heard == ["steady"]


async def test_context_variables_stay_with_whoever_set_them() -> None:
    found: list[str] = []

    async def work(name: str, waits: bool) -> None:
        found.append(seen.get())
        seen.set(name)
        if waits:
            await asyncio.sleep(0)
        found.append(seen.get())

    def start(tasks: EagerTasks) -> list[asyncio.Task[None] | None]:
        return [tasks.start(work("a", False)), tasks.start(work("b", True)), tasks.start(work("c", True))]

    begun = await started(start)
    assert isinstance(begun, list)
    await asyncio.gather(*(task for task in begun if task is not None))
    assert found == ["nothing", "a", "nothing", "nothing", "b", "c"]
    assert seen.get() == "nothing"


async def test_what_waits_for_a_failed_future_hears_of_it() -> None:
    heard: list[str] = []
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await future
        except ValueError as error:
            heard.append(str(error))

    task = await started(lambda tasks: tasks.start(work()))
    future.set_exception(ValueError("no"))
    assert isinstance(task, asyncio.Task)
    await task
    assert heard == ["no"]


async def test_called_in_a_task_it_is_an_ordinary_one() -> None:
    tasks = EagerTasks(asyncio.get_running_loop())
    task = tasks.start(asyncio.sleep(0))
    if task is not None:
        await task
    tasks.close()


async def test_nothing_is_left_when_it_is_closed() -> None:
    before = asyncio.all_tasks()
    tasks = EagerTasks(asyncio.get_running_loop())
    for work in (_nothing(), _nothing(), asyncio.sleep(0), _nothing()):
        asyncio.get_running_loop().call_soon(tasks.start, work)
        await asyncio.sleep(0.02)
    tasks.close()
    tasks.close()
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before


async def _nothing() -> None:
    return None
