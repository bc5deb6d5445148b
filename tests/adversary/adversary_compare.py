"""What is compared: each function gives an empty text, or says in which way the engine and its judge differ."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import searched_in_parts
from adversary_language import Program, compiled, text_of
from adversary_model import Model, NotModelled, TooLarge
from adversary_races import Happened
from adversary_running import BARE, Outcome, TooMany, outcome_of, searched, settings_of
from adversary_traces import Story

from sugarbush.concurrency import ConcurrencyError, Failure, explain, explore, minimise, replay
from sugarbush.concurrency.core.failure import same_failure
from sugarbush.concurrency.core.task import Task
from sugarbush.concurrency.lowlevel import Observer, Operation, RaceDetector, RandomWalk, audit
from sugarbush.concurrency.strategies.bounded import BoundedDPOR


class Skipped(Exception):
    """The program is too large for this comparison, or outside what it judges."""


def _told(what: str, missing: set[Outcome], invented: set[Outcome]) -> str:
    lines = [what]
    lines += [f"  not seen: {one}" for one in sorted(missing, key=repr)[:4]]
    lines += [f"  cannot be: {one}" for one in sorted(invented, key=repr)[:4]]
    return "\n".join(lines)


def _searched(program: Program, strategy: str, most: int, **more: Any) -> Any:
    try:
        return searched(program, strategy, most, **more)
    except TooMany:
        raise Skipped(strategy) from None


def with_model(program: Program, most: int = 400) -> str:
    """All outcomes of both searches are those of the model, which knows nothing of the engine."""
    try:
        wanted = Model(program).outcomes(3000)
    except (NotModelled, TooLarge) as error:
        raise Skipped(repr(error)) from None
    reduced = _searched(program, "dpor", most)
    if reduced.outcomes != wanted:
        return _told("dpor and the model differ", wanted - reduced.outcomes, reduced.outcomes - wanted)
    try:
        every = searched(program, "dfs", most // 2)
    except TooMany:
        return ""
    if every.outcomes != wanted:
        return _told("dfs and the model differ", wanted - every.outcomes, every.outcomes - wanted)
    return ""


def with_traces(program: Program, most: int = 400) -> str:
    """Each trace is completed once, and none is begun in vain; how many there are the model counts."""
    if re.search(r"free\(|cpu_relax|choose|\b(sem|rw|room|gate|done|flag)\b", text_of(program)):
        raise Skipped("some operations are finer here, or coarser, than in the engine")
    try:
        model = Model(program)
        wanted = model.traces(6000)
    except (NotModelled, TooLarge, AssertionError) as error:
        raise Skipped(repr(error)) from None
    got = _searched(program, "dpor", most)
    if (got.executions, got.pruned) == (wanted, 0):
        return ""
    return f"there are {wanted} traces; dpor completed {got.executions} and gave up {got.pruned}"


def with_enumeration(program: Program, most: int = 250) -> str:
    """Outcomes are those of plain enumeration, and no trace is completed twice."""
    every = _searched(program, "dfs", most)
    reduced = _searched(program, "dpor", 2 * most + 50, traces=True)
    if reduced.outcomes != every.outcomes:
        return _told(
            "dpor and dfs differ", every.outcomes - reduced.outcomes, reduced.outcomes - every.outcomes
        )
    return ""


def with_bounds(program: Program, most: int = 80) -> str:
    """Within each bound on preemptions the reduced search has the outcomes of plain enumeration."""
    for bound in range(3):
        every = _searched(program, "dfs", most, depth=bound)
        reduced = _searched(program, "dpor", 2 * most, depth=bound)
        if reduced.outcomes != every.outcomes:
            return _told(
                f"dpor and dfs differ within bound {bound}",
                every.outcomes - reduced.outcomes,
                reduced.outcomes - every.outcomes,
            )
    return ""


def in_parts(program: Program, most: int = 120) -> str:
    """A bounded reduced search that is made in parts, in any order, makes the executions of one, each once."""

    def run(search: BoundedDPOR) -> Callable[[], Any]:
        made = compiled(program)
        runtime = settings_of(program, BARE, max_steps=600, spins=30).runtime(search)
        return lambda: outcome_of(made, runtime.run(made.run).failure)

    for bound in range(2):
        alone = searched_in_parts.whole(run, bound, most)
        if alone is None:
            raise Skipped("it has too many executions")
        shared, _ = searched_in_parts.in_parts(run, bound, Random(bound))
        if shared != alone:
            seen, cut, traces, _ = shared
            return (
                f"within bound {bound} one search makes {len(alone[0])} executions of {alone[2]} traces and cuts "
                f"{alone[1]} points, its parts {len(seen)} of {traces} and {cut}"
            )
    return ""


def twice(program: Program, most: int = 250) -> str:
    """No trace is completed twice; deadlines and timers are excepted (docs/exploration.md)."""
    if program.faults or re.search(
        r"free\(|kfree|poke|REACH|cpu_relax|tasks|choose|wake_up_process|_late|wait_timeout", text_of(program)
    ):
        raise Skipped(
            "operations that reach anything depend on everything, which is coarser than the form here"
        )
    reduced = _searched(program, "dpor", most, traces=True)
    times = Counter(reduced.traces).most_common(1)[0][1]
    return f"dpor completed one trace {times} times" if times > 1 else ""


class _Detector(Observer):
    """The race detector, whose first report does not end the execution."""

    def __init__(self, story: Story) -> None:
        self.story = story

    def begin(self, runtime: Any) -> None:
        self.reported: int | None = None
        self.inner = RaceDetector()
        # The check is switched off for the execution, so that nothing else ends it; the detector does not know.
        self.inner.begin(runtime)
        self.inner._on = True

    def _tell(self, method: str, *what: Any) -> None:
        if self.reported is not None:
            return
        try:
            getattr(self.inner, method)(*what)
        except Failure:
            self.reported = len(self.story.events) - 1

    def spawned(self, parent: Task | None, task: Task) -> None:
        self._tell("spawned", parent, task)

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        self._tell("accessed", task, op, obj)

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:
        self._tell("performed", task, op, obj, arg, result)


def with_races(program: Program, executions: int = 25) -> str:
    """The first access that races by definition is the first one reported, and nothing else is."""
    if "tasks" in str(program.tasks):
        raise Skipped("Tasks RCU orders too much, which docs/rcu.md says")
    story = Story()
    detector = _Detector(story)
    made = compiled(program)
    # The story comes first: what the detector reports is the event that the story has heard of last.
    settings = settings_of(program, BARE, observers=lambda: (story, detector), max_steps=600, spins=30)
    runtime = settings.runtime(RandomWalk(7))
    for number in range(executions):
        runtime.run(made.run)
        races = Happened(story).races()
        first = min(races.racing, default=None)
        said = detector.reported
        if said == first or (said in races.maybe and (first is None or said < first)):
            continue
        if (
            Happened.waits(story)
            and said is not None
            and said >= min([*races.racing, *races.maybe], default=said + 1)
        ):
            # Whether a reader outlasts a grace period is known later than its access, and so is the report.
            continue
        return _race(story, number, first, said)
    return ""


def _race(story: Story, number: int, first: int | None, said: int | None) -> str:
    told = [f"in execution {number} of the random walk the first race is {first}, reported was {said}:"]
    told += [
        f"  {at}: {event.task} {event.op.name}({getattr(event.obj, 'name', type(event.obj).__name__)}"
        f"{'.' + event.op.field if event.op.field else ''}) = {event.result}"
        for at, event in enumerate(story.events)
    ]
    return "\n".join(told)


def with_strategies(program: Program, executions: int = 12, most: int = 250) -> str:
    """What strategies that draw show can be; each witness replays, and is minimised to the fewest preemptions."""
    every = _searched(program, "dfs", most)
    settings = settings_of(program, BARE, max_steps=600, spins=30)
    for strategy in ("random", "pct", "pos", "surw", "check"):
        made = compiled(program)
        result = explore(
            made.run, strategy=strategy, executions=executions, seed=3, keep_going=True, settings=settings
        )
        for witness in result.failures:
            again = replay(made.run, witness.schedule, settings=settings)
            if again.failure.signature != witness.failure.signature:
                return f"a witness of {strategy} does not replay: {witness.schedule}"
            if outcome_of(made, again.failure) not in every.outcomes:
                return f"{strategy} shows what no schedule shows: {witness.failure.headline}"
    return ""


def with_fewest(program: Program, most: int = 150) -> str:
    """Minimising finds the fewest preemptions that any schedule needs for the failure, and so does ``idfs``."""
    every = _searched(program, "dfs", most)
    if not every.failures:
        raise Skipped("it does not fail")
    settings = settings_of(program, BARE, max_steps=600, spins=30)
    made = compiled(program)
    for witness in explore(made.run, strategy="dpor", keep_going=True, settings=settings).failures:
        alike = [count for failure, count in every.failures if same_failure(failure, witness.failure)]
        smallest = minimise(made.run, witness, settings)
        if not alike or smallest.preemptions != min(alike):
            return (
                f"{witness.failure.headline}: {min(alike, default='no')} preemptions are enough, "
                f"minimised to {smallest.preemptions}"
            )
    first = explore(made.run, strategy="idfs", settings=settings).failures
    least = min(count for _, count in every.failures)
    if not first or first[0].preemptions != least:
        return f"a failure needs {least} preemptions; idfs found {[one.preemptions for one in first]}"
    return ""


CHECKED = frozenset({"leak", "lockdep", "data-race"})


def with_circles(program: Program, most: int = 250) -> str:
    """A deadlock is reported if there is one, and a circle names tasks of which each waits for the next."""
    every = _searched(program, "dfs", most)
    made = compiled(program)
    settings = settings_of(program, CHECKED, max_steps=600, spins=30)
    found = explore(made.run, strategy="dpor", keep_going=True, settings=settings)
    stuck = [one.failure for one in found.failures if one.failure.kind == "deadlock"]
    there = any(outcome[0] == "deadlock" for outcome in every.outcomes)
    if there != bool(stuck) and not every.fails:
        return f"a deadlock {'exists and is not' if there else 'is'} reported"
    for failure in stuck:
        if "circle" in failure.headline and (wrong := _no_circle(failure)):
            return wrong
    return ""


def _no_circle(failure: Failure) -> str:
    """What is wrong with a report of a circle: each paragraph names the task that waits, and for whom."""
    around = failure.headline.partition("(")[2].rstrip(")").split(" -> ")
    told: dict[str, str] = {}
    for line in failure.detail.split("\n"):
        if not line.startswith(" "):
            told[line.split(" ", 1)[0]] = line
    for task, following in pairwise(around):
        line = told.get(task, "")
        if task == following and "down_read" in line:
            # No program here takes a rw_semaphore to read while it has it to write, and readers wait for writers only.
            return f"{task} waits for itself: {failure.headline}\n{failure.detail}"
        if following not in line.split("(", 1)[-1]:
            return f"{task} is said to wait for {following}, its paragraph does not: {line}"
    return ""


def ends(program: Program) -> str:
    """Whatever strategy, bound or limit: an exploration comes to an end, with a result or a sentence."""
    for strategy in ("random", "pct", "surw", "dpor", "dfs", "delay", "portfolio", "feedback"):
        for limit in (11, 101, 600):
            made = compiled(program)
            settings = settings_of(program, BARE, max_steps=limit, spins=10)
            try:
                explore(made.run, strategy=strategy, executions=6, settings=settings, keep_going=True)
            except ConcurrencyError as error:
                return f"{strategy} with {limit} operations: {error}"
            except Failure as failure:
                return f"{strategy} with {limit} operations raises a finding: {failure}"
    return ""


def stays_short(program: Program) -> str:
    """A program that the model says always ends does so under every strategy without taking all steps there are."""
    try:
        wanted = Model(program).outcomes(3000)
    except (NotModelled, TooLarge) as error:
        raise Skipped(repr(error)) from None
    if ("hangs",) in wanted:
        raise Skipped("it may hang")
    for strategy in ("random", "pct", "pos", "surw"):
        made = compiled(program)
        settings = settings_of(program, BARE, max_steps=20_000)
        result = explore(made.run, strategy=strategy, executions=8, settings=settings, keep_going=True)
        for witness in result.failures:
            if outcome_of(made, witness.failure) == ("hangs",):
                return f"{strategy}: {witness.failure.headline}, and it always ends"
        if result.steps > 300 * result.executions:
            return f"{strategy} took {result.steps} operations for {result.executions} executions"
    return ""


_PLACE = re.compile(r"program\.py:\d+")


def with_words(program: Program) -> str:
    """A report names a place of the program, and no two tasks of one execution have one name."""
    made = compiled(program)
    settings = settings_of(program, frozenset(), max_steps=2000)
    found = explore(made.run, strategy="random", executions=10, seed=1, keep_going=True, settings=settings)
    if not found.failures:
        raise Skipped("nothing is wrong with it")
    for witness in found.failures:
        failure = witness.failure
        if failure.kind not in ("check", "bug-on", "leak") and not _PLACE.search(
            failure.headline + failure.detail
        ):
            return f"no place of the program is in the report:\n{failure.headline}\n{failure.detail}"
        mine = [name for name in witness.tasks if name not in ("rcu", "srcu", "clock", "rcu_tasks")]
        if len(set(mine)) < len(mine):
            return f"tasks of one name: {witness.tasks}"
        if wrong := _holds_what_it_waits_for(failure):
            return wrong
    return ""


def _holds_what_it_waits_for(failure: Failure) -> str:
    """In the words of a deadlock nobody holds what he waits for, unless he waits for himself."""
    for paragraph in re.split(r"\n(?=\S)", failure.detail) if failure.kind == "deadlock" else ():
        waits = re.match(r"(\S+) waits in (?:mutex|spin|tap)_lock\((\w+)\)(?:, held by (.*))?", paragraph)
        if waits and f"holds {waits[2]}," in paragraph and waits[1] not in (waits[3] or ""):
            return f"said to hold what it waits for:\n{paragraph}"
    return ""


def with_explanation(program: Program, most: int = 120) -> str:
    """That no order matters is said only of programs of which every schedule fails."""
    every = _searched(program, "dfs", most)
    if not every.failures or program.faults or "choose" in text_of(program):
        raise Skipped("it does not fail, or data choices decide")
    settings = settings_of(program, BARE, max_steps=600, spins=30)
    made = compiled(program)
    for witness in explore(made.run, strategy="dpor", keep_going=True, settings=settings).failures[:2]:
        said = explain(made.run, witness, settings)
        always = len(every.failures) == every.executions
        if always == bool(said.pairs) and (always or said.complete):
            tells = said.text if said.pairs else re.search(r"of \d+ schedules do not fail", said.text)
            if always or not tells:
                return (
                    f"{len(every.failures)} of {every.executions} schedules fail, and of "
                    f"{witness.failure.headline!r} is said:\n{said.text}"
                )
    return ""


def with_audit(program: Program) -> str:
    """The audit finds nothing wrong with the engine's own operations."""
    made = compiled(program)
    settings = settings_of(program, BARE, max_steps=600, spins=30)
    try:
        found = audit(made.run, executions=4, settings=settings, keep_going=True).found
    except Failure as failure:
        return f"the audit raises what the program does wrong: {failure}"
    return "\n".join(found)


