"""What the command line refuses: which options of which command, when, and in which sentence.

`Once.invoke` of `lazy` reads three tables before a command begins, so that no command can forget to, in this order:

- `VALUES`: the value of one option;
- `TOGETHER`: options that contradict each other, or mean nothing beside another one;
- `FILES`: files of results that cannot be written.

`INPUTS` is read by a command itself, once it knows what the words name: a scenario, a campaign, a certificate, logs.

What only the work can find out is said where it is found out: that an artifact no longer replays, that a log has no
cycle, that a depth is too large for its strategy (`checked_depth`), that nothing was explored.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from sugarbush.concurrency import MEMORIES, RUNTIMES, STRATEGIES
from sugarbush.lockdep.outside import check_writable, shown
from sugarbush.stress.kit import CHECKS, LARGEST
from sugarbush.stress.runs import Unusable

_MOST = 2**63 - 1
"""Of a number that only counts: what an artifact holds, and any other program can read."""
_MOST_JOBS = 1024
_MOST_SECONDS = 100_000_000.0
"""Three years. What no clock counts to, and no state of a campaign holds, is a mistake."""
_MOST_PREEMPTIONS = 1000

# What a campaign that goes on can be told; the rest stands in its state.
_RESUMED = frozenset({"seconds", "jobs", "executor", "as_json", "junit", "markdown", "resume"})
_LISTINGS = ("classes", "chains", "stats", "lock_stat")
DRAWINGS = (".dot", ".svg")
"""How the file of `lockdep --graph` may end."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands on the command line: ``it.jobs`` is the value of the option that the command calls `jobs`."""

    options: Mapping[str, Any]
    """The values, by the names in Python, defaults included."""
    spelt: Mapping[str, str]
    """How each option is spelt; an argument is spelt as its name."""
    given: Collection[str]
    """The names of those that were given, in the order of the help."""
    rest: Sequence[str]
    """Words that belong to no option: parameters of the scenario, if the command takes any."""

    @classmethod
    def of(cls, context: Any) -> Asked:
        """What a context of click holds."""
        spelt = {one.name: max(one.opts, key=len) for one in context.command.params if one.name}
        # By the name of the source: typer has a copy of click's enumeration of its own.
        sources = {name: context.get_parameter_source(name) for name in spelt}
        given = [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]
        assert not set(context.params) & set(cls.__slots__), (
            "an option would be hidden by a field of this class"
        )
        return cls(context.params, spelt, given, context.args)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.options[name]
        except KeyError:
            raise AttributeError(f"the command has no option {name!r}") from None

    def first(self, names: Iterable[str]) -> str:
        """How the first of these options that was given is spelt; empty if none was."""
        wanted = set(names)
        return next((self.spelt[name] for name in self.given if name in wanted), "")


class Value(NamedTuple):
    """The value of one option of some commands. `wrong` gives what follows its name in the sentence, if it is wrong."""

    commands: tuple[str, ...]
    option: str
    wrong: Callable[[Any], str]


class Refusal(NamedTuple):
    """One refusal of one command: `when` gives something true then, which takes the place of {} in the sentence."""

    command: str
    when: Callable[[Any], Any]
    sentence: str


class Result(NamedTuple):
    """An option that names a file of results; of a folder, `file` gives one that will lie in it."""

    commands: tuple[str, ...]
    option: str
    file: Callable[[Path], Path] = Path


# -- rules for values -------------------------------------------------------------------------------------------------


def one_of(allowed: Collection[str]) -> Callable[[str], str]:
    """A rule for a word; `allowed` is looked at when the rule is asked, since loaded files add checks of their own."""
    return lambda value: "" if value in allowed else f" {shown(value)}: there are {', '.join(allowed)}"


def all_of(allowed: Collection[str]) -> Callable[[Sequence[str]], str]:
    """A rule for an option that may be repeated."""
    rule = one_of(allowed)
    return lambda values: next(filter(None, map(rule, values)), "")


def whole(least: int = 0, most: int = _MOST, few: str = "") -> Callable[[int], str]:
    """A rule for a whole number; `few` says what a number that is too small should be."""
    few = few or f"{least} or more"

    def wrong(value: int) -> str:
        if least <= value <= most:
            return ""
        return f" must be {few if value < least else f'at most {most}'}, not {shown(value)}"

    return wrong


