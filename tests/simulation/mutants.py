"""Planted bugs: each breaks one delivery rule, and the simulation has to find it before its silence counts.

A mutant is a context manager that replaces a function for as long as it lasts. Most change a rule of the engine; some
change the order in which the simulated agent carries effects out, or what its store does. `losses` says whether the
bug can only be seen when a store is lost or restored.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from random import Random
from types import MappingProxyType

from tests.simulation.planted.blobs import (
    bytes_are_not_hashed,
    children_draw_on_the_room_of_their_parents,
    children_wait_behind_the_payloads_of_their_parents,
    home_while_its_bytes_wait,
    numbered_before_its_bytes_are_there,
    orphans_stay,
    owed_bytes_are_forgotten_at_a_crash,
    results_go_too_early,
    slice_acknowledged_before_its_commit,
    spoiling,
    what_was_stored_ahead_stays,
)
from tests.simulation.planted.endings import (
    attempt_not_counted,
    cancel_ignored_before_start,
    delete_does_not_stop_the_start,
    delete_is_not_sticky,
    delete_leaves_no_tombstone,
    destination_expires_what_runs,
    hop_cancels_what_it_offered,
    interrupted_runs_again,
    offered_is_not_durable,
    offered_job_expires_where_it_waits,
    origin_cancels_what_it_offered,
    slot_leaks,
    starts_after_expiry,
)
from tests.simulation.planted.losses import (
    home_before_it_is_told_again,
    loss_not_noticed,
    lost_job_expires,
    no_full_exchange,
    reissued_not_marked,
    rows_act_before_they_are_proved,
    what_comes_back_counts_as_new,
)
from tests.simulation.planted.rarer import (
    children_draw_on_the_credit_of_their_parents,
    clone_is_let_in,
    damaged_rows_are_believed,
    effect_and_outcome_in_two_transactions,
    invited_peer_gets_another_board,
    replay_accepted,
    revoked_key_starts_jobs,
    suspects_restart_in_mass,
    who_waits_keeps_its_slot,
    whoever_was_there_is_poison,
    zone_not_looked_at,
)
from tests.simulation.planted.scarcities import (
    clock_once_off_is_never_believed_again,
    confirmed_means_all,
    room_is_not_said_again,
    wanted_is_known_in_memory_alone,
    what_came_too_late_starts,
)
from tests.simulation.planted.sequences import (
    acknowledged_facts_left_out,
    collected_too_early,
    credit_leaks,
    credit_not_asked,
    forgetful,
    home_told_too_early,
    key_forgotten,
    numbers_used_again,
    progress_after_outcome,
    refusal_ignored,
    refusal_said_once,
    refused_keeps_its_credit,
    resumes_from_the_start,
    resumes_from_what_was_sent,
    second_outcome_overwrites,
    stingy,
    version_by_wall_clock,
    window_not_kept,
)
from tests.simulation.planted.steps import (
    acknowledge_on_arrival,
    answer_before_commit,
    half_a_step_committed,
    send_before_commit,
    start_before_commit,
    watermark_before_data,
)
from tests.simulation.schedules import Schedule, Slant, as_drawn, rarer, with_blobs


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        name: what people call it.
        plant: makes the context manager.
        losses: whether its schedules lose stores; None to let chance decide.
        slant: makes what it needs happen more often.
        background: what honest agents may do and seldom do, and what it needs to be seen.
    """

    name: str
    plant: Callable[[], AbstractContextManager[None]]
    losses: bool | None
    slant: Slant = as_drawn
    background: Callable[[], AbstractContextManager[None]] = nullcontext


def with_bytes(schedule: Schedule) -> Schedule:
    """Every schedule has payloads and large results."""
    return with_blobs(schedule, Random(f"blobs {schedule.seed}"), 1.0)