LIES: dict[str, str] = {
    "looks only": 'Operation("grow", Access.READ_ONCE, effect=grow, local=True, releases=("level",))',
    "another field": 'Operation("grow", field="other", effect=grow, wakes=True, local=True, releases=("level",))',
    "stays": 'Operation("reach", effect=lambda obj, task, to: setattr(to, "_b", 5), local=True)',
    "wakes nobody": 'Operation("grow", effect=grow, wakes=False, local=True, releases=("level",))',
}
"""Declarations of the program's own operations that are false."""


def _declared_so(program: Program, what: str, lie: str, most: int, **more: Any) -> tuple[Any, list[str]]:
    """What a search sees, and the audit says, of a program whose operation `what` is declared as `lie` says."""
    made = compiled(program)
    scope = made.run.__globals__
    true, scope[what] = scope[what], eval(lie, scope)
    try:
        reduced = _searched(program, "dpor", 2 * most, made=made, **more)
        settings = settings_of(program, BARE, max_steps=600)
        return reduced, audit(made.run, executions=20, settings=settings, keep_going=True).found
    finally:
        scope[what] = true


def with_lies(program: Program, most: int = 150) -> str:
    """A false declaration by which a search loses an outcome is found by the audit; none makes a false deadlock."""
    every = _searched(program, "dfs", most)
    for name, lie in LIES.items():
        what = "REACH" if name == "stays" else "GROW"
        if f"perform({what}" not in text_of(program):
            continue
        reduced, seen = _declared_so(program, what, lie, most)
        lost = reduced.outcomes != every.outcomes
        stuck = {one for one in reduced.outcomes - every.outcomes if one[0] == "deadlock"}
        if stuck:
            return _told(f"an operation that {name!r} makes a false deadlock", set(), stuck)
        if lost and not seen:
            return _told(
                f"the audit does not see that an operation {name!r}", every.outcomes - reduced.outcomes, set()
            )
    return ""


