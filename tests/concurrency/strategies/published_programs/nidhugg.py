"""Nidhugg's benchmarks and tests."""

from __future__ import annotations

from math import comb, factorial

from published_programs.base import NIDHUGG, Counter, Place, claim, do, look, places, published, put
from sugarbush.concurrency import Condition, Mutex, atomic_fetch_add, join, spawn


@published(
    NIDHUGG + "benchmarks/from_TRACER/CO-2+2W.c (TracER: Abdulla et al., OOPSLA 2018)", {(2,): 6, (3,): 90}
)
def co_2_2w(n: int) -> None:
    """n tasks write x twice each: (2n)! / 2^n. The value n is never there."""
    x = Place()
    join(*[do((put, x, tid), (put, x, tid)) for tid in range(n)])
    claim(x.v != n, "nobody has written n")


@published(NIDHUGG + "benchmarks/from_TRACER/CO-MP.c", {(1,): 6, (2,): 90})
def co_mp(n: int) -> None:
    """`co_2_2w` and a reader of two looks: 6 * C(2n + 2, 2) for n = 2."""
    x = Place()
    for tid in range(n):
        do((put, x, tid), (put, x, tid))
    do((look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/CO-R.c", {(1,): 6, (2,): 90})
def co_r(n: int) -> None:
    """n tasks write twice; one writes and looks: (2n + 2)! / 2^(n + 1)."""
    x = Place()
    tasks = [do((put, x, tid), (put, x, tid)) for tid in range(n)]
    join(*tasks, do((put, x, n), (look, x)))
    look(x)


@published(NIDHUGG + "benchmarks/from_TRACER/CO-S.c", {(1,): 6, (2,): 90})
def co_s(n: int) -> None:
    """n tasks write twice; one looks and writes: (2n + 2)! / 2^(n + 1)."""
    x = Place()
    tasks = [do((put, x, tid), (put, x, tid)) for tid in range(n)]
    join(*tasks, do((look, x), (put, x, n)))
    look(x)


@published(
    NIDHUGG + "benchmarks/from_TRACER/alpha1.c, co1.c; CoRR2.c",
    {(n,): factorial(n) * comb(n + 2, 2) for n in (1, 2, 3)},
    slow={(4,): 24 * 15},
)
def alpha1(n: int) -> None:
    """n writers, n! orders, and two looks among them."""
    x = Place(v=1)
    for tid in range(n):
        spawn(put, x, tid)
    do((look, x), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/alpha2.c", {(n,): factorial(n) * comb(n + 3, 3) for n in (1, 2, 3)}
)
def alpha2(n: int) -> None:
    """n writers, and one that writes and looks twice.

    With k writers before its write the looks stand in n - k + 1 gaps, in C(n - k + 2, 2) ways; the sum over k is
    C(n + 3, 3), for each of the n! orders of the others.
    """
    x = Place(v=1)
    for tid in range(n):
        spawn(put, x, tid)
    do((put, x, n), (look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/myexample.c", {(2,): 4, (3,): 36}, slow={(4,): 576})
def write_then_look(n: int) -> None:
    """Each writes x and looks at it: the k-th writer from the end has k gaps: (n!)^2."""
    x = Place()
    for tid in range(n):
        do((put, x, tid), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/n_writes_a_read_two_threads.c",
    {(n,): comb(2 * n + 2, n + 1) - comb(2 * n, n) for n in (1, 2, 3)},
)
def writes_and_a_look(n: int) -> None:
    """Two tasks write n times and look once: C(2n + 2, n + 1) merges; those that end with both looks are pairs."""
    x = Place()
    for tid in range(2):
        do(*((put, x, tid) for _ in range(n)), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/redundant_co.c",
    {(n,): comb(2 * n, n) * comb(2 * n + 2, 2) for n in (1, 2)},
    slow={(3,): comb(6, 3) * comb(8, 2)},
)
def redundant_coherence(n: int) -> None:
    """Two tasks of n writes, merged in C(2n, n) ways, and two looks among them."""
    x = Place()
    do(*((put, x, 1) for _ in range(n)))
    do(*((put, x, 2) for _ in range(n)))
    do((look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/control_flow.c", {(1,): 5}, slow={(2,): 1124})
def control_flow(n: int) -> None:
    """n times four tasks: whether x is written depends on z and y, and z on y."""
    x, y, z = places(3)

    def r() -> None:
        if y.v == 0:
            z.v = 1

    def s() -> None:
        if z.v == 1 and y.v == 0:
            x.v = 1

    for _ in range(n):
        spawn(look, x)
        spawn(put, y, 1)
        spawn(r)
        spawn(s)


@published(
    NIDHUGG + "benchmarks/from_TRACER/exponential_bug.c",
    {(1, 1): 20},
    slow={(2, 1): 1959},
    broken="y is not 3",
    broken_by=((2, 1),),
)
def exponential_bug(rounds: int, writes: int) -> None:
    """Locks on one side and none on the other: y is 3 in few of the schedules, and with two rounds only."""
    x, y = places(2)
    mutex = Mutex("m")

    def first() -> None:
        for _ in range(rounds):
            with mutex:
                x.v = 1
                for _ in range(writes):
                    y.v = 1

    def second() -> None:
        for _ in range(rounds):
            with mutex:
                x.v = 0
            if x.v > 0:
                y.v = y.v + 1
                x.v = 2

    def third() -> None:
        for _ in range(rounds):
            if x.v > 1:
                seen = y.v
                claim(seen != 3, "y is not 3")
                if seen != 3:
                    y.v = 2

    spawn(first)
    spawn(second)
    spawn(third)


@published(NIDHUGG + "benchmarks/from_TRACER/fib_one_variable.c", {(1,): 6, (2,): 102})
def fib_one_variable(n: int) -> None:
    """Two numbers in one variable, each task looks twice and writes: what one writes in between is lost."""
    ij = Place(v=(1, 1))

    def first() -> None:
        for _ in range(n):
            j = ij.v[1]
            i = ij.v[0]
            ij.v = (i + j, j)

    def second() -> None:
        for _ in range(n):
            i = ij.v[0]
            j = ij.v[1]
            ij.v = (i, i + j)

    join(spawn(first), spawn(second))
    i, j = ij.v
    claim(max(i, j) <= _fibonacci(2 + 2 * n), "no number is above the last Fibonacci number")


def _fibonacci(n: int) -> int:
    current, previous = 1, 0
    for _ in range(n):
        previous, current = current, previous + current
    return previous


@published(NIDHUGG + "benchmarks/from_OBSERVERS/fib_bench.c (SV-COMP fib_bench)", {(1,): 3, (2,): 19})
def fib_bench(n: int) -> None:
    """i += j in one task and j += i in the other, n times: the numbers stay below a Fibonacci number."""
    i, j = places(2, value=1)

    def first() -> None:
        for _ in range(n):
            i.v = i.v + j.v

    def second() -> None:
        for _ in range(n):
            j.v = j.v + i.v

    join(spawn(first), spawn(second))
    claim(max(i.v, j.v) <= _fibonacci(2 + 2 * n), "no number is above the last Fibonacci number")


@published(
    NIDHUGG + "tests/smoke fib_true_too_few, of SV-COMP fib_bench_false",
    3,
    broken="the bound is above what can be",
)
def fib_bench_false() -> None:
    """The bound is one too low: it is reached in one schedule of the values."""
    i, j = places(2, value=1)

    def first() -> None:
        i.v = i.v + j.v

    def second() -> None:
        j.v = j.v + i.v

    join(spawn(first), spawn(second))
    claim(i.v < _fibonacci(4) and j.v < _fibonacci(4), "the bound is above what can be")


@published(
    NIDHUGG + "benchmarks/from_OBSERVERS/lastwrite.c (Aronis et al., TACAS 2018)",
    {(3,): 6, (4,): 24},
    slow={(5,): 120},
)
def last_write(n: int) -> None:
    """n writers, and one look when all are done; without observers n! traces, with them n."""
    x = Place()
    join(*[spawn(put, x, k) for k in range(n)])
    claim(0 <= x.v < n, "one of the writes is the last")


@published(NIDHUGG + "benchmarks/from_DCDPOR/opt_lock.c (Chalupa et al., POPL 2018)", {(1,): 10, (2,): 42})
def optimistic_lock(n: int) -> None:
    """Two tasks set x to their number and try again, at most n times, if it is no longer there."""
    x, y = places(2)

    def body(tid: int) -> None:
        for _ in range(n):
            x.v = tid
            y.v = 1
            if x.v == tid:
                look(y)
                break

    for tid in range(2):
        spawn(body, tid)


@published(NIDHUGG + "benchmarks/synthetic/race_parametric.c", {(1, 2): 4, (2, 2): 34, (1, 3): 36})
def race_parametric(n: int, tasks: int) -> None:
    """Each task writes and looks at a place of its own, and then n times at the one place of all."""
    x = Place()
    for tid in range(tasks):
        do(*[(put, Place(), 1)] * 2, *[(put, x, tid), (look, x)] * n)


@published(NIDHUGG + "benchmarks/synthetic/sat-example.c", {(False,): 93}, slow={(True,): 2476})
def sat_example(whole: bool) -> None:
    """The program that a formula is turned into in the proof that deciding a trace's reads-from is NP-hard.

    The small one is without its last task.
    """
    x, y, z = places(3)
    spawn(put, z, 1)
    do((look, z), (put, y, 1))
    do((look, y), (put, x, 1))
    spawn(put, x, 2)
    do((look, x), (put, y, 2), (look, z))
    if whole:
        do((look, x), (put, z, 2), (look, y))


@published(NIDHUGG + "benchmarks/other/approxds_append.c", {(2,): 6, (3,): 90})
def approximate_append(n: int) -> None:
    """Appends without a lock: two may take one place; one task takes everything out at the end."""
    size = n
    elements, following = places(size), Place()

    def append(value: int) -> None:
        at = following.v
        if at < size:
            elements[at].v = value
            following.v = at + 1

    join(*[spawn(append, k + 1) for k in range(n)])
    found = following.v
    claim(1 <= found <= n and all(elements[at].v for at in range(found)), "what was appended is there")


@published(
    NIDHUGG + "tests/smoke mutex_trylock_unlock says 24 for 3",
    {(2,): 4, (3,): 24},
    slow={(4,): 192},
    stated=((3,),),
)
def trylocks(n: int) -> None:
    """n! orders of the attempts; those behind one that succeeded come before or after the unlock: n! 2^(n-1)."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        if mutex.trylock():
            x.v += 1
            mutex.unlock()

    for _ in range(n):
        spawn(body)


@published(NIDHUGG + "tests/smoke mutex_vs_trylock says 3, 16 for 1, 2", {(1,): 3, (2,): 16}, stated=True)
def lock_against_trylocks(n: int) -> None:
    """One locks, n try."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        if mutex.trylock():
            x.v += 1
            mutex.unlock()

    for _ in range(n):
        spawn(body)
    with mutex:
        x.v += 1


@published(NIDHUGG + "src/SC_test.cpp Mutex_trylock_2 names the 10 traces", 10, stated=True)
def two_locks_and_a_trylock() -> None:
    """Six orders of three, and four in which the trylock fails, while one of the others holds the lock."""
    mutex = Mutex("m")

    def lock() -> None:
        with mutex:
            pass

    def attempt() -> None:
        if mutex.trylock():
            mutex.unlock()

    spawn(lock)
    spawn(attempt)
    spawn(lock)


@published(NIDHUGG + "tests/smoke mutex_trylock_deadlock says 6 for 3", {(2,): 2, (3,): 6}, stated=((3,),))
def trylocks_without_unlock(n: int) -> None:
    """Whoever comes first keeps the lock, and the others fail, in any order."""
    mutex = Mutex("m")
    for _ in range(n):
        spawn(mutex.trylock)


@published(
    NIDHUGG + "tests/smoke mutex_deadlock_2, _3 say 2, 3", {(2,): 2, (3,): 3}, stated=True, deadlocks=True
)
def locks_without_unlock(n: int) -> None:
    """Whoever comes first keeps the lock, the others wait for ever: n ways, each of them a deadlock."""
    mutex = Mutex("m")
    for _ in range(n):
        spawn(mutex.lock)


@published(NIDHUGG + "tests/smoke mutex_hard", 4, deadlocks=True)
def unlock_if_it_is_my_turn() -> None:
    """Three tasks lock, and only one whose number is that of those before it gives the lock back."""
    mutex, x = Mutex("m"), Counter()

    def body(tid: int) -> None:
        mutex.lock()
        if atomic_fetch_add(x, "v", 1) == tid:
            mutex.unlock()

    join(*[spawn(body, tid) for tid in range(3)])


@published(NIDHUGG + "src/SC_test.cpp Condvar_1, Condvar_5 name the 2 traces", 2, stated=True)
def condition_broadcast() -> None:
    """One sets x and wakes all, one waits if x is not set yet."""
    _condition_program(1, everybody=True)


@published(NIDHUGG + "src/SC_test.cpp Condvar_7 names the 2 traces", 2, stated=True)
def condition_signal() -> None:
    """The same with one notification."""
    _condition_program(1, everybody=False)


@published(NIDHUGG + "src/SC_test.cpp Condvar_6 (10 traces, waking up being no event there)", 14)
def condition_broadcast_to_two() -> None:
    """Two that wait. None does: 2 orders; one of them does, 2 ways, and has its lock before or after the other: 4.

    Both do: 2 orders of the waits, 2 of waking up (an operation on the condition here), 2 of locking again: 8.
    """
    _condition_program(2, everybody=True)


def _condition_program(n: int, *, everybody: bool) -> None:
    x, condition = Place(), Condition(name="v")

    def waits() -> None:
        with condition:
            if not x.v:
                condition.wait()
            claim(x.v, "x is set")

    for _ in range(n):
        spawn(waits)
    with condition:
        x.v = 1
        if everybody:
            condition.notify_all()
        else:
            condition.notify()