def duration(seconds: float) -> str:
    """What is wrong with seconds that nobody can wait for."""
    # Not `seconds <= 0`: NaN compares as false with everything.
    if not seconds > 0:
        return f" must be above 0, not {seconds}"
    if math.isinf(seconds) or seconds > _MOST_SECONDS:
        return f" must be at most {_MOST_SECONDS:.0f}, not {seconds}"
    return ""


def _drawing(path: Path) -> str:
    return "" if Path(path).suffix in DRAWINGS else f" writes {' or '.join(DRAWINGS)}, not {Path(path).name}"


# -- the tables -------------------------------------------------------------------------------------------------------

VALUES = (
    Value(("run",), "runtime", one_of(RUNTIMES)),
    Value(("run", "catalogue"), "strategy", one_of(STRATEGIES)),
    Value(("run", "litmus"), "memory", one_of(MEMORIES)),
    Value(("run", "catalogue"), "schedules", whole(1, few="above 0")),
    Value(("run", "prove", "catalogue"), "seconds", duration),
    Value(("prove", "catalogue"), "depth", whole(0, _MOST_PREEMPTIONS)),
    Value(("run", "catalogue"), "seed", whole()),
    Value(("run",), "faults", whole(0, LARGEST)),
    Value(("run", "catalogue", "prove"), "jobs", whole(1, _MOST_JOBS)),
    Value(("run",), "without", all_of(CHECKS)),
    Value(("replay",), "until", whole()),
    Value(("lockdep",), "graph", _drawing),
)
"""Read first, since the rows of `TOGETHER` take it that each value is one of those that there are."""

TOGETHER = (
    Refusal(
        "run",
        lambda it: it.memory == "weak" and it.runtime == "threaded",
        "--memory weak is simulated: the threaded runtime has the memory of the machine",
    ),
    Refusal(
        "run",
        lambda it: it.runtime == "threaded" and it.first(("strategy", "depth")),
        "{} means nothing with --runtime threaded, where the operating system makes the choices: leave it out",
    ),
    Refusal(
        "run",
        lambda it: it.schedules is not None and it.seconds is not None,
        "--schedules and --seconds exclude each other: leave one of them out",
    ),
    Refusal(
        "run",
        lambda it: it.executor is not None and (it.jobs != 1 or it.runtime == "threaded"),
        "--executor excludes --jobs and --runtime threaded: leave them out, or --executor",
    ),
    Refusal(
        "run",
        # Words that belong to no option first: they are what was meant for the scenario.
        lambda it: it.resume is not None and (" ".join(it.rest) or it.first(set(it.given) - _RESUMED)),
        "{} means nothing with --resume, which goes on with what its directory says, for --seconds more: leave it out",
    ),
    Refusal(
        "run",
        lambda it: (
            it.resume is None
            and os.path.exists(it.directory)
            and not os.path.isdir(it.directory)
            and it.directory
        ),
        "--out {} is not a directory: name one, or one that is to be made",
    ),
    Refusal(
        "run",
        lambda it: it.scenario is None and it.resume is None,
        "which scenario? `sugarbush list` names them",
    ),
    Refusal(
        "prove",
        lambda it: it.executor is not None and it.jobs is not None,
        "--executor excludes --jobs: leave one of them out",
    ),
    Refusal(
        "prove",
        lambda it: it.verify and it.first(("seconds", "directory", "as_json")),
        "{} means nothing with --verify, which makes each certificate again to its end: leave it out",
    ),
    Refusal(
        "catalogue",
        lambda it: it.prove and it.first(("schedules", "strategy", "seed", "junit", "markdown")),
        "{} means nothing with --prove, which tries all schedules within a bound: leave it out",
    ),
    Refusal(
        "catalogue",
        lambda it: not it.prove and it.first(("seconds", "depth")),
        "{} is about proofs: give --prove as well",
    ),
    Refusal(
        "report",
        lambda it: it.perfetto is not None and os.path.isdir(it.artifact),
        "--perfetto is for one artifact, not for a directory",
    ),
    Refusal(
        "lockdep",
        lambda it: it.as_json and it.first(_LISTINGS),
        "--json has everything: leave out --classes, --chains, --stats and --lock-stat",
    ),
    Refusal(
        "lockdep",
        lambda it: it.identity and it.scenario is None,
        "--identity says which report --scenario writes: give --scenario FILE.py as well",
    ),
    Refusal(
        "lockdep",
        lambda it: it.between is not None and it.first((*_LISTINGS, "graph", "as_json")),
        "{} means nothing with --between, which only tells the orders of two locks: leave it out",
    ),
    Refusal(
        "lockdep",
        lambda it: it.across and not it.join,
        "--across means nothing without --join, which closes cycles over several reports",
    ),
)


