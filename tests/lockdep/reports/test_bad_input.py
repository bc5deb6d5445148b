"""Input without meaning gets a clear report or error, and the validator goes on."""

from __future__ import annotations

from typing import Any

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockClassKey, LockdepError, LockMap, ReportKind


def still_works(world: World) -> bool:
    before = len(world.kinds)
    a, b = LockMap(LockClassKey("p")), LockMap(LockClassKey("q"))
    world.take(a, b)
    world.take(b, a)
    return world.kinds[before:] == [ReportKind.CIRCULAR]


@pytest.mark.parametrize("key", ["a string", None, 7, object()])
def test_key_of_a_foreign_type(world: World, key: Any) -> None:
    lock = LockMap(key, "odd")
    world.lockdep.acquire(lock)
    assert world.only.headline == "INFO: trying to register non-static key."
    assert world.ctx.held == []
    assert still_works(world)


@pytest.mark.parametrize("subclass", [-1, 64, 1 << 40])
def test_subclass_out_of_range(world: World, subclass: int) -> None:
    lock = world.lock("lock")
    world.take(lock)
    world.lockdep.acquire(lock, subclass=subclass)
    assert world.only.headline == f"BUG: looking up invalid subclass: {subclass}"
    assert world.ctx.held == []
    assert still_works(world)


def test_subclass_out_of_range_in_the_map(world: World) -> None:
    world.lockdep.acquire(world.lock("lock", subclass=64))
    assert world.kinds == [ReportKind.SUBCLASS]
    assert still_works(world)


def test_set_subclass_out_of_range_changes_nothing(world: World) -> None:
    lock = world.lock("lock")
    world.take(lock)
    world.lockdep.set_subclass(lock, 64)
    assert world.kinds == [ReportKind.SUBCLASS]
    world.take(lock)
    assert [known.subclass for known in world.lockdep.state().classes] == [0]


@pytest.mark.parametrize("read", [-1, 3, 4, 8, 512])
def test_read_mode_that_does_not_exist(world: World, read: int) -> None:
    lock = world.lock("lock")
    for flags in ({}, {"trylock": True}, {"check": False}):
        world.take(lock, **flags)
    with pytest.raises(LockdepError, match="read must be 0, 1 or 2"):
        world.lockdep.acquire(lock, read=read)
    assert still_works(world)


def test_release_of_something_never_acquired(world: World) -> None:
    world.lockdep.release(world.lock("lock"))
    assert world.kinds == [ReportKind.BAD_UNLOCK]
    assert still_works(world)


def test_on_without_off(world: World) -> None:
    with pytest.raises(LockdepError, match="lockdep_off"):
        world.lockdep.lockdep_on()
    assert still_works(world)


def test_set_class_to_a_key_of_a_foreign_type_changes_nothing(world: World) -> None:
    lock = world.lock("lock")
    world.take(lock)
    world.lockdep.set_class(lock, ["unhashable"])  # type: ignore[arg-type]
    assert world.kinds == [ReportKind.KEY]
    world.take(lock)
    assert [known.name for known in world.lockdep.state().classes] == ["lock"]
