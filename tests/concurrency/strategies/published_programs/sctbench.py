"""SCTBench (Thomson, Donaldson, Betts, TOPC 2016): bugs that are known."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

from published_programs.base import SCTBENCH, Counter, Place, claim, do, look, places, published, put
from sugarbush.concurrency import Condition, Mutex, atomic_add_return, atomic_inc, join, spawn


@published(SCTBENCH + "account_bad.c", 6, broken="the balance is right")
def account_bad() -> None:
    """Deposit, withdrawal and check under one lock; the check expects the deposit with the wrong sign: 3! orders."""
    x, y, z = 1, 2, 4
    balance, deposited, withdrawn, mutex = Place(v=x), Place(), Place(), Mutex("m")

    def deposit() -> None:
        with mutex:
            balance.v = balance.v + y
            deposited.v = 1

    def withdraw() -> None:
        with mutex:
            balance.v = balance.v - z
            withdrawn.v = 1

    def checks() -> None:
        with mutex:
            if deposited.v and withdrawn.v:
                claim(balance.v == (x - y) - z, "the balance is right")

    spawn(deposit)
    spawn(withdraw)
    spawn(checks)


@published(
    SCTBENCH + "bluetooth_driver_bad.c (Qadeer, Wu, PLDI 2004)",
    10,
    broken="the driver is not stopped while it works",
)
def bluetooth_driver_bad() -> None:
    """The driver looks whether it is to stop, and then counts itself in: too late if it is stopped in between."""
    pending, stopping, event, stopped = Counter(v=1), Place(), Place(), Place()

    def leave() -> None:
        if atomic_add_return(pending, "v", -1) == 0:
            event.v = 1

    def stop() -> None:
        stopping.v = 1
        leave()
        if event.v:
            stopped.v = 1

    spawn(stop)
    if not stopping.v:
        atomic_inc(pending, "v")
        claim(not stopped.v, "the driver is not stopped while it works")
    leave()


@published(SCTBENCH + "carter01_bad.c", 4, deadlocks=True)
def carter_bad() -> None:
    """Two groups, each locks l for all its members under m; who waits for l keeps m from the others.

    One task after the other: 2 ways; else one has l and wants m, which the other one has, who wants l: 2 ways.
    """
    m, lock, a, b = Mutex("m"), Mutex("l"), Place(), Place()

    def body(count: Place) -> None:
        with m:
            count.v = count.v + 1
            if count.v == 1:
                lock.lock()
        with m:
            count.v = count.v - 1
            if count.v == 0:
                lock.unlock()

    spawn(body, a)
    spawn(body, b)


@published(SCTBENCH + "deadlock01_bad.c", 3, deadlocks=True)
def deadlock_bad() -> None:
    """Two locks in opposite orders: two orders of the tasks, and the deadlock."""
    a, b, counter = Mutex("a"), Mutex("b"), Place(v=1)

    def body(first: Mutex, second: Mutex, by: int) -> None:
        with first, second:
            counter.v = counter.v + by

    spawn(body, a, b, 1)
    spawn(body, b, a, -1)


@published(SCTBENCH + "phase01_bad.c", 6, deadlocks=True)
def phase_bad() -> None:
    """Two tasks lock and unlock x, and lock it again for good: whoever is second to do so waits for ever.

    With a the one that keeps it, b has not had it yet, or before a's first lock, or between a's two: 3 ways, times 2.
    """
    x, y = Mutex("x"), Mutex("y")

    def body() -> None:
        with x:
            pass
        x.lock()
        for _ in range(2):
            with y:
                pass

    spawn(body)
    spawn(body)


@published(SCTBENCH + "lazy01_bad.c", 6, broken="data is below 3")
def lazy_bad() -> None:
    """3! orders of three locked tasks, two of which break the claim."""
    data, mutex = Place(), Mutex("m")

    def add(n: int) -> None:
        with mutex:
            data.v = data.v + n

    def checks() -> None:
        with mutex:
            claim(data.v < 3, "data is below 3")

    spawn(add, 1)
    spawn(add, 2)
    spawn(checks)


@published(
    SCTBENCH + "reorder_3_bad.c",
    {(n,): factorial(n + 1) ** 2 for n in (1, 2)},
    slow={(3,): 576},
    broken="both are set, or none",
)
def reorder_bad(n: int) -> None:
    """n tasks set a and then b; one looks at both: (n + 1)! orders at each, in no circle since all begin with a."""
    a, b = places(2)

    def checks() -> None:
        one, two = a.v, b.v
        claim((one, two) in ((0, 0), (1, -1)), "both are set, or none")

    for _ in range(n):
        do((put, a, 1), (put, b, -1))
    spawn(checks)


@published(SCTBENCH + "twostage_bad.c", 3, broken="both stages are done, or none")
def two_stage_bad() -> None:
    """Two values under a lock each, set one after the other; the reader may come between."""
    one, two = places(2)
    first, second = Mutex("first"), Mutex("second")

    def sets() -> None:
        with first:
            one.v = 1
        with second:
            two.v = one.v + 1

    def checks() -> None:
        with first:
            found = one.v
        if found == 0:
            return
        with second:
            claim(two.v == found + 1, "both stages are done, or none")

    spawn(sets)
    spawn(checks)


@published(SCTBENCH + "wronglock_bad.c", {(1,): 7, (2,): 48}, broken="nobody else changes the value")
def wrong_lock_bad(n: int) -> None:
    """One task increments under one lock, n under another one."""
    data, right, wrong = Place(), Mutex("right"), Mutex("wrong")

    def first() -> None:
        with right:
            x = data.v
            data.v = data.v + 1
            claim(data.v == x + 1, "nobody else changes the value")

    def others() -> None:
        with wrong:
            data.v = data.v + 1

    spawn(first)
    for _ in range(n):
        spawn(others)


@published(SCTBENCH + "token_ring_bad.c", 24, broken="the three are equal")
def token_ring_bad() -> None:
    """Four atomic blocks: 4! orders."""
    x, flags, mutex = [Place(v=value) for value in (1, 2, 1)], places(3), Mutex("atomic")

    def step(k: int, change: Callable[[], int]) -> None:
        with mutex:
            x[k].v = change()
            flags[k].v = 1

    def checks() -> None:
        with mutex:
            if all(flag.v for flag in flags):
                claim(x[0].v == x[1].v == x[2].v, "the three are equal")

    spawn(step, 0, lambda: (x[2].v + 1) % 4)
    spawn(step, 1, lambda: x[0].v)
    spawn(step, 2, lambda: x[1].v)
    spawn(checks)


@published(
    SCTBENCH + "circular_buffer_bad.c", {(2,): 6, (3,): 20}, broken="what comes out is what is expected"
)
def circular_buffer_bad(n: int) -> None:
    """One inserts if it is its turn, one removes if it is its, n times each: C(2n, n) merges; a turn may be missed."""
    buffer, first, following = places(10), Place(), Place()
    send, receive, mutex = Place(v=True), Place(v=False), Mutex("m")

    def inserts() -> None:
        for k in range(n):
            with mutex:
                if send.v:
                    buffer[following.v].v = k
                    following.v = (following.v + 1) % 10
                    send.v, receive.v = False, True

    def removes() -> None:
        for k in range(n):
            with mutex:
                if receive.v:
                    found = buffer[first.v].v
                    first.v = first.v + 1
                    claim(found == k, "what comes out is what is expected")
                    receive.v, send.v = False, True

    spawn(inserts)
    spawn(removes)


@published(SCTBENCH + "stack_bad.c", {(2,): 6, (3,): 20}, broken="no underflow")
def stack_bad(n: int) -> None:
    """The flag says only that something was pushed once."""
    top, cells, flag, mutex = Place(), places(n), Place(v=False), Mutex("m")

    def pushes() -> None:
        for k in range(n):
            with mutex:
                cells[top.v].v = k
                top.v = top.v + 1
                flag.v = True

    def pops() -> None:
        for _ in range(n):
            with mutex:
                if flag.v:
                    claim(top.v > 0, "no underflow")
                    if top.v > 0:
                        top.v = top.v - 1
                        look(cells[top.v])

    spawn(pushes)
    spawn(pops)


@published(SCTBENCH + "sync01_bad.c", 2, deadlocks=True)
def sync01_bad() -> None:
    """The buffer is full, the one waits until it is empty, and the other one does not take anything out."""
    number = Place(v=1)
    mutex = Mutex("m")
    empty, full = Condition(mutex, "empty"), Condition(mutex, "full")

    def first() -> None:
        with mutex:
            while number.v > 0:
                empty.wait()
            number.v = number.v + 1
            full.notify()

    def second() -> None:
        with mutex:
            while number.v == 0:
                full.wait()
            empty.notify()

    join(spawn(first), spawn(second))


@published(
    SCTBENCH + "arithmetic_prog_bad.c", {(1,): 2, (2,): 8}, broken="the sum is not that of the program"
)
def arithmetic_program_bad(n: int) -> None:
    """A buffer of one place with two condition variables; the assertion denies the sum that comes out."""
    number, total = places(2)
    mutex = Mutex("m")
    empty, full = Condition(mutex, "empty"), Condition(mutex, "full")

    def first() -> None:
        for _ in range(n):
            with mutex:
                while number.v > 0:
                    empty.wait()
                number.v = number.v + 1
                full.notify()

    def second() -> None:
        for j in range(n):
            with mutex:
                while number.v == 0:
                    full.wait()
                total.v = total.v + j
                number.v = number.v - 1
                empty.notify()
        total.v = total.v + n

    join(spawn(first), spawn(second))
    claim(total.v != n * (n + 1) // 2, "the sum is not that of the program")


@published(SCTBENCH + "fanger01_ok.c, of one producer and consumer", {(1,): 2, (2,): 8})
def fanger(n: int) -> None:
    """The consumer looks once whether the queue is empty, where it should look again: with one of each it may."""
    size = Place()
    mutex = Mutex("m")
    may_produce, may_consume = Condition(mutex, "not full"), Condition(mutex, "not empty")

    def produces() -> None:
        for _ in range(n):
            with mutex:
                while size.v == 1:
                    may_produce.wait()
                may_consume.notify()
                size.v = size.v + 1

    def consumes() -> None:
        for _ in range(n):
            with mutex:
                if size.v == 0:
                    may_consume.wait()
                may_produce.notify()
                size.v = size.v - 1
                claim(size.v >= 0, "there was something to consume")

    spawn(produces)
    spawn(consumes)


@published(
    SCTBENCH + "din_phil2_sat.c to din_phil7_sat.c",
    {(n,): 2**n - 1 for n in (2, 3, 4, 5)},
    slow={(7,): 127},
    deadlocks=True,
)
def philosophers(n: int) -> None:
    """At each fork one of two is first: 2^n ways. That all are first at their left forks is the deadlock, and that all
    are first at their right forks cannot be.
    """
    forks = [Mutex(f"fork {k}") for k in range(n)]

    def dine(k: int) -> None:
        with forks[k], forks[(k + 1) % n]:
            pass

    for k in range(n):
        spawn(dine, k)