def _index(folder: Path) -> Path:
    # Imported here: pages load a library of templates, and one command writes any.
    from sugarbush.stress.report import INDEX

    return Path(folder) / INDEX


FILES = (
    Result(("run", "catalogue"), "junit"),
    Result(("run", "catalogue"), "markdown"),
    Result(("catalogue",), "pages", _index),
    Result(("report",), "html"),
    Result(("report",), "perfetto"),
    Result(("lockdep",), "graph"),
    Result(("lockdep",), "sarif"),
    Result(("lockdep",), "html"),
    Result(("lockdep",), "scenario"),
)
"""Read last, since to try a file makes its directory: a command line that is refused anyway leaves nothing behind."""

INPUTS = (
    # Each command tells the facts that its rows ask for; a command with two moments has two names here.
    Refusal(
        "run",
        lambda it: it.executor is not None and it.runtime == "threaded",
        "--executor excludes a campaign under --runtime threaded: leave it out",
    ),
    Refusal(
        "prove --verify",
        lambda it: it.bound >= it.proven and it.certificate,
        "{} proves nothing within bound {it.bound}",
    ),
    Refusal(
        "report",
        lambda it: next(
            (
                path
                for path in it.written
                if path is not None and os.path.exists(path) and os.path.samefile(path, it.artifact)
            ),
            None,
        ),
        "{} is the artifact itself, which would be gone: give the page another name by --html",
    ),
    Refusal(
        "lockdep",
        lambda it: it.as_logs and it.others,
        "logs and artifacts are shown by different commands: give one kind of them",
    ),
    Refusal(
        "lockdep",
        lambda it: it.for_logs and not it.as_logs,
        "--sarif, --html, --baseline, --scenario, --proc and --join are for logs, and none is given",
    ),
)


# -- reading them -----------------------------------------------------------------------------------------------------


def refuse(command: str, asked: Asked) -> None:
    """Raise `Unusable`, or `UnusableFile` for a file of results, if the words of `command` cannot be used."""
    for value in VALUES:
        if command in value.commands and (now := asked.options[value.option]) is not None:
            wrong = value.wrong(now)
            if wrong:
                raise Unusable(asked.spelt[value.option] + wrong)
    _refuse(TOGETHER, command, asked)
    for result in FILES:
        if command in result.commands and (path := asked.options[result.option]) is not None:
            check_writable(result.file(Path(path)), asked.spelt[result.option])


def refuse_inputs(command: str, **facts: Any) -> None:
    """Raise `Unusable` if what the words of `command` name cannot be used: `facts` are those that its rows ask for."""
    _refuse(INPUTS, command, SimpleNamespace(**facts))


def _refuse(table: Iterable[Refusal], command: str, it: Any) -> None:
    for row in table:
        if row.command == command and (found := row.when(it)):
            raise Unusable(row.sentence.format(found, it=it))


def parameters(words: Sequence[str]) -> dict[str, str]:
    """The parameters of a scenario, of words that belong to no option: ``--name value`` or ``--name=value``.

    >>> parameters(["--pages", "2", "--torture-type=srcu"])
    {'pages': '2', 'torture_type': 'srcu'}
    """
    values: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if not option.startswith("--"):
            raise Unusable(f"{shown(word)} belongs to no option: a parameter is given as --NAME VALUE")
        if not equals:
            value = next(rest, "")
        if not value:
            raise Unusable(f"{option} needs a value")
        name = option[2:].replace("-", "_")
        if name in values:
            raise Unusable(f"{option} stands there twice: leave one of them out")
        values[name] = value
    return values
