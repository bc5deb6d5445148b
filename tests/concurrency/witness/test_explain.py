"""Explanation: the orders that matter are named, the others are not, and all that is said of them is true."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from concurrency_programs import BARE, NO_RACES, Cell, abba, lost_update
from failing_programs import GFP_ATOMIC, judged, judged_program
from small_programs import BLOCKS, WAITS, Machine, random_program

from sugarbush.concurrency import (
    BadSchedule,
    KmemCache,
    Mutex,
    Plain,
    Semaphore,
    Settings,
    Shared,
    Unshared,
    Witness,
    check,
    explain,
    explore,
    join,
    minimise,
    smp_store_release,
    spawn,
)
from sugarbush.concurrency.witness.continuations import Ways
from sugarbush.concurrency.witness.explanation import Claim, Schedules
from sugarbush.concurrency.witness.story import Story
from sugarbush.stress.cli import built_in as scenarios
from sugarbush.stress.kit.patches import applied

NO_LOCKDEP = Settings(without=frozenset({"lockdep"}))


def smallest(program, settings: Settings = BARE, strategy: str = "random") -> Witness:  # type: ignore[no-untyped-def]
    (witness,) = explore(program, strategy=strategy, executions=20_000, settings=settings).failures
    return minimise(program, witness, settings)


def published_too_soon() -> None:
    """The flag is set before the data; a third task does what has nothing to do with it."""
    data, ready, other = Cell(), Cell(), Cell()

    def writer() -> None:
        ready.once = 1
        data.once = 1

    def reader() -> None:
        if ready.once:
            check(data.once == 1, "what is announced is there")

    def noise() -> None:
        for _ in range(5):
            other.once = other.once + 1

    join(
        spawn(noise, name="noise"),
        spawn(noise, name="noisy"),
        spawn(writer, name="writer"),
        spawn(reader, name="reader"),
    )


def order(pair: object) -> tuple[str, str, str, str]:
    first, second = pair.first, pair.second  # type: ignore[attr-defined]
    return first.task, first.what, second.task, second.what


def test_the_flag_and_the_data_matter_and_the_noise_does_not() -> None:
    why = explain(published_too_soon, smallest(published_too_soon), BARE)
    assert why.complete
    assert {order(pair) for pair in why.pairs} == {
        ("writer", "write", "reader", "read"),
        ("reader", "read", "writer", "write"),
    }
    assert "noise" not in why.text


def test_the_text_says_what_should_have_come_first() -> None:
    why = explain(published_too_soon, smallest(published_too_soon), BARE)
    assert "if reader's read(Cell.once) at " in why.text
    assert "had come before writer's write(Cell.once) at " in why.text
    assert "witness/test_explain.py" in why.text


def test_a_lost_update_is_a_write_that_came_after_the_other_ones_read() -> None:
    (pair,) = explain(lost_update, smallest(lost_update), BARE).pairs
    assert (pair.first.what, pair.second.what) == ("read", "write")
    assert pair.first.step < pair.second.step


def test_a_deadlock_is_explained_by_the_two_locks() -> None:
    why = explain(abba, smallest(abba, NO_LOCKDEP), NO_LOCKDEP)
    assert {(pair.first.on, pair.second.on) for pair in why.pairs} == {("a", "a"), ("b", "b")}


def test_where_one_task_fails_alone_no_order_matters() -> None:
    def alone() -> None:
        cell = Cell()
        join(spawn(lambda: check(cell.once, "nobody ever sets it")), spawn(lambda: cell.once))

    why = explain(alone, smallest(alone), BARE)
    assert why.pairs == ()
    assert "no order" in why.text


def test_the_effort_is_bounded() -> None:
    witness = smallest(published_too_soon)
    why = explain(published_too_soon, witness, BARE, tries=1)
    assert (why.executions, why.complete, why.pairs) == (1, False, ())
    assert why.text == "nothing found so far"


def test_a_witness_of_another_program_is_refused() -> None:
    with pytest.raises(BadSchedule):
        explain(abba, smallest(lost_update), BARE)


class Fifo(Shared):
    items: Plain[int] = 0
    tag: Unshared[int] = 0


@pytest.mark.parametrize(
    "look", [lambda fifo: fifo.items, lambda fifo: fifo.tag], ids=["shared field", "attribute"]
)
def test_the_touch_of_what_was_freed_is_a_moment_although_it_was_no_operation(
    look: Callable[[Any], Any],
) -> None:
    def freed_while_used() -> None:
        cache = KmemCache("fifo", Fifo)
        fifo = cache.alloc(GFP_ATOMIC)
        spawn(look, fifo, name="consumer")
        cache.free(fifo)

    (pair,) = explain(freed_while_used, smallest(freed_while_used, NO_RACES), NO_RACES).pairs
    assert order(pair) == ("main", "kmem_cache_free", "consumer", "touch")
    assert pair.claim is Claim.WOULD_NOT
    assert pair.complete


def loops(times: int, tasks: int = 2) -> Callable[[], None]:
    """Each task takes its lock, then that of the next one, several times."""

    def program() -> None:
        locks = [Mutex(f"lock {number}") for number in range(tasks)]

        def take(number: int) -> None:
            for _ in range(times):
                with locks[number], locks[(number + 1) % tasks]:
                    pass

        join(*[spawn(take, number, name=f"t{number}") for number in range(tasks)])

    return program


@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_deadlock_in_loops_is_explained_although_the_loops_come_round_again(times: int) -> None:
    program = loops(times)
    why = explain(program, smallest(program, NO_LOCKDEP), NO_LOCKDEP)
    assert why.pairs
    assert all(pair.claim is Claim.WOULD_NOT and pair.complete for pair in why.pairs)


def test_three_in_a_circle_need_more_ways_than_can_be_tried() -> None:
    program = loops(2, tasks=3)
    why = explain(program, smallest(program, NO_LOCKDEP), NO_LOCKDEP, tries=200)
    assert why.pairs
    assert "did not happen in any of" in why.text
    assert "were tried, not all" in why.text


def either_store() -> None:
    """Who reads 2 fails, and two tasks store it."""
    cell = Cell()

    def adds() -> None:
        value = cell.once
        check(value != 2, "nobody has stored 2")
        cell.once = value + 1

    def stores() -> None:
        smp_store_release(cell, "once", 2)

    join(spawn(stores, name="t0"), spawn(adds, name="t1"), spawn(stores, name="t2"))


def test_where_either_of_two_is_enough_both_have_to_come_later() -> None:
    """To turn one of them round helps nobody: the other one may still come first."""
    (pair,) = explain(either_store, smallest(either_store), BARE).pairs
    assert {pair.first.task, *(one.task for one in pair.also_first)} == {"t0", "t2"}
    assert (pair.second.task, pair.second.what) == ("t1", "read")
    assert (pair.claim, pair.complete) == (Claim.WOULD_NOT, True)


def test_what_did_not_happen_any_more_may_be_what_should_have_come_first() -> None:
    def too_early() -> None:
        cell, other = Cell(), Cell()

        def sets() -> None:
            other.once = 1
            cell.once = 1

        join(spawn(sets, name="sets"), spawn(lambda: check(cell.once, "it is set"), name="looks"))

    (pair,) = explain(too_early, smallest(too_early), BARE).pairs
    assert order(pair) == ("looks", "read", "sets", "write")
    assert not pair.second.happened


def test_tasks_that_share_a_list_are_turned_as_wholes() -> None:
    def shared_list() -> None:
        things: list[int] = []
        one, two = Cell(), Cell()

        def puts() -> None:
            one.once = 1
            things.append(1)

        def takes() -> None:
            two.plain = 1
            things.pop()

        join(spawn(puts, name="puts"), spawn(takes, name="takes"))

    (pair,) = explain(shared_list, smallest(shared_list), BARE).pairs
    assert str(pair).startswith("if puts had ended before takes's write(Cell.plain) at ")


def test_a_wake_up_is_told_by_whom_it_woke() -> None:
    def too_soon() -> None:
        room, cell = Semaphore(0, "room"), Cell()

        def sleeps() -> None:
            room.down()
            check(cell.once == 1, "who is let in finds it ready")

        def lets_in() -> None:
            room.up()
            cell.once = 1

        join(spawn(sleeps, name="sleeper"), spawn(lets_in, name="waker"))

    witness = next(
        found
        for seed in range(20)
        for found in explore(too_soon, strategy="random", seed=seed, settings=BARE).failures
        if any(event.what == "down_slowpath" for event in found.events)
    )
    text = explain(too_soon, witness, BARE).text
    assert "waker woke sleeper, which waited in down_slowpath(room) at " in text
    assert text.endswith("that cannot be turned round")


def test_two_tasks_of_one_name_are_told_apart_and_so_are_two_rounds() -> None:
    text = explain(lost_update, smallest(lost_update), BARE).text
    assert "add's" in text
    assert "add#2's" in text

    def twice() -> None:
        cell = Cell()

        def add() -> None:
            for _ in range(2):
                cell.once = cell.once + 1

        join(spawn(add, name="ann"), spawn(add, name="bob"))
        check(cell.once == 4, "all four count")

    assert "(the 2nd time)" in explain(twice, smallest(twice), BARE).text


def test_what_is_done_under_a_lock_is_told_and_not_that_the_lock_was_taken() -> None:
    def in_two_steps() -> None:
        lock, cell = Mutex("account"), Cell()

        def add() -> None:
            with lock:
                value = cell.plain
            with lock:
                cell.plain = value + 1

        join(spawn(add, name="ann"), spawn(add, name="bob"))
        check(cell.plain == 2, "both additions count")

    (pair,) = explain(in_two_steps, smallest(in_two_steps), BARE).pairs
    assert (pair.first.what, pair.second.what) == ("mutex_lock", "write")
    assert pair.within is not None
    assert ", taken for its read(Cell.plain) at " in str(pair)


def test_no_more_than_five_lines() -> None:
    def many() -> None:
        cells = [Cell() for _ in range(7)]

        def sets() -> None:
            for cell in cells:
                cell.once = 1

        def looks() -> None:
            check(sum(cell.once for cell in cells) != 7, "they are never all set")

        join(spawn(sets, name="sets"), spawn(looks, name="looks"))

    why = explain(many, smallest(many), BARE)
    assert len(why.pairs) == 7
    assert len(why.lines) == 5
    assert why.lines[-1] == "and 3 more"
    distances = [pair.second.step - pair.first.step for pair in why.pairs]
    assert distances == sorted(distances)


def test_another_failure_in_place_of_this_one_is_said() -> None:
    """Whoever of the two comes first, something fails; but not the same."""

    def either_way() -> None:
        cell = Cell()

        def sets() -> None:
            cell.once = 1

        def looks() -> None:
            if not cell.once:
                raise ValueError("not set")
            check(False, "set")

        join(spawn(sets, name="sets"), spawn(looks, name="looks"))

    why = explain(either_way, smallest(either_way), BARE)
    assert why.pairs == ()
    assert why.text.startswith("no order matters: every schedule fails")


def test_a_failure_that_mostly_does_not_come_again_need_not_have_happened() -> None:
    def sets_between() -> None:
        cell = Cell()

        def add() -> None:
            for _ in range(2):
                cell.once = cell.once + 1

        def sets() -> None:
            cell.once = 5

        join(spawn(add, name="ann"), spawn(sets, name="sets"))
        check(cell.once != 5, "an addition is never last but lost")

    why = explain(sets_between, smallest(sets_between), BARE)
    assert why.pairs
    for pair in why.pairs:
        assert (pair.claim is Claim.NEED_NOT) is (pair.again > 0)


SUITE, LIMIT = range(240), 100


def test_all_that_is_said_is_true_of_all_executions_there_are() -> None:
    said = {"pairs": 0, "no order": 0}
    for seed in SUITE:
        found = judged(seed, LIMIT)
        if found is not None:
            why, untrue = found
            assert untrue is None, f"program {seed}: {untrue}"
            said["pairs" if why.pairs else "no order"] += 1
    assert said["pairs"] > 120
    assert said["no order"] > 5


@pytest.mark.exhaustive
def test_all_that_is_said_of_larger_programs_is_true() -> None:
    for seed in range(10_000, 13_000):
        found = judged(seed, 2000)
        assert found is None or found[1] is None, f"program {seed}: {found and found[1]}"


@pytest.mark.exhaustive
@pytest.mark.parametrize("blocks", [BLOCKS, WAITS], ids=["locks", "waits"])
def test_all_that_is_said_of_programs_of_all_primitives_is_true(blocks: tuple[str, ...]) -> None:
    for seed in range(2000):
        tasks = random_program(Random(seed), failing=True, blocks=blocks)
        found = judged_program(Machine(tasks).program, seed, 1000)
        assert found is None or found[1] is None, f"program {seed}: {found and found[1]}"


# -- faults that were there, or could be: each is seen -----------------------------------------------------------------


def is_seen(seeds: range) -> bool:
    return any(
        found is not None and found[1] is not None for found in (judged(seed, LIMIT) for seed in seeds)
    )


def test_three_ways_to_go_on_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    look = Ways.look

    def three(self: Ways, most: int, *, until_again: bool = False) -> Any:
        tally = look(self, min(most, 3 - tries.setdefault(self, 0)), until_again=until_again)
        tries[self] = 3
        tally.complete = True
        return tally

    tries: dict[Ways, int] = {}
    monkeypatch.setattr(Ways, "look", three)
    assert is_seen(SUITE)


def test_it_is_seen_if_failures_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Ways._make

    def forgets(self: Ways, *how: Any) -> None:
        make(self, *how)
        self.tally.again = self.tally.otherwise = 0

    monkeypatch.setattr(Ways, "_make", forgets)
    assert is_seen(SUITE)


def single_instances_only(monkeypatch: pytest.MonkeyPatch) -> None:
    search = vars(sys.modules["sugarbush.concurrency.witness.explaining"])["_CandidateSearch"]
    monkeypatch.setattr(search, "_to_come", lambda self: ())
    for more in ("_stretches", "_several", "_between_tasks"):
        monkeypatch.setattr(search, more, lambda self, pairs: ())


def test_single_instances_explain_no_deadlock_in_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    single_instances_only(monkeypatch)
    program = loops(2)
    why = explain(program, smallest(program, NO_LOCKDEP), NO_LOCKDEP)
    assert not any(pair.claim is Claim.WOULD_NOT for pair in why.pairs)


def test_it_is_seen_if_no_order_matters_is_said_untried(monkeypatch: pytest.MonkeyPatch) -> None:
    single_instances_only(monkeypatch)
    search = vars(sys.modules["sugarbush.concurrency.witness.explaining"])["_CandidateSearch"]
    monkeypatch.setattr(search, "_schedules", lambda self, *, same_data: Schedules(1, 1, True))
    assert is_seen(SUITE)


def test_without_the_failing_access_there_is_no_use_after_free_to_explain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Story, "_touch", lambda self, failure: None)
    with pytest.raises(ValueError, match="unpack"):
        test_the_touch_of_what_was_freed_is_a_moment_although_it_was_no_operation(lambda fifo: fifo.items)


def test_the_brk_crash_is_explained_by_the_two_rmap_walks() -> None:
    """The first walk saw the pages, the second one came after they were out of reach."""
    scenario = scenarios.brk_false_vma
    settings = Settings(without=frozenset({"coverage"}), observers=scenario.observers)
    with applied(scenario.patches):
        (witness,) = explore(scenario.program, executions=5000, settings=settings).failures
        # That nothing is left to gain would cost a thousand executions.
        why = explain(scenario.program, minimise(scenario.program, witness, settings, tries=100), settings)
    orders = {(*order(pair)[:3], pair.second.on) for pair in why.pairs if pair.first.on == "anon_vma->rwsem"}
    assert {
        ("cc1", "down_write", "kcompactd", "anon_vma.rb_root"),
        ("kcompactd", "down_read_trylock", "cc1", "anon_vma.rb_root"),
    } <= orders
    assert why.executions < 250
