"""The audit: each wrong declaration is found, in one sentence; the engine's own are right."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
from audit_programs import PROGRAMS, Node, Two
from concurrency_programs import abba, lost_update

from sugarbush import concurrency
from sugarbush.concurrency import (
    Completion,
    ConcurrencyError,
    Condition,
    KmemCache,
    Mutex,
    RwSemaphore,
    Settings,
    Spinlock,
    SrcuStruct,
    Verdict,
    check,
    cpu_relax,
    explore,
    join,
    kfree_rcu,
    rcu_reader,
    spawn,
    srcu_reader,
    start_poll_synchronize_rcu,
    synchronize_rcu,
    synchronize_srcu,
)
from sugarbush.concurrency.checks import dependence
from sugarbush.concurrency.core import Footprint
from sugarbush.concurrency.locks.rwsem import DOWN_READ, DOWN_WRITE
from sugarbush.concurrency.lowlevel import (
    Access,
    Operation,
    WrongDeclaration,
    audit,
    domain,
    peek,
    perform,
    poke,
)
from sugarbush.concurrency.memory.slab import FREE
from sugarbush.concurrency.rcu import SRCU_READ_LOCK, SRCU_WAITS, RcuDomain, poll_state_synchronize_rcu
from sugarbush.concurrency.time import clock
from sugarbush.concurrency.waits import condition as condition_module
from sugarbush.lockdep.model.gfp import GFP_KERNEL

Program = Callable[[], Any]


class Box:
    """What somebody's own operations are done to."""

    def __init__(self, name: str = "box") -> None:
        self.name = name
        self.full = False
        self.count = 0
        self.items: list[int] = []


def fill(box: Box, _task: Any, _arg: Any) -> None:
    box.full = True


def hand_on(_two: Any, _task: Any, _arg: Any) -> None:
    """What it does is to hand on."""


def count(box: Box, _task: Any, _arg: Any) -> None:
    box.count += 1


def append(box: Box, _task: Any, _arg: Any) -> bool:
    box.items.append(1)
    return True


def is_full(box: Box, _task: Any) -> bool:
    return box.full


COUNT = Operation("count", effect=count, local=True)


# -- the engine's own -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_operations_of_the_engine_are_what_they_are_declared_to_be(program: Program) -> None:
    assert audit(program, executions=8).operations


def test_the_programs_use_every_primitive() -> None:
    """What is exported and makes operations is among what the audit has seen."""
    seen = {name for program in PROGRAMS for name in audit(program, executions=4).operations}
    modules = [
        import_module(module.name) for module in walk_packages(concurrency.__path__, "sugarbush.concurrency.")
    ]
    declared = {
        one.name for module in modules for one in vars(module).values() if isinstance(one, Operation)
    } | {op.name for cls in (Mutex, Spinlock) for op in (cls._lock, cls._trylock, cls._unlock)}
    # What stands for something that is no operation, what no effect belongs to, what a choice has to bring about, and
    # what nobody can perform.
    assert declared - seen <= {
        "start",
        "touch",
        "going on",
        "never",
        "rcu_tasks_pregp",
        "rcu_tasks_postgp",
        "end",
        "spurious wake-up",
        "get_current_state",
        "looks whether it is held",
    }


@pytest.mark.parametrize("program", [abba, lost_update])
def test_what_a_program_does_wrong_is_not_what_is_looked_at(program: Program) -> None:
    assert audit(program, executions=5).found == []


def test_an_audit_leaves_nothing_behind() -> None:
    box = Box()

    def program() -> None:
        join(spawn(perform, COUNT, box), spawn(perform, COUNT, box))

    effect = COUNT.effect
    audit(program, executions=2)
    assert type(box) is Box
    assert COUNT.effect is effect
    assert box.count == 4


# -- no false alarms ------------------------------------------------------------------------------------------------

WITHOUT_A_NAME = """
class Cell:
    name = "cell"
    full = False

def program():
    cell = Cell()
    look = Operation("look", Access.READ_ONCE, effect=EFFECT, local=True)
    spawn(lambda: perform(look, cell))
"""


