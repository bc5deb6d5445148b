"""Classic shapes of lock bugs in Python programs, each with its repaired form.

None hangs: the coincidence never happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import queue
import signal
import socketserver
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

Body = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A bug, what is reported of it, and how it looks when it is repaired."""

    name: str
    kind: str
    bad: Body
    good: Body


SHAPES: list[Shape] = []


def shape(kind: str) -> Callable[[Callable[[bool], object]], Callable[[bool], object]]:
    """The function is the bug when it is called with True, and its repaired form with False."""

    def add(function: Callable[[bool], object]) -> Callable[[bool], object]:
        SHAPES.append(Shape(function.__name__, kind, lambda: function(True), lambda: function(False)))
        return function

    return add


def run(*bodies: Body) -> None:
    """Each in a thread of its own, one after the other."""
    for body in bodies:
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()


def both(first: Any, second: Any) -> Body:
    def body() -> None:
        with first, second:
            pass

    return body


CYCLE = "circular-locking"
STATE = "inconsistent-lock-state"
WAIT = "wait-under-lock"


@shape(CYCLE)
def two_locks_in_two_orders(bad: bool) -> None:
    a, b = threading.Lock(), threading.Lock()
    run(both(a, b), both(b, a) if bad else both(a, b))


@shape(CYCLE)
def two_reentrant_locks_in_two_orders(bad: bool) -> None:
    a, b = threading.RLock(), threading.RLock()
    run(both(a, b), both(b, a) if bad else both(a, b))


@shape(CYCLE)
def three_locks_in_a_ring(bad: bool) -> None:
    a, b, c = threading.Lock(), threading.Lock(), threading.Lock()
    run(both(a, b), both(b, c), both(c, a) if bad else both(a, c))


@shape(CYCLE)
def a_lock_and_a_reentrant_one_of_a_condition(bad: bool) -> None:
    a, condition = threading.Lock(), threading.Condition()
    run(both(a, condition), both(condition, a) if bad else both(a, condition))


@shape(CYCLE)
def a_listener_is_called_under_the_lock(bad: bool) -> None:
    class Subject:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.listeners: list[Body] = []

        def add(self, listener: Body) -> None:
            with self.lock:
                self.listeners.append(listener)

        def fire(self) -> None:
            with self.lock:
                listeners = list(self.listeners)
                if bad:
                    for listener in listeners:
                        listener()
            if not bad:
                for listener in listeners:
                    listener()

    class View:
        def __init__(self, subject: Subject) -> None:
            self.lock = threading.Lock()
            self.subject = subject

        def refresh(self) -> None:
            with self.lock:
                pass

        def open(self) -> None:
            with self.lock:
                self.subject.add(self.refresh)

    subject = Subject()
    run(View(subject).open, subject.fire)


@shape(CYCLE)
def accounts_are_locked_as_they_come(bad: bool) -> None:
    class Account:
        def __init__(self, number: int) -> None:
            self.number = number
            self.lock = threading.Lock()

    def transfer(one: Account, other: Account) -> None:
        first, second = (one, other) if bad else sorted((one, other), key=lambda account: account.number)
        with first.lock, second.lock:
            pass

    accounts = [Account(number) for number in range(3)]
    run(lambda: transfer(accounts[0], accounts[1]), lambda: transfer(accounts[1], accounts[0]))


@shape(CYCLE)
def philosophers(bad: bool) -> None:
    forks = [threading.Lock() for _ in range(5)]
    meals = []
    for seat in range(5):
        left, right = seat, (seat + 1) % 5
        if not bad and left > right:
            left, right = right, left
        meals.append(both(forks[left], forks[right]))
    run(*meals)


@shape(CYCLE)
def a_child_locks_its_parent(bad: bool) -> None:
    class Node:
        def __init__(self, parent: Node | None = None) -> None:
            self.lock = threading.RLock()
            self.parent = parent

        def down(self, child: Node) -> None:
            with self.lock, child.lock:
                pass

        def up(self) -> None:
            assert self.parent is not None
            if bad:
                with self.lock, self.parent.lock:
                    pass
            else:
                with self.parent.lock, self.lock:
                    pass

    root = Node()
    leaf = Node(root)
    run(lambda: root.down(leaf), leaf.up)


