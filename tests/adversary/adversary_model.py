"""What a program may do, by brute force on a model of its own: the judge of the engine itself.

Nothing here is taken from the engine. The meaning of each statement is written down from the documentation: another
task can run only at an operation, what stands between two operations is one piece with the first of them, and what a
task does before its first operation it does when it starts. States are kept, so all interleavings are seen without
making each of them. `cpu_relax()` is an operation like any other here: a loop that gives up may give up in any
schedule, and a state from which no end can be reached is a hang.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adversary_language import Block, Program, Statement, text_of, used

Globals = dict[str, Any]
Log = tuple[Any, ...]
Outcome = tuple[Any, ...]


class Fails(Exception):
    """The execution ends here: kind and words."""


class NotModelled(Exception):
    """The model has no such statement."""


class TooLarge(Exception):
    """There are more states than one wants to see."""


@dataclass(frozen=True, slots=True)
class Visible:
    """An operation: `effect(globals, task, log)` gives the log, or several logs of which one is chosen.

    `label` names it, `place` what it touches, and `looks` says that it changes nothing.
    """

    effect: Callable[[Globals, str, Log], Any]
    ready: Callable[[Globals, str], bool] | None
    place: str
    looks: bool


@dataclass(frozen=True, slots=True)
class Local:
    """Something between two operations."""

    effect: Callable[[Globals, str, Log], Log]


@dataclass(slots=True)
class Branch:
    """Goes on at `target` unless `holds(log)`."""

    holds: Callable[[Log], bool]
    target: int = -1


Instruction = Visible | Local | Branch
_MANY = object()


class Several(tuple[Log, ...]):
    """Logs of which the program does not determine one."""


def last(log: Log) -> Any:
    return log[-1] if log else 0


def _truth(value: Any) -> bool:
    return bool(value)


class Compiler:
    """Makes the code of all tasks of a program."""

    def __init__(self, program: Program) -> None:
        self.codes: dict[str, list[Instruction]] = {}
        self.start: Globals = {}
        objects = used(text_of(program))
        self.cells = [name for name in objects if name in ("x", "y")]
        for cell in self.cells:
            for field in "abpn":
                self.start[f"{cell}.{field}"] = 0
        for name in objects:
            if name in ("m0", "m1", "s0", "s1"):
                self.start[name] = None
            elif name == "sem":
                self.start[name] = (None, (), ())
            elif name == "rw":
                self.start[name] = (None, ())
            elif name in ("room", "gate"):
                self.start[name] = int(name == "room")
            elif name == "done":
                self.start[name] = (0, False)
            elif name == "flag":
                self.start[name] = False
            elif name in ("holder", "nodes"):
                self.start["node"] = "alive"
                self.start["node.v"] = 0
            elif name not in self.cells:
                raise NotModelled(name)
        for number, block in enumerate(program.tasks):
            self.task(f"t{number}", block)
        if program.main or program.faults or program.spurious:
            raise NotModelled("main")

    def task(self, path: str, block: Block) -> None:
        code: list[Instruction] = []
        self.codes[path] = code
        self.block(code, block, path)

    def block(self, code: list[Instruction], block: Block, path: str) -> None:
        for number, statement in enumerate(block):
            rule = getattr(self, "do_" + statement.kind.replace(" ", "_"), None)
            if rule is None:
                raise NotModelled(statement.kind)
            rule(code, statement, f"{path}.{number}")

    # -- what statements are made of --------------------------------------------------------------------------------

    def op(
        self,
        code: list[Instruction],
        place: str,
        effect: Callable[[Globals, str, Log], Any],
        ready: Callable[[Globals, str], bool] | None = None,
        looks: bool = False,
    ) -> None:
        code.append(Visible(effect, ready, place, looks))

    def read(self, code: list[Instruction], place: str, keep: bool = True) -> None:
        self.op(
            code,
            place,
            lambda g, me, log: (*log, g[place]) if keep else (*log, ("seen", g[place])),
            looks=True,
        )

    def write(self, code: list[Instruction], place: str, value: Callable[[Log], Any]) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g[place] = value(log)
            return log

        self.op(code, place, effect)

    def fails_if(self, code: list[Instruction], holds: Callable[[Log], bool], kind: str, words: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            if holds(log):
                raise Fails(kind, words)
            return log

        code.append(Local(effect))

    def forget(self, code: list[Instruction]) -> None:
        """What was read for a test only is no register of the program."""
        code.append(Local(lambda g, me, log: log[:-1]))

    def branch(self, code: list[Instruction], holds: Callable[[Log], bool]) -> Branch:
        made = Branch(holds)
        code.append(made)
        return made

    def jump(self, code: list[Instruction]) -> Branch:
        return self.branch(code, lambda log: False)

    def note(self, code: list[Instruction], value: Any) -> None:
        code.append(Local(lambda g, me, log: (*log, value)))

    # -- fields -------------------------------------------------------------------------------------------------------

    def do_get(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.read(code, f"{s.args[0]}.{s.args[1]}")

    def do_set(self, code: list[Instruction], s: Statement, path: str) -> None:
        value = s.args[2]
        self.write(code, f"{s.args[0]}.{s.args[1]}", lambda log: value)

    def do_put(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.write(code, f"{s.args[0]}.{s.args[1]}", last)

    def do_add(self, code: list[Instruction], s: Statement, path: str) -> None:
        place = f"{s.args[0]}.{s.args[1]}"
        self.read(code, place)
        self.op(code, place, lambda g, me, log: (g.__setitem__(place, log[-1] + 1), log[:-1])[1])

    def do_if(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_get(code, s, path)
        wanted = s.args[2]
        other = self.branch(code, lambda log: last(log) == wanted)
        self.block(code, s.body, path)
        end = self.jump(code)
        other.target = len(code)
        self.block(code, s.orelse, path + "e")
        end.target = len(code)

    def do_expect(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_get(code, s, path)
        self.fails_if(code, lambda log: log[-1] == s.args[2], "check", f"check failed: {path}")
        self.forget(code)

    def do_bug(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_get(code, s, path)
        self.fails_if(code, lambda log: log[-1] == s.args[2], "bug-on", path)
        self.forget(code)

    def do_raise(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.fails_if(code, lambda log: last(log) == s.args[0], "exception", f"ValueError: {path}")

    def do_repeat(self, code: list[Instruction], s: Statement, path: str) -> None:
        for _ in range(s.args[0]):
            self.block(code, s.body, path)

    def do_fork(self, code: list[Instruction], s: Statement, path: str, waits: bool = False) -> None:
        self.task(path, s.body)

        def start(g: Globals, me: str, log: Log) -> Log:
            g[f"begun {path}"] = True
            return log

        self.start[f"begun {path}"] = False
        code.append(Local(start))
        if waits:
            self.op(code, "", lambda g, me, log: (*log, "joined"), lambda g, me: path in g["ended"])

    def do_fork_join(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_fork(code, s, path, True)

    def do_choose(self, code: list[Instruction], s: Statement, path: str) -> None:
        # A choice of a value belongs to the operation before it, so it is made in the same step.
        code.append(Local(lambda g, me, log: Several((*log, value) for value in range(s.args[0]))))  # type: ignore[arg-type, return-value]

    def modify(
        self,
        code: list[Instruction],
        s: Statement,
        change: Callable[[int], tuple[int, Any]],
        returns: bool = True,
    ) -> None:
        place = f"{s.args[0]}.n"

        def effect(g: Globals, me: str, log: Log) -> Log:
            g[place], result = change(g[place])
            return (*log, result) if returns else log

        self.op(code, place, effect)

    def do_xchg(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (s.args[1], old))

    def do_cmpxchg(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (s.args[2] if old == s.args[1] else old, old))

    def do_add_return(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old + s.args[1], old + s.args[1]))

    def do_fetch_add(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old + s.args[1], old))

    def do_inc(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old + 1, None), False)

    def do_dec(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old - 1, None), False)

    def do_dec_and_test(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old - 1, old == 1))

    def do_add_unless(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.modify(code, s, lambda old: (old, False) if old == s.args[1] else (old + 1, True))

    # -- locks --------------------------------------------------------------------------------------------------------

    def take(self, code: list[Instruction], lock: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g[lock] = me
            return log

        self.op(code, lock, effect, lambda g, me: g[lock] is None)

    def give(self, code: list[Instruction], lock: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g[lock] = None
            return log

        self.op(code, lock, effect)

    def attempt(self, code: list[Instruction], lock: str) -> Branch:
        """A trylock; what follows the branch is done with the lock."""

        def effect(g: Globals, me: str, log: Log) -> Log:
            got = g[lock] is None
            if got:
                g[lock] = me
            return (*log, got)

        self.op(code, lock, effect)
        return self.branch(code, lambda log: bool(log[-1]))

    def do_lock(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.take(code, s.args[0])
        self.block(code, s.body, path)
        self.give(code, s.args[0])

    do_spinlock = do_lock

    def do_nested_lock(self, code: list[Instruction], s: Statement, path: str, order: str = "m0 m1") -> None:
        first, second = order.split()
        self.take(code, first)
        self.take(code, second)
        self.block(code, s.body, path)
        self.give(code, second)
        self.give(code, first)

    def do_turned_lock(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_nested_lock(code, s, path, "m1 m0")

    def do_locked_get(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.take(code, s.args[0])
        self.read(code, f"{s.args[1]}.{s.args[2]}")
        self.give(code, s.args[0])

    def do_locked_set(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.take(code, s.args[0])
        self.write(code, f"{s.args[1]}.{s.args[2]}", lambda log: s.args[3])
        self.give(code, s.args[0])

    def do_trylock(self, code: list[Instruction], s: Statement, path: str) -> None:
        other = self.attempt(code, s.args[0])
        self.block(code, s.body, path)
        self.give(code, s.args[0])
        end = self.jump(code)
        other.target = len(code)
        self.block(code, s.orelse, path + "e")
        end.target = len(code)

    def do_spin_trylock(self, code: list[Instruction], s: Statement, path: str) -> None:
        other = self.attempt(code, s.args[0])
        self.forget(code)
        self.block(code, s.body, path)
        self.give(code, s.args[0])
        end = self.jump(code)
        other.target = len(code)
        end.target = len(code)

    def do_down_read(self, code: list[Instruction], s: Statement, path: str) -> None:
        def ask(g: Globals, me: str, log: Log) -> Log:
            writer, readers, queue = g["sem"]
            if writer is None and not any(writes for _, writes in queue):
                g["sem"] = (writer, tuple(sorted((*readers, me))), queue)
                return (*log, True)
            g["sem"] = (writer, readers, (*queue, (me, False)))
            return (*log, False)

        def may(g: Globals, me: str) -> bool:
            writer, _, queue = g["sem"]
            before = queue[: queue.index((me, False))]
            return writer is None and not any(writes for _, writes in before)

        def enter(g: Globals, me: str, log: Log) -> Log:
            writer, readers, queue = g["sem"]
            rest = tuple(one for one in queue if one != (me, False))
            g["sem"] = (writer, tuple(sorted((*readers, me))), rest)
            return log

        def leave(g: Globals, me: str, log: Log) -> Log:
            writer, readers, queue = g["sem"]
            g["sem"] = (writer, tuple(one for one in readers if one != me), queue)
            return log

        self.queued(code, ask, may, enter)
        self.block(code, s.body, path)
        self.op(code, "sem", leave)

    def queued(self, code: list[Instruction], ask: Any, may: Any, enter: Any) -> None:
        self.op(code, "sem", ask)
        waits = self.branch(code, lambda log: bool(log[-1]))
        self.forget(code)
        goes_on = self.jump(code)
        waits.target = len(code)
        self.forget(code)
        self.op(code, "sem", enter, may)
        goes_on.target = len(code)

    def do_down_write(self, code: list[Instruction], s: Statement, path: str) -> None:
        def ask(g: Globals, me: str, log: Log) -> Log:
            writer, readers, queue = g["sem"]
            if writer is None and not readers:
                g["sem"] = (me, readers, queue)
                return (*log, True)
            g["sem"] = (writer, readers, (*queue, (me, True)))
            return (*log, False)

        def may(g: Globals, me: str) -> bool:
            writer, readers, queue = g["sem"]
            return writer is None and not readers and queue[0] == (me, True)

        def enter(g: Globals, me: str, log: Log) -> Log:
            _, readers, queue = g["sem"]
            g["sem"] = (me, readers, queue[1:])
            return log

        def leave(g: Globals, me: str, log: Log) -> Log:
            _, readers, queue = g["sem"]
            g["sem"] = (None, readers, queue)
            return log

        self.queued(code, ask, may, enter)
        self.block(code, s.body, path)
        self.op(code, "sem", leave)

    def do_rw_read(self, code: list[Instruction], s: Statement, path: str) -> None:
        def enter(g: Globals, me: str, log: Log) -> Log:
            g["rw"] = (None, tuple(sorted((*g["rw"][1], me))))
            return log

        def leave(g: Globals, me: str, log: Log) -> Log:
            g["rw"] = (None, tuple(one for one in g["rw"][1] if one != me))
            return log

        self.op(code, "rw", enter, lambda g, me: g["rw"][0] is None)
        self.block(code, s.body, path)
        self.op(code, "rw", leave)

    def do_rw_write(self, code: list[Instruction], s: Statement, path: str) -> None:
        def enter(g: Globals, me: str, log: Log) -> Log:
            g["rw"] = (me, ())
            return log

        def leave(g: Globals, me: str, log: Log) -> Log:
            g["rw"] = (None, ())
            return log

        self.op(code, "rw", enter, lambda g, me: g["rw"] == (None, ()))
        self.block(code, s.body, path)
        self.op(code, "rw", leave)

    # -- waiting ------------------------------------------------------------------------------------------------------

    def down(self, code: list[Instruction], sem: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g[sem] -= 1
            return log

        self.op(code, sem, effect, lambda g, me: g[sem] > 0)

    def up(self, code: list[Instruction], sem: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g[sem] += 1
            return log

        self.op(code, sem, effect)

    def do_room(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.down(code, "room")
        self.block(code, s.body, path)
        self.up(code, "room")

    def do_room_try(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            got = g["room"] > 0
            g["room"] -= got
            return (*log, got)

        self.op(code, "room", effect)
        other = self.branch(code, lambda log: bool(log[-1]))
        self.forget(code)
        self.block(code, s.body, path)
        self.up(code, "room")
        end = self.jump(code)
        other.target = end.target = len(code)

    def do_gate_down(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.down(code, "gate")

    def do_gate_up(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.up(code, "gate")

    def do_complete(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            count, everybody = g["done"]
            g["done"] = (count + (not everybody), everybody)
            return log

        self.op(code, "done", effect)

    def do_complete_all(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            g["done"] = (g["done"][0], True)
            return log

        self.op(code, "done", effect)

    def do_await_done(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            count, everybody = g["done"]
            g["done"] = (count - (not everybody), everybody)
            return log

        self.op(code, "done", effect, lambda g, me: g["done"][1] or g["done"][0] > 0)

    def do_try_done(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            count, everybody = g["done"]
            got = everybody or count > 0
            g["done"] = (count - (got and not everybody), everybody)
            return (*log, got)

        self.op(code, "done", effect)

    def do_raise_flag(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.write(code, "flag", lambda log: True)

    def do_see_flag(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.read(code, "flag")

    def do_await_flag(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.op(code, "flag", lambda g, me, log: log, lambda g, me: g["flag"], looks=True)

    # -- spinning -----------------------------------------------------------------------------------------------------

    def relax(self, code: list[Instruction]) -> None:
        self.op(code, "", lambda g, me, log: log)

    def do_spin(self, code: list[Instruction], s: Statement, path: str) -> None:
        place = f"{s.args[0]}.{s.args[1]}"
        start = len(code)
        self.read(code, place)
        again = self.branch(code, lambda log: not log[-1])
        self.forget(code)
        self.relax(code)
        back = self.jump(code)
        back.target = start
        again.target = len(code)
        self.forget(code)

    def spinning(
        self, code: list[Instruction], s: Statement, change: Callable[[int], tuple[int, Any]]
    ) -> None:
        start = len(code)
        self.modify(code, s, change)
        again = self.branch(code, lambda log: _truth(log[-1]))
        self.forget(code)
        self.relax(code)
        back = self.jump(code)
        back.target = start
        again.target = len(code)
        self.forget(code)

    def do_test_and_set(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.spinning(code, s, lambda old: (1, old))
        self.block(code, s.body, path)
        self.write(code, f"{s.args[0]}.n", lambda log: 0)

    def do_compare_and_set(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.spinning(code, s, lambda old: (1 if old == 0 else old, old))
        self.block(code, s.body, path)
        self.write(code, f"{s.args[0]}.n", lambda log: 0)

    def do_keep(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.spinning(code, s, lambda old: (1, old))

    def do_give_up(self, code: list[Instruction], s: Statement, path: str, loudly: bool = False) -> None:
        ends = []
        for _ in range(s.args[0]):
            self.read(code, f"{s.args[1]}.{s.args[2]}")
            goes_on = self.branch(code, lambda log: not log[-1])
            self.forget(code)
            self.relax(code)
            after = self.jump(code)
            goes_on.target = len(code)
            self.forget(code)
            ends.append(self.jump(code))
            after.target = len(code)
        if loudly:
            self.fails_if(code, lambda log: True, "check", f"check failed: {path} gave up")
        else:
            self.note(code, "gave up")
            self.block(code, s.orelse, path + "e")
        for end in ends:
            end.target = len(code)

    def do_give_up_loudly(self, code: list[Instruction], s: Statement, path: str) -> None:
        self.do_give_up(code, s, path, True)

    def do_try_a_few_times(self, code: list[Instruction], s: Statement, path: str) -> None:
        ends = []
        for _ in range(s.args[0]):
            other = self.attempt(code, s.args[1])
            self.forget(code)
            self.block(code, s.body, path)
            self.give(code, s.args[1])
            ends.append(self.jump(code))
            other.target = len(code)
            self.forget(code)
            self.relax(code)
        self.note(code, "never got it")
        for end in ends:
            end.target = len(code)

    # -- objects that are freed --------------------------------------------------------------------------------------

    def alive(self, attribute: str) -> Callable[[Globals, str, Log], Log]:
        def effect(g: Globals, me: str, log: Log) -> Log:
            if g["node"] != "alive":
                raise Fails("use-after-free", f"KASAN: slab-use-after-free in node.{attribute}")
            return log

        return effect

    def do_touch(self, code: list[Instruction], s: Statement, path: str) -> None:
        code.append(Local(self.alive("tag")))
        self.note(code, 0)

    def do_node_get(self, code: list[Instruction], s: Statement, path: str) -> None:
        touch = self.alive("v")
        code.append(Local(touch))
        self.op(code, "node", lambda g, me, log: (*touch(g, me, log), g["node.v"]), looks=True)

    def do_node_set(self, code: list[Instruction], s: Statement, path: str) -> None:
        touch = self.alive("v")

        def effect(g: Globals, me: str, log: Log) -> Log:
            touch(g, me, log)
            g["node.v"] = s.args[0]
            return log

        code.append(Local(touch))
        self.op(code, "node", effect)

    def do_free(self, code: list[Instruction], s: Statement, path: str) -> None:
        def effect(g: Globals, me: str, log: Log) -> Log:
            if g["node"] != "alive":
                raise Fails("double-free", "KASAN: double-free of node")
            g["node"] = "free"
            return log

        self.op(code, "node", effect)


State = tuple[Any, ...]
_NOT_STARTED = -1


class Model:
    """The states of a program."""

    def __init__(self, program: Program) -> None:
        compiler = Compiler(program)
        self.codes = compiler.codes
        self.names = list(compiler.codes)
        self.cells = compiler.cells
        start = compiler.start
        start["ended"] = frozenset()
        self.keys = list(start)
        self.start: State = (tuple(start.values()), tuple((_NOT_STARTED, ()) for _ in self.names))

    def _runs(self, task: str, g: Globals) -> bool:
        """It has been started and has not ended."""
        return task not in g["ended"] and g.get(f"begun {task}", True)

    def steps(self, state: State) -> Iterator[tuple[str, Visible | None, State | Fails]]:
        """For each task that can go on: its operation (None: it starts), and the state after it."""
        for number, task in enumerate(self.names):
            g = dict(zip(self.keys, state[0], strict=True))
            if not self._runs(task, g):
                continue
            at, log = state[1][number]
            if at == _NOT_STARTED:
                op = None
            else:
                found = self.codes[task][at]
                assert isinstance(found, Visible)
                op = found
                if op.ready is not None and not op.ready(g, task):
                    continue
            try:
                for after in self._turn(task, g, at, log, op):
                    yield task, op, self._put(state, number, *after)
            except Fails as failure:
                yield task, op, failure

    def _turn(
        self, task: str, g: Globals, at: int, log: Log, op: Visible | None
    ) -> Iterator[tuple[Globals, int, Log]]:
        """The effect of the operation, and what stands before the next one."""
        if op is not None:
            log = op.effect(g, task, log)
        yield from self._on(task, g, at + 1, log)

    def _on(self, task: str, g: Globals, at: int, log: Log) -> Iterator[tuple[Globals, int, Log]]:
        code = self.codes[task]
        while at < len(code):
            found = code[at]
            if isinstance(found, Visible):
                break
            if isinstance(found, Branch):
                at = at + 1 if found.holds(log) else found.target
                continue
            made = found.effect(g, task, log)
            at += 1
            if isinstance(made, Several):
                for one in made:
                    yield from self._on(task, dict(g), at, one)
                return
            log = made
        if at >= len(code):
            g["ended"] |= {task}
        yield g, at, log

    def _put(self, state: State, number: int, g: Globals, at: int, log: Log) -> State:
        tasks = state[1]
        return (tuple(g.values()), (*tasks[:number], (at, log), *tasks[number + 1 :]))

    def result(self, state: State) -> Outcome:
        """What is there in the end."""
        g = dict(zip(self.keys, state[0], strict=True))
        values = tuple((cell, *(g[f"{cell}.{field}"] for field in "abpn")) for cell in self.cells)
        logs = tuple(
            sorted(
                (task, log)
                for task, (at, log) in zip(self.names, state[1], strict=True)
                if at != _NOT_STARTED
            )
        )
        waits = any(self._runs(task, g) for task in self.names)
        return ("deadlock" if waits else "done", values, logs)

    def outcomes(self, most: int = 20_000) -> set[Outcome]:
        """Of all states that can be reached; raises `TooLarge`."""
        found: set[Outcome] = set()
        after: dict[State, list[State]] = {}
        ends: list[State] = []
        left = [self.start]
        while left:
            state = left.pop()
            if state in after:
                continue
            if len(after) >= most:
                raise TooLarge
            following = after[state] = []
            moved = False
            for _, _, new in self.steps(state):
                moved = True
                if isinstance(new, Fails):
                    found.add(("failed", *new.args))
                    ends.append(state)
                else:
                    following.append(new)
                    left.append(new)
            if not moved:
                found.add(self.result(state))
                ends.append(state)
        if self._some_cannot_end(after, ends):
            found.add(("hangs",))
        return found

    def _some_cannot_end(self, after: dict[State, list[State]], ends: list[State]) -> bool:
        """Some state has no way to an end."""
        before: dict[State, list[State]] = {}
        for state, following in after.items():
            for new in following:
                before.setdefault(new, []).append(state)
        good = set(ends)
        left = list(good)
        while left:
            for state in before.get(left.pop(), ()):
                if state not in good:
                    good.add(state)
                    left.append(state)
        return len(good) < len(after)

    def traces(self, most: int = 20_000) -> int:
        """How many traces there are: prefixes that differ by exchanging independent neighbours are one.

        Only for programs whose operations are those of the engine one by one: fields, mutexes, spinlocks.
        """
        index = {task: number for number, task in enumerate(self.names)}
        zero = (0,) * len(index)
        # For each prefix: the state; the clock of each task; for each place the clock of its last change, and the
        # joined clock of the looks since. The form of a trace are the clocks of all its operations.
        first: Any = (self.start, (zero,) * len(index), (), ())
        left, seen, complete = [first], set(), set()
        while left:
            state, clocks, places, form = left.pop()
            moved = False
            for task, op, new in self.steps(state):
                moved = True
                assert not isinstance(new, Fails), "programs that fail have no traces to count"
                if op is None:
                    # A start is no event of its own; but a task that runs to its end by it has ended.
                    nxt = (new, clocks, places, form)
                else:
                    nxt = (new, *self._clocked(index[task], op, clocks, dict(places)), form)
                    nxt = (nxt[0], nxt[1], nxt[2], tuple(sorted((*form, (task, nxt[1][index[task]])))))
                if nxt not in seen:
                    seen.add(nxt)
                    left.append(nxt)
                    if len(seen) > most:
                        raise TooLarge
            if not moved:
                complete.add(form)
        return len(complete)

    def _clocked(self, me: int, op: Visible, clocks: Any, places: dict[str, Any]) -> tuple[Any, Any]:
        changed, looked = places.get(op.place, ((), ()))
        mine = list(clocks[me])
        for other in (changed,) if op.looks else (changed, looked):
            mine = [max(a, b) for a, b in zip(mine, other or mine, strict=True)]
        mine[me] += 1
        now = tuple(mine)
        if op.place:
            if op.looks:
                joined = tuple(max(a, b) for a, b in zip(now, looked, strict=True)) if looked else now
                places[op.place] = (changed, joined)
            else:
                places[op.place] = (now, ())
        return (*clocks[:me], now, *clocks[me + 1 :]), tuple(sorted(places.items()))