@pytest.mark.parametrize(("effect", "found"), [("lambda cell, _t, _a: cell.full", 0), ("fill", 1)])
def test_functions_and_classes_of_no_module_are_audited_as_any_other(effect: str, found: int) -> None:
    known = (Operation, spawn, perform, fill)
    scope: dict[str, Any] = {"Access": Access, **{one.__name__: one for one in known}}
    exec(WITHOUT_A_NAME.replace("EFFECT", effect), scope)
    assert scope["program"].__module__ is None
    assert len(audit(scope["program"], keep_going=True).found) == found


def looks_at_what_is_freed(how: Callable[[KmemCache[Node], Node], None], reads: bool) -> Program:
    def program() -> None:
        cache, two = KmemCache("node", Node), Two()
        node = cache.alloc(GFP_KERNEL)

        def looks() -> None:
            if reads:
                two.a  # noqa: B018
            node.plain  # noqa: B018

        spawn(looks)
        spawn(how, cache, node)

    return program


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("how", [KmemCache.free, kfree_rcu], ids=["free", "kfree_rcu"])
def test_a_free_is_ordered_with_all_that_tasks_look_at(how: Any, reads: bool) -> None:
    """Also with what a task looks at before its first operation, as the search has it (`START`)."""
    assert audit(looks_at_what_is_freed(how, reads), executions=10, keep_going=True).found == []


def test_a_free_that_the_search_takes_for_local_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FREE, "footprint", Footprint.CHANGE)
    with pytest.raises(
        WrongDeclaration, match=r"looks looks at Node.plain without an operation after the start"
    ):
        audit(looks_at_what_is_freed(KmemCache.free, False), executions=10)


def test_a_lock_that_sleeps_leaves_preemption_as_it_is() -> None:
    """So a grace period, which looks for stretches without preemption, sees nothing of a mutex."""

    def program() -> None:
        lock = Mutex("lock")

        def takes() -> None:
            with lock:
                pass

        spawn(takes)
        spawn(synchronize_rcu)

    assert audit(program, executions=20, keep_going=True).found == []


def two_deadlines() -> None:
    done, two = Completion("done"), Two()

    def waits() -> None:
        two.a  # noqa: B018
        done.wait_timeout(1)

    spawn(done.wait_timeout, 1)
    spawn(waits)
    spawn(done.complete)


def test_each_task_takes_its_own_deadline_back() -> None:
    assert audit(two_deadlines, executions=20, keep_going=True).found == []


def test_a_deadline_that_may_pass_after_it_was_taken_back_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """`del_timer_sync` waits until the timer has fired; one that does not is no order of the two."""
    disarm = Operation("del_timer", field="timers", effect=clock.DISARM.effect, wakes=True, local=True)
    monkeypatch.setattr(clock, "DISARM", disarm)
    with pytest.raises(WrongDeclaration, match=r"looks at done\.late\[\d\]|changes done\.late\[\d\]"):
        audit(two_deadlines, executions=100)


def test_what_is_noted_of_tasks_that_spin_is_not_the_programs() -> None:
    def program() -> None:
        two, box = Two(), Box()

        def spins() -> None:
            while not two.a:
                cpu_relax()
            box.count += looks

        def changes() -> None:
            for number in (0, 0, 1):
                two.a = number
            box.count += looks

        for task in (spins, spins, changes):
            spawn(task)

    looks = 0
    found = audit(program, executions=10, keep_going=True).found
    # What the program itself does in such an execution is still seen.
    assert found
    assert all("box.count" in one for one in found)


# -- wrong declarations ---------------------------------------------------------------------------------------------


def reads_but_changes() -> None:
    look = Operation("look", Access.READ_ONCE, effect=fill, local=True)
    spawn(perform, look, Box())


def reads_but_changes_a_container() -> None:
    look = Operation("look", Access.ACQUIRE, effect=append, local=True)
    spawn(perform, look, Box())


def changes_another_field() -> None:
    write = Operation(
        "write a", Access.WRITE_ONCE, field="a", effect=lambda two, _t, _a: poke(two, "b", 1), local=True
    )
    spawn(perform, write, Two())


