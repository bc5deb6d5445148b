"""Which lock may be taken inside which (facts 1.9)."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockType, ReportKind, WaitType
from sugarbush.lockdep.reports import WaitContextReport

FREE, SPIN, CONFIG, SLEEP = WaitType.FREE, WaitType.SPIN, WaitType.CONFIG, WaitType.SLEEP
BAD = [ReportKind.WAIT_CONTEXT]


@pytest.mark.parametrize("inner", [SPIN, CONFIG, SLEEP])
@pytest.mark.parametrize("outer", [SPIN, CONFIG, SLEEP])
def test_a_lock_fits_inside_one_that_waits_at_least_as_long(
    world: World, outer: WaitType, inner: WaitType
) -> None:
    world.take(world.lock("outer", outer), world.lock("inner", inner))
    assert world.kinds == ([] if inner <= outer else BAD)


def test_every_held_lock_counts_not_only_the_last(world: World) -> None:
    raw, reader = world.lock("raw", SPIN), world.lock("reader", CONFIG, wait_outer=FREE)
    with world.held(raw), world.held(reader):
        world.take(world.lock("spin", CONFIG))
    assert world.kinds == BAD


def test_outer_type_is_what_counts_for_the_lock_being_taken(world: World) -> None:
    reader = world.lock("reader", CONFIG, wait_outer=FREE)
    world.take(world.lock("raw", SPIN), reader)
    assert world.kinds == []
    world.take(reader, world.lock("mutex", SLEEP))
    assert world.kinds == BAD


def test_trylocks_are_exempt_but_limit_what_follows(world: World) -> None:
    raw, spin, mutex = world.lock("raw", SPIN), world.lock("spin", CONFIG), world.lock("mutex", SLEEP)
    with world.held(raw):
        world.take(mutex, trylock=True)
    assert world.kinds == []
    with world.held(spin, trylock=True):
        world.take(mutex)
    assert world.kinds == BAD


def test_locks_of_the_interrupted_context_do_not_count(world: World) -> None:
    with world.held(world.lock("raw", SPIN)), world.hardirq():
        world.take(world.lock("spin", CONFIG))
    assert world.kinds == []


def test_unchecked_types_neither_limit_nor_are_limited(world: World) -> None:
    raw, annotation, mutex = world.lock("raw", SPIN), world.lock("map"), world.lock("mutex", SLEEP)
    world.take(raw, annotation)
    world.take(annotation, mutex)
    assert world.kinds == []


def test_override_sets_the_limit_instead_of_lowering_it(world: World) -> None:
    override = world.lock("override", SLEEP, wait_outer=FREE, lock_type=LockType.WAIT_OVERRIDE)
    world.take(world.lock("raw", SPIN), override, world.lock("mutex", SLEEP))
    assert world.kinds == []


def test_a_class_keeps_the_types_of_the_map_that_came_first(world: World) -> None:
    world.take(world.lock("lock", SLEEP))
    with world.held(world.lock("raw", SPIN)):
        world.take(world.lock("lock", SPIN))
    report = world.only
    assert isinstance(report, WaitContextReport)
    assert (report.wanted.outer, report.wanted.inner) == (4, 4)


def test_report_shows_the_limit_of_the_context(world: World) -> None:
    with world.softirq():
        world.take(world.lock("mutex", SLEEP))
    report = world.only
    assert isinstance(report, WaitContextReport)
    assert (report.context_outer, report.context_inner) == (3, 3)