OF_BLOBS = (
    *(numbered_before_its_bytes_are_there, slice_acknowledged_before_its_commit, bytes_are_not_hashed, orphans_stay),
    *(home_while_its_bytes_wait, owed_bytes_are_forgotten_at_a_crash, what_was_stored_ahead_stays),
)


def much_of(rare: str) -> Slant:
    """One rarer fault comes in every schedule."""

    def slant(schedule: Schedule) -> Schedule:
        return rarer(schedule, rare, Random(schedule.seed))

    return slant


def slow_and_short(schedule: Schedule) -> Schedule:
    """Links are slow, and jobs may not wait long."""
    slow = rarer(schedule, "slows", Random(schedule.seed))
    return replace(slow, habits=replace(slow.habits, short=0.9, slow_bytes_s=200))


def damaged_and_killed(schedule: Schedule) -> Schedule:
    """Rows are damaged and leave memory, while links and agents come and go: who has a copy is often away. Nobody puts
    children: a parent whose child is damaged before it left waits for ever (`APART`)."""
    damaged = rarer(schedule, "damages", Random(schedule.seed))
    calm = replace(damaged.habits, deletes=0.0, cancels=0.0, short=0.0, payloads=0.0, splits=0.0)
    return replace(
        damaged,
        links=(("a", "b"), ("b", "c")),
        strangers=(),
        smugglers=(),
        limits=replace(damaged.limits, resident_jobs=1),
        faults=replace(damaged.faults, down_s=2.0, handler_ms=300, notice_ms=1, delay_ms=40),
        habits=replace(calm, jobs=14, damages=8, crash_every_s=1.5, cut_every_s=1.0, seconds=12.0),
    )


def nested_and_scarce(schedule: Schedule) -> Schedule:
    """Two agents with one slot and a credit of one, whose jobs put jobs at each other."""
    scarce = replace(schedule.limits, handlers=1, handlers_per_peer=1, credit_jobs=1)
    habits = replace(schedule.habits, splits=0.8, charges=0.0, poisons=0.0, jobs=8)
    return replace(schedule, limits=scarce, habits=habits, links=(("a", "b"),), strangers=(), smugglers=())


def nested_and_loaded(schedule: Schedule) -> Schedule:
    """Two agents with room for one payload, whose jobs put jobs at each other: most of them have one."""
    loaded = with_bytes(schedule)
    tight = replace(loaded.limits, blob_quota_bytes=1, credit_jobs=20, handlers=16, handlers_per_peer=16)
    habits = replace(loaded.habits, splits=0.8, charges=0.0, poisons=0.0, jobs=14, payloads=0.9)
    faults = replace(loaded.faults, loaded=0.9)
    nested = replace(loaded, limits=tight, habits=habits, faults=faults)
    return replace(nested, links=(("a", "b"),), strangers=(), smugglers=())


def crowded_and_killed(schedule: Schedule) -> Schedule:
    """Many handlers run long, and their agents die often."""
    return replace(
        schedule,
        limits=replace(schedule.limits, handlers=16, handlers_per_peer=16, credit_jobs=20),
        habits=replace(schedule.habits, jobs=30, charges=0.0, crash_every_s=3.0, seconds=20.0),
        faults=replace(schedule.faults, handler_ms=20_000, down_s=0.5),
    )


def charged_and_lost(schedule: Schedule) -> Schedule:
    """What must not run twice goes over a hop, and stores are lost one after the other."""
    habits = replace(
        schedule.habits, jobs=16, seconds=20.0, charges=0.9, splits=0.0, poisons=0.0, losses=6, cancels=0.0, deletes=0.0
    )
    faults = replace(schedule.faults, down_s=2.0, handler_ms=3_000)
    return replace(schedule, links=(("a", "b"), ("b", "c")), strangers=(), smugglers=(), habits=habits, faults=faults)


