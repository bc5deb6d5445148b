"""DPOR: dynamic partial order reduction; one execution for each way in which dependent operations can be ordered.

Executions that differ only in the order of independent operations are one Mazurkiewicz trace. The search is depth
first, as `DepthFirst`, but goes only where two dependent operations change places:

- *Races* are found when an execution is over. For each, the search will try, where the first of the two was done, all
  that does not need it, and then the second: Abdulla, Aronis, Jonsson and Sagonas, "Source Sets: A Foundation for
  Optimal Dynamic Partial Order Reduction", Journal of the ACM 64(4), 2017, algorithm 2, with wakeup trees.
- *Sleep sets*: Godefroid, LNCS 1032, 1996, chapter 5. A turn that was tried at a place need not be tried again until
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
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, NoReturn

from sugarbush.concurrency.checks import Dependence
from sugarbush.concurrency.core import START, BadSchedule, ConcurrencyError, Operation, Task, current_task
from sugarbush.concurrency.strategies.base import Part, Pruned
from sugarbush.concurrency.strategies.parts import (
    Place,
    entered,
    first_places,
    keep_whole,
    mark_failed,
    rest,
    share_out,
)
from sugarbush.concurrency.strategies.trace import Order, Trace
from sugarbush.concurrency.strategies.wakeup import Reversal, Turn, differs, insert, is_one_look_more


class _Idle(NamedTuple):
    """From event `since` on tasks have only looked again; `waiting` has what each task that had not ended was about to
    do then, as `DPOR._turn_round` takes it.
    """

    since: int
    changes: int
    waiting: list[tuple[int, Order, Operation, object]]


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
        self._path = first_places()
        self._fresh = 0
        """From which place on those that are shared out were not known before."""
        self._begun = 0
        """At which place this execution left the one before."""
        self.begin(0)

    def enter(self, part: Part) -> None:
        """See `Divisible.enter`."""
        self._path, self._fresh = entered(part)
        self._begun = len(self._path) - 1
        self.left = True
        self.begin(0)

    def rest(self) -> list[Part]:
        """See `Divisible.rest`."""
        return rest(self._path, left=self.left)

    def after(self, part: Part, cut: int) -> Part | None:  # noqa: ARG002
        """See `Divisible.after`: the root is all there is."""
        return None

    # -- one execution ------------------------------------------------------------------------------------------

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Start from the first choice: task 0 goes on."""
        self._trace = Trace(self._dependence)
        self._path = self._path or first_places()
        self._path[0].order = Order(0, 0, [])
        self._runnable: Sequence[Task] = ()
        self._at = 1
        self._chose = False
        """The turn has made a data choice."""
        self._idle: _Idle | None = None
        """Since when nobody has done anything but look again; None if somebody has."""
        self._idled = False
        """The execution has ended so."""

    def idles(self, changes: int, *, over: bool) -> None:
        """See `Watchful.idles`."""
        trace = self._trace
        if self._idle is None or self._idle.changes != changes:
            waiting = [
                (task.id, trace.order(task), *trace.next_of(task))
                for task in trace.tasks.values()
                if not task.ended
            ]
            self._idle = _Idle(len(trace.who), changes, waiting)
        self._idled = over

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """The task of this place; it is asked at every operation, also if only one task can go on."""
        trace = self._trace
        if not trace.tasks:
            trace.tasks[0] = current_task()
        self._runnable = runnable
        trace.arrive(runnable)
        place = self._place(runnable, current)
        chosen = trace.tasks[place.turn.task]
        turn, does = place.turn, trace.next_of(chosen)[0].name
        if turn.does is None:
            turn.does = does
        elif turn.does != does:
            self._differs(turn, chosen, does)
        if place.order is None:
            place.order = trace.order(chosen)
        trace.go(chosen, place.order.before)
        self._chose = False
        return chosen

    def _differs(self, turn: Turn, chosen: Task, does: str) -> None:
        """`chosen` makes another operation in this turn than it did where the turn was asked for."""
        assert turn.does is not None
        # Up to where this execution leaves the one before it is repeated, so a difference there is the program's.
        if self._at <= self._begun or not is_one_look_more(chosen, does, turn.does):
            raise differs(chosen, does, turn.does)
        turn.does = does
        # What was to come after it is known from there only. The search below this turn is complete without it, and
        # has it tried from here if that is another order of what somebody sees.
        turn.after.clear()

    def data(self, n: int, label: str) -> int:  # noqa: ARG002
        """The value of this turn; 0 if none is wanted."""
        if self._chose:
            self._go_on()
        self._chose = True
        place = self._path[self._at - 1]
        turn = place.turn
        place.ways = place.ways or n
        if turn.value is None:
            turn.value = 0
        if place.ways != n or turn.value >= n:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another one now"
            )
        return turn.value

    def end(self, steps: int, forced: int) -> None:  # noqa: ARG002
        """Look for what can be tried next.

        If there is still a task that could go on, the last turn has ended in a failure.
        """
        if self._at != len(self._path):
            raise BadSchedule("the program is not deterministic: after the same choices it ended now")
        self.traces += 1
        self._look_back(failed=bool(self._runnable))

    def _place(self, runnable: Sequence[Task], current: Task | None) -> Place:
        """Where the execution is: a place known from the last execution, or a new one."""
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
        todo, last.turn.after = last.turn.after, []
        asleep, failed = self._undisturbed(last.asleep), self._undisturbed(last.failed)
        turn = todo.pop(0) if todo else self._pick(enabled, current, asleep, failed)
        if turn is not None and turn.task not in enabled:
            turn = self._pick(enabled, current, asleep, failed)
        if turn is None:
            self._give_up()
        place = Place(enabled, turn, asleep, failed, todo, shared=last.levels > 0, levels=last.levels)
        if place.shared and trace.tasks[turn.task].op is not None:
            share_out(place)
        self._path.append(place)
        self._at += 1
        return place

    def _go_on(self) -> None:
        """The task makes a further choice in the same turn: a place where nobody else can go on."""
        if self._at == len(self._path):
            last = self._path[-1]
            todo, last.turn.after = last.turn.after, []
            task = last.turn.task
            turn = todo.pop(0) if todo else Turn(task, more=True)
            asleep, failed = self._undisturbed(last.asleep), self._undisturbed(last.failed)
            self._path.append(
                Place((task,), turn, asleep, failed, todo, shared=last.levels > 0, levels=last.levels)
            )
        place = self._path[self._at]
        self._at += 1
        place.order = self._trace.go_on()
        if not place.turn.more:
            raise BadSchedule(
                "the program is not deterministic: after the same choices it makes another one now"
            )

    def _give_up(self, *, wrongly: bool = False) -> NoReturn:
        """Nobody can go on here; or not who was wanted, which was not known, so all are tried where that began."""
        if wrongly:
            place = self._path[self._begun]
            known = {turn.task for turn in (*place.asleep, *place.failed, *place.todo)}
            place.todo += [Turn(task) for task in place.enabled if task not in known]
        self._look_back(failed=False)
        raise Pruned("all that can go on has been tried elsewhere")

    def _undisturbed(self, turns: list[Turn]) -> list[Turn]:
        """Those that the last event does not depend on."""
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
        """Who goes on where nothing is wanted: those that start first, then the current task; failing ones last."""
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
        """The execution is over: have the other side of its races tried, and go back to the last place where one is."""
        trace = self._trace
        idle = self._idle
        # Looks that can find nothing new are no events: they are made so that a livelock is sure, wherever it begins.
        # With a data choice among them they are, since another value may end the loop.
        if self._idled and idle is not None and not any(place.ways for place in self._path[idle.since :]):
            del self._path[idle.since :]
            made, waiting = list(self._path), idle.waiting
        else:
            made = self._path[: len(trace.who)]
            waiting = [
                (task.id, trace.order(task), *trace.next_of(task))
                for task in trace.tasks.values()
                if not task.ended and task not in self._runnable
            ]
        if made[0].shared and not self._fresh and trace.reaches_anything:
            # The first execution of all. Starts race in this program, and they are not shared out (`_place`): so
            # nothing is, and one process searches it.
            keep_whole(made)
        trace.values = [place.turn.value for place in made]
        last = len(made) - 1
        while trace.more >> last & 1:
            last -= 1
        self._goes_on = (1 << (last if failed else len(made))) - 1
        for number, place in enumerate(made):
            assert place.order is not None
            turn, op, obj = place.turn, trace.ops[number], trace.objs[number]
            self._turn_round(place.order, turn.task, op, obj)
            for value in range(place.ways):
                if value == turn.value:
                    continue
                other = Turn(turn.task, value, turn.more)
                if not place.shared:
                    self._want(number, 0, other, place.order.own, op, obj)
                elif number >= self._fresh and not turn.value:
                    place.todo.insert(value - 1, other)
        for task, order, op, obj in waiting:
            self._turn_round(order, task, op, obj)
        if failed:
            mark_failed(made)
        self._fresh = len(made)
        self._step_back(failed=failed)

    def _turn_round(self, order: Order, task: int, op: Operation | None, obj: object) -> None:
        """Have `op` of a task tried before each event that it races with."""
        for first, late in order.races:
            does = None if op is None else op.name
            self._want(first, late, Turn(task, does=does), order.own, op, obj)

    def _want(self, first: int, late: int, last: Turn, own: int, op: Operation | None, obj: object) -> None:
        """Have `last` tried without event `first`: after all that does not need it, nor the events `late`."""
        trace, place = self._trace, self._path[first]
        if place.shared:
            # All that could go on there is tried by somebody; but starts are not shared out (`_place`): as a rule they
            # race with nothing, and each would be a part that has nothing to add. Where the first execution has shown
            # nothing that may touch anything, this comes too late: other processes have their parts.
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
        if any(wanted.is_own_beginning(turn) for turn in place.failed):
            return
        for turn in place.asleep:
            events = wanted.disturbed(turn)
            if events is None:
                return
            wanted.ask(events)
        insert(place.todo, wanted)

    def _step_back(self, *, failed: bool) -> None:
        """Go back to the last place where something is left to try; `failed` says that the last turn did."""
        path = self._path
        made = self._fresh
        while path and not path[-1].shared:
            place = path[-1]
            turn = place.turn
            if len(path) > made:
                pass
            elif failed:
                place.failed.append(turn)
                self._try_others(place)
            else:
                place.asleep.append(turn)
            if place.todo:
                self._begun = len(path) - 1
                place.turn = place.todo.pop(0)
                place.ways = 0
                place.order = None
                break
            path.pop()
            failed = turn.more and all(other.task != turn.task for other in place.asleep)
        self.left = bool(path) and not path[-1].shared

    def _try_others(self, place: Place) -> None:
        """A turn there has failed: if nothing else was or will be tried, some other task goes on."""
        if not place.todo and not place.asleep:
            failing = {turn.task for turn in place.failed}
            place.todo += [Turn(number) for number in place.enabled if number not in failing][:1]