@shape(CYCLE)
def a_cache_loads_under_its_lock(bad: bool) -> None:
    class Cache:
        def __init__(self, load: Body) -> None:
            self.lock = threading.Lock()
            self.load = load

        def get(self) -> None:
            if bad:
                with self.lock:
                    self.load()
            else:
                self.load()
                with self.lock:
                    pass

        def forget(self) -> None:
            with self.lock:
                pass

    class Store:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.cache = Cache(self.read)

        def read(self) -> None:
            with self.lock:
                pass

        def write(self) -> None:
            with self.lock:
                self.cache.forget()

    store = Store()
    run(store.cache.get, store.write)


@shape(CYCLE)
def singletons_make_each_other(bad: bool) -> None:
    class One:
        lock = threading.Lock()

        @classmethod
        def get(cls, other: bool) -> None:
            with cls.lock:
                if other:
                    Two.get(False)

    class Two:
        lock = threading.Lock()

        @classmethod
        def get(cls, other: bool) -> None:
            with cls.lock:
                if other:
                    One.get(False)

    run(lambda: One.get(True), lambda: Two.get(bad))


@shape(CYCLE)
def a_logging_handler_puts_into_a_queue_that_logs(bad: bool) -> None:
    log = logging.Logger("shape")

    class Noisy(queue.Queue[Any]):
        def _qsize(self) -> int:
            if bad and logs:
                log.warning("size")
            return super()._qsize()

    items = Noisy()
    logs: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not logs:
                items.put(record)

    log.addHandler(Handler())

    def look() -> None:
        logs.append(1)
        items.qsize()

    run(lambda: log.warning("first"), look)


@shape(CYCLE)
def a_logging_filter_takes_the_lock_of_the_program(bad: bool) -> None:
    lock = threading.Lock()
    log = logging.Logger("shape")

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "count":
                with lock:
                    pass

    log.addHandler(Handler())

    def work() -> None:
        with lock:
            if bad:
                log.warning("under the lock")
        log.warning("after it")

    run(lambda: log.warning("count"), work)


@shape(CYCLE)
def locks_that_one_decorator_makes(bad: bool) -> None:
    def synchronized(function: Callable[..., object]) -> Callable[..., object]:
        lock = threading.Lock()

        def call(*args: Any) -> object:
            with lock:
                return function(*args)

        return call

    @synchronized
    def one(call: bool) -> None:
        if call:
            two(False)

    @synchronized
    def two(call: bool) -> None:
        if call:
            one(False)

    run(lambda: one(True), lambda: two(bad))


@shape(CYCLE)
def an_exit_stack_enters_in_another_order(bad: bool) -> None:
    a, b = threading.Lock(), threading.Lock()

    def enter(*locks: Any) -> None:
        with contextlib.ExitStack() as stack:
            for lock in locks:
                stack.enter_context(lock)

    run(lambda: enter(a, b), lambda: enter(*((b, a) if bad else (a, b))))


@shape(CYCLE)
def context_managers_of_ones_own(bad: bool) -> None:
    a, b = threading.Lock(), threading.RLock()

    @contextlib.contextmanager
    def reading() -> Any:
        with a:
            yield

    @contextlib.contextmanager
    def writing() -> Any:
        with b:
            yield

    run(both(reading(), writing()), both(writing(), reading()) if bad else both(reading(), writing()))


@shape(CYCLE)
def acquire_and_release_without_with(bad: bool) -> None:
    a, b = threading.Lock(), threading.Lock()

    def chained() -> None:
        a.acquire()
        b.acquire()
        a.release()
        if bad:
            a.acquire()
            a.release()
        b.release()

    run(chained)


@shape(CYCLE)
def semaphores_as_locks(bad: bool) -> None:
    a, b = threading.Semaphore(1), threading.BoundedSemaphore(1)
    run(both(a, b), both(b, a) if bad else both(a, b))


@shape(CYCLE)
def a_lock_of_another_process_kind(bad: bool) -> None:
    a, b = multiprocessing.Lock(), threading.Lock()
    run(both(a, b), both(b, a) if bad else both(a, b))


@shape(CYCLE)
def the_same_pair_in_two_lives(bad: bool) -> None:
    class Client:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    class Coordinator:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    def life(back: bool) -> None:
        client, coordinator = Client(), Coordinator()
        first, second = (coordinator, client) if back else (client, coordinator)
        with first.lock, second.lock:
            pass

    life(False)
    life(bad)


