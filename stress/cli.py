"""The command line: ``sugarbush``.

Exit status: 0 nothing found, 1 a failure was found, 2 unusable input (one line on standard error), 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger
from rich.console import Console
from rich.table import Table
from rich.text import Text

import stress.scenarios  # noqa: F401 - registers them
from concurrency import DEFAULT_DEPTH, RUNTIMES, STRATEGIES, BadSchedule, ConcurrencyError, Verdict
from stress.artifact import BadArtifact, load
from stress.checks import CHECKS
from stress.patch import PatchError
from stress.progress import shown
from stress.run import Found, Plan, minimise_artifact, replay_artifact, run, summary
from stress.scenario import UnknownScenario, all_scenarios, find_scenario
from stress.timeline import Marked, headline, timeline

DEFAULT_SCHEDULES = 3000
DEFAULT_OUT = Path("sugarbush-out")

_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""What typer raises for wrong arguments: click's base exception, of which some versions carry their own copy."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
_PIPE_WIDTH = 120
out = Console(highlight=False)
if not out.is_terminal and "COLUMNS" not in os.environ:
    out.width = _PIPE_WIDTH


class Unusable(Exception):
    """Input that nothing can be done with; the message is the one line that the user sees."""


@app.callback()
def sugarbush() -> None:
    """A correctness harness for locks and RCU: every interleaving that matters, replayable from one line."""


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> int:
    """List the scenarios, and the checks that --without takes."""
    if as_json:
        scenarios = [
            {
                "name": s.name,
                "era": s.era,
                "expect": s.expect,
                "patches": [p.name for p in s.patches],
                "summary": s.summary,
            }
            for s in all_scenarios()
        ]
        print(json.dumps({"scenarios": scenarios, "checks": CHECKS}))
        return 0
    table = Table("scenario", "era", "expected", "what it does", box=None, pad_edge=False)
    for scenario in all_scenarios():
        table.add_row(scenario.name, scenario.era, scenario.expect or "clean", Text(scenario.summary))
    out.print(table)
    checks = Table("check", "what it says", box=None, pad_edge=False)
    for name, says in CHECKS.items():
        checks.add_row(name, Text(says))
    out.print()
    out.print(checks)
    return 0


@app.command("run")
def run_command(
    scenario: Annotated[str, typer.Argument(help="A name from `sugarbush list`.")],
    runtime: Annotated[str, typer.Option(help="simulated or threaded.")] = "simulated",
    strategy: Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")] = "pct",
    depth: Annotated[
        int | None,
        typer.Option(
            help="PCT: how many ordering constraints a bug may need (4). dfs: how many preemptions."
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="The memory model: sc.")] = "sc",
    schedules: Annotated[int | None, typer.Option(help="How many executions.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, instead of --schedules.")] = None,
    seed: Annotated[int, typer.Option(help="Where the choices start.")] = 1,
    jobs: Annotated[int, typer.Option(help="Processes: 1.")] = 1,
    executor: Annotated[str | None, typer.Option(help="Not available yet.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="A check to switch off; repeatable.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a failure.")] = False,
    directory: Annotated[Path, typer.Option("--out", help="Where artifacts go.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
) -> int:
    """Run a scenario under many schedules."""
    _one_of("--runtime", runtime, RUNTIMES)
    _one_of("--strategy", strategy, STRATEGIES)
    _one_of("--memory", memory, ("sc",))
    if strategy == "dfs" and depth is not None and depth < 0:
        raise Unusable(f"--depth must be 0 or more for dfs, not {depth}")
    if strategy == "dpor" and depth is not None:
        raise Unusable("--depth is not for dpor, which sees every trace")
    bug_depth = None if strategy == "dfs" else depth
    for option, value in (("--depth", bug_depth), ("--schedules", schedules), ("--seconds", seconds)):
        if value is not None and not value > 0:
            raise Unusable(f"{option} must be above 0, not {value}")
    if seed < 0:
        raise Unusable(f"--seed must be 0 or more, not {seed}")
    if schedules is not None and seconds is not None:
        raise Unusable("--schedules and --seconds exclude each other")
    if jobs != 1 or executor is not None:
        raise Unusable("more than one process is not available yet: leave out --jobs and --executor")
    for name in without or ():
        _one_of("--without", name, tuple(CHECKS))
    if directory.exists() and not directory.is_dir():
        raise Unusable(f"--out {directory} is not a directory")
    plan = Plan(
        scenario=find_scenario(scenario),
        runtime=runtime,
        strategy=strategy,
        depth=DEFAULT_DEPTH if depth is None and strategy == "pct" else depth,
        schedules=DEFAULT_SCHEDULES if schedules is None and seconds is None else schedules,
        seconds=seconds,
        seed=seed,
        without=frozenset(without or ()),
        keep_going=keep_going,
        out=directory,
    )
    with shown(plan) as progress:
        result, found = run(plan, progress)
    for one in found:
        _print_found(one)
    out.print(
        f"{scenario}: {result.verdict.value} after {result.executions} executions, {result.steps} operations, "
        f"{result.seconds:.2f} s ({result.strategy}, {runtime}, seed {seed})"
        + (f", {result.scope}" if result.exhaustive else "")
        + (", interrupted" if result.interrupted else "")
    )
    if as_json:
        print(json.dumps(summary(plan, result, found)))
    if result.interrupted:
        return 130
    return int(result.verdict is Verdict.FAILED)


@app.command("replay")
def replay_command(
    artifact: Annotated[Path, typer.Argument(help="A file that `sugarbush run` saved.")],
    until: Annotated[int | None, typer.Option(help="Show the execution up to this operation.")] = None,
) -> int:
    """Run the schedule of an artifact again and show what happens."""
    if until is not None and until < 0:
        raise Unusable(f"--until must be 0 or more, not {until}")
    witness = replay_artifact(load(artifact))
    out.print(timeline(witness, until))
    out.print()
    out.print(headline(witness.failure), soft_wrap=True)
    return 1


@app.command("minimise")
def minimise_command(
    artifact: Annotated[Path, typer.Argument(help="A file that `sugarbush run` saved.")],
) -> int:
    """Reduce an artifact to the fewest context switches and say which orders matter; saved beside it."""
    before = load(artifact)
    small, why, found = minimise_artifact(before, artifact)
    marked = frozenset((one.task, one.step) for pair in why.pairs for one in (pair.first, pair.second))
    _print_found(found, marked)
    _line(why.text + "\n")
    witness = small.witness
    _line(
        f"{before.schedule.switches} switches became {witness.schedule.switches}, of which {witness.preemptions} "
        f"preempt a task; {before.step} operations became {witness.failure.step}; {small.executions} executions"
        + ("" if small.complete else ", which is the limit: minimise the result again to go on")
    )
    return 1


def _line(text: str) -> None:
    """Print text as it is, without wrapping: schedules and paths are copied from here."""
    out.print(Text(text), soft_wrap=True)


def _print_found(found: Found, marked: Marked = frozenset()) -> None:
    witness = found.witness
    if witness.events:
        out.print(timeline(witness, marked=marked))
        out.print()
    out.print(headline(witness.failure), soft_wrap=True)
    if witness.failure.detail:
        _line(witness.failure.detail.strip("\n"))
    out.print()
    if witness.schedule.choices:
        _line(f"schedule: {witness.schedule}")
    if found.path is None:
        _line(f"not saved: {found.problem}")
    else:
        _line(f"saved:    {found.path}")
        if witness.schedule.choices:
            _line(f"replay:   sugarbush replay {found.path}")
        if witness.schedule.choices and not marked:
            _line(f"simplify: sugarbush minimise {found.path}")
    out.print()


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Unusable(f"{option} {value!r}: there are {', '.join(allowed)}")


def main(arguments: list[str] | None = None) -> None:
    """The console script: run a command and exit with its status."""
    logger.remove()
    logger.add(sys.stderr, format="{time:HH:mm:ss} {message}")
    try:
        status = typer.main.get_command(app).main(arguments, prog_name="sugarbush", standalone_mode=False)
    except (Unusable, UnknownScenario, BadArtifact, BadSchedule, ConcurrencyError, PatchError) as error:
        status = _complain(str(error))
    except _UsageError as error:
        status = _complain(error.format_message())  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except BrokenPipeError:
        sys.stderr.close()
        status = 1
    sys.exit(status)


def _complain(message: str) -> int:
    print("sugarbush: " + " ".join(message.split()), file=sys.stderr)
    return 2
