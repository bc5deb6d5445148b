"""Published benchmark programs of stateless model checking, written anew, each with its exact number of traces.

What counts as one trace is what docs/exploration.md says: accesses to one variable conflict if one of them is a
write, an atomic read-modify-write counts as a write also where it leaves the value as it was, all operations on one
mutex conflict, and waiting for it is no event. Concuerror counts so (but for equal writes, which commute there),
Nidhugg does with ``-sc -optimal``, and for programs without failing read-modify-writes and without assumptions GenMC
does with ``-sc -mo``: its execution graphs (which write each read sees, and the order of the writes to each variable)
are then in bijection with traces. `stated` says that the source itself gives this number for this program and size.
Where a source counts something else (reads-from classes, equal writes that commute, failed compare-and-swaps as reads)
`stated` is false, and the docstring says how the number is derived, where a hand can derive it. All numbers are
checked by `trace_counting`, which knows neither them nor the engine's relation.

The programs are facts of the papers and suites that `source` names; their code is not taken over. Loops are bounded.
What a program asserts is a `claim`, so that it can be counted although a claim is broken: a failure would end the
execution before the other tasks have shown what they would do.
"""

# Each enters its programs, in the order in which they are counted.
from published_programs import (
    concuerror,  # noqa: F401
    genmc,  # noqa: F401
    nidhugg,  # noqa: F401
    papers,  # noqa: F401
    rcu,  # noqa: F401
    sctbench,  # noqa: F401
    structures,  # noqa: F401
)
from published_programs.base import PROGRAMS, Published, claims_noted, look, places, put

__all__ = ["PROGRAMS", "Published", "claims_noted", "look", "places", "put"]