@shape(CYCLE)
def a_wait_takes_its_lock_again_under_another(bad: bool) -> None:
    condition, lock = threading.Condition(), threading.Lock()

    def wait() -> None:
        if bad:
            with condition, lock:
                condition.wait(timeout=0.001)
        else:
            with condition:
                condition.wait(timeout=0.001)
            with lock:
                pass

    run(wait)


@shape(CYCLE)
def locks_of_a_dataclass(bad: bool) -> None:
    @dataclass
    class Pair:
        one: Any = field(default_factory=threading.Lock)
        two: Any = field(default_factory=threading.RLock)

    pair = Pair()
    run(both(pair.one, pair.two), both(pair.two, pair.one) if bad else both(pair.one, pair.two))


@shape(CYCLE)
def an_inherited_lock(bad: bool) -> None:
    kind: Any = type(threading.RLock())

    class Named(kind):  # type: ignore[misc]
        pass

    a, b = Named(), threading.Lock()
    run(both(a, b), both(b, a) if bad else both(a, b))


def interrupted(handler: Callable[..., object], *bodies: Body) -> None:
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for body in bodies:
            body()
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)


@shape(STATE)
def a_signal_handler_takes_the_lock_of_the_main_thread(bad: bool) -> None:
    lock = threading.Lock()
    flags = []

    def handler(*_: object) -> None:
        flags.append(1)
        if bad:
            with lock:
                pass

    interrupted(handler, both(lock, contextlib.nullcontext()))


@shape(STATE)
def a_signal_handler_calls_what_the_main_thread_calls(bad: bool) -> None:
    class Executor:
        def __init__(self) -> None:
            self.lock = threading.Lock() if bad else threading.RLock()

        def submit(self) -> None:
            with self.lock:
                pass

    executor = Executor()
    interrupted(lambda *_: executor.submit(), executor.submit)


@shape(STATE)
def a_signal_handler_sets_an_event_that_the_main_thread_uses(bad: bool) -> None:
    event, seen = threading.Event(), []
    interrupted(lambda *_: event.set() if bad else seen.append(1), event.clear)


@shape(STATE)
def a_signal_handler_puts_into_a_queue(bad: bool) -> None:
    items: Any = queue.Queue() if bad else queue.SimpleQueue()
    interrupted(lambda *_: items.put(1), lambda: items.put(2))


@shape(STATE)
def a_signal_that_is_blocked_meanwhile(bad: bool) -> None:
    lock = threading.Lock()

    def work() -> None:
        if not bad:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        with lock:
            pass
        if not bad:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def handler(*_: object) -> None:
        with lock:
            pass

    interrupted(handler, work)


@shape(STATE)
def a_signal_handler_and_a_trylock(bad: bool) -> None:
    lock = threading.Lock()

    def handler(*_: object) -> None:
        if lock.acquire(blocking=bad):
            lock.release()

    interrupted(handler, both(lock, contextlib.nullcontext()))


@shape("irq-lock-inversion")
def a_signal_handler_waits_for_who_waits_for_the_interrupted(bad: bool) -> None:
    outer, inner = threading.RLock(), threading.Lock()

    def work() -> None:
        with outer:
            if bad:
                with inner:
                    pass
        with inner:
            pass

    def handler(*_: object) -> None:
        with outer:
            pass

    interrupted(handler, work)


class Pool:
    """Something that lends, and takes back."""

    def __init__(self, bad: bool) -> None:
        self.bad = bad
        self.lock = threading.Lock()
        self.free: deque[object] = deque()

    def get(self) -> None:
        with self.lock:
            pass

    def put(self) -> None:
        if self.bad:
            with self.lock:
                self.free.append(1)
        else:
            self.free.append(1)


@shape(STATE)
def a_finaliser_gives_back_and_the_collector_runs_it(bad: bool) -> None:
    pool = Pool(bad)

    class Lent:
        def __init__(self) -> None:
            self.me = self
            pool.get()

        def __del__(self) -> None:
            pool.put()

    Lent()
    gc.collect()
    pool.get()


@shape(STATE)
def a_finaliser_gives_back_as_soon_as_nobody_refers(bad: bool) -> None:
    pool = Pool(bad)

    class Lent:
        def close(self) -> None:
            pool.put()

        def __del__(self) -> None:
            self.close()

    lent = Lent()
    pool.get()
    lent.close()
    del lent
    pool.get()


