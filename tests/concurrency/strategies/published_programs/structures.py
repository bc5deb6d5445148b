"""Data structures and protocols: SV-COMP, dpu, MCR, GenMC."""

from __future__ import annotations

from published_programs.base import GENMC, NIDHUGG, Counter, Place, claim, look, places, published
from sugarbush.concurrency import Mutex, Semaphore, atomic_fetch_add, cmpxchg, join, spawn


@published(NIDHUGG + "benchmarks/SV-COMP/sigma.c", {(2,): 9, (3,): 55}, broken="every place is marked")
def sigma(n: int) -> None:
    """n tasks mark the place that an index points to, which the main task moves on meanwhile."""
    array, index = places(n), Place(v=-1)

    def body() -> None:
        array[index.v].v = 1

    tasks = []
    for _ in range(n):
        tasks.append(spawn(body))
        index.v = index.v + 1
    join(*tasks)
    claim(all(place.v == 1 for place in array), "every place is marked")


@published(
    NIDHUGG + "benchmarks/SV-COMP/pthread_demo.c", {(2, 2): 6, (2, 3): 20, (3, 2): 90}, slow={(2, 4): 70}
)
def pthread_demo(tasks: int, rounds: int) -> None:
    """Increments under a lock, in several rounds: the multinomials."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        for _ in range(rounds):
            with mutex:
                x.v += 1

    join(*[spawn(body) for _ in range(tasks)])
    claim(x.v == tasks * rounds, "no increment is lost")


@published(NIDHUGG + "benchmarks/SV-COMP/stack_true.c", {(1,): 2, (2,): 6, (3,): 20})
def stack(size: int) -> None:
    """One pushes, one pops what there is, each under the lock, `size` times: C(2 size, size) merges."""
    mutex, top, cells = Mutex("m"), Place(), places(size)

    def pushes() -> None:
        for k in range(size):
            with mutex:
                claim(top.v < size, "no overflow")
                cells[top.v].v = k
                top.v = top.v + 1

    def pops() -> None:
        for _ in range(size):
            with mutex:
                if top.v > 0:
                    top.v = top.v - 1
                    look(cells[top.v])

    spawn(pushes)
    spawn(pops)


@published(NIDHUGG + "benchmarks/SV-COMP/queue_ok.c", {(1, 1): 2, (2, 1): 6, (2, 2): 24})
def queue(producers: int, consumers: int) -> None:
    """All is done under one lock and flags say whose turn it is: the orders of the tasks, of which most do nothing."""
    mutex, size = Mutex("m"), 2
    cells, stored = places(size), places(size)
    head, tail, amount, may_enqueue, may_dequeue = Place(), Place(), Place(), Place(v=True), Place(v=False)

    def enqueues(value: int) -> None:
        with mutex:
            if may_enqueue.v:
                for k in range(size):
                    cells[tail.v].v = value + k
                    amount.v = amount.v + 1
                    tail.v = (tail.v + 1) % size
                    stored[k].v = value + k
                may_enqueue.v, may_dequeue.v = False, True

    def dequeues() -> None:
        with mutex:
            if may_dequeue.v:
                for k in range(size):
                    found = cells[head.v].v
                    amount.v = amount.v - 1
                    head.v = (head.v + 1) % size
                    claim(found == stored[k].v, "what comes out is what went in")
                may_dequeue.v, may_enqueue.v = False, True

    for k in range(producers):
        spawn(enqueues, k)
    for _ in range(consumers):
        spawn(dequeues)


@published(NIDHUGG + "benchmarks/SV-COMP/gcd.c", {(1, 4, 2): 3, (2, 4, 6): 13})
def gcd(rounds: int, start_a: int, start_b: int) -> None:
    """Euclid by two tasks, which look at both numbers without the lock first."""
    a, b, mutex = Place(v=start_a), Place(v=start_b), Mutex("m")

    def shrink(one: Place, other: Place) -> None:
        for _ in range(rounds):
            if one.v != other.v:
                with mutex:
                    if one.v > other.v:
                        one.v = one.v - other.v

    join(spawn(shrink, a, b), spawn(shrink, b, a))
    claim(a.v > 0 and b.v > 0, "the numbers stay above 0")


@published(
    NIDHUGG + "benchmarks/from_TRACER/peterson.c (SV-COMP pthread-atomic/peterson)",
    {(1,): 32, (2,): 52},
    broken="alone in the critical section",
)
def peterson_that_gives_up(looks: int) -> None:
    """Peterson's algorithm, but who has looked so often goes in all the same."""
    flags, turn, x = places(2), Place(), Place()

    def body(me: int) -> None:
        flags[me].v = 1
        turn.v = 1 - me
        for _ in range(looks):
            if flags[1 - me].v != 1 or turn.v != 1 - me:
                break
        x.v = me + 1
        claim(x.v == me + 1, "alone in the critical section")
        flags[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(
    NIDHUGG + "benchmarks/from_TRACER/peterson.c, of which who has looked in vain does not go in",
    {(1,): 14, (2,): 28},
)
def peterson(looks: int) -> None:
    """Peterson's algorithm, correct: after so many looks in vain the task leaves."""
    flags, turn, x = places(2), Place(), Place()

    def body(me: int) -> None:
        flags[me].v = 1
        turn.v = 1 - me
        for _ in range(looks):
            if flags[1 - me].v != 1 or turn.v != 1 - me:
                x.v = me + 1
                claim(x.v == me + 1, "alone in the critical section")
                break
        flags[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(NIDHUGG + "benchmarks/from_OBSERVERS/lamport.c, the fast path (Lamport 1987)", 26)
def lamport_fast_mutex() -> None:
    """Lamport's fast mutual exclusion for two; who is not alone on the fast path leaves."""
    b, x, y, inside = places(2), Place(), Place(), Place()

    def body(me: int) -> None:
        b[me].v = 1
        x.v = me + 1
        if y.v != 0:
            b[me].v = 0
            return
        y.v = me + 1
        if x.v != me + 1:
            b[me].v = 0
            if b[1 - me].v or y.v != me + 1:
                return
        inside.v = me
        claim(inside.v == me, "alone in the critical section")
        y.v = 0
        b[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_TRACER/pgsql.cc", {(1,): 3, (2,): 7})
def pgsql(looks: int) -> None:
    """Three PostgreSQL workers that hand a latch round; each looks so often for its latch, and leaves."""
    latch, flag = places(3), places(3)

    def body(me: int) -> None:
        for _ in range(looks):
            if latch[me].v:
                break
        else:
            return
        claim(flag[me].v == 1, "who has the latch has the flag")
        latch[me].v = 0
        if flag[me].v:
            flag[me].v = 0
            flag[(me + 1) % 3].v = 1
            latch[(me + 1) % 3].v = 1

    latch[0].v = 1
    flag[0].v = 1
    for me in range(3):
        spawn(body, me)


@published(NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_SATCHECK/linuxrwlock", {(1,): 6, (2,): 70})
def linux_rwlock_trylock(rounds: int) -> None:
    """Two writers that try a rw-lock of one atomic word: subtract the bias, and add it again if that was too much."""
    bias = 0x00100000
    word, x = Counter(v=bias), Place()

    def body(me: int) -> None:
        for _ in range(rounds):
            if atomic_fetch_add(word, "v", -bias) == bias:
                x.v = me
                claim(x.v == me, "alone in the critical section")
            atomic_fetch_add(word, "v", bias)

    spawn(body, 1)
    spawn(body, 2)


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/multiprodcon.cc (Nguyen et al., CAV 2018)",
    {(2, 1): 8, (2, 2): 18},
)
def producers_and_workers(n: int, tasks: int) -> None:
    """Producers draw a number under one lock and leave a request with the worker that it picks."""
    workers = n
    requests, done, buffer = places(workers), places(workers), Place()
    mutex = [Mutex(f"worker {k}") for k in range(workers)]
    draw = Mutex("draw")

    def produce(me: int) -> None:
        with draw:
            buffer.v = number = buffer.v * n + me
        with mutex[number % workers]:
            requests[number % workers].v += 1

    def work(me: int) -> None:
        for _ in range(tasks):
            with mutex[me]:
                found = requests[me].v
                if found:
                    requests[me].v = found - 1
            if found:
                done[me].v = done[me].v + 1

    for k in range(n):
        spawn(produce, k)
    for k in range(workers):
        spawn(work, k)


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/poke.cc (CAV 2018)", {(2, 1): 4, (2, 2): 38}
)
def poke(n: int, readers: int) -> None:
    """One task moves an index under a lock, n set a place each, some take back what the index points to."""
    places_, index, taken = places(n), Place(), Place()
    choose = Mutex("index")
    mutex = [Mutex(f"place {k}") for k in range(n)]

    def choice() -> None:
        for k in range(1, n):
            with choose:
                index.v = k

    def sets(k: int) -> None:
        with mutex[k]:
            places_[k].v = 1

    def takes() -> None:
        with choose:
            at = index.v
        with mutex[at]:
            if places_[at].v:
                taken.v = taken.v + 1
                places_[at].v = 0

    tasks = [spawn(choice), *[spawn(sets, k) for k in range(n)], *[spawn(takes) for _ in range(readers)]]
    join(*tasks)
    claim(
        taken.v + sum(place.v for place in places_) == n or readers > 1, "what was set is there or was taken"
    )


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/dispatcher.cc (CAV 2018)",
    {(2, 1): 6, (2, 2): 20},
)
def dispatcher(servers: int, requests: int) -> None:
    """The main task sends each request to the server that was picked last, while another task goes on picking."""
    picked = Place()
    incoming, outgoing = places(servers), places(servers)
    pick = Mutex("pick")
    mutex = [Mutex(f"server {k}") for k in range(servers)]

    def picks() -> None:
        for k in range(servers):
            with pick:
                picked.v = k

    def serve(k: int) -> None:
        with mutex[k]:
            if incoming[k].v > 0:
                outgoing[k].v = incoming[k].v

    spawn(picks)
    for k in range(servers):
        spawn(serve, k)
    for _ in range(requests):
        with pick:
            at = picked.v
        with mutex[at]:
            incoming[at].v = incoming[at].v + 1


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/account.c (Huang, PLDI 2015)",
    {(1,): 4, (2,): 36},
    slow={(3,): 576},
    broken="no deposit is lost",
)
def account(n: int) -> None:
    """n deposits and a withdrawal, each a look and a write: `read_then_write` for n + 1, ((n + 1)!)^2."""
    amount = Place(v=1000)

    def change(by: int) -> None:
        amount.v = amount.v + by

    join(*[spawn(change, 100) for _ in range(n)], spawn(change, -10))
    claim(amount.v == 1000 + n * 100 - 10, "no deposit is lost")


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/airline.c",
    {(2,): 4, (3,): 36},
    broken="no more seats are sold than there are",
)
def airline(n: int) -> None:
    """n sellers, n - 1 seats: who finds none left stops the sale; two may sell one seat."""
    sold, stopped, capacity = Place(), Place(), n - 1
    tickets = places(n, value=False)

    def sell(me: int) -> None:
        if not stopped.v:
            at = sold.v
            if at >= capacity:
                stopped.v = 1
            else:
                sold.v = at + 1
                tickets[me].v = True

    join(*[spawn(sell, k) for k in range(n)])
    claim(sum(ticket.v for ticket in tickets) <= capacity, "no more seats are sold than there are")


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/bubblesort.c",
    {},
    slow={(3,): 178},
    broken="nothing is lost",
)
def bubble_sort(n: int) -> None:
    """Two tasks sort one array without a lock."""
    array = [Place(v=n - k) for k in range(n)]

    def sort() -> None:
        for k in range(n - 1):
            one, two = array[k].v, array[k + 1].v
            if one > two:
                array[k].v = two
                array[k + 1].v = one

    join(spawn(sort), spawn(sort))
    claim(sorted(place.v for place in array) == list(range(1, n + 1)), "nothing is lost")


