"""``sugarbush run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from concurrency import MEMORIES, RUNTIMES, STRATEGIES, Verdict
from concurrency.strategy.table import checked_depth
from stress.campaign import Campaign
from stress.checks import CHECKS
from stress.console import DEFAULT_OUT, Unusable, line, one_of, out, print_found, told, write_results
from stress.executors import dask
from stress.plan import Plan
from stress.progress import resident, shown
from stress.results import Case
from stress.scenario import find_scenario
from stress.summary import summary

DEFAULT_SCHEDULES = 3000
DEFAULT_RESUME = 60.0
"""Seconds that a resumed campaign goes on for if nothing is said."""
_MOST = 8
"""Kinds of operations, and locks, that the summary of a long run names."""


def run_command(
    context: typer.Context,
    scenario: Annotated[str | None, typer.Argument(help="A name from `sugarbush list`.")] = None,
    runtime: Annotated[str, typer.Option(help="simulated or threaded.")] = "simulated",
    strategy: Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")] = "pct",
    depth: Annotated[
        int | None,
        typer.Option(
            help="pct: how many orderings a bug may need (4). dfs, delay: how many preemptions, or delays."
        ),
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help="The memory model: sc or weak; the scenario's own if not given.")
    ] = None,
    schedules: Annotated[int | None, typer.Option(help="How many executions.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, instead of --schedules.")] = None,
    seed: Annotated[int, typer.Option(help="Where the choices start.")] = 1,
    jobs: Annotated[int, typer.Option(help="How many processes share the work.")] = 1,
    executor: Annotated[str | None, typer.Option(help="The address of a Dask scheduler.")] = None,
    faults: Annotated[
        int | None,
        typer.Option(help="How many allocations may fail in one execution; the scenario's own if not given."),
    ] = None,
    without: Annotated[list[str] | None, typer.Option(help="A check to switch off; repeatable.")] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="Go on after a failure.")] = False,
    directory: Annotated[Path, typer.Option("--out", help="Where artifacts go.")] = DEFAULT_OUT,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--summary", help="Write a summary in Markdown.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the campaign saved in this directory.")
    ] = None,
) -> int:
    """Run a scenario under many schedules; further options are its parameters, see `sugarbush list NAME`."""
    one_of("--runtime", runtime, RUNTIMES)
    one_of("--strategy", strategy, STRATEGIES)
    if memory is not None:
        one_of("--memory", memory, MEMORIES)
    if memory == "weak" and runtime == "threaded":
        raise Unusable("--memory weak is simulated: the threaded runtime has the memory of the machine")
    for option, value in (("--schedules", schedules), ("--seconds", seconds)):
        if value is not None and not value > 0:
            raise Unusable(f"{option} must be above 0, not {value}")
    if seed < 0:
        raise Unusable(f"--seed must be 0 or more, not {seed}")
    if faults is not None and faults < 0:
        raise Unusable(f"--faults must be 0 or more, not {faults}")
    if schedules is not None and seconds is not None:
        raise Unusable("--schedules and --seconds exclude each other")
    if jobs < 1:
        raise Unusable(f"--jobs must be 1 or more, not {jobs}")
    if executor is not None and (jobs != 1 or runtime == "threaded"):
        raise Unusable("--executor excludes --jobs and --runtime threaded")
    for name in without or ():
        one_of("--without", name, tuple(CHECKS))
    if directory.exists() and not directory.is_dir():
        raise Unusable(f"--out {directory} is not a directory")
    if resume is not None:
        if scenario is not None or schedules is not None or faults is not None:
            raise Unusable("--resume goes on with what its directory says, for --seconds more")
        return _finish(Campaign.resumed(resume, seconds or DEFAULT_RESUME, jobs), as_json, junit, markdown)
    if scenario is None:
        raise Unusable("which scenario? `sugarbush list` names them")
    chosen = find_scenario(scenario).given(_parameters(context.args), faults)
    plan = Plan(
        scenario=chosen,
        runtime=runtime,
        strategy=strategy,
        depth=checked_depth(strategy, depth),
        schedules=DEFAULT_SCHEDULES if schedules is None and seconds is None else schedules,
        seconds=seconds,
        seed=seed,
        without=frozenset(without or ()),
        keep_going=keep_going,
        out=directory,
        memory=memory or ("sc" if runtime == "threaded" else chosen.memory),
        jobs=jobs,
    )
    if executor is None:
        return _finish(Campaign(plan), as_json, junit, markdown)
    with dask(executor) as (pool, workers):
        return _finish(Campaign(plan, pool, workers), as_json, junit, markdown)


def _finish(campaign: Campaign, as_json: bool, junit: Path | None, markdown: Path | None) -> int:
    """Run a campaign, say what came of it, and give the exit status."""
    plan = campaign.plan
    with shown(plan) as progress:
        campaign.run(progress)
    result = campaign.result
    for one in campaign.found:
        print_found(one)
    for closing in plan.scenario.closing():
        line(closing)
    said = (
        f"{plan.scenario.name}: {result.verdict.value} after {result.executions} executions, "
        f"{result.steps} operations, {result.seconds:.2f} s ({result.strategy}, {plan.runtime}, seed {plan.seed})"
        + (f", {result.scope}" if result.exhaustive else "")
        + (", interrupted" if result.interrupted else "")
    )
    out.print(said)
    if plan.has_rounds:
        _say_counts(campaign)
    failures = [(one.witness.failure.headline, told(one)) for one in campaign.found]
    case = Case(plan.scenario.name, said, result.seconds, failures, result.unexplored)
    write_results([case], plan.scenario.name, junit, markdown)
    if as_json:
        print(json.dumps(summary(campaign)))
    if result.interrupted:
        return 130
    if result.unexplored:
        raise Unusable(f"{plan.scenario.name}: {result.unexplored}")
    return int(result.verdict is Verdict.FAILED)


def _say_counts(campaign: Campaign) -> None:
    """What a long run has done: throughput, operations, locks, faults, grace periods, memory; and how to go on."""
    counted, result = campaign.counted, campaign.result
    rate = result.steps / max(result.seconds, 1e-9)
    line(
        f"{result.executions / max(result.seconds, 1e-9):.0f} executions and {rate:.0f} operations a second, "
        f"{resident() >> 20} MiB resident"
    )
    line(
        f"{counted['failed_allocations']} allocations failed; estimated from {counted['sampled']} executions:"
    )
    most = ", ".join(f"{name} {count}" for name, count in list(counted["operations"].items())[:_MOST])
    line(f"operations: {most}")
    locks = sorted(counted["locks"].items(), key=lambda row: -row[1]["acquired"])[:_MOST]
    line(
        "locks: " + ", ".join(f"{name} {c['acquired']} taken, {c['waited']} waited for" for name, c in locks)
    )
    line(
        f"{counted['grace_periods']} grace periods; the sample saw {counted['lock_chains']} lock chains and "
        f"{counted['operation_pairs']} pairs of operations"
    )
    if campaign.saved:
        line(f"go on: sugarbush run --resume {campaign.plan.out}")
    else:
        line(f"the state of the campaign could not be written to {campaign.plan.out}")


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