@shape(STATE)
def a_weakref_finaliser(bad: bool) -> None:
    pool = Pool(bad)

    class Lent:
        pass

    lent = Lent()
    weakref.finalize(lent, pool.put)
    pool.get()
    del lent
    pool.get()


@shape(STATE)
def a_weakref_callback(bad: bool) -> None:
    pool = Pool(bad)

    class Lent:
        pass

    lent = Lent()
    reference = weakref.ref(lent, lambda _: pool.put())
    pool.get()
    del lent
    pool.get()
    assert reference() is None


@shape(STATE)
def a_finaliser_logs_through_a_plain_lock(bad: bool) -> None:
    log = logging.Logger("shape")

    class Handler(logging.Handler):
        def createLock(self) -> None:
            self.lock = threading.Lock() if bad else threading.RLock()  # type: ignore[assignment]

        def emit(self, record: logging.LogRecord) -> None:
            pass

    log.addHandler(Handler())

    class Thing:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            log.warning("gone")

    log.warning("here")
    Thing()
    gc.collect()
    log.warning("still here")


@shape(STATE)
def a_collector_callback_takes_a_lock(bad: bool) -> None:
    pool = Pool(bad)

    def watch(phase: str, info: dict[str, int]) -> None:
        pool.put()

    gc.callbacks.insert(1, watch)
    try:
        pool.get()
        gc.collect()
    finally:
        gc.callbacks.remove(watch)
    pool.get()