def changes_a_field_of_another_object() -> None:
    other = Two()
    swap = Operation("swap", effect=lambda _box, _t, _a: poke(other, "b", 1), local=True)
    spawn(perform, swap, Box())


def looks_at_another_object() -> None:
    box, other = Box(), Box("other")
    peer = Operation("peer", effect=lambda _box, _t, _a: other.count, local=True)
    perform(COUNT, other)
    spawn(perform, COUNT, other)
    spawn(perform, peer, box)


def is_ready_by_another_object() -> None:
    box, other = Box(), Box("other")
    waits = Operation("wait", ready=lambda _box, _t: other.count > 0, effect=fill, local=True)
    perform(COUNT, other)
    spawn(perform, COUNT, other)
    spawn(perform, waits, box)


def looks_between_operations() -> None:
    box, other = Box(), Box("other")

    def task() -> None:
        perform(COUNT, box)
        other.count  # noqa: B018

    perform(COUNT, other)
    spawn(perform, COUNT, other)
    spawn(task)


def changes_between_operations() -> None:
    box, other = Box(), Box("other")

    def task() -> None:
        perform(COUNT, box)
        other.items.append(2)

    add = Operation("add", effect=append, local=True)
    perform(add, other)
    spawn(perform, add, other)
    spawn(task)


def fails_after_it_has_looked() -> None:
    """What a report looks at is none of the program's, but what the program looked at before it failed is."""
    box, other = Box(), Box("other")

    def task() -> None:
        perform(COUNT, box)
        check(other.count < 0, "none was counted")

    spawn(perform, COUNT, other)
    spawn(task)


def looks_at_a_lock_in_passing() -> None:
    lock, two = Mutex("lock"), Two()

    def looks() -> None:
        two.a = 1
        lock._owner  # noqa: B018

    def takes() -> None:
        with lock:
            pass

    spawn(looks)
    spawn(takes)


def looks_whether_a_task_has_ended() -> None:
    two = Two()
    task = spawn(setattr, two, "a", 1)

    def looks() -> None:
        two.b = 1
        task.ended  # noqa: B018

    spawn(looks)


def steps_not_on_what_is_freed() -> None:
    cache, two = KmemCache("node", Node, stepped=True), Two()
    node = cache.alloc(GFP_KERNEL)

    def looks() -> None:
        two.a = 1
        node.plain  # noqa: B018

    def frees() -> None:
        two.b = 1
        cache.free(node)

    spawn(looks)
    spawn(frees)


def wakes_and_says_that_it_does_not() -> None:
    box = Box()
    spawn(perform, Operation("wait", ready=is_full, local=True), box)
    spawn(perform, Operation("fill", effect=fill, local=True, wakes=False), box)


def wakes_who_waits_for_another_object() -> None:
    box, other = Box(), Box("other")
    spawn(perform, Operation("wait", ready=lambda _box, _t: other.full), box)
    spawn(perform, Operation("fill", effect=fill), other)


def wakes_by_a_store() -> None:
    two = Two()
    spawn(perform, Operation("wait", ready=lambda two, _t: peek(two, "a") == 1), two)

    def stores() -> None:
        two.a = 1
        two.b = 1

    spawn(stores)


def changes_when_asked() -> None:
    waits = Operation("wait", ready=lambda box, _t: append(box, None, None), effect=fill, local=True)
    spawn(perform, waits, Box())


def is_not_alike() -> None:
    box = Box()
    waits = Operation("wait", ready=lambda box, task: task.id > 1 and box.full, alike=True, local=True)
    for _ in range(2):
        spawn(perform, waits, box)
    spawn(perform, Operation("fill", effect=fill, local=True), box)


def turns_preemption_off() -> None:
    def off(_box: Any, task: Any, _arg: Any) -> None:
        task.preempt_count += 1

    spawn(perform, Operation("off", effect=off, local=True), Box())


def begins_a_grace_period() -> None:
    spawn(perform, Operation("mine", effect=lambda rcu, _t, _a: rcu.begin(), local=True), domain(RcuDomain))


