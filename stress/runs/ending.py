"""The object that ``run --json`` prints."""

from __future__ import annotations

from typing import Any

from sugarbush.stress.runs.campaign import Campaign
from sugarbush.stress.runs.merge import identity


def summary(campaign: Campaign) -> dict[str, Any]:
    """What a campaign came to."""
    plan, result = campaign.plan, campaign.result
    return {
        "scenario": plan.scenario.name,
        "parameters": dict(plan.scenario.values),
        "faults": plan.scenario.faults,
        "runtime": plan.runtime,
        "memory": plan.memory,
        "strategy": result.strategy,
        "seed": plan.seed,
        "executions": result.executions,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "failures": [
            {
                "kind": one.witness.failure.kind.value,
                "headline": one.witness.failure.headline,
                "what": str(identity(one.witness)),
                "schedule": str(one.witness.schedule),
                "first_execution": one.first,
                "times": one.times,
                "strategy": one.witness.strategy,
                "artifact": None if one.path is None else str(one.path),
            }
            for one in campaign.found
        ],
        "verdict": result.verdict.value,
        "exhaustive": result.exhaustive,
        "preemption_bound": result.bound,
        "bound_of": result.unit,
        "completed": result.completed,
        "repeated": result.repeated,
        "cut": result.cut,
        "pruned": result.pruned,
        "counted": campaign.counted,
    }
