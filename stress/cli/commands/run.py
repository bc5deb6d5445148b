"""``sugarbush run``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sugarbush.concurrency import DEFAULT_STRATEGY, STRATEGIES, Verdict
from sugarbush.concurrency.strategies import Search, checked_depth, depth_help, make_strategy
from sugarbush.lockdep.outside import INTERRUPTED, UNUSABLE, errors
from sugarbush.lockdep.outside import shown as shorten
from sugarbush.stress.cli.refusals import Asked, parameters, refuse_inputs
from sugarbush.stress.kit import Plan, Scenario, find_scenario, place_of
from sugarbush.stress.runs import (
    DEFAULT_OUT,
    Campaign,
    Case,
    Unusable,
    again,
    as_text,
    dask,
    line,
    note,
    out,
    print_found,
    resident,
    shown,
    summary,
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
    if resume is not None:
        return _resumed(resume, seconds or DEFAULT_RESUME, jobs, executor, as_json, junit, markdown)
    assert scenario is not None, "a run without a scenario is refused before the command begins"
    chosen = find_scenario(scenario).given(parameters(context.args), faults)
    if "seed" in Asked.of(context).given and isinstance(make_strategy(strategy, seed, depth), Search):
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


def _resumed(
    folder: Path,
    seconds: float,
    jobs: int,
    executor: str | None,
    as_json: bool,
    junit: Path | None,
    markdown: Path | None,
) -> int:
    """Go on with the campaign saved in `folder`."""
    if executor is None:
        return _finish(Campaign.resumed(folder, seconds, jobs), as_json, junit, markdown)
    # Before anybody is connected to: what is wrong with the state is said first.
    before = Campaign.resumed(folder, seconds, jobs)
    refuse_inputs("run", executor=executor, runtime=before.plan.runtime)
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
    failures = [(one.witness.failure.headline, as_text(one)) for one in campaign.found]
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
