"""DPOR: dynamic partial order reduction; one execution for each way in which dependent operations can be ordered.

Executions that differ only in the order of independent operations are one Mazurkiewicz trace. The search is depth
first, as `DepthFirst`, but goes only where two dependent operations change places:

- *Races* are found when an execution is over. For each, the search will try, where the first of the two was done, all
  that does not need it, and then the second: Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for
  Optimal Dynamic Partial Order Reduction", Journal of the ACM 64(4), 2017, algorithm 2, with wakeup trees.
- *Sleep sets*: Godefroid, LNCS 1032, 1996, chapter 5. A turn that was tried at a point need not be tried again until
  something dependent has happened; what would begin so is not tried at all. So no execution is begun in vain.

What the paper leaves out, and what is done here:

- Blocking. An operation that waits is compared like any other, also if it waits to the end; it races with the last
  operations before which it could have gone on (`concurrency.strategies.readiness`). What else keeps it waiting, and
  need not come first, is left out of the sequence.
- A failure ends an execution before the others have shown what they would do. So where the failing task went on, some
  other one is tried, too, and the failing one waits as long as another can go on.
- The end of a task belongs to its last operation, and a spawn to the one before it; both order, neither can race. The
  start of a task, up to its first operation, is an event: what the task looks at there is shown by no operation, so it
  races with operations that may touch anything (freeing, for one).
- Data choices: another value is a race of the turn with itself.

Examples: `ChoicePoint` goes through a search, `concurrency.strategies.wakeup` reverses a race by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import START, BadSchedule, ConcurrencyError, Operation, Task, current_task
from sugarbush.concurrency.strategies.base import Part, Pruned
from sugarbush.concurrency.strategies.parts import (
    ChoicePoint,
    entered,
    first_points,
    keep_whole,
    mark_failed,
    rest,
    share_out,
)
from sugarbush.concurrency.strategies.trace import EventOrder, Trace
from sugarbush.concurrency.strategies.wakeup import Reversal, Turn, differs, insert, is_one_look_more


class _Idle(NamedTuple):
    """From event `since` on tasks that spin have only looked again, in vain; `changes` had been made by then.
    `waiting` has what each task that had not ended was about to do then, as `DPOR._turn_round` takes it.
    """

    since: int
    changes: int
    waiting: list[tuple[int, EventOrder, Operation, object]]


class DPOR:
    """Completes one execution of each trace.

    `left` says whether there is another execution to begin. The relation of operations is `dependence`. The search can
    be divided (`Divisible`); then some executions are begun in vain.
    """

    name = "dpor"
    thorough = True
    numbers = None
    lease = 1
    bound: int | None = None
    cut = 0
    root: Part = ()

    def __init__(self, dependence: Dependence | None = None) -> None:
        self._dependence = dependence or Dependence()
        self.left = True
        self.traces = 0
        self._path = first_points()
        self._fresh = 0
        """From which point of the path on those that are shared out are new in this execution."""
        self._begun = 0
        """The number of the point at which this execution leaves the one before; up to there it repeats that one."""
        self.begin(0)

    def enter(self, part: Part) -> None:
        """Search `part` only: it is the state of the search as `rest` has packed it."""
        self._path, self._fresh = entered(part)
        self._begun = len(self._path) - 1
        self.left = True
        self.begin(0)

    def rest(self) -> list[Part]:
        """The ways that are left at points that are shared out, and this part itself if it is not finished."""
        return rest(self._path, left=self.left)

    def after(self, part: Part, cut: int) -> Part | None:  # noqa: ARG002
        """None: there is no bound that could be raised, so nothing follows the root."""
        return None

    # -- one execution ------------------------------------------------------------------------------------------

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice: task 0 goes on."""
        self._trace = Trace(self._dependence)
        self._path = self._path or first_points()
        self._path[0].order = EventOrder(0, 0, [])
        self._runnable: Sequence[Task] = ()
        self._at = 1
        self._chose = False
        """The turn of now has made a data choice: one more is a further turn, see `_go_on`."""
        self._idle: _Idle | None = None
        """Since when tasks have done nothing but look again; None if the last ones did something else."""
        self._idled = False
        """The execution has ended in such looks: a livelock."""

    def idles(self, changes: int, *, over: bool) -> None:
        """Note where looks in vain began, and what all tasks were about to do there."""
        trace = self._trace
        # Asked again and again as the tasks go round; only the first time since the last change shows where it began.
        if self._idle is None or self._idle.changes != changes:
            waiting = [
                (task.id, trace.order(task), *trace.next_of(task))
                for task in trace.tasks.values()
                if not task.ended
            ]
            self._idle = _Idle(len(trace.who), changes, waiting)
        self._idled = over

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task whose turn it is here; the runtime asks at every operation, also if only one task can go on."""
        trace = self._trace
        if not trace.tasks:
            trace.tasks[0] = current_task()
        self._runnable = runnable
        trace.arrive(runnable)
        point = self._point(runnable, current)
        chosen = trace.tasks[point.turn.task]
        turn, does = point.turn, trace.next_of(chosen)[0].name
        if turn.does is None:
            turn.does = does
        elif turn.does != does:
            self._differs(turn, chosen, does)
        # A point that is repeated keeps the order of its event: after the same choices it is the same.
        if point.order is None:
            point.order = trace.order(chosen)
        trace.go(chosen, point.order.before)
        self._chose = False
        return chosen

    def _differs(self, turn: Turn, chosen: Task, does: str) -> None:
        """`chosen` makes another operation in this turn than it did where the turn was asked for."""
        assert turn.does is not None
        # Up to where this execution leaves the one before it is repeated, so a difference there is the program's.
        if self._at <= self._begun or not is_one_look_more(chosen, does, turn.does):
            raise differs(chosen, does, turn.does)
        turn.does = does
        # What was to come after the turn was seen only where the task did something else. The search below this turn
        # is complete without it, and finds its own races here.
        turn.after.clear()

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value that this turn is to choose; 0 if the turn was wanted without one."""
        if self._chose:
            self._go_on()
        self._chose = True
        point = self._path[self._at - 1]
        turn = point.turn
        point.ways = point.ways or n
        if turn.value is None:
            turn.value = 0
        if point.ways != n or turn.value >= n:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another choice now"
            )
        return turn.value

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Count the trace, reverse its races, and go back to the last point where something is left to try."""
        if self._at != len(self._path):
            raise BadSchedule("the program is not deterministic: after the same choices it ends earlier now")
        self.traces += 1
        # The runtime's own list: if a task could still go on, the last turn has ended in a failure.
        self._look_back(failed=bool(self._runnable))

    def _point(self, runnable: Sequence[Task], current: Task | None) -> ChoicePoint:
        """The point at which the execution is: one that the last execution has come to, or a new one."""
        enabled = tuple([task.id for task in runnable])
        if self._at < len(self._path):
            known = self._path[self._at]
            self._at += 1
            if known.enabled != enabled or known.turn.more:
                raise BadSchedule(
                    f"the program is not deterministic: after the same choices the tasks {enabled} can go on now"
                )
            if known.turn.task not in enabled:
                self._give_up(wrongly=True)
            return known
        last, trace = self._path[-1], self._trace
        # What stood below the turn in its wakeup tree is the tree of the new point. The turn gives it away: when it is
        # put to sleep later, it is one turn.
        todo, last.turn.after = last.turn.after, []
        asleep, failed = self._undisturbed(last.asleep), self._undisturbed(last.failed)
        turn = todo.pop(0) if todo else self._pick(enabled, current, asleep, failed)
        if turn is not None and turn.task not in enabled:
            # It was wanted where readiness could only be guessed (`ready_without`): it cannot go on after all.
            turn = self._pick(enabled, current, asleep, failed)
        if turn is None:
            self._give_up()
        point = ChoicePoint(enabled, turn, asleep, failed, todo, shared=last.levels > 0, levels=last.levels)
        if point.shared and trace.tasks[turn.task].op is not None:
            share_out(point)
        self._path.append(point)
        self._at += 1
        return point

    def _go_on(self) -> None:
        """The task makes a further choice in the same turn: this is a point where no other task can go on."""
        if self._at == len(self._path):
            last = self._path[-1]
            todo, last.turn.after = last.turn.after, []
            task = last.turn.task
            turn = todo.pop(0) if todo else Turn(task, more=True)
            asleep, failed = self._undisturbed(last.asleep), self._undisturbed(last.failed)
            self._path.append(
                ChoicePoint((task,), turn, asleep, failed, todo, shared=last.levels > 0, levels=last.levels)
            )
        point = self._path[self._at]
        self._at += 1
        point.order = self._trace.go_on()
        if not point.turn.more:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another choice now"
            )

    def _give_up(self, *, wrongly: bool = False) -> NoReturn:
        """End an execution of which nothing new can come: all that could go on is asleep.

        `wrongly` says that it was begun for a task that cannot go on here after all.
        """
        if wrongly:
            # The wanted order was a guess, and what it stood for is not known: to lose nothing, every task that could
            # go on where this execution began is tried there.
            point = self._path[self._begun]
            known = {turn.task for turn in (*point.asleep, *point.failed, *point.todo)}
            point.todo += [Turn(task) for task in point.enabled if task not in known]
        self._look_back(failed=False)
        raise Pruned("all that can go on has been tried elsewhere")

    def _undisturbed(self, turns: list[Turn]) -> list[Turn]:
        """Those of the turns that the last event does not depend on: they stay asleep (or known to fail) after it."""
        trace = self._trace
        by, op, obj = trace.who[-1], trace.ops[-1], trace.objs[-1]
        return [
            turn
            for turn in turns
            if turn.task != by and not trace.dependent(op, obj, *trace.next_of(trace.tasks[turn.task]))
        ]

    def _pick(
        self,
        enabled: tuple[int, ...],
        current: Task | None,
        asleep: list[Turn],
        failed: list[Turn],
    ) -> Turn | None:
        """Who goes on where no turn is wanted; None if all that can go on are asleep.

        Tasks that have not started come first, then the current task. A task whose turn is known to fail here comes
        last: its failure would hide what the others do.
        """
        sleeping = {turn.task for turn in asleep}
        failing = {turn.task for turn in failed}
        awake = [number for number in enabled if number not in sleeping]
        if not awake:
            return None
        awake = [number for number in awake if number not in failing] or awake
        starting = [number for number in awake if self._trace.tasks[number].op is None]
        if starting:
            return Turn(starting[0])
        return Turn(current.id if current is not None and current.id in awake else awake[0])

    # -- what to try next -----------------------------------------------------------------------------------------

    def _look_back(self, *, failed: bool) -> None:
        """The execution is over: have its races tried the other way round, and go back to where something is left."""
        trace = self._trace
        idle = self._idle
        # Looks that can find nothing new are no events: the runtime makes them only to be sure of a livelock. With a
        # data choice among them they are events, since another value may end the loop.
        if self._idled and idle is not None and not any(point.ways for point in self._path[idle.since :]):
            del self._path[idle.since :]
            made, waiting = list(self._path), idle.waiting
        else:
            made = self._path[: len(trace.who)]
            assert len(made) == len(trace.who), "each event is the turn of a point"
            waiting = [
                (task.id, trace.order(task), *trace.next_of(task))
                for task in trace.tasks.values()
                if not task.ended and task not in self._runnable
            ]
        if made[0].shared and not self._fresh and trace.reaches_anything:
            # The first execution of all. Starts may race in this program, and they are not shared out (`_want`): so
            # nothing is, and one process searches it.
            keep_whole(made)
        trace.values = [point.turn.value for point in made]
        # The turn that failed, with its data choices, is a part of no sequence: the execution would end there.
        last = len(made) - 1
        while trace.more >> last & 1:
            last -= 1
        self._goes_on = (1 << (last if failed else len(made))) - 1
        for number, point in enumerate(made):
            assert point.order is not None, "each turn that was made has an order"
            turn, op, obj = point.turn, trace.ops[number], trace.objs[number]
            self._turn_round(point.order, turn.task, op, obj)
            for value in range(point.ways):
                if value == turn.value:
                    continue
                other = Turn(turn.task, value, turn.more)
                if not point.shared:
                    self._want(number, 0, other, point.order.own, op, obj)
                elif number >= self._fresh and not turn.value:
                    point.todo.insert(value - 1, other)
        for task, order, op, obj in waiting:
            self._turn_round(order, task, op, obj)
        if failed:
            mark_failed(made)
        self._fresh = len(made)
        self._step_back(failed=failed)

    def _turn_round(self, order: EventOrder, task: int, op: Operation | None, obj: object) -> None:
        """Have `op`, which a task has done or is about to do, tried before each event that it races with."""
        for first, late in order.races:
            does = None if op is None else op.name
            self._want(first, late, Turn(task, does=does), order.own, op, obj)

    def _want(self, first: int, late: int, last: Turn, own: int, op: Operation | None, obj: object) -> None:
        """Have the turn `last` tried before event `first`, after all that needs neither that event nor one of `late`.

        The paper's `notdep` of `first`, then `last`. The events `late` would keep the last turn waiting.
        """
        trace, point = self._trace, self._path[first]
        if point.shared:
            # All that could go on there is tried by some process; but starts are not shared out (`_point`): as a rule
            # they race with nothing, and each would be a part that has nothing to add. Where the first execution has
            # shown no operation that may touch anything (`_look_back`), this one comes too late: the others have
            # their parts.
            if trace.ops[first] is START:
                raise ConcurrencyError(
                    f"dpor cannot share this program among processes: {'' if op is None else op.name} may touch what "
                    f"{trace.tasks[trace.who[first]].name} looks at before its first operation; leave out jobs"
                )
            return
        left = self._goes_on >> first << first & ~trace.after(first)
        while late:
            number = late.bit_length() - 1
            late ^= 1 << number
            left &= ~trace.after(number)
        wanted = Reversal(trace, first, left, last, own, op, obj)
        # What begins with a turn that fails would end there. A failing turn that is a weak initial only is no reason
        # to stop, as a sleeping one is: nothing was tried below it.
        if any(wanted.is_own_beginning(turn) for turn in point.failed):
            return
        # Below a sleeping turn that is a weak initial all of this was tried (the paper asks this before it inserts).
        for turn in point.asleep:
            events = wanted.disturbed(turn)
            if events is None:
                return
            wanted.ask(events)
        insert(point.todo, wanted)

    def _step_back(self, *, failed: bool) -> None:
        """Go back to the last point where something is left to try; `failed` says that the last turn did."""
        path = self._path
        made = self._fresh
        while path and not path[-1].shared:
            point = path[-1]
            turn = point.turn
            if len(path) > made:
                # The execution was given up before this turn was made.
                pass
            elif failed:
                point.failed.append(turn)
                self._try_others(point)
            else:
                point.asleep.append(turn)
            if point.todo:
                self._begun = len(path) - 1
                point.turn = point.todo.pop(0)
                point.ways = 0
                point.order = None
                break
            path.pop()
            # If this was a further data choice and failed with every value, so has the turn that it belongs to.
            failed = turn.more and all(other.task != turn.task for other in point.asleep)
        self.left = bool(path) and not path[-1].shared

    def _try_others(self, point: ChoicePoint) -> None:
        """A turn there has failed: unless another one was or will be tried, have some other task go on."""
        if not point.todo and not point.asleep:
            failing = {turn.task for turn in point.failed}
            point.todo += [Turn(number) for number in point.enabled if number not in failing][:1]
