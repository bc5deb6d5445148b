"""DPOR within a bound on preemptions: depth first, but another way is tried only where a race below asks for it.

Coons, Musuvathi and McKinley, "Bounded Partial-Order Reduction", OOPSLA 2013, section 4: a bound makes independent
operations dependent, so backtrack points are added where blocks begin, too. Here they are *marks*, put while an
execution goes on, as in Abdulla et al., "Source Sets", JACM 64(4), 2017, algorithm 1, and sleep respects what a switch
costs. There are no wakeup trees: what they are told to do first may cost more than the bound has left.

A *point* is a choice of who goes on. It is *free* if a switch costs nothing there: the task that ran has ended, has to
wait, or offers its CPU (`can_be_preempted`). A *block* is what one task does between two switches; where it offers its
CPU a new one begins.

1. First, the task that ran goes on; else the task of lowest number that is awake.
2. Before an event e of task t is made, the points of the events of others that it depends on, and that are not ordered
   before it by another one, become *racy*, and so do the points where their blocks began (back over points where the
   task offered its CPU). If e may have to wait, *all* events that it depends on count that are not ordered before t's
   last event, those before a release among them: that the lock is free at the release does not mean that it could not
   have been taken before. If e begins a block and has found any, the point where t's block before began is racy, too.
   The same for each task that waits in the end, and the point where a failure came is racy.
3. Going back, each task that can go on and is awake is tried at a racy point; where that costs, within the bound only.
   What is forbidden so is counted (`cut`): with 0 no schedule was left out for its preemptions.
4. A task that was preempted before an operation a *sleeps* until an event is made that depends on a, or until the task
   that runs has to wait by an operation that depends on a. Where no task is awake nothing new can come.
5. All values of a data choice are tried.
6. Who was tried at a point and makes a block later that depends on nothing that was done since then could as well have
   made it there: the execution is given up at its end (`concurrency.strategies.put_off`).

Example: ``x = 1; y = 1`` beside ``y = 2`` has two traces, and both have a schedule without a preemption:

>>> from sugarbush.concurrency import spawn
>>> from sugarbush.concurrency.lowlevel import Access, Operation, Simulated, step
>>> write = Operation("write", Access.WRITE_ONCE, local=True)
>>> def program():
...     spawn(lambda: (step(write, "x"), step(write, "y")), name="p")
...     spawn(step, write, "y", name="q")
>>> search = BoundedDPOR(0)
>>> def execute():
...     Simulated(search).run(program)
...     made = zip(search._trace.who, search._trace.objs)
...     return ", ".join(f"{' pq'[task]} {on}" for task, on in made if on in ("x", "y"))
>>> execute()
'p x, p y, q y'

The writes of y race, so the point of p's is racy, and so is that where p's block began (rule 2). A switch at the first
one costs a preemption, which is forbidden and counted; at the other one, where task 0 has just ended, it is free:

>>> execute()
'q y, p x, p y'
>>> search.left, search.traces, search.cut
(False, 2, 2)

Why no outcome within the bound is lost is in docs/exploration.md. Plain sleep sets would be wrong here: with p put to
sleep once it was tried first, the second trace is reached by ``x = 1, y = 2, y = 1`` only, which costs one.

Executions of one trace may be made more than once: their schedules differ in cost. `traces` counts the traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import BadSchedule, ConcurrencyError, Sights, Task, current_task
from sugarbush.concurrency.strategies.base import Part, Pruned, can_be_preempted
from sugarbush.concurrency.strategies.bounded_parts import Entered, Mark, TraceSet, divided, tell
from sugarbush.concurrency.strategies.events import Events
from sugarbush.concurrency.strategies.let_go import races
from sugarbush.concurrency.strategies.put_off import Since, in_vain, lets_go_on, put_off, waits_anyway
from sugarbush.concurrency.strategies.switch_points import SwitchPoint, ValueChoice
from sugarbush.concurrency.strategies.trace import Edges


class BoundedDPOR:
    """Makes, of each trace that has a schedule with at most `bound` preemptions, one such schedule or a few.

    `left` says whether there is another execution; `cut` counts the racy points at which the bound forbade to try
    another task, `spent` the preemptions of the last execution, and `traces` how many traces were completed. The search
    can be divided (`Marking`, `concurrency.strategies.bounded_parts`): then these are about the part that was entered.
    """

    name = "dpor"
    unit = "preemption"
    thorough = True
    numbers = None
    lease = 1
    root: Part = ()

    def __init__(self, bound: int, dependence: Dependence | None = None) -> None:
        if type(bound) is not int or bound < 0:
            raise ConcurrencyError(f"the preemption bound is a whole number, at least 0, not {bound!r}")
        self.bound: int | None = bound
        self._most = bound
        self._dependence = dependence or Dependence(callbacks=True)
        self.cut = 0
        self._seen = TraceSet()
        self.enter(self.root)

    def enter(self, part: Part) -> None:
        """Search `part` only: it begins with some ways, and does not go back behind those that others share."""
        self._part = Entered.of(part)
        self._path: list[SwitchPoint | ValueChoice] = []
        self._trace = Events(self._dependence)
        self._made: list[SwitchPoint | None] = [None]
        """The point of each event; that task 0 starts was not chosen."""
        self._ways: tuple[int, ...] | None = self._part.ways
        """The ways that the first execution of the part begins with; None once it was made."""
        self.marked: tuple[Mark, ...] = ()
        """What the last execution has marked above this part."""
        self.left = True
        self.spent = 0
        self.begin(0)

    def rest(self) -> list[Part]:
        """What is left of the part that was entered, in order."""
        if self._ways is not None:
            return [self._part.part]
        if not self.left:
            return []
        path, known = self._path, self._part.shared
        left = [0] * known + [point.left(self._most) for point in path[known:]]
        # Those that were told of: an execution that was broken off has marked others, and it is made once more.
        racy = [number for number, point in enumerate(path) if point.told]
        return divided([point.way for point in path], left, racy, known)

    def opened(self, part: Part, mark: Mark) -> list[Part]:
        """The parts that begin where another `part` has made a `mark`."""
        return Entered.of(part).opened(mark)

    def after(self, part: Part, cut: int) -> Part | None:  # noqa: ARG002
        """None: the bound stays, so the root is all there is."""
        return None

    @property
    def traces(self) -> int:
        """How many traces were completed."""
        return len(self._seen)

    @property
    def digest(self) -> str:
        """A hash of the set of the traces that were completed; the same on every machine."""
        return self._seen.digest

    @property
    def signature(self) -> int:
        """The number of the trace that was completed last."""
        return self._trace.signature

    # -- one execution ------------------------------------------------------------------------------------------

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice: task 0 goes on."""
        self._runnable: Sequence[Task] = ()
        self._at = 0
        self._fails = -1
        """The task whose turn has failed; -1 if none has."""
        self.spent = 0
        self._asleep: frozenset[int] = frozenset()
        self._put_off: Since = {}
        # Up to the last turn, as that or a data choice in it is another one now, all is as it was.
        self._known = max(
            (at for at, point in enumerate(self._path) if isinstance(point, SwitchPoint)), default=0
        )
        """How many choices the execution begins with of which all is known."""
        turns = [point for point in self._path[: self._known] if isinstance(point, SwitchPoint)]
        del self._made[len(turns) + 1 :]
        self._began = {point.turn: point for point in turns if point.block is point}
        """Where the last block of each task began."""
        if turns:
            self._trace.rewind(len(turns) + 1)
        else:
            self._known, self._trace = 0, Events(self._dependence)

    def look_with(self, sights: Sights) -> None:
        """Count what the checks look at among what depends on each other."""
        self._trace.look_with(sights)

    def made(self, obj: object) -> None:
        """Have a free of `obj` compared with the turns that touch it."""
        self._trace.made(obj)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task whose turn it is here; the runtime asks at every operation, also if only one task can go on."""
        trace = self._trace
        if not trace.tasks:
            trace.tasks[0] = current_task()
        self._runnable = runnable
        trace.arrive(runnable)
        at, self._at = self._at, self._at + 1
        if at < self._known:
            # Most choices of an execution are such, so little is compared here; `again` compares the operation.
            point = self._path[at]
            if isinstance(point, SwitchPoint) and len(point.enabled) == len(runnable):
                chosen = trace.tasks.get(point.turn)
                if chosen is not None and chosen in runnable:
                    return trace.again(chosen)
        enabled = tuple([task.id for task in runnable])
        if at < len(self._path):
            point = self._path[at]
            if not isinstance(point, SwitchPoint) or point.enabled != enabled:
                raise BadSchedule(
                    f"the program is not deterministic: after the same choices the tasks {enabled} can go on now"
                )
            self.spent, self._asleep, self._put_off = point.spent, point.asleep, point.put_off
            if at == self._known:
                trace.listen()
            trace.settle()
        else:
            trace.settle()
            point = self._arrive(enabled, current)
        self._go(point)
        return trace.tasks[point.turn]

    def _arrive(self, enabled: tuple[int, ...], current: Task | None) -> SwitchPoint:
        """A new point, with the task that goes on first there."""
        if current is None:
            self._wait(self._trace.tasks[self._trace.who[-1]])
        ran, free = None if current is None else current.id, not can_be_preempted(current)
        point = SwitchPoint(enabled, ran, free, self.spent, self._asleep, self._put_off)
        # Rule 1.
        point.turn = self._first(enabled) if current is None else current.id
        assert point.turn not in self._asleep, "the task that ran is awake"
        point.tried.append(point.turn)
        if self._ways is not None and len(self._path) < len(self._ways):
            self._follow(point, self._ways[len(self._path)])
        self._path.append(point)
        return point

    def _follow(self, point: SwitchPoint, way: int) -> None:
        """Take the way that the part takes at this point, which it begins with."""
        point.follow(way, self._most)
        point.racy = point.told = point.racy or len(self._path) in self._part.racy

    def _first(self, enabled: tuple[int, ...]) -> int:
        """The task that goes on where the one that ran cannot (rule 1)."""
        awake = [number for number in enabled if number not in self._asleep]
        if not awake:
            self._give_up("all that can go on has been tried elsewhere")
        # Who was put off may have to be given up, so the others come first.
        return next((number for number in awake if number not in self._put_off), awake[0])

    def _give_up(self, why: str) -> NoReturn:
        self._look_back()
        raise Pruned(why)

    def _wait(self, ran: Task) -> None:
        """`ran` has ended, or has to wait: wake those whose operation its own depends on (rule 4)."""
        since = self._put_off.get(ran.id)
        if since is not None and (ran.ended or waits_anyway(self._trace, ran, since)):
            self._began[ran.id].mark()
            self._give_up("what was done could as well have come before")
        if self._asleep and not ran.ended:
            self._asleep = self._undisturbed(ran)

    def _go(self, point: SwitchPoint) -> None:
        """Make the event of the turn: mark what it races with, and see who stays asleep."""
        trace = self._trace
        chosen = trace.tasks[point.turn]
        edges = point.edges
        if edges is None:
            edges = point.edges = trace.edges(chosen)
            racing = self._races(chosen, edges)
            self._begin_block(point, racing)
            self._mark(racing)
        if point.block is point:
            self._began[point.turn] = point
        since = point.put_off.get(point.turn)
        counts = since is not None and not self._is_in_vain(chosen, edges, since, point)
        self._put_off = put_off(point, len(self._made), counts)
        if point.current not in (None, point.turn) and not point.free:
            self.spent += 1
            self._asleep |= {point.current}
        if self._asleep:
            self._asleep = self._undisturbed(chosen)
        trace.make(chosen, edges)
        self._made.append(point)
        assert self.spent <= self._most, "a way that costs is taken within the bound only"

    def _is_in_vain(self, task: Task, edges: Edges, since: int, point: SwitchPoint) -> bool:
        """Whether the next event of `task`, that of `point`, could as well come before all from `since` on."""
        return in_vain(edges, since) and not lets_go_on(self._trace, task, since, [*self._made, point])

    def _races(self, task: Task, edges: Edges) -> list[int]:
        """The events with which the next one of `task` races: another way of theirs can matter for it (rule 2)."""
        if task not in self._runnable:
            return edges.dependent
        return races(self._trace, self._made, task, edges)

    def _begin_block(self, point: SwitchPoint, racing: list[int]) -> None:
        """Say to which block the turn of `point` belongs."""
        last = self._made[-1]
        if last is not None and last.turn == point.turn:
            if not point.free:
                point.block, point.joined = last.block, None
                return
            # It offers its CPU, or has waited while no other task came between: the others could have, at no cost.
            point.block, point.joined = point, last.block
            return
        point.block, point.joined = point, None
        point.before = self._began.get(point.turn)
        self._mark_block_before(point.turn, racing)

    def _mark_block_before(self, task: int, racing: list[int]) -> None:
        """Mark where the block before of `task` began: others came between, and that block may belong after them."""
        if racing and task in self._began:
            self._began[task].mark()

    def _mark(self, racing: list[int]) -> None:
        for number in racing:
            point = self._made[number]
            if point is not None:
                point.mark()

    def _mark_frees(self, last: SwitchPoint) -> None:
        """The last turn has failed, perhaps as it touched what was freed: no event before it has told of that."""
        frees = self._trace.frees_of_others(last.turn)
        for number in frees:
            point = self._made[number]
            if point is not None:
                point.mark()
        if frees and last.before is not None:
            last.before.mark()

    def _undisturbed(self, by: Task) -> frozenset[int]:
        """Those that stay asleep when `by` goes on: another task, whose operation does not depend on its."""
        trace = self._trace
        return frozenset(
            [number for number in self._asleep if number != by.id and not trace.meet(trace.tasks[number], by)]
        )

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value that is tried; 0 first."""
        if self._at == len(self._path):
            follows = self._ways is not None and self._at < len(self._ways)
            self._path.append(ValueChoice(n, self._ways[self._at] if self._ways and follows else 0))
        datum = self._path[self._at]
        if not isinstance(datum, ValueChoice) or datum.ways != n or datum.value >= n:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another choice now"
            )
        self._at += 1
        if self._at > self._known:
            self._trace.chose(datum.value)
        return datum.value

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Count the trace, and go back. If there is still a task that could go on, the last turn was a failure."""
        if self._at != len(self._path):
            raise BadSchedule("the program is not deterministic: after the same choices it ends earlier now")
        self._seen.note(self._trace.signature)
        last = self._made[-1]
        if self._runnable and last is not None:
            # A failure hides what the others would have done, so each is tried before the turn that failed.
            last.mark()
            self._mark_frees(last)
            self._fails = last.turn
        self._look_back()

    # -- what to try next -----------------------------------------------------------------------------------------

    def _look_back(self) -> None:
        """The execution is over: compare what waits to the end, too, and go back to the last point with a way left."""
        trace = self._trace
        assert len(self._made) == len(trace.who), "each event is the turn of a point"
        for task in trace.tasks.values():
            # After a failure also those that could go on: what each would have done next may have to come before what
            # is long past, as the lock that the failing task has just given back.
            comes = task in self._runnable and (self._fails < 0 or task.id == self._fails)
            if not task.ended and task.op is not None and not comes:
                racing = self._races(task, trace.edges(task))
                self._mark(racing)
                self._mark_block_before(task.id, racing)
        self._tell()
        path, shared = self._path, self._part.shared
        # Not behind the points of the part: their other ways are other parts.
        while len(path) > shared and not self._turn(path[-1]):
            path.pop()
        self.left = len(path) > shared
        self._ways = None

    def _tell(self) -> None:
        """Count the points that have become racy though the bound forbids their other ways; report those of others."""
        self.marked, cut = tell(self._path, self._part.shared, self._most)
        self.cut += cut

    def _turn(self, last: SwitchPoint | ValueChoice) -> bool:
        """Take the next way at the last point of the path, if there is one."""
        if isinstance(last, ValueChoice):
            last.value += 1
            return last.value < last.ways
        # Rule 3.
        if not last.racy:
            return False
        ways = last.others[last.way :]
        if not ways or last.forbidden(self._most):
            return False
        last.turn = ways[0]
        last.tried.append(last.turn)
        last.edges = last.block = last.joined = last.before = None
        return True
