"""Watches: told once, kept as long as somebody holds them."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest

from agents.errors import AgentError
from agents.views import JobView
from agents.watching import News, Watch, Watching
from mesh.errors import CorruptRow
from tests.agents.doors import in_loop

JOB = bytes(26)
LIVE = JobView(
    id="",
    short="",
    path=("portal", "cluster"),
    instruction="work",
    state="running",
    version=1,
    result=None,
    result_type=None,
    error=None,
    created=0.0,
    changed=0.0,
    expires=0.0,
    attempt=1,
    role="origin",
    boards=(),
    zone="default",
    message=None,
    fraction=None,
    overdue=False,
)
OVER = replace(LIVE, state="complete", version=2)


@in_loop
async def test_the_end_wakes_everybody_who_waits() -> None:
    watch = Watch(JOB)
    waiting = [asyncio.ensure_future(watch.end()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    watch.changed(LIVE)
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting[1:])
    watch.changed(OVER)
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False, False]
    assert watch.over
    await watch.end()


@in_loop
async def test_whoever_gives_up_again_and_again_leaves_nothing_behind() -> None:
    watch = Watch(JOB)
    patient = watch.end()
    for _ in range(100):
        watch.end().cancel()
    assert len(watch._waiters) == 2
    watch.changed(OVER)
    await patient


def test_listeners_hear_each_view_until_they_stop() -> None:
    watch = Watch(JOB)
    one: list[News] = []
    two: list[News] = []
    assert not watch.wants_views
    stop_one, stop_two = watch.listen(one.append), watch.listen(two.append)
    watch.changed(LIVE)
    stop_one()
    watch.changed(OVER)
    stop_two()
    assert (one, two) == ([LIVE], [LIVE, OVER])
    assert not watch.wants_views
    assert watch.view == OVER


def test_a_listener_may_stop_listening_while_it_is_told() -> None:
    watch = Watch(JOB)
    heard: list[News] = []

    def once(view: News) -> None:
        heard.append(view)
        stop()

    stop = watch.listen(once)
    watch.listen(heard.append)
    watch.changed(LIVE)
    assert heard == [LIVE, LIVE]


@in_loop
async def test_a_stop_is_told_to_those_who_wait() -> None:
    watching = Watching()
    watch = watching.of(JOB)
    waiting = asyncio.ensure_future(watch.end())
    await asyncio.sleep(0)
    watching.stopped()
    with pytest.raises(AgentError, match="goes on when it is started again"):
        await waiting
    assert not watch.over


@in_loop
async def test_whoever_waits_or_asks_later_is_told_of_a_lost_job() -> None:
    watch, heard = Watch(JOB), list[News]()
    watch.listen(heard.append)
    waiting = asyncio.ensure_future(watch.end())
    await asyncio.sleep(0)
    lost = CorruptRow("the row is damaged", fix="put it again")
    watch.gone(lost)
    for _ in range(2):
        with pytest.raises(CorruptRow):
            await waiting
        waiting = asyncio.ensure_future(watch.end())
    with pytest.raises(CorruptRow):
        await waiting
    assert heard == [lost]


def test_a_watch_is_one_for_all_and_gone_with_its_last_holder() -> None:
    watching = Watching()
    assert watching.find(JOB) is None
    watch = watching.of(JOB)
    assert watching.of(JOB) is watch
    assert watching.find(JOB) is watch
    del watch
    gc.collect()
    assert watching.find(JOB) is None
