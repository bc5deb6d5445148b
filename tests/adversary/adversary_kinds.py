# ruff: noqa: E501 - the text of a statement is one string, so that it is found as it is printed
"""Every kind of statement: its text, what its arguments may be, and where it may stand.

A kind is in one or more *profiles*, out of which programs are made. `adds` is what its body is inside of, `never` where
it makes no sense (a lock inside itself, sleeping under a spinlock): programs that break such rules fail in every
schedule, so little could be learned from many of them; a few kinds (`wrong`) break one on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from declared_in_tests import statements

Choices = tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """See the module. `cost` is how many operations it makes, `weight` how often it is taken."""

    name: str
    profiles: frozenset[str]
    text: str
    choices: Choices
    weight: int
    cost: int
    adds: frozenset[str]
    never: frozenset[str]
    declared: bool = False
    """By the test file of a primitive, not here: only programs of `PROFILE+declared` have it."""

    @property
    def has_body(self) -> bool:
        """Statements stand inside."""
        return "{body}" in self.text

    @property
    def has_else(self) -> bool:
        """A second block stands inside."""
        return "{else}" in self.text


KINDS: dict[str, Kind] = {}

SLEEPS = ("atomic", "reader")
"""Where nothing may sleep."""


def kind(
    name: str,
    profiles: str,
    text: str,
    *choices: tuple[Any, ...],
    weight: int = 2,
    cost: int = 1,
    adds: str = "",
    never: str = "",
    sleeps: bool = False,
    declared: bool = False,
) -> None:
    """Add a kind to the table."""
    assert name not in KINDS, f"another kind of statement is called {name!r}: call it otherwise"
    forbidden = {*never.split(), *(SLEEPS if sleeps else ())}
    KINDS[name] = Kind(
        name,
        frozenset(profiles.split()),
        text,
        choices,
        weight,
        cost,
        frozenset(adds.split()),
        frozenset(forbidden),
        declared,
    )


CELL, FIELD, VALUE = ("x", "x", "y"), ("a", "a", "b"), (1, 2)
ANY_FIELD = ("a", "b", "p", "n")
MUTEX, SPIN = ("m0", "m0", "m1"), ("s0", "s0", "s1")

# -- fields: what everything else is tried with -----------------------------------------------------------------------

ALL = "branchy core locks rcu slab spin wait time custom places everything"
kind("get", ALL, "r.append({0}.{1})", CELL, FIELD, weight=5)
kind("set", ALL, "{0}.{1} = {2}", CELL, FIELD, VALUE, weight=5)
kind("add", "core locks rcu wait everything", "{0}.{1} = {0}.{1} + 1", CELL, FIELD, cost=2)
kind("put", "branchy core everything", "{0}.{1} = last(r)", CELL, FIELD)
kind(
    "if",
    ALL,
    "r.append({0}.{1})\nif last(r) == {2}:\n    {body}\nelse:\n    {else}",
    CELL,
    FIELD,
    (0, 1, 1),
    weight=4,
    adds="if",
)
kind("expect", ALL, 'check({0}.{1} != {2}, "{path}")', CELL, FIELD, VALUE, weight=2)
kind("bug", "core locks everything", 'bug_on({0}.{1} == {2}, "{path}")', CELL, FIELD, VALUE, weight=1)
kind(
    "give up all",
    "everything",
    'if {0}.{1} == {2}:\n    fail(Failure(Kind.BUG_ON, "{path}"))',
    CELL,
    FIELD,
    VALUE,
    weight=1,
)
kind(
    "raise", "core everything", 'if last(r) == {0}:\n    raise ValueError("{path}")', (1, 2), weight=1, cost=0
)
kind(
    "repeat",
    "core everything",
    "for _ in range({0}):\n    {body}",
    (2,),
    weight=1,
    cost=0,
    adds="loop",
    never="loop",
)
kind(
    "fork",
    "core branchy locks everything",
    'def f{ident}():\n    r = SEEN["{path}"] = []\n    {body}\nc{ident} = spawn(f{ident}, name="{path}")',
    weight=1,
    cost=1,
    adds="fork",
    never="fork loop atomic reader lock",
)
kind(
    "fork join",
    "core branchy locks everything",
    'def f{ident}():\n    r = SEEN["{path}"] = []\n    {body}\nc{ident} = spawn(f{ident}, name="{path}")\n'
    'join(c{ident})\nr.append("joined")',
    weight=1,
    cost=2,
    adds="fork",
    never="fork loop atomic reader lock",
)
kind("choose", "core everything", 'r.append(active.runtime.choose({0}, "value"))', (2, 3), weight=1)

# -- memory
# ---------------------------------------------------------------------------------------------------------------

MEMORY = "memory everything"
kind("read once", MEMORY, 'r.append(READ_ONCE({0}, "{1}"))', CELL, ANY_FIELD)
kind("write once", MEMORY, 'WRITE_ONCE({0}, "{1}", {2})', CELL, ANY_FIELD, VALUE)
kind("acquire", MEMORY, 'r.append(smp_load_acquire({0}, "{1}"))', CELL, ("a", "n", "p"))
kind("release", MEMORY, 'smp_store_release({0}, "{1}", {2})', CELL, ("a", "n", "p"), VALUE)
kind("plain read", "races memory rcu locks wait time", "r.append({0}.p)", CELL, weight=4)
kind("plain write", "races memory rcu locks wait time", "{0}.p = {1}", CELL, VALUE, weight=4)
kind("n set", MEMORY, "{0}.n = {1}", CELL, VALUE)
kind("n get", MEMORY, "r.append({0}.n)", CELL)
ATOMS = "memory core everything"
kind("xchg", ATOMS, 'r.append(xchg({0}, "n", {1}))', CELL, VALUE)
kind("xchg relaxed", MEMORY, 'r.append(xchg({0}, "n", {1}, Order.RELAXED))', CELL, VALUE)
kind("cmpxchg", ATOMS, 'r.append(cmpxchg({0}, "n", {1}, {2}))', CELL, (0, 0, 1), VALUE)
kind("add return", ATOMS, 'r.append(atomic_add_return({0}, "n", {1}))', CELL, VALUE)
kind("add acquire", MEMORY, 'r.append(atomic_add_return({0}, "n", {1}, Order.ACQUIRE))', CELL, VALUE)
kind("add release", MEMORY, 'r.append(atomic_fetch_add({0}, "n", {1}, Order.RELEASE))', CELL, VALUE)
kind("fetch add", ATOMS, 'r.append(atomic_fetch_add({0}, "n", {1}))', CELL, VALUE)
kind("atomic add", MEMORY, 'atomic_add({0}, "n", {1})', CELL, VALUE)
kind("inc", ATOMS, 'atomic_inc({0}, "n")', CELL)
kind("dec", ATOMS, 'atomic_dec({0}, "n")', CELL)
kind("dec and test", ATOMS, 'r.append(atomic_dec_and_test({0}, "n"))', CELL)
kind("add unless", ATOMS, 'r.append(atomic_add_unless({0}, "n", 1, {1}))', CELL, (0, 1))
for fence in [
    "smp_mb",
    "smp_rmb",
    "smp_wmb",
    "smp_mb__after_atomic",
    "smp_mb__after_spinlock",
    "smp_mb__after_srcu_read_unlock",
    "smp_mb__after_unlock_lock",
    "smp_mb__before_atomic",
]:
    kind(fence, MEMORY, f"{fence}()", weight=1)

# -- locks
# ----------------------------------------------------------------------------------------------------------------

kind(
    "lock",
    "core locks everything",
    "with {0}:\n    {body}",
    MUTEX,
    weight=4,
    cost=2,
    adds="lock",
    never="m0m1",
    sleeps=True,
)
kind(
    "nested lock",
    "core locks",
    "with m0:\n    with m1:\n        {body}",
    cost=4,
    adds="lock m0m1",
    never="lock",
    sleeps=True,
)
kind(
    "turned lock",
    "core locks",
    "with m1:\n    with m0:\n        {body}",
    cost=4,
    adds="lock m0m1",
    never="lock",
    sleeps=True,
)
kind(
    "locked get",
    "core branchy locks",
    "with {0}:\n    r.append({1}.{2})",
    MUTEX,
    CELL,
    FIELD,
    cost=3,
    never="lock",
    sleeps=True,
)
kind(
    "locked set",
    "core branchy locks",
    "with {0}:\n    {1}.{2} = {3}",
    MUTEX,
    CELL,
    FIELD,
    VALUE,
    cost=3,
    never="lock",
    sleeps=True,
)
kind(
    "lock subclass",
    "locks everything",
    "{0}.lock(1, nest_lock=m0)\n{body}\n{0}.assert_held()\n{0}.assert_held_write()\n"
    "r.append({0}.held_by_me())\n{0}.unlock()",
    ("m1",),
    weight=1,
    cost=2,
    adds="lock m0m1",
    never="lock m0m1",
    sleeps=True,
)
kind(
    "trylock",
    "core locks everything",
    "if {0}.trylock():\n    r.append(True)\n    {body}\n    {0}.unlock()\nelse:\n    r.append(False)\n    {else}",
    MUTEX,
    weight=3,
    cost=2,
    adds="lock",
    never="atomic",
)
kind("look lock", "everything", "r.append({0}.is_locked())", MUTEX, weight=1)
kind("tap", "locks everything", "with tap:\n    {body}", cost=2, adds="lock tap", never="tap", sleeps=True)
kind(
    "spinlock",
    "core locks everything rcu",
    "with {0}:\n    {body}",
    SPIN,
    weight=3,
    cost=2,
    adds="atomic lock",
    never="atomic",
)
kind(
    "spin trylock",
    "core locks everything",
    "if {0}.trylock():\n    {body}\n    {0}.unlock()\nelse:\n    r.append(False)",
    SPIN,
    cost=2,
    adds="atomic lock",
    never="atomic",
)
IRQ = "locks irq everything"
kind(
    "lock irq",
    IRQ,
    "with {0}.irq():\n    {body}",
    SPIN,
    weight=1,
    cost=4,
    adds="atomic lock irq",
    never="atomic",
)
kind(
    "lock bh",
    IRQ,
    "with {0}.bh():\n    {body}",
    SPIN,
    weight=1,
    cost=4,
    adds="atomic lock bh",
    never="atomic",
)
kind(
    "lock irqs by hand",
    IRQ,
    "{0}.lock_irq()\n{body}\n{0}.unlock_irq()\nf{ident} = {0}.lock_irqsave()\n{0}.unlock_irqrestore(f{ident})\n"
    "{0}.lock_bh()\n{0}.unlock_bh()",
    SPIN,
    weight=1,
    cost=8,
    adds="atomic lock irq",
    never="atomic",
)
kind(
    "irqs off",
    IRQ,
    "local_irq_disable()\n{body}\nlocal_irq_enable()",
    weight=1,
    cost=2,
    adds="atomic irq",
    never="atomic irq bh",
)
kind(
    "irqs saved",
    IRQ,
    "f{ident} = local_irq_save()\nr.append(irqs_disabled())\n{body}\nlocal_irq_restore(f{ident})",
    weight=1,
    cost=2,
    adds="atomic irq",
    never="irq bh",
)
kind(
    "bh off",
    IRQ,
    "local_bh_disable()\n{body}\nlocal_bh_enable()",
    weight=1,
    cost=2,
    adds="atomic bh",
    never="irq",
)
kind("hardirq", IRQ, "with hardirq():\n    {body}", weight=1, cost=2, adds="atomic irq", never="irq")
kind("softirq", IRQ, "with softirq():\n    {body}", weight=1, cost=2, adds="atomic bh irq", never="irq bh")
kind(
    "preempt off",
    IRQ + " rcu",
    "preempt_disable()\n{body}\npreempt_enable()",
    weight=1,
    cost=2,
    adds="atomic",
)
kind("cond resched", "locks everything", "cond_resched()", weight=1, sleeps=True)
kind("might sleep", "locks everything", "might_sleep()", weight=1, cost=0)

RWSEM = "locks everything"
kind(
    "down read",
    "core locks everything",
    "sem.down_read()\n{body}\nsem.up_read()",
    weight=3,
    cost=2,
    adds="sem lock",
    never="sem",
    sleeps=True,
)
kind(
    "down write",
    "core locks everything",
    "sem.down_write()\n{body}\nsem.up_write()",
    weight=3,
    cost=2,
    adds="sem lock",
    never="sem",
    sleeps=True,
)
kind(
    "downgrade",
    RWSEM,
    "sem.down_write()\nsem.assert_held_write()\nsem.downgrade_write()\n{body}\nsem.up_read()",
    cost=3,
    adds="sem lock",
    never="sem",
    sleeps=True,
)
kind(
    "try read",
    RWSEM,
    "if sem.down_read_trylock():\n    {body}\n    sem.up_read()\nelse:\n    r.append(False)",
    cost=2,
    adds="sem lock",
    never="sem",
)
kind(
    "try write",
    RWSEM,
    "if sem.down_write_trylock():\n    {body}\n    sem.up_write()\nelse:\n    r.append(False)",
    cost=2,
    adds="sem lock",
    never="sem",
)
kind(
    "sem twice",
    "locks",
    "sem.down_read()\nsem.down_read()\n{body}\nsem.up_read()\nsem.up_read()",
    weight=1,
    cost=4,
    adds="sem lock",
    never="sem lock",
    sleeps=True,
)

kind(
    "rw read",
    "core locks everything",
    "with rw.read():\n    {body}",
    cost=2,
    adds="atomic lock rw",
    never="rw atomic",
)
kind(
    "rw write",
    "core locks everything",
    "with rw.write():\n    {body}",
    cost=2,
    adds="atomic lock rw",
    never="rw atomic",
)
kind(
    "rw try read",
    RWSEM,
    "if rw.read_trylock():\n    {body}\n    rw.read_unlock()\nelse:\n    r.append(False)",
    cost=2,
    adds="atomic lock rw",
    never="rw atomic",
)
kind(
    "rw try write",
    RWSEM,
    "if rw.write_trylock():\n    rw.assert_held_write()\n    {body}\n    rw.write_unlock()\nelse:\n    r.append(False)",
    cost=2,
    adds="atomic lock rw",
    never="rw atomic",
)
kind(
    "rw by hand",
    RWSEM,
    "rw.read_lock()\n{body}\nrw.read_unlock()\nrw.write_lock()\nrw.write_unlock()",
    weight=1,
    cost=4,
    adds="atomic lock rw",
    never="rw atomic",
)
kind("seq write", RWSEM, "with seq.write():\n    {body}", cost=4, adds="atomic lock seq", never="seq atomic")
kind(
    "seq write by hand",
    RWSEM,
    "seq.write_seqlock()\n{body}\nseq.write_sequnlock()",
    weight=1,
    cost=4,
    adds="atomic lock seq",
    never="seq atomic",
)
kind(
    "seq read",
    RWSEM,
    "q{ident} = seq.read_seqbegin()\n{body}\nr.append(seq.read_seqretry(q{ident}))",
    cost=2,
    adds="seq",
    never="seq atomic",
)
kind(
    "seq excl",
    RWSEM,
    "seq.read_seqlock_excl()\n{body}\nseq.read_sequnlock_excl()",
    weight=1,
    cost=2,
    adds="atomic lock seq",
    never="seq atomic",
)
kind(
    "count write",
    RWSEM,
    "count.write_begin()\n{body}\ncount.write_end()",
    weight=1,
    cost=2,
    adds="atomic lock count",
    never="count atomic",
)
kind(
    "count read",
    RWSEM,
    "q{ident} = count.read_begin()\n{body}\nr.append(count.read_retry(q{ident}))",
    weight=1,
    cost=2,
    adds="count",
    never="count atomic",
)
kind(
    "room",
    "core locks wait everything",
    "with room:\n    {body}",
    cost=2,
    adds="room lock",
    never="room",
    sleeps=True,
)
kind(
    "room by hand",
    "locks everything",
    "room.down()\n{body}\nroom.up()",
    weight=1,
    cost=2,
    adds="room lock",
    never="room",
    sleeps=True,
)
kind(
    "room try",
    "core locks wait everything",
    "if room.down_trylock():\n    {body}\n    room.up()\nelse:\n    r.append(False)",
    cost=2,
    adds="room lock",
    never="room",
)
kind(
    "room late",
    "time everything",
    "if room.down_timeout({0}):\n    {body}\n    room.up()\nelse:\n    r.append(False)",
    (1, 2),
    weight=1,
    cost=5,
    adds="room lock",
    never="room",
    sleeps=True,
)
kind("gate down", "core wait everything", "gate.down()", sleeps=True)
kind("gate up", "core wait everything", "gate.up()")

# -- waiting
# ---------------------------------------------------------------------------------------------------------------

kind("complete", "core wait everything", "done.complete()")
kind("complete all", "core wait everything", "done.complete_all()", weight=1)
kind("await done", "core wait everything", "done.wait()", sleeps=True)
kind("try done", "core wait everything", "r.append(done.try_wait())")
kind("is done", "wait everything", "r.append(done.is_done())", weight=1)
kind("reinit", "wait everything", "done.reinit()", weight=1)
kind("late done", "time everything", "r.append(done.wait_timeout({0}) > 0)", (1, 2), cost=4, sleeps=True)
kind("raise flag", "core wait everything", "flag.set()")
kind("clear flag", "wait everything", "flag.clear()", weight=1)
kind("see flag", "core wait everything", "r.append(flag.is_set())")
kind("await flag", "core wait everything", "flag.wait()", sleeps=True)
kind("late flag", "time everything", "r.append(flag.wait({0}))", (0.001, 0.002), cost=4, sleeps=True)
kind(
    "meet",
    "wait everything",
    'try:\n    r.append(meet.wait())\nexcept BrokenBarrierError:\n    r.append("broken")',
    cost=2,
    sleeps=True,
)
kind(
    "late meet",
    "time everything",
    'try:\n    r.append(meet.wait({0}))\nexcept BrokenBarrierError:\n    r.append("broken")',
    (0.001,),
    weight=1,
    cost=5,
    sleeps=True,
)
kind("abort", "wait everything", "meet.abort()", weight=1)
kind("reset", "wait everything", "meet.reset()", weight=1)
kind(
    "monitor",
    "wait everything",
    "with cond:\n    while x.b < {0}:\n        cond.wait()\n    r.append(x.b)",
    (1, 1, 2),
    cost=5,
    never="lock",
    sleeps=True,
)
kind(
    "monitor for",
    "wait everything",
    "with cond:\n    r.append(cond.wait_for(lambda: x.b >= {0}))",
    (1,),
    weight=1,
    cost=5,
    never="lock",
    sleeps=True,
)
kind(
    "late monitor",
    "time everything",
    "with cond:\n    r.append(cond.wait({0}))",
    (0.001,),
    weight=1,
    cost=7,
    never="lock",
    sleeps=True,
)
kind(
    "notify",
    "wait time everything",
    "with cond:\n    x.b = x.b + 1\n    cond.notify()",
    cost=5,
    never="lock",
    sleeps=True,
)
kind(
    "notify all",
    "wait everything",
    "with cond:\n    x.b = x.b + 1\n    cond.notify_all()",
    weight=1,
    cost=5,
    never="lock",
    sleeps=True,
)
kind("event", "wait everything", "queue.wait_event(lambda: x.a)", cost=5, never="lock", sleeps=True)
kind(
    "event alone",
    "wait everything",
    "queue.wait_event(lambda: x.a, exclusive=True)",
    weight=1,
    cost=5,
    never="lock",
    sleeps=True,
)
kind(
    "late event",
    "time everything",
    "r.append(queue.wait_event_timeout(lambda: x.a, {0}) > 0)",
    (1,),
    weight=1,
    cost=7,
    never="lock",
    sleeps=True,
)
kind(
    "nap",
    "wait everything",
    'queue.prepare_to_wait()\nif x.a == 0:\n    schedule()\n    r.append("woken")\nqueue.finish_wait()',
    cost=4,
    never="lock",
    sleeps=True,
)
kind("wake", "wait time everything", "x.a = 1\nr.append(queue.wake_up())", cost=2)
kind("wake two", "wait everything", "x.a = 1\nr.append(queue.wake_up(2))", weight=1, cost=2)
kind("wake all", "wait everything", "x.a = 1\nr.append(queue.wake_up_all())", weight=1, cost=2)
kind("queue active", "wait everything", "r.append(queue.active())", weight=1)
kind(
    "doze",
    "wait everything",
    'set_current_state(TASK_UNINTERRUPTIBLE)\nif x.a == 0:\n    schedule()\nset_current_state(TASK_RUNNING)\nr.append("up")',
    cost=4,
    never="lock",
    sleeps=True,
)
kind(
    "late doze",
    "time everything",
    "set_current_state(TASK_UNINTERRUPTIBLE)\nr.append(schedule_timeout({0}))",
    (1, 2),
    cost=4,
    never="lock",
    sleeps=True,
)
kind(
    "wake process",
    "wait time everything",
    "x.a = 1\nif t0.wait_queue is None:\n    r.append(wake_up_process(t0))",
    weight=1,
    cost=2,
)
kind(
    "rouse",
    "wait",
    "x.a = 1\nif t{0}.wait_queue is None:\n    r.append(wake_up_process(t{0}))",
    (0, 1),
    cost=2,
)

# -- spinning
# -------------------------------------------------------------------------------------------------------------

kind("spin", "spin everything", "while not {0}.{1}:\n    cpu_relax()", CELL, FIELD, cost=3, never="loop lock")
kind(
    "test and set",
    "spin",
    'while xchg({0}, "n", 1):\n    cpu_relax()\n{body}\n{0}.n = 0',
    ("x",),
    cost=4,
    adds="lock tas",
    never="tas loop",
)
kind(
    "compare and set",
    "spin",
    'while cmpxchg({0}, "n", 0, 1):\n    cpu_relax()\n{body}\n{0}.n = 0',
    ("x",),
    cost=4,
    adds="lock tas",
    never="tas loop",
)
kind(
    "keep",
    "spin",
    'while xchg({0}, "n", 1):\n    cpu_relax()',
    ("y",),
    weight=1,
    cost=2,
    never="tas loop lock",
)
kind(
    "give up",
    "spin core everything",
    'for _ in range({0}):\n    if {1}.{2}:\n        break\n    cpu_relax()\nelse:\n    r.append("gave up")\n    {else}',
    (1, 2, 3),
    CELL,
    FIELD,
    weight=3,
    cost=4,
    never="loop",
)
kind(
    "give up loudly",
    "spin core",
    'for _ in range({0}):\n    if {1}.{2}:\n        break\n    cpu_relax()\nelse:\n    check(False, "{path} gave up")',
    (2, 3),
    CELL,
    FIELD,
    cost=4,
    never="loop",
)
kind(
    "try a few times",
    "spin core everything",
    "for _ in range({0}):\n    if {1}.trylock():\n        {body}\n        {1}.unlock()\n        break\n    cpu_relax()\nelse:\n"
    '    r.append("never got it")',
    (1, 2),
    MUTEX,
    weight=2,
    cost=5,
    adds="lock",
    never="loop lock atomic",
)

# -- RCU
# ------------------------------------------------------------------------------------------------------------------

READER = "rcu everything"
kind("reader", READER, "with rcu_reader():\n    {body}", weight=5, cost=2, adds="reader", never="atomic")
kind(
    "read lock",
    READER,
    "rcu_read_lock()\n{body}\nrcu_read_unlock()",
    weight=1,
    cost=2,
    adds="reader",
    never="atomic",
)
kind(
    "reader bh",
    READER,
    "rcu_read_lock_bh()\nr.append(rcu_read_lock_bh_held())\n{body}\nrcu_read_unlock_bh()",
    weight=1,
    cost=2,
    adds="reader atomic bh",
    never="atomic irq",
)
kind(
    "reader sched",
    READER,
    "rcu_read_lock_sched()\nr.append(rcu_read_lock_sched_held())\n{body}\nrcu_read_unlock_sched()",
    weight=1,
    cost=2,
    adds="reader atomic",
)
kind("held", READER, "r.append((rcu_read_lock_held(), rcu_read_lock_any_held()))", weight=1, cost=0)
kind("sync", READER, "synchronize_rcu()", weight=4, cost=2, never="lock", sleeps=True)
kind("sync fast", READER, "synchronize_rcu_expedited()", weight=1, cost=2, never="lock", sleeps=True)
kind(
    "call", READER, 'call_rcu(lambda _: setattr({0}, "{1}", {2}), None)', CELL, FIELD, VALUE, weight=3, cost=4
)
kind("call plain", READER, 'call_rcu(lambda _: setattr({0}, "p", {1}), None)', CELL, VALUE, weight=1, cost=4)
kind("call nothing", READER, "call_rcu(lambda _: None, None)", weight=2, cost=3)
kind("call head", READER, "call_rcu(lambda _: None, None, head)", weight=1, cost=3)
kind(
    "stack head",
    READER,
    'h{ident} = RcuHead("h{ident}")\ninit_rcu_head_on_stack(h{ident})\ncall_rcu(lambda _: None, None, h{ident})',
    weight=2,
    cost=3,
)
kind(
    "stack head goes",
    READER,
    'h{ident} = RcuHead("h{ident}")\ninit_rcu_head_on_stack(h{ident})\ncall_rcu(lambda _: None, None, h{ident})\n{body}\ndestroy_rcu_head_on_stack(h{ident})',
    weight=2,
    cost=3,
    never="reader atomic",
)
kind("barrier", READER, "rcu_barrier()", weight=1, cost=2, never="lock", sleeps=True)
kind(
    "poll",
    READER,
    "k{ident} = start_poll_synchronize_rcu()\n{body}\nr.append(poll_state_synchronize_rcu(k{ident}))",
    weight=2,
    cost=2,
)
kind(
    "get state",
    READER,
    "k{ident} = get_state_synchronize_rcu()\n{body}\ncond_synchronize_rcu(k{ident})",
    weight=1,
    cost=4,
    never="lock",
    sleeps=True,
)
kind("start", READER, "start_poll_synchronize_rcu()", weight=1)
kind("completed", READER, "r.append(poll_state_synchronize_rcu(get_completed_synchronize_rcu()))", weight=1)
kind("stall", READER, "rcu_cpu_stall_timeout({0})", (1000,), weight=1, cost=0)
kind("stall soon", "rcu", "rcu_cpu_stall_timeout({0})", (1, 2), weight=1, cost=0)
kind(
    "srcu reader",
    READER,
    "with srcu_reader(srcu):\n    r.append(srcu_read_lock_held(srcu))\n    {body}",
    weight=3,
    cost=2,
    adds="srcu",
    never="srcu atomic",
)
kind(
    "srcu by hand",
    READER,
    "i{ident} = srcu_down_read(srcu)\n{body}\nsrcu_up_read(srcu, i{ident})",
    weight=1,
    cost=2,
    adds="srcu",
    never="srcu atomic",
)
kind("srcu sync", READER, "synchronize_srcu(srcu)", weight=2, cost=2, never="srcu lock", sleeps=True)
kind(
    "srcu sync fast",
    READER,
    "synchronize_srcu_expedited(srcu)",
    weight=1,
    cost=2,
    never="srcu lock",
    sleeps=True,
)
kind(
    "srcu call",
    READER,
    'call_srcu(srcu, lambda _: setattr({0}, "{1}", {2}), None)',
    CELL,
    FIELD,
    VALUE,
    weight=1,
    cost=4,
)
kind("srcu barrier", READER, "srcu_barrier(srcu)", weight=1, cost=2, never="srcu lock", sleeps=True)
kind(
    "srcu poll",
    READER,
    "k{ident} = start_poll_synchronize_srcu(srcu)\n{body}\nr.append(poll_state_synchronize_srcu(srcu, k{ident}))",
    weight=1,
    cost=2,
)
kind(
    "srcu state",
    READER,
    "r.append(poll_state_synchronize_srcu(srcu, get_state_synchronize_srcu(srcu)))",
    weight=1,
    cost=2,
)
kind("srcu cleanup", READER, "cleanup_srcu_struct(srcu)", weight=1, cost=1, never="srcu")
kind("tasks sync", READER, "synchronize_rcu_tasks()", weight=1, cost=3, never="lock", sleeps=True)
kind("tasks call", READER, "call_rcu_tasks(lambda _: None, None)", weight=1, cost=5)
kind("tasks barrier", READER, "rcu_barrier_tasks()", weight=1, cost=2, never="lock", sleeps=True)
kind("tasks qs", READER, "cond_resched_tasks_rcu_qs()", weight=1)
kind(
    "user mode",
    READER,
    "with user_mode():\n    {body}",
    weight=1,
    cost=2,
    adds="user",
    never="reader atomic user",
)
POINTER = "rcu slab everything"
kind(
    "follow",
    POINTER,
    "with rcu_reader():\n    n{ident} = root.ptr\n    if n{ident} is not None:\n        r.append(n{ident}.v)",
    weight=3,
    cost=4,
    never="atomic",
)
kind(
    "follow check",
    POINTER,
    'with rcu_reader():\n    n{ident} = rcu_dereference_check(root, "ptr", False)\n    if n{ident} is not None:\n        r.append(n{ident}.tag)',
    weight=1,
    cost=3,
    never="atomic",
)
kind(
    "dereference",
    POINTER,
    'with rcu_reader():\n    r.append(rcu_dereference(root, "ptr") is None)',
    weight=1,
    cost=3,
    never="atomic",
)
kind("protected", POINTER, 'r.append(rcu_dereference_protected(root, "ptr", True) is None)', weight=1)
RETIRE = 'n{ident} = rcu_access_pointer(root, "ptr")\nrcu_assign_pointer(root, "ptr", None)\nif n{ident} is not None:\n    '
kind("retire", POINTER, RETIRE + "kfree_rcu(nodes, n{ident})", weight=2, cost=5)
kind(
    "retire slowly",
    POINTER,
    RETIRE + "synchronize_rcu()\n    nodes.free(n{ident})",
    weight=1,
    cost=5,
    never="lock",
    sleeps=True,
)
kind("retire early", POINTER, RETIRE + "nodes.free(n{ident})", weight=1, cost=3)
kind(
    "retire maybe",
    POINTER,
    RETIRE + "kfree_rcu_mightsleep(nodes, n{ident})",
    weight=1,
    cost=5,
    never="lock",
    sleeps=True,
)

# -- slab
# -----------------------------------------------------------------------------------------------------------------

SLAB = "slab core everything"
kind("touch", SLAB, "r.append(holder.node.tag)", weight=4, cost=0)
kind(
    "touch lock",
    "slab",
    "with holder.node.lock:\n    {body}",
    weight=3,
    cost=2,
    adds="atomic lock",
    never="atomic",
)
kind("node get", SLAB, "r.append(holder.node.v)", weight=2)
kind("node set", SLAB, "holder.node.v = {0}", VALUE, weight=2)
kind("node plain", "races slab", "r.append(holder.node.w)", weight=1)
kind("free", SLAB, "nodes.free(holder.node)", weight=3)
kind("kfree", "slab rcu everything", "kfree_rcu(nodes, holder.node)", weight=2, cost=4)
kind("named get", "slab everything", 'r.append(READ_ONCE(named.node, "v"))', weight=2)
kind("named set", "slab everything", 'WRITE_ONCE(named.node, "v", {0})', VALUE, weight=1)
kind("named free", "slab everything", "nameds.free(named.node)", weight=2)
kind("stepped get", "slab everything", "r.append(stepped.node.v)", weight=1)
kind("stepped free", "slab everything", "steppeds.free(stepped.node)", weight=1)
kind(
    "alloc",
    "slab everything",
    "n{ident} = nodes.alloc(GFP_KERNEL)\nif n{ident} is None:\n    r.append(None)\nelse:\n    n{ident}.v = 1\n    nodes.free(n{ident})",
    weight=1,
    cost=3,
    sleeps=True,
)
kind(
    "alloc bulk",
    "slab everything",
    "b{ident} = nodes.alloc_bulk(GFP_ATOMIC, 2)\nr.append(len(b{ident}))\nfor n in b{ident}:\n    nodes.free(n)",
    weight=1,
    cost=4,
)
kind(
    "alloc reused",
    "slab everything",
    "n{ident} = reused.alloc(GFP_KERNEL)\nif n{ident} is not None:\n    n{ident}.v = {0}\n    reused.free(n{ident})",
    VALUE,
    weight=1,
    cost=3,
    sleeps=True,
)
kind(
    "reclaims",
    "slab everything",
    "pressure.chances\nn{ident} = nodes.alloc(GFP_KERNEL)\nif n{ident} is not None:\n    nodes.free(n{ident})",
    weight=1,
    cost=6,
    sleeps=True,
)
kind(
    "reclaim",
    "slab everything",
    "pressure.chances\nmay_reclaim(active.runtime)\ndirect_reclaim()",
    weight=1,
    cost=6,
    never="lock",
    sleeps=True,
)
kind(
    "fs reclaim",
    "slab everything",
    "with fs_reclaim():\n    {body}",
    weight=1,
    cost=2,
    adds="lock",
    never="lock",
    sleeps=True,
)

# -- time
# -----------------------------------------------------------------------------------------------------------------

TIME = "time everything"
kind("arm", TIME, "r.append(mod_timer(timer, {0}))", (1, 5, 100), weight=3, cost=4)
kind("disarm", TIME, "r.append(del_timer(timer))", weight=2)
kind("disarm sync", TIME, "r.append(del_timer_sync(timer))", weight=2, cost=2, never="atomic")
kind("pending", TIME, "r.append(timer_pending(timer))", weight=1)
kind("arm plain", "time races", "y.p = 2\nr.append(mod_timer(ticker, {0}))", (1, 100), weight=2, cost=5)
kind("arm after", "time races", "x.p = 2\nr.append(mod_timer(timer, {0}))", (1, 100), weight=2, cost=5)
kind("disarm and look", "time races", "if del_timer(timer):\n    r.append(x.p)", weight=2, cost=2)
kind(
    "disarm and wait", "time races", "del_timer_sync(ticker)\nr.append(y.p)", weight=2, cost=3, never="atomic"
)
kind(
    "arm again and look",
    "time races",
    "if mod_timer(timer, {0}):\n    r.append(x.p)",
    (1, 100),
    weight=1,
    cost=5,
)
kind("jiffies", TIME, "r.append(jiffies() >= {0})", (0, 1), weight=1)
kind("ktime", TIME, "r.append(ktime_get() >= 1_000_000_000 // HZ)", weight=1)
kind("msleep", TIME, "msleep({0})", (1, 2), weight=2, cost=5, never="lock", sleeps=True)
kind("mdelay", TIME, "mdelay({0})", (1,), weight=1, cost=5)

# -- the rest
# -------------------------------------------------------------------------------------------------------------

kind("trace", "everything", 'trace("{path}", value={0})', VALUE, weight=1, cost=0)
kind("who", "everything", "r.append(current_task().name)", weight=1, cost=0)
kind("checked", "everything", 'r.append(checked("leak"))', weight=1, cost=0)
kind("quiet peek", "everything", 'with quiet():\n    peek({0}, "b")', CELL, weight=1, cost=0)
kind("grow", "custom everything", "r.append(perform(GROW, meter, {0}))", VALUE, weight=4)
kind("look", "custom everything", "r.append(perform(LOOK, meter))", weight=4)
kind("await a", "custom everything", "r.append(perform(AWAIT, meter))", weight=2, sleeps=True)
kind("reach", "custom everything", "perform(REACH, {0}, {1})", ("x",), ("y",), weight=2)
kind("move", "places", "r.append(perform(MOVE, {0}, {1}))", ("x", "y"), ("x", "y"), weight=6)
kind("pick", "places", "r.append(perform(PICK, {0}, {1}))", ("x", "y"), ("x", "y"), weight=6)
kind(
    "poke",
    "custom everything",
    'perform(Operation("poke", effect=lambda obj, task, arg: poke(obj, "b", arg)), {0}, {1})',
    CELL,
    VALUE,
    weight=1,
)

# -- what breaks a rule
# -----------------------------------------------------------------------------------------------------

kind("unlock only", "wrong", "{0}.unlock()", ("m0", "s0", "tap"))
kind("lock twice", "wrong", "with m0:\n    with m0:\n        {body}", adds="lock")
kind("keep lock", "wrong", "{0}.lock()", ("m0", "tap"))
kind("sleep in atomic", "wrong", "with s0:\n    with m1:\n        {body}")
kind(
    "read too little",
    "wrong",
    "{0}()",
    ("rcu_read_unlock", "preempt_enable", "local_bh_enable", "rcu_read_unlock_bh", "local_irq_enable"),
)
kind("read too long", "wrong", "{0}()", ("rcu_read_lock", "preempt_disable", "rcu_read_lock_sched"))
kind("wait in reader", "wrong", "with rcu_reader():\n    {0}()", ("synchronize_rcu", "rcu_barrier"))
kind("wait in srcu", "wrong", "with srcu_reader(srcu):\n    synchronize_srcu(srcu)")
kind("wrong index", "wrong", "i{ident} = srcu_read_lock(srcu)\nsrcu_read_unlock(srcu, i{ident} + 1)")
kind("no reader", "wrong", "r.append(root.ptr is None)")
kind(
    "up only",
    "wrong",
    "{0}()",
    ("sem.up_read", "sem.up_write", "sem.downgrade_write", "rw.read_unlock", "rw.write_unlock"),
)
kind("not held", "wrong", "{0}.assert_held()", ("m0", "s0", "sem"))
kind("abba", "wrong", "with {0}:\n    with {1}:\n        {body}", ("m0", "s0"), ("m1", "s1"), adds="lock")
kind("baba", "wrong", "with {1}:\n    with {0}:\n        {body}", ("m0",), ("m1",), adds="lock")
kind("irq unsafe", "wrong", "with hardirq():\n    with s0:\n        pass\nwith s0:\n    pass")
kind("head twice", "wrong", "call_rcu(lambda _: None, None, head)\ncall_rcu(lambda _: None, None, head)")
kind(
    "twins",
    "wrong",
    "def f{ident}():\n    r = []\n    {body}\nspawn(f{ident})\nspawn(f{ident})",
    weight=4,
    cost=2,
    adds="fork",
    never="fork lock",
)
kind("hand over", "wrong", "sem.down_read()\n{body}\nsem.up_read()", adds="lock")

# What orders things, beside plain accesses, by families: a program of the profile "races" takes one of them, so that
# what belongs together meets. Deadlines are left out: a wait that times out may order too much, which
# docs/primitives.md says.
FAMILIES = {
    "fields": "get,set,acquire,release,xchg relaxed,add acquire,add release,fetch add,fork,fork join",
    "owned": "lock,trylock,tap,spinlock,spin trylock,lock irq,fork join",
    "shared": "down read,down write,downgrade,try read,try write,rw read,rw write,rw try read,rw try write",
    "counting": "room,room try,gate down,gate up,meet,monitor,notify",
    "done": "complete,complete all,await done,try done,is done,set",
    "flags": "raise flag,see flag,await flag,clear flag,set",
    "sleep": "event,nap,wake,wake all,queue active",
    "doze": "doze,rouse",
    "rcu": "reader,read lock,sync,call,call plain,call nothing,barrier,set",
    "regions": "reader,reader bh,reader sched,spinlock,irqs off,bh off,preempt off,sync,call nothing,set",
    "polled": "reader,poll,start,call nothing,barrier,set",
    "srcu": "srcu reader,srcu sync,srcu call,srcu poll,srcu barrier,set",
    "timers": "arm,arm after,arm plain,disarm,disarm sync,disarm and look,disarm and wait,arm again and look",
    "own": "grow,await a,look",
}
for names in FAMILIES.values():
    for name in names.split(","):
        found = KINDS[name]
        KINDS[name] = replace(found, profiles=found.profiles | {"races"})

CLOSE: dict[str, tuple[str, ...]] = {
    "rcu": (
        "srcu reader,srcu cleanup,srcu call,srcu sync,srcu barrier,get",
        "stack head,stack head goes,call nothing,barrier,reader,get",
        "follow,retire,retire slowly,retire early,follow check,protected",
        "reader,sync,call,get,set,expect",
        "stall soon,reader,sync,get",
    ),
    "slab": (
        "touch,free,kfree,node get,get,set",
        "touch lock,free,touch,get",
        "named get,named set,named free,get",
        "alloc reused,stepped get,stepped free,get",
    ),
    "wait": (
        "doze,rouse,set",
        "event,nap,wake,wake all,set",
        "complete,await done,try done,reinit",
        "meet,abort,reset,get",
    ),
    "circles": (
        "down read,down write,lock,sem twice",
        "sem twice,down write,get",
        "nested lock,turned lock,lock,trylock",
        "rw read,rw write,lock,room",
    ),
}
"""What meets: a program of these profiles takes, more often than not, one row only."""
for profile, rows in CLOSE.items():
    for name in ",".join(rows).split(","):
        found = KINDS[name]
        KINDS[name] = replace(found, profiles=found.profiles | {profile})


# In programs of their own: a primitive that is added must not change what the seeds of all others mean.
for _declared in statements():
    for _name, (_profiles, _text) in _declared["kinds"].items():
        kind(_name, _profiles, _text, declared=True)