def misspells_an_ordering() -> None:
    """Both names are known elsewhere, so only what is done to one class shows it."""
    perform(Operation("elsewhere", acquires=("bell", "bel"), releases=("bel", "bell")), Two())
    box = Box()
    perform(Operation("give", effect=count, releases=("bell",)), box)
    perform(Operation("take", effect=count, acquires=("bel",)), box)


def hands_on_between_two_places() -> None:
    """Each in its own field, so they are independent; yet one takes over what the other leaves behind."""
    two = Two()
    give = Operation("give", field="a", effect=hand_on, local=True, releases=("bell",))
    take = Operation("take", field="b", effect=hand_on, local=True, acquires=("bell",))
    spawn(perform, give, two)
    spawn(perform, take, two)


WRONG: list[tuple[Program, str]] = [
    (reads_but_changes, "look(box) is declared to read (Access.READ_ONCE), yet its effect changes box.full"),
    (
        reads_but_changes_a_container,
        "look(box) is declared to read (Access.ACQUIRE), yet its effect changes box.items",
    ),
    (changes_another_field, "declared to touch the field 'a' only, yet its effect changes Two.b"),
    (
        changes_a_field_of_another_object,
        "swap(box) is declared to touch nothing but its place (local=True), yet",
    ),
    (looks_at_another_object, "peer(box) looks at other.count and count(other) changes it, in an order"),
    (is_ready_by_another_object, "wait(box) looks at other.count and count(other) changes it"),
    (
        looks_between_operations,
        "task looks at other.count without an operation after count(box) and count(other)",
    ),
    (fails_after_it_has_looked, "task looks at other.count without an operation after count(box) and count"),
    (changes_between_operations, "task changes other.items without an operation after count(box)"),
    (
        looks_at_a_lock_in_passing,
        "looks looks at lock.owner without an operation after write(Two.a) and mutex_",
    ),
    (looks_whether_a_task_has_ended, "looks looks at setattr.ended without an operation after write(Two.b)"),
    (steps_not_on_what_is_freed, "looks looks at Node.plain without an operation after write(Two.a)"),
    (wakes_and_says_that_it_does_not, "fill(box) made wait(box) of perform ready, and it does not say so"),
    (
        wakes_who_waits_for_another_object,
        "fill(other) made wait(box) of perform ready, which waits for another object",
    ),
    (wakes_by_a_store, "what stores did after write(Two.a) made wait(Two) of perform ready"),
    (changes_when_asked, "the readiness of wait(box) changes box.items"),
    (is_not_alike, "wait(box) is declared alike=True, yet it is ready for some tasks"),
    (turns_preemption_off, "off(box) turns preemption, bottom halves or interrupts of its task off"),
    (begins_a_grace_period, "mine(rcu) begins a grace period of RCU"),
    (hands_on_between_two_places, "take(Two) takes over what give leaves behind ('bell'), yet the two are"),
    (misspells_an_ordering, "take acquires the ordering 'bel', which no operation on a Box releases"),
]


@pytest.mark.parametrize(("program", "sentence"), WRONG, ids=lambda one: getattr(one, "__name__", ""))
def test_a_wrong_declaration_is_said_in_one_sentence(program: Program, sentence: str) -> None:
    with pytest.raises(WrongDeclaration) as caught:
        audit(program)
    said = str(caught.value)
    assert sentence in said
    assert "\n" not in said
    assert ". " not in said


@pytest.mark.parametrize("strategy", ["dfs", "dpor", "pct"])
def test_an_exploration_can_be_audited_whatever_makes_its_choices(strategy: str) -> None:
    with pytest.raises(WrongDeclaration, match=r"peer\(box\) looks at other\.count"):
        explore(looks_at_another_object, strategy=strategy, executions=20, settings=Settings(audit=True))


def test_all_that_is_wrong_can_be_collected() -> None:
    def program() -> None:
        reads_but_changes()
        changes_another_field()

    assert len(audit(program, keep_going=True).found) == 2


def test_weak_memory_is_not_audited() -> None:
    with pytest.raises(ConcurrencyError, match="sequentially consistent"):
        Settings(audit=True, memory="weak")


# -- the relation: a fault put back is found --------------------------------------------------------------------------


