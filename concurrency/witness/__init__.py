"""What is made of a failure: replaying, minimising, explaining it."""

from sugarbush.concurrency.witness.explaining import Explanation, Pair, explain
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
