"""Irq usage of classes, and the three reports that come of it (facts 1.7, 1.8)."""

from __future__ import annotations

import pytest
from lockdep_world import World

from sugarbush.lockdep import LockdepError, LockType, ReportKind, WaitType
from sugarbush.lockdep.reports import InconsistentReport, InversionReport, IrqOrderReport

INCONSISTENT, INVERSION, ORDER = ReportKind.INCONSISTENT, ReportKind.INVERSION, ReportKind.IRQ_ORDER


@pytest.mark.parametrize(
    ("context", "read", "expected"),
    [
        ("process", 0, "+.+."),
        ("process", 1, ".+.+"),
        ("process", 2, ".+.+"),
        ("irqs_off", 0, "...."),
        ("bh_off", 0, "+..."),
        ("hardirq", 0, "-..."),
        ("hardirq", 2, ".-.."),
        ("softirq", 0, "+.-."),
        ("softirq", 1, ".+.-"),
    ],
)
def test_usage_follows_from_context_and_mode(world: World, context: str, read: int, expected: str) -> None:
    a = world.lock("a")
    if context == "process":
        world.take(a, read=read)
    else:
        with getattr(world, context)():
            world.take(a, read=read)
    assert world.usage("a") == expected


def test_used_in_both_ways_shows_a_question_mark(world: World) -> None:
    a = world.lock("a")
    with world.hardirq():
        world.take(a, read=2)
    world.take(a, read=2)
    assert world.usage("a") == ".?.+"
    assert world.kinds == []


def test_trylock_marks_what_is_enabled_but_not_where_it_is_used(world: World) -> None:
    a, b = world.locks("a b")
    with world.hardirq():
        world.take(a, trylock=True)
    world.take(b, trylock=True)
    assert (world.usage("a"), world.usage("b")) == ("....", "+.+.")


def test_unchecked_locks_have_no_irq_usage(world: World) -> None:
    a = world.lock("a")
    with world.hardirq():
        world.take(a, check=False)
    world.take(a, check=False)
    assert world.usage("a") == "...."


def test_sync_marks_nothing_as_enabled(world: World) -> None:
    a = world.lock("a")
    world.lockdep.acquire(a, sync=True)
    assert world.usage("a") == "...."
    with world.hardirq():
        world.lockdep.acquire(a, sync=True)
    assert world.usage("a") == "-..."


def test_switching_interrupts_on_marks_what_is_held(world: World) -> None:
    a, b, c = world.locks("a b c")
    world.lockdep.hardirqs_off()
    world.lockdep.acquire(a)
    world.lockdep.acquire(b, read=1)
    world.lockdep.acquire(c, check=False)
    assert world.usage("a") == "...."
    world.lockdep.hardirqs_on()
    assert [world.usage(name) for name in "abc"] == ["+.+.", ".+.+", "...."]


def test_switching_interrupts_on_with_bottom_halves_off_leaves_softirq_alone(world: World) -> None:
    a = world.lock("a")
    with world.bh_off():
        world.lockdep.hardirqs_off()
        world.lockdep.acquire(a)
        world.lockdep.hardirqs_on()
        assert world.usage("a") == "+..."
    assert world.usage("a") == "+.+."


def test_bottom_halves_nest(world: World) -> None:
    a = world.lock("a")
    with world.bh_off():
        with world.bh_off():
            pass
        world.take(a)
    assert world.usage("a") == "+..."


def test_bottom_halves_on_with_hardirqs_off_mark_nothing(world: World) -> None:
    a = world.lock("a")
    with world.irqs_off(), world.held(a), world.bh_off():
        pass
    assert world.usage("a") == "...."


@pytest.mark.parametrize("read", [1, 2])
@pytest.mark.parametrize("context", ["hardirq", "softirq"])
def test_a_reader_over_a_reader_of_its_class_waits_unless_it_is_recursive(
    world: World, context: str, read: int
) -> None:
    """A writer that comes between the two stops a plain reader, and waits for the one that it came in over.

    So it is with the same two readers inside one task, which is reported as recursive locking. Kernel v6.6:
    usage_match() leaves the read usages out for a root that is `only_xr`, which is a recursive reader's.
    """
    a = world.lock("a")
    world.take(a, read=2)
    with getattr(world, context)():
        world.take(a, read=read)
    assert world.kinds == ([INVERSION] if read == 1 else [])
    if world.kinds:
        assert "but this lock took another" in world.only.render()
    with world.held(a, read=2):
        world.take(a, read=read)
    assert (ReportKind.RECURSIVE in world.kinds) == (read == 1)