def srcu_is_entered_and_waited_for() -> None:
    ssp = SrcuStruct("domain")

    def reader() -> None:
        with srcu_reader(ssp):
            pass

    for _ in range(2):
        spawn(reader)
        spawn(synchronize_srcu, ssp)


def semaphore_with_writer() -> None:
    sem = RwSemaphore("sem")

    def writes() -> None:
        sem.down_write()
        sem.up_write()

    def reads() -> None:
        sem.down_read()
        sem.up_read()

    for _ in range(2):
        spawn(writes)
        spawn(reads)


def rcu_is_entered_and_waited_for() -> None:
    def reader() -> None:
        with rcu_reader():
            pass

    for _ in range(2):
        spawn(reader)
        spawn(synchronize_rcu)


@pytest.mark.parametrize(
    ("program", "one", "other"),
    [
        (srcu_is_entered_and_waited_for, SRCU_READ_LOCK, SRCU_WAITS.begin),
        (semaphore_with_writer, DOWN_READ, DOWN_WRITE),
    ],
)
def test_operations_that_do_not_commute_are_found_by_doing_both_orders(
    monkeypatch: pytest.MonkeyPatch, program: Program, one: Operation, other: Operation
) -> None:
    for op in (one, other):
        monkeypatch.setattr(op, "footprint", Footprint.SHARES)
    with pytest.raises(WrongDeclaration, match="independent"):
        audit(program, executions=60)


def test_a_poll_that_sees_no_reader_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a poll that came true takes over was once believed to be in no order with the ends of readers.

    It is the poll itself that carries this order now (`Moment.POLL`); what is done after one that came true is a fence
    and touches nothing, so `RCU_WAITS.polled` is declared so, rightly.
    """

    def program() -> None:
        def polls() -> None:
            poll_state_synchronize_rcu(start_poll_synchronize_rcu())

        def reader() -> None:
            with rcu_reader():
                pass

        spawn(polls)
        spawn(reader)

    audit(program, executions=30)
    looks, ends = Footprint.GRACE_LOOKS, Footprint.READER_ENDS
    monkeypatch.setattr(dependence, "_COMMUTE", dependence._COMMUTE | {(looks, ends), (ends, looks)})
    with pytest.raises(
        WrongDeclaration, match=r"poll_state_synchronize_rcu.* declared independent, yet the order"
    ):
        audit(program, executions=30)


def test_a_forgotten_local_is_slow_and_a_false_one_is_found() -> None:
    """A8: what a false declaration lets a search pass is what the audit refuses."""

    def program() -> None:
        box, other, two = Box(), Box("other"), Two()
        moves = Operation("move", effect=lambda _box, _t, _a: setattr(other, "count", 5), local=local)
        doubles = Operation(
            "double", effect=lambda one, _t, _a: setattr(one, "count", one.count * 2), local=local
        )

        def moving() -> None:
            perform(moves, box)
            # Where the two meet for certain: of tasks that meet nowhere nothing is passed.
            two.a = 1

        def doubling() -> None:
            perform(doubles, other)
            two.a = 2

        join(spawn(moving), spawn(doubling))
        check(other.count == 5, "moved last")

    local: bool | None = None
    assert explore(program, strategy="dpor").verdict is Verdict.FAILED
    local = True
    assert explore(program, strategy="dpor").verdict is Verdict.PASSED
    with pytest.raises(WrongDeclaration, match="move"):
        audit(program)


def test_a_look_at_who_waits_outside_of_the_operation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """`notify` once counted the waiters before its operations."""

    def notify(self: Condition, n: int = 1) -> None:
        for _ in range(min(n, len(self._waiters))):
            perform(condition_module._notify_some(1), self)

    def program() -> None:
        cond = Condition(name="condition")
        two = Two()

        def waits() -> None:
            with cond:
                two.a += 1
                cond.wait()

        def notifies() -> None:
            with cond:
                cond.notify()
                two.b = 1
                cond.notify()

        for task in (waits, waits, notifies):
            spawn(task)

    audit(program, executions=40)
    monkeypatch.setattr(Condition, "notify", notify)
    with pytest.raises(WrongDeclaration, match=r"condition\.waiters without an operation"):
        audit(program, executions=40)