@shape(STATE)
def a_trace_function_takes_a_lock(bad: bool) -> None:
    pool = Pool(bad)

    def trace(frame: Any, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_name == "traced":
            pool.put()

    def traced() -> None:
        pass

    before = sys.gettrace()
    pool.get()
    sys.settrace(trace)
    try:
        traced()
    finally:
        sys.settrace(before)
    pool.get()


@shape(STATE)
def the_collector_is_off_where_the_lock_is_held(bad: bool) -> None:
    pool = Pool(bad=True)

    class Lent:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            pool.put()

    def use() -> None:
        if not bad:
            gc.disable()
        pool.get()
        gc.enable()

    use()
    Lent()
    gc.collect()
    use()


@shape(WAIT)
def a_thread_is_joined_under_a_lock_that_it_takes(bad: bool) -> None:
    lock = threading.Lock()
    thread = threading.Thread(target=both(lock, contextlib.nullcontext()))
    thread.start()
    while thread.is_alive():
        pass
    if bad:
        with lock:
            thread.join()
    else:
        with lock:
            pass
        thread.join()


@shape(WAIT)
def a_timer_is_joined_under_a_lock_that_it_takes(bad: bool) -> None:
    lock, done = threading.RLock(), []

    def tick() -> None:
        with lock:
            done.append(1)

    timer = threading.Timer(0, tick)
    timer.start()
    while not done:
        pass
    if bad:
        with lock:
            timer.join()
    else:
        timer.join()


@shape(WAIT)
def a_result_is_waited_for_under_a_lock_that_the_work_takes(bad: bool) -> None:
    lock = threading.Lock()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(both(lock, contextlib.nullcontext()))
        while not future.done():
            pass
        if bad:
            with lock:
                future.result()
        else:
            future.result()


@shape(WAIT)
def work_of_one_kind_takes_a_lock_only_at_times(bad: bool) -> None:
    lock = threading.Lock()

    def work(takes: bool) -> None:
        if takes:
            with lock:
                pass

    with ThreadPoolExecutor(1) as pool:
        with lock if bad else contextlib.nullcontext():
            pool.submit(work, False).result()
        pool.submit(lambda: None)
        later = threading.Thread(target=lambda: pool.submit(work, True))
        later.start()
        later.join()


@shape(WAIT)
def a_map_under_a_lock_that_the_work_takes(bad: bool) -> None:
    lock = threading.Lock()

    def work(number: int) -> int:
        with lock:
            return number

    with ThreadPoolExecutor(1) as pool:
        numbers = pool.map(work, range(3))
        pool.submit(int).result()
        with lock if bad else contextlib.nullcontext():
            assert list(numbers) == [0, 1, 2]


@shape(WAIT)
def a_pool_is_shut_down_under_a_lock_that_its_work_takes(bad: bool) -> None:
    lock = threading.Lock()
    pool = ThreadPoolExecutor(1)
    future = pool.submit(both(lock, contextlib.nullcontext()))
    while not future.done():
        pass
    with lock if bad else contextlib.nullcontext():
        pool.shutdown()


@shape("pool-waits-for-itself")
def a_task_waits_for_another_of_its_own_pool(bad: bool) -> None:
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(1) as leaves:

        def outer() -> int:
            return (pool if bad else leaves).submit(int).result()

        # One after the other, but nothing but chance sees to it.
        for _ in range(2):
            client = threading.Thread(target=lambda: pool.submit(outer).result())
            client.start()
            while client.is_alive():
                pass


@shape(WAIT)
def an_event_is_waited_for_under_a_lock_that_the_setter_takes(bad: bool) -> None:
    lock, event = threading.Lock(), threading.Event()

    def work() -> None:
        with lock:
            pass
        event.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not event.is_set():
        pass
    with lock if bad else contextlib.nullcontext():
        event.wait()
    thread.join()


@shape(WAIT)
def a_condition_is_waited_for_under_another_lock(bad: bool) -> None:
    outer, condition = threading.Lock(), threading.Condition()
    ready: list[int] = []
    waits = threading.Event()

    def wait() -> None:
        with outer if bad else contextlib.nullcontext(), condition:
            waits.set()
            while not ready:
                condition.wait()

    def wake() -> None:
        with outer, condition:
            condition.notify()

    def help_out() -> None:
        with condition:
            ready.append(1)
            condition.notify()

    early = threading.Thread(target=wake)
    early.start()
    while early.is_alive():
        pass
    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    help_out()
    thread.join()


@shape(WAIT)
def an_item_is_waited_for_under_a_lock_that_the_producer_takes(bad: bool) -> None:
    lock, items = threading.Lock(), queue.Queue[int]()

    def produce() -> None:
        with lock:
            items.put(1)

    thread = threading.Thread(target=produce)
    thread.start()
    while thread.is_alive():
        pass
    with lock if bad else contextlib.nullcontext():
        items.get()


@shape(WAIT)
def room_is_waited_for_under_a_lock_that_the_consumer_takes(bad: bool) -> None:
    lock, items = threading.Lock(), queue.Queue[int](maxsize=3)
    items.put(0)

    def consume() -> None:
        with lock:
            items.get()

    thread = threading.Thread(target=consume)
    thread.start()
    while thread.is_alive():
        pass
    with lock if bad else contextlib.nullcontext():
        items.put(1)


@shape(WAIT)
def a_queue_is_joined_under_a_lock_that_its_worker_takes(bad: bool) -> None:
    lock, items = threading.Lock(), queue.Queue[int]()
    items.put(1)

    def work() -> None:
        items.get()
        with lock:
            pass
        items.task_done()

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        pass
    with lock if bad else contextlib.nullcontext():
        items.join()


@shape(WAIT)
def a_server_is_shut_down_under_a_lock_that_its_handler_takes(bad: bool) -> None:
    lock = threading.Lock()

    class Server(socketserver.TCPServer):
        def service_actions(self) -> None:
            with lock:
                pass
            steps.append(1)

    steps: list[int] = []
    with Server(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(0.001))
        thread.start()
        while len(steps) < 3:
            pass
        if bad:
            server._BaseServer__shutdown_request = True  # type: ignore[attr-defined]
            while thread.is_alive():
                pass
            with lock:
                server.shutdown()
        else:
            server.shutdown()
        thread.join()


@shape(CYCLE)
def tasks_take_asyncio_locks_in_two_orders(bad: bool) -> None:
    async def main() -> None:
        a, b = asyncio.Lock(), asyncio.Lock()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(0)
                async with second:
                    pass

        await asyncio.create_task(take(a, b))
        await asyncio.create_task(take(b, a) if bad else take(a, b))

    asyncio.run(main())


@shape(WAIT)
def a_coroutine_takes_the_lock_under_which_its_result_is_waited_for(bad: bool) -> None:
    lock = threading.Lock()

    async def work() -> int:
        with lock:
            return 1

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def wait() -> None:
            future = asyncio.run_coroutine_threadsafe(work(), loop)
            while not future.done():
                pass
            with lock if bad else contextlib.nullcontext():
                future.result()

        await asyncio.to_thread(wait)

    asyncio.run(main())
