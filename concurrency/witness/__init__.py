"""What is made of a failure: replaying, minimising, explaining it."""

from sugarbush.concurrency.witness.explaining import explain
from sugarbush.concurrency.witness.explanation import Explanation, Pair
from sugarbush.concurrency.witness.minimising import Minimised, minimise, minimised
from sugarbush.concurrency.witness.replaying import confirmed, replay, tell_apart
from sugarbush.concurrency.witness.result import Result, Verdict, Witness

__all__ = [
    "Explanation",
    "Minimised",
    "Pair",
    "Result",
    "Verdict",
    "Witness",
    "confirmed",
    "explain",
    "minimise",
    "minimised",
    "replay",
    "tell_apart",
]