def test_a_way_back_to_the_class_itself_is_no_second_report(world: World) -> None:
    """The class counts where the search begins. A cycle comes back to it, and that is reported as what it is."""
    a, b = world.locks("a b")
    world.take(a, b)
    world.take(b, a)
    assert world.kinds == [ReportKind.CIRCULAR]
    other = World()
    a, b = other.locks("a b")
    with other.held(a, read=2), other.irqs_off():
        other.take(b)
    with other.irqs_off(), other.held(b):
        other.take(a, read=1)
    with other.hardirq():
        other.take(a, read=2)
    assert ReportKind.INVERSION not in other.kinds


@pytest.mark.parametrize("first", ["inside", "outside"])
@pytest.mark.parametrize("inside", [0, 1])
@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize("context", ["hardirq", "softirq"])
def test_one_lock_in_both_is_inconsistent_unless_both_read(
    world: World, first: str, inside: int, outside: int, context: str
) -> None:
    a = world.lock("a")
    for where in ("inside", "outside") if first == "inside" else ("outside", "inside"):
        if where == "inside":
            with getattr(world, context)():
                world.take(a, read=inside)
        else:
            world.take(a, read=outside)
    if inside and outside:
        # The usages of two readers do not conflict (valid_state(), v6.6), but the search from the one that became safe
        # begins at its own class: check_usage_forwards() -> __bfs(), which asks usage_match() for the root, too.
        assert world.kinds == ([INVERSION] if first == "outside" else [])
    else:
        assert world.kinds == [INCONSISTENT]
        report = world.only
        assert isinstance(report, InconsistentReport)
        inner = f"IN-{context.upper()}-{'R' if inside else 'W'}"
        outer = f"{context.upper()}-ON-{'R' if outside else 'W'}"
        assert {report.before, report.after} == {inner, outer}


def test_softirq_safe_and_hardirq_unsafe_do_not_conflict(world: World) -> None:
    a = world.lock("a")
    with world.softirq():
        world.take(a)
    with world.bh_off():
        world.take(a)
    assert world.kinds == []
    assert world.usage("a") == "+.-."


def safe_to_unsafe(world: World, steps: str, outer: int = 0, inner: int = 0, **kinds: int) -> None:
    """`a` becomes hardirq-safe (s), `b` hardirq-unsafe (u), `a` -> `b` is seen (d), in the order of the
    letters.
    """
    a, b = world.lock("a", lock_type=kinds.get("a", 0)), world.lock("b", lock_type=kinds.get("b", 0))
    for step in steps:
        if step == "s":
            with world.hardirq():
                world.take(a, read=kinds.get("safe", 0))
        elif step == "u":
            world.take(b, read=kinds.get("unsafe", 0))
        else:
            with world.irqs_off(), world.held(a, read=outer):
                world.take(b, read=inner)


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ("sud", ORDER),
        ("usd", ORDER),
        ("sdu", INVERSION),
        ("dsu", INVERSION),
        ("uds", INVERSION),
        ("dus", INVERSION),
    ],
)
def test_a_path_from_safe_to_unsafe_is_reported_by_what_completes_it(
    world: World, steps: str, kind: ReportKind
) -> None:
    safe_to_unsafe(world, steps)
    assert world.kinds == [kind]
    report = world.only
    if isinstance(report, InversionReport):
        assert report.forwards == (steps[-1] == "s")
        assert (report.changed.name, report.other.name) == (("a", "b") if report.forwards else ("b", "a"))
    else:
        assert isinstance(report, IrqOrderReport)
        assert (report.safe.name, report.unsafe.name) == ("a", "b")
        assert report.headline == "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"


@pytest.mark.parametrize("steps", ["sud", "sdu", "uds"])
@pytest.mark.parametrize("safe", [0, 1])
@pytest.mark.parametrize("unsafe", [0, 1])
def test_any_pair_of_usages_counts_when_the_path_is_strong(
    world: World, steps: str, safe: int, unsafe: int
) -> None:
    safe_to_unsafe(world, steps, safe=safe, unsafe=unsafe)
    assert len(world.kinds) == 1


@pytest.mark.parametrize("steps", ["sud", "sdu", "uds"])
@pytest.mark.parametrize(("unsafe", "reported"), [(0, True), (1, False)])
def test_at_a_weak_end_only_exclusive_use_counts(
    world: World, steps: str, unsafe: int, reported: bool
) -> None:
    safe_to_unsafe(world, steps, inner=2, unsafe=unsafe)
    assert bool(world.kinds) == reported


@pytest.mark.parametrize("steps", ["sud", "sdu", "uds"])
@pytest.mark.parametrize(("safe", "reported"), [(0, True), (2, False)])
def test_at_a_weak_start_only_exclusive_use_counts(
    world: World, steps: str, safe: int, reported: bool
) -> None:
    safe_to_unsafe(world, steps, outer=1, safe=safe)
    assert bool(world.kinds) == reported