@published(GENMC + "data-structures/ticketlock (its spins are assumptions)", {(2,): 4, (3,): 24})
def ticket_lock_by_order(n: int) -> None:
    """Tickets are drawn by fetch_add, and who has number k waits at the k-th semaphore: n! orders of drawing.

    Who is early waits, and who is late is let in at once: 2 ways for each number but 0, in all n! 2^(n-1).
    """
    ticket, x = Counter(), Place()
    gates = [Semaphore(1 if k == 0 else 0, f"gate {k}") for k in range(n + 1)]

    def body() -> None:
        mine = atomic_fetch_add(ticket, "v", 1)
        gates[mine].down()
        x.v += 1
        gates[mine + 1].up()

    for _ in range(n):
        spawn(body)


@published(
    GENMC + "data-structures/treiber-stack, with loops of at most one further try", {(2,): 4, (3,): 108}
)
def treiber_push(n: int) -> None:
    """n pushes onto a stack by compare-and-swap; who fails looks again, once for each other task."""
    top = Counter(v=None)

    def push(value: int) -> None:
        for _ in range(n):
            old = top.v
            if cmpxchg(top, "v", old, (value, old)) is old:
                return
        claim(False, "somebody else succeeds each time that one fails")

    join(*[spawn(push, k) for k in range(n)])
    found, at = [], top.v
    while at is not None:
        found.append(at[0])
        at = at[1]
    claim(sorted(found) == list(range(n)), "all that was pushed is there")


@published(GENMC + "data-structures/seqlock (a bounded number of tries)", {(1,): 11, (2,): 16})
def sequence_lock(tries: int) -> None:
    """A writer makes the number odd, writes two places, makes it even; the reader tries again if it has changed."""
    sequence, a, b = places(3)

    def writes() -> None:
        sequence.v = 1
        a.v = 1
        b.v = 1
        sequence.v = 2

    def reads() -> None:
        for _ in range(tries):
            start = sequence.v
            if start % 2:
                continue
            one, two = a.v, b.v
            if sequence.v == start:
                claim(one == two, "a consistent pair")
                return

    spawn(writes)
    spawn(reads)
