"""A campaign: explorations one after the other, whose witnesses are merged and whose state is saved between them.

A run with a number of schedules is one exploration. A run for so many seconds is a row of rounds, each an exploration
of its own seed, so that what a round does depends on its number alone: whoever resumes goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from sugarbush.concurrency import Result, Witness, explore
from sugarbush.lockdep.outside import reason, undisturbed
from sugarbush.stress.kit import Counts, Plan, ScenarioSource, applied
from sugarbush.stress.runs import state
from sugarbush.stress.runs.merge import Identity, identity
from sugarbush.stress.witness import Found, artifact

_ROUND = 1000
"""Executions of a round, for each process."""
_ROUND_SECONDS = 20.0
"""Seconds of a round under the threaded runtime, which nobody can repeat anyway."""

_TO_THE_END = 10**15
"""Executions of a search that was given no budget: its bound ends it."""

Progress = Callable[[Result, Counts], None]


class Campaign:
    """Runs a plan, by this process, by others or by an executor, and adds up what comes of it."""

    def __init__(self, plan: Plan, executor: Executor | None = None, workers: int = 1) -> None:
        self.plan = plan
        self.result = Result("os" if plan.runtime == "threaded" else plan.strategy, plan.seed)
        self.counts = Counts()
        self.found: list[Found] = []
        self.saved = True
        """The state could be written."""
        self._round = 0
        self._executor = executor
        self._workers = workers if executor is not None else plan.jobs
        self._known: dict[Identity, Found] = {}
        self._shows: dict[str, Found] = {}
        """For each headline what its simplest witness in this round showed."""

    @classmethod
    def resumed(
        cls, folder: Path, seconds: float, jobs: int, executor: Executor | None = None, workers: int = 1
    ) -> Campaign:
        """The campaign whose state is in `folder`, for `seconds` more; raises `state.BadState`."""
        known = state.load(folder, seconds, jobs)
        campaign = cls(known.plan, executor, workers)
        campaign._round = known.round
        result = campaign.result
        result.executions, result.steps, result.seconds = known.executions, known.steps, known.seconds
        return campaign

    def run(self, progress: Progress | None = None) -> None:
        """Run to the end of the plan, or until something is found; a KeyboardInterrupt ends it, too."""
        plan = self.plan
        while True:
            before = self.result
            result = self._explore(before, progress)
            # Not every failing execution is replayed: one with the headline of a replayed one counts as the same.
            for headline, found in self._shows.items():
                found.times += result.times[headline]
            self._shows.clear()
            self.result = _sum(before, result)
            self.result.failures = [found.witness for found in self.found]
            # A round depends on its number alone, so one that was interrupted is run again from its beginning.
            self._round += not self.result.interrupted
            if plan.has_rounds:
                self._save()
            if self.result.interrupted or (self.found and not plan.keep_going):
                return
            if not plan.has_rounds or self.result.seconds >= (plan.seconds or 0):
                return

    def _explore(self, before: Result, progress: Progress | None) -> Result:
        plan = self.plan
        executions = plan.schedules if plan.seconds is not None else plan.schedules or _TO_THE_END
        seconds = None if plan.seconds is None else max(0.0, plan.seconds - before.seconds)
        # By time under threads, since no seed repeats them; else by executions, so that a round is the same for whoever
        # resumes, however fast the machine is.
        if plan.has_rounds and plan.runtime == "threaded":
            seconds = min(seconds or 0.0, _ROUND_SECONDS)
        elif plan.has_rounds:
            executions = _ROUND * self._workers

        def tell(result: Result) -> None:
            if progress is not None:
                progress(_sum(before, result), self.counts)

        with applied(plan.scenario.patches):
            return explore(
                plan.scenario.program,
                strategy=plan.strategy,
                depth=plan.depth,
                executions=executions,
                seconds=seconds,
                # Another seed for each round: with the same one it would make the same executions.
                seed=plan.seed + self._round,
                keep_going=plan.keep_going,
                runtime=plan.runtime,
                settings=plan.settings,
                progress=tell,
                found=lambda witness: self._keep(witness, before.executions),
                sampler=self.counts,
                jobs=self._workers,
                executor=self._executor,
                source=ScenarioSource.of(plan.scenario, plan.without, plan.memory),
            )

    def _keep(self, witness: Witness, before: int) -> None:
        """Save a witness, unless a simpler one shows the same; what it takes the place of goes once it is saved."""
        # A signal waits until it is saved: between finding and saving it a Ctrl-C would lose it.
        with undisturbed():
            self._keep_whole(witness, before)

    def _keep_whole(self, witness: Witness, before: int) -> None:
        what = identity(witness)
        known = self._known.get(what)
        if known is None:
            saved, problem = self._saved(witness)
            known = self._known[what] = Found(witness, saved, problem, before + witness.execution)
            self.found.append(known)
        elif witness.size < known.witness.size:
            saved, problem = self._saved(witness)
            # A simpler one that could not be saved does not replace the file of the other.
            if saved is not None or known.saved is None:
                if known.saved is not None:
                    known.saved.remove()
                known.witness, known.saved, known.problem = witness, saved, problem
        self._shows[witness.failure.headline] = known

    def _saved(self, witness: Witness) -> tuple[artifact.Saved | None, str]:
        plan = self.plan
        how = {
            "runtime": plan.runtime,
            "memory": plan.memory,
            "strategy": plan.strategy,
            "depth": plan.depth,
            "seed": plan.seed + self._round,
        }
        try:
            return artifact.saved(witness, plan.scenario, plan.without, how, plan.out), ""
        except OSError as error:
            return None, f"{plan.out}: {reason(error)}"

    @property
    def counted(self) -> dict[str, Any]:
        """What all executions did: `Counted.as_json`, from the sample, and the allocations that failed."""
        result = self.result
        return {**self.counts.counted.as_json(result.executions), "failed_allocations": result.faults}

    def _save(self) -> None:
        """Save the state; a campaign whose state cannot be saved goes on."""
        result = self.result
        times = {one.path.name: one.times for one in self.found if one.path is not None}
        now = state.CampaignState(
            self.plan, self._round, result.executions, result.steps, result.seconds, times
        )
        try:
            with undisturbed():
                state.save(now, self.counted)
        except OSError:
            self.saved = False


def _sum(before: Result, result: Result) -> Result:
    """What both have made and found; all else that a result says of an exploration is that of the later one."""
    return replace(
        result,
        seed=before.seed,
        met=before.met or result.met,
        executions=before.executions + result.executions,
        steps=before.steps + result.steps,
        faults=before.faults + result.faults,
        seconds=before.seconds + result.seconds,
        failures=[*before.failures, *result.failures],
    )