PLACES_LEFT_OUT: dict[str, tuple[str, str]] = {
    "where to": (
        "MOVE",
        'Operation("move", effect=move, touches=lambda one, task, other: [(one, "a", True)])',
    ),
    "that it changes": (
        "MOVE",
        'Operation("move", effect=move, touches=lambda one, task, other: [(one, "a", False), (other, "b", True)])',
    ),
    "by what it picks": (
        "PICK",
        'Operation("pick", effect=pick, touches=lambda *what: picks(*what)[1:])',
    ),
}
"""What an operation that says where it goes (`touches=`) leaves out of that."""


def with_places_left_out(program: Program, most: int = 100) -> str:
    """A place that is left out, by which a bounded search loses an outcome, is found by the audit."""
    every = _searched(program, "dfs", most, depth=1)
    for left_out, (what, lie) in PLACES_LEFT_OUT.items():
        if f"perform({what}" not in text_of(program):
            continue
        reduced, seen = _declared_so(program, what, lie, most, depth=1)
        if reduced.outcomes != every.outcomes and not seen:
            return _told(
                f"the audit does not see that an operation leaves out {left_out}",
                every.outcomes - reduced.outcomes,
                reduced.outcomes - every.outcomes,
            )
    return ""


def with_axioms(program: Program) -> str:
    """Under weak memory a program sees what the axioms of the kernel's model allow (``weak_axioms.py``)."""
    from random import Random

    from weak_axioms import Execution
    from weak_programs import random_program, seen

    tasks = random_program(Random(f"adversary {program.note}"))
    wanted, got = Execution(tasks, "xy").outcomes(), seen(tasks, "dpor")
    return "" if wanted == got else _told(f"{tasks}", wanted - got, got - wanted)