@pytest.mark.parametrize("steps", ["sud", "sdu", "uds"])
@pytest.mark.parametrize("end", ["a", "b"])
@pytest.mark.parametrize("kind", [LockType.PERCPU, LockType.WAIT_OVERRIDE])
def test_percpu_and_override_classes_are_left_out(world: World, steps: str, end: str, kind: LockType) -> None:
    safe_to_unsafe(world, steps, **{end: kind})
    assert world.kinds == []


def test_read_states_are_named_in_the_headline(world: World) -> None:
    safe_to_unsafe(world, "sud", safe=1, unsafe=1)
    assert world.only.headline == "WARNING: HARDIRQ-READ-safe -> HARDIRQ-READ-unsafe lock order detected"


def test_path_through_a_middle_lock_names_its_ends(world: World) -> None:
    a, m, b = world.locks("a m b")
    with world.hardirq():
        world.take(a)
    world.take(b)
    with world.irqs_off():
        world.take(a, m)
        world.take(m, b)
    report = world.only
    assert isinstance(report, IrqOrderReport)
    assert (report.safe.name, report.unsafe.name) == ("a", "b")
    assert [block.line.name for block in report.safe_path] == ["a", "m"]
    assert "  a --> m --> b" in report.render()


def test_softirq_pair_does_not_match_a_hardirq_one(world: World) -> None:
    a, b = world.locks("a b")
    with world.irqs_off(), world.softirq():
        world.take(a)
    with world.bh_off():
        world.take(b)
    with world.irqs_off():
        world.take(a, b)
    assert world.kinds == []


def test_nmi_must_not_wait_for_a_lock_used_outside(world: World) -> None:
    a = world.lock("a")
    with world.nmi():
        world.take(a)
    assert world.kinds == []
    world.take(a)
    with world.nmi():
        world.take(a)
    report = world.only
    assert isinstance(report, InconsistentReport)
    assert (report.before, report.after) == ("INITIAL USE", "IN-NMI")


@pytest.mark.parametrize(("outside", "inside", "bad"), [(1, 0, True), (0, 1, True), (1, 2, False)])
def test_nmi_readers_only_meet_writers(world: World, outside: int, inside: int, bad: bool) -> None:
    a = world.lock("a")
    world.take(a, read=outside)
    with world.nmi():
        world.take(a, read=inside)
    assert bool(world.kinds) == bad


def test_nmi_may_trylock(world: World) -> None:
    a = world.lock("a")
    world.take(a)
    with world.nmi():
        world.take(a, trylock=True)
    assert world.kinds == []


def test_handlers_and_switches_must_match(world: World) -> None:
    for undo in ("hardirq_exit", "softirq_exit", "nmi_exit", "local_bh_enable"):
        with pytest.raises(LockdepError):
            getattr(world.lockdep, undo)()


def test_inconsistent_report_tells_when_interrupts_were_switched(world: World) -> None:
    a = world.lock("a")
    with world.hardirq():
        world.take(a)
    with world.irqs_off():
        pass
    world.take(a)
    report = world.only
    assert isinstance(report, InconsistentReport)
    assert report.events == 2
    assert [stamp.stamp for stamp in report.stamps] == [2, 1, 0, 0]
    assert report.stamps[2].site is None


@pytest.mark.parametrize(
    ("context", "limit"), [("hardirq", 3), ("softirq", 3), ("nmi", 2), ("process", 5), ("not threaded", 2)]
)
def test_context_limit_of_waits(world: World, context: str, limit: int) -> None:
    for wait in (WaitType.FREE, WaitType.SPIN, WaitType.CONFIG, WaitType.SLEEP):
        lock = world.lock(f"wait{int(wait)}", wait)
        if context == "process":
            world.take(lock)
        elif context == "not threaded":
            with world.hardirq(threaded=False):
                world.take(lock)
        else:
            with getattr(world, context)():
                world.take(lock)
    names = [report.wanted.name for report in world.lockdep.reports if report.kind is ReportKind.WAIT_CONTEXT]  # type: ignore[attr-defined]
    assert names == [f"wait{wait}" for wait in range(limit + 1, 5)]


def test_a_handler_that_leaves_a_lock_behind_is_reported_and_the_lock_dropped(world: World) -> None:
    a, b = world.locks("a b")
    with world.held(a):
        with world.hardirq():
            world.lockdep.acquire(b)
        assert [line.name for line in world.lockdep.held_locks(world.ctx)] == ["a"]
    assert world.kinds == [ReportKind.TASK_EXIT]


def test_a_nested_handler_of_one_context_may_release_what_the_outer_one_took(world: World) -> None:
    a, b = world.locks("a b")
    with world.hardirq():
        world.lockdep.acquire(a)
        with world.hardirq():
            world.lockdep.release(a)
        world.take(b)
    assert world.edges() == set()
    assert world.kinds == []
