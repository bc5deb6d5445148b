"""``sugarbush run``."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from sugarbush.concurrency import DEFAULT_STRATEGY, MEMORIES, RUNTIMES, STRATEGIES, Verdict
from sugarbush.concurrency.strategies import Search, checked_depth, depth_help, make_strategy
from sugarbush.lockdep.outside import INTERRUPTED, UNUSABLE, errors
from sugarbush.lockdep.outside import shown as shorten
from sugarbush.stress.kit import CHECKS, LARGEST, Plan, Scenario, find_scenario, place_of
from sugarbush.stress.runs import (
    DEFAULT_OUT,
    Campaign,
    Case,
    Unusable,
    again,
    check_results,
    dask,
    duration,
    jobs_of,
    line,
    note,
    one_of,
    out,
    print_found,
    resident,
    shown,
    summary,
    told,
    whole,
    write_results,
)

DEFAULT_SCHEDULES = 3000
DEFAULT_RESUME = 60.0
"""Seconds that a resumed campaign goes on for if nothing is said."""
_MOST = 8
"""Kinds of operations, and locks, that the summary of a long run names."""


def run_command(
    context: typer.Context,
    scenario: Annotated[str | None, typer.Argument(help="A name from `sugarbush list`.")] = None,
    runtime: Annotated[str, typer.Option(help="simulated or threaded.")] = "simulated",
    strategy: Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")] = DEFAULT_STRATEGY,
    depth: Annotated[
        int | None,
        typer.Option(help=f"What the strategy may do of: {depth_help()}."),
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
    given = _given(context)
    one_of("--runtime", runtime, RUNTIMES)
    one_of("--strategy", strategy, STRATEGIES)
    if memory is not None:
        one_of("--memory", memory, MEMORIES)
    if memory == "weak" and runtime == "threaded":
        raise Unusable("--memory weak is simulated: the threaded runtime has the memory of the machine")
    if runtime == "threaded":
        _exclude("--runtime threaded, where the operating system makes the choices", given, _CHOOSING)
    whole("--schedules", schedules, 1)
    duration("--seconds", seconds)
    whole("--seed", seed)
    whole("--faults", faults, 0, LARGEST)
    if schedules is not None and seconds is not None:
        raise Unusable("--schedules and --seconds exclude each other")
    jobs_of(jobs)
    if executor is not None and (jobs != 1 or runtime == "threaded"):
        raise Unusable("--executor excludes --jobs and --runtime threaded")
    for name in without or ():
        one_of("--without", name, tuple(CHECKS))
    if resume is not None:
        return _resumed(
            context, resume, given, seconds or DEFAULT_RESUME, jobs, executor, as_json, junit, markdown
        )
    if os.path.exists(directory) and not os.path.isdir(directory):
        raise Unusable(f"--out {directory} is not a directory")
    if scenario is None:
        raise Unusable("which scenario? `sugarbush list` names them")
    check_results(junit, markdown)
    chosen = find_scenario(scenario).given(_parameters(context.args), faults)
    if "seed" in given and isinstance(make_strategy(strategy, seed, depth), Search):
        note(
            f"--seed changes nothing under {strategy}, which tries one schedule after the other and draws none"
        )
    plan = Plan(
        scenario=chosen,
        runtime=runtime,
        strategy=strategy,
        depth=checked_depth(strategy, depth),
        schedules=schedules if seconds is not None else schedules or _default(strategy, depth),
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


def _default(strategy: str, depth: int | None) -> int | None:
    """How many executions there are if nothing is said: a search that was given a bound goes on to its end."""
    ends = depth is not None and isinstance(make_strategy(strategy, 0, depth), Search)
    return None if ends else DEFAULT_SCHEDULES


_RESUMED = frozenset({"seconds", "jobs", "executor", "as_json", "junit", "markdown", "resume"})
"""What a campaign that goes on can be told; the rest stands in its state."""
_CHOOSING = frozenset({"strategy", "depth"})


def _given(context: typer.Context) -> dict[str, str]:
    """The options that stand on the command line: their names in Python, and how they are spelt."""
    given = {}
    for parameter in context.command.params:
        name = parameter.name
        # By its name: typer has a copy of click's enumeration of its own.
        source = context.get_parameter_source(name) if name else None
        if name and source is not None and source.name == "COMMANDLINE":
            given[name] = max(parameter.opts, key=len)
    return given


def _exclude(what: str, given: dict[str, str], excluded: Collection[str]) -> None:
    """Refuse options that would mean nothing beside `what`."""
    for name, option in given.items():
        if name in excluded:
            raise Unusable(f"{option} means nothing with {what}: leave it out")


def _resumed(
    context: typer.Context,
    folder: Path,
    given: dict[str, str],
    seconds: float,
    jobs: int,
    executor: str | None,
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
) -> int:
    """Go on with the campaign saved in `folder`."""
    what = "--resume, which goes on with what its directory says, for --seconds more"
    if context.args:
        raise Unusable(f"{' '.join(context.args)} means nothing with {what}: leave it out")
    _exclude(what, given, set(given) - _RESUMED)
    check_results(junit, markdown)
    if executor is None:
        return _finish(Campaign.resumed(folder, seconds, jobs), as_json, junit, markdown)
    # Before anybody is connected to: what is wrong with the state is said first.
    if Campaign.resumed(folder, seconds, jobs).plan.runtime == "threaded":
        raise Unusable("--executor excludes a campaign under --runtime threaded")
    with dask(executor) as (pool, workers):
        return _finish(Campaign.resumed(folder, seconds, jobs, pool, workers), as_json, junit, markdown)


def _finish(campaign: Campaign, as_json: bool, junit: Path | None, markdown: Path | None) -> int:
    """Run a campaign, say what came of it, and give the exit status."""
    plan = campaign.plan
    with shown(plan) as progress:
        campaign.run(progress)
    result = campaign.result
    said = (
        f"{plan.scenario.name}: {result.verdict.value} after {result.executions} executions, "
        f"{result.steps} operations, {result.seconds:.2f} s ({result.strategy}, {plan.runtime}, seed {plan.seed})"
        + (f", {result.scope}" if result.exhaustive else "")
        + (", interrupted" if result.interrupted else "")
    )
    failures = [(one.witness.failure.headline, told(one)) for one in campaign.found]
    case = Case(plan.scenario.name, said, result.seconds, failures, result.unexplored)
    # Before anything is printed: a terminal may be gone, and files are what is left then.
    problem = write_results([case], plan.scenario.name, junit, markdown)
    for one in campaign.found:
        print_found(one)
    closing, mistake = _closing(plan.scenario)
    problem = "; ".join(filter(None, (problem, mistake)))
    for words in closing:
        line(words)
    out.print(said)
    if plan.has_rounds:
        _say_counts(campaign)
    if as_json:
        print(json.dumps(summary(campaign)))
    if problem:
        note(problem)
    if result.interrupted:
        return INTERRUPTED
    if result.unexplored:
        raise Unusable(f"{plan.scenario.name}: {result.unexplored}")
    return int(result.verdict is Verdict.FAILED) or (UNUSABLE if problem else 0)


def _closing(scenario: Scenario) -> tuple[list[str], str]:
    """What a scenario has to say when a run is over, or what is wrong with that: the results are said all the same."""
    try:
        said: Any = scenario.closing()
        if isinstance(said, list | tuple) and all(isinstance(words, str) for words in said):
            return list(said), ""
        mistake = f"it gave {shorten(said)}, not a list of texts"
    except (Exception, SystemExit) as error:
        place = place_of(error)
        mistake = errors.spelt(error) + (f" ({place})" if place else "")
    return [], f"closing of scenario {scenario.name!r}: {mistake}"


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
        line(f"go on: {again('run', '--resume', campaign.plan.out)}")
    else:
        line(f"the state of the campaign could not be written to {campaign.plan.out}")


def _parameters(arguments: list[str]) -> dict[str, str]:
    """What is left on the command line: ``--name value`` or ``--name=value``, for the scenario."""
    values: dict[str, str] = {}
    rest = iter(arguments)
    for word in rest:
        option, equals, value = word.partition("=")
        if not option.startswith("--"):
            raise Unusable(f"{shorten(word)} belongs to no option")
        if not equals:
            value = next(rest, "")
        if not value:
            raise Unusable(f"{option} needs a value")
        name = option[2:].replace("-", "_")
        if name in values:
            raise Unusable(f"{option} stands there twice: leave one of them out")
        values[name] = value
    return values
