"""What a declaration of an operation may not say: each rule is one sentence, raised when the operation is declared.

A false declaration is dangerous: a search then passes a program that fails, and nothing says so. What only an
execution can show is found by `lowlevel.audit`; where the words alone contradict each other it is found here,
before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sugarbush.concurrency.core.failure import ConcurrencyError
from sugarbush.concurrency.core.kinds import DERIVED, READING, Access, Dep, Fence, Footprint, Hold, Moment
from sugarbush.concurrency.core.unrun import check_runs

# Of each argument of `Operation` what it must be. An argument that stands in none of these is not checked, so a new
# one has to be entered here (`orders` and the like in _FUNCTIONS).
_KINDS: dict[str, type] = {
    "access": Access,
    "field": str,
    "footprint": Footprint,
    "word": str,
    "before": Fence,
    "after": Fence,
    "dep": Dep,
    "rcu": Moment,
    "hold": Hold,
    "begins": str,
    "ends": str,
}
_FUNCTIONS = ("effect", "ready", "touches", "orders")
_FLAGS = (
    "local",
    "whole",
    "tracked",
    "allocates",
    "meets",
    "alike",
    "spins",
    "wakes",
    "region",
    "grace",
    "idle",
)
_ON_LOCKS = frozenset(one for one in Dep if one < Dep.IRQS_OFF)

Said = Mapping[str, Any]
"""A declaration: what was given for each argument of `Operation`, or its default."""

# Grouped as the arguments are. Each rule is a condition under which the declaration is wrong, and the words for it:
# what is wrong, and what to do.
_TOUCHES: tuple[tuple[Callable[[Said], object], str], ...] = (
    (
        # The slot of a field has an underscore, the field has none: one with it would be the place of nothing.
        lambda it: it["field"] is not None and it["field"].startswith("_"),
        "has a field that begins with an underscore: name the field as reports do, `count` for the slot `_count`",
    ),
    (
        lambda it: it["touches"] and (it["local"] or it["footprint"] is not None),
        # Else two answers to one question: the search would believe `touches` and the other strategies the footprint.
        "touches= says where it goes, local or footprint= that it stays in its place: leave one of them out",
    ),
    (
        lambda it: it["touches"] and (it["region"] or it["grace"]),
        # A grace period waits for stretches of all tasks, which are no place that an object and a field could name.
        "has touches=, which names no stretch or grace period: leave out touches, or region and grace",
    ),
    (
        lambda it: it["touches"] and it["effect"] is None and it["ready"] is None,
        # `touches` gets the argument of `perform`, and `step` has none.
        "has touches= but is a bare step: give it an effect or ready",
    ),
    (
        lambda it: it["keeps_arg"] and (it["touches"] or (it["effect"] is None and it["ready"] is None)),
        # `step` has no argument.
        "has keeps_arg=True, which touches= means anyway, and a bare step has no argument: leave it out",
    ),
    (
        lambda it: it["local"] is not None and it["footprint"] is not None,
        "has local and footprint=, which says it already: leave local out",
    ),
    (
        lambda it: it["footprint"] in DERIVED,
        "has a footprint that follows from its access: say local=True instead, or nothing for ANYTHING",
    ),
    (lambda it: it["whole"] and it["field"] is None, "has whole=True but no field: leave whole out"),
    (
        lambda it: it["footprint"] is Footprint.FREES and it["effect"] is not None,
        "frees by its effect: to free is a step, after which the runtime makes every touch a failure",
    ),
)
_WAITS: tuple[tuple[Callable[[Said], object], str], ...] = (
    (lambda it: it["alike"] and it["ready"] is None, "has alike=True, but waits for nothing: give it ready"),
    (lambda it: it["spins"] and it["ready"] is None, "has spins=True, but waits for nothing: give it ready"),
)
_WAKES: tuple[tuple[Callable[[Said], object], str], ...] = (
    (
        lambda it: it["wakes"] and it["access"] in READING,
        "only reads, so it can wake nobody: leave out wakes=True, or the reading access",
    ),
    (
        lambda it: it["wakes"] and it["effect"] is None,
        "has wakes=True but no effect, and nothing else can make somebody ready: give it an effect, or leave wakes out",
    ),
)
_ORDERS: tuple[tuple[Callable[[Said], object], str], ...] = (
    (
        # One with an access is let through: the four orders of an atomic are declared alike, and the relaxed one names
        # no ordering (`SharedField.modify`).
        lambda it: it["orders"] and it["access"] is Access.NONE and not (it["acquires"] or it["releases"]),
        "has orders=, but no ordering: name one in acquires or releases, or leave orders out",
    ),
)
_MEANS: tuple[tuple[Callable[[Said], object], str], ...] = (
    (
        lambda it: it["dep"] in _ON_LOCKS and it["access"] in READING,
        "takes or gives back a lock, and only reads: leave out dep=, or the reading access",
    ),
    (
        lambda it: it["dep"] in _ON_LOCKS and it["hold"] not in (None, Hold.CHANGES),
        "has hold=, which follows from its dep: leave hold out",
    ),
    (
        lambda it: it["hold"] is not None and it["access"] in READING,
        "only reads, so its task holds what it held: leave out hold=, or the reading access",
    ),
    (
        lambda it: it["idle"] and (it["access"] in READING or it["wakes"] or it["hold"] is not None),
        "has idle=True, which a reading access says already and wakes or hold contradict: leave one of them out",
    ),
    (
        lambda it: it["begins"] is not None and it["ends"] is not None,
        "begins a section and ends one: a report would name neither, so make it two operations",
    ),
    (
        lambda it: it["footprint"] in (Footprint.READER_BEGINS, Footprint.READER_ENDS) and it["rcu"] is None,
        "is a reader by its footprint, yet grace periods are not told: give it rcu=",
    ),
)


def check(name: str, said: Said) -> None:
    """Raise `ConcurrencyError`, in one sentence, if the declaration of the operation `name` contradicts itself."""
    if not isinstance(name, str) or not name:
        raise ConcurrencyError(f"an operation is called by what reports print, not {name!r}: give it a name")
    for key, kind in _KINDS.items():
        if said[key] is not None and not isinstance(said[key], kind):
            raise ConcurrencyError(
                f"the operation {name} has {key}={said[key]!r}: that is one of {kind.__name__}"
                if kind is not str
                else f"the operation {name} has {key}={said[key]!r}: that is a text"
            )
    for key in _FLAGS:
        if said[key] is not None and not isinstance(said[key], bool):
            raise ConcurrencyError(f"the operation {name} has {key}={said[key]!r}: that is True or False")
    for key in ("acquires", "releases"):
        # ("lock") without a comma is a text, and Python goes through a text letter by letter: four orderings.
        if not isinstance(said[key], tuple) or not all(isinstance(one, str) for one in said[key]):
            raise ConcurrencyError(
                f"the operation {name} has {key}={said[key]!r}: write a tuple of names, as ('lock',)"
            )
    for key in _FUNCTIONS:
        if said[key] is not None:
            check_runs(said[key], f"a function of the operation {name}")
    for rule, wrong in (*_TOUCHES, *_WAITS, *_WAKES, *_ORDERS, *_MEANS):
        if rule(said):
            raise ConcurrencyError(f"the operation {name} {wrong}")
