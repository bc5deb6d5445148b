"""``sugarbush run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from concurrency import MEMORIES, RUNTIMES, STRATEGIES, Verdict
from concurrency.strategy.table import checked_depth
from stress.checks import CHECKS
from stress.console import DEFAULT_OUT, Unusable, one_of, out, print_found, told, write_results
from stress.progress import shown
from stress.results import Case
from stress.run import Plan, run, summary
from stress.scenario import find_scenario

DEFAULT_SCHEDULES = 3000


def run_command(
    context: typer.Context,
    scenario: Annotated[str, typer.Argument(help="A name from `sugarbush list`.")],
    runtime: Annotated[str, typer.Option(help="simulated or threaded.")] = "simulated",
    strategy: Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")] = "pct",
    depth: Annotated[
        int | None,
        typer.Option(
            help="pct: how many orderings a bug may need (4). dfs, delay: how many preemptions, or delays."
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="The memory model: sc or weak.")] = "sc",
    schedules: Annotated[int | None, typer.Option(help="How many executions.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, instead of --schedules.")] = None,
    seed: Annotated[int, typer.Option(help="Where the choices start.")] = 1,
    jobs: Annotated[int, typer.Option(help="How many processes share the work.")] = 1,
    executor: Annotated[str | None, typer.Option(help="Not available yet.")] = None,
    without: Annotated[list[str] | None, typer.Option(help="A check to switch off; repeatable.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a failure.")] = False,
    directory: Annotated[Path, typer.Option("--out", help="Where artifacts go.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--summary", help="Write a summary in Markdown.")] = None,
) -> int:
    """Run a scenario under many schedules; further options are parameters of the scenario."""
    one_of("--runtime", runtime, RUNTIMES)
    one_of("--strategy", strategy, STRATEGIES)
    one_of("--memory", memory, MEMORIES)
    if memory == "weak" and runtime == "threaded":
        raise Unusable("--memory weak is simulated: the threaded runtime has the memory of the machine")
    for option, value in (("--schedules", schedules), ("--seconds", seconds)):
        if value is not None and not value > 0:
            raise Unusable(f"{option} must be above 0, not {value}")
    if seed < 0:
        raise Unusable(f"--seed must be 0 or more, not {seed}")
    if schedules is not None and seconds is not None:
        raise Unusable("--schedules and --seconds exclude each other")
    if jobs < 1:
        raise Unusable(f"--jobs must be 1 or more, not {jobs}")
    if executor is not None:
        raise Unusable("more than one machine is not available yet: leave out --executor")
    for name in without or ():
        one_of("--without", name, tuple(CHECKS))
    if directory.exists() and not directory.is_dir():
        raise Unusable(f"--out {directory} is not a directory")
    plan = Plan(
        scenario=find_scenario(scenario).given(_parameters(context.args)),
        runtime=runtime,
        strategy=strategy,
        depth=checked_depth(strategy, depth),
        schedules=DEFAULT_SCHEDULES if schedules is None and seconds is None else schedules,
        seconds=seconds,
        seed=seed,
        without=frozenset(without or ()),
        keep_going=keep_going,
        out=directory,
        memory=memory,
        jobs=jobs,
    )
    with shown(plan) as progress:
        result, found = run(plan, progress)
    for one in found:
        print_found(one)
    said = (
        f"{scenario}: {result.verdict.value} after {result.executions} executions, {result.steps} operations, "
        f"{result.seconds:.2f} s ({result.strategy}, {runtime}, seed {seed})"
        + (f", {result.scope}" if result.exhaustive else "")
        + (", interrupted" if result.interrupted else "")
    )
    out.print(said)
    failures = [(one.witness.failure.headline, told(one)) for one in found]
    write_results([Case(scenario, said, result.seconds, failures)], scenario, junit, markdown)
    if as_json:
        print(json.dumps(summary(plan, result, found)))
    if result.interrupted:
        return 130
    return int(result.verdict is Verdict.FAILED)


def _parameters(arguments: list[str]) -> dict[str, str]:
    """What is left on the command line: ``--name value`` or ``--name=value``, for the scenario."""
    values = {}
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise Unusable(f"{word!r} belongs to no option")
        if not equals:
            value = next(rest, "")
        if not value:
            raise Unusable(f"{name} needs a value")
        values[name[2:].replace("-", "_")] = value
    return values