SLANTS = MappingProxyType(
    {
        "what_comes_back_counts_as_new": charged_and_lost,
        "second_outcome_overwrites": much_of("clones"),
        "what_came_too_late_starts": slow_and_short,
        "clock_once_off_is_never_believed_again": much_of("clocks"),
        "room_is_not_said_again": much_of("fulls"),
        "wanted_is_known_in_memory_alone": damaged_and_killed,
        "zone_not_looked_at": much_of("smugglers"),
        "damaged_rows_are_believed": much_of("damages"),
        "clone_is_let_in": much_of("clones"),
        "who_waits_keeps_its_slot": nested_and_scarce,
        "children_draw_on_the_credit_of_their_parents": nested_and_scarce,
        "children_draw_on_the_room_of_their_parents": nested_and_loaded,
        "children_wait_behind_the_payloads_of_their_parents": nested_and_loaded,
        "suspects_restart_in_mass": crowded_and_killed,
        "whoever_was_there_is_poison": crowded_and_killed,
        "revoked_key_starts_jobs": much_of("revokes"),
        "invited_peer_gets_another_board": much_of("strangers"),
        **dict.fromkeys((plant.__name__ for plant in (*OF_BLOBS, results_go_too_early)), with_bytes),
    }
)
BACKGROUNDS = MappingProxyType(
    {
        "refusal_said_once": forgetful,
        "refusal_ignored": forgetful,
        "refused_keeps_its_credit": stingy,
        "confirmed_means_all": forgetful,
        "bytes_are_not_hashed": spoiling,
    }
)
"""What some mutants need to be seen, and is no bug by itself."""


MUTANTS = MappingProxyType(
    {
        plant.__name__: Mutant(
            plant.__name__,
            plant,
            losses,
            SLANTS.get(plant.__name__, as_drawn),
            BACKGROUNDS.get(plant.__name__, nullcontext),
        )
        for losses, plants in (
            (
                False,
                (
                    *(send_before_commit, acknowledge_on_arrival, answer_before_commit, start_before_commit),
                    *(watermark_before_data, half_a_step_committed),
                    *(offered_job_expires_where_it_waits, hop_cancels_what_it_offered),
                    *(origin_cancels_what_it_offered, offered_is_not_durable, destination_expires_what_runs),
                    *(starts_after_expiry, delete_leaves_no_tombstone, delete_is_not_sticky),
                    *(delete_does_not_stop_the_start, collected_too_early, home_told_too_early, key_forgotten),
                    *(version_by_wall_clock, credit_leaks, credit_not_asked),
                    *(window_not_kept, resumes_from_what_was_sent, resumes_from_the_start),
                    *(acknowledged_facts_left_out, refusal_said_once, refusal_ignored, refused_keeps_its_credit),
                    *(numbers_used_again, attempt_not_counted, interrupted_runs_again, cancel_ignored_before_start),
                    slot_leaks,
                    *OF_BLOBS,
                    *(zone_not_looked_at, damaged_rows_are_believed, clone_is_let_in, who_waits_keeps_its_slot),
                    *(children_draw_on_the_credit_of_their_parents, suspects_restart_in_mass),
                    *(children_draw_on_the_room_of_their_parents, children_wait_behind_the_payloads_of_their_parents),
                    *(whoever_was_there_is_poison, revoked_key_starts_jobs, invited_peer_gets_another_board),
                    *(what_came_too_late_starts, clock_once_off_is_never_believed_again, room_is_not_said_again),
                    *(wanted_is_known_in_memory_alone, confirmed_means_all),
                    *(effect_and_outcome_in_two_transactions, replay_accepted),
                ),
            ),
            (
                True,
                (
                    *(
                        second_outcome_overwrites,
                        progress_after_outcome,
                        loss_not_noticed,
                        no_full_exchange,
                        reissued_not_marked,
                    ),
                    *(rows_act_before_they_are_proved, lost_job_expires, what_comes_back_counts_as_new),
                    *(results_go_too_early, home_before_it_is_told_again),
                ),
            ),
        )
        for plant in plants
    }
)
