"""A primitive is one file, its test, its row in the documentation and its place in the door: this says what lacks."""

from __future__ import annotations

import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from sugarbush import concurrency
from sugarbush.concurrency import ConcurrencyError
from sugarbush.concurrency.core import Footprint, Hold, asked, faces
from sugarbush.concurrency.lowlevel import Access, Dep, Operation
from sugarbush.concurrency.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests" / "concurrency"
ROOMS = ("locks", "waits")
"""Where primitives live; RCU, time and memory have pages of their own, with functions in place of classes."""
FACES = (
    faces.Waitable.awaited,
    faces.Explaining.why_waiting,
    faces.Holdable.times_held,
    faces.Seen.as_seen,
)
sys.path.insert(0, str(TESTS))

from declared_in_tests import audited  # noqa: E402

EXTRA = sorted({Path(inspect.getfile(program)).name for program in audited()})


def modules() -> list[object]:
    rooms = [f"sugarbush.concurrency.{room}" for room in (*ROOMS, "rcu", "time", "memory", "core")]
    return [
        import_module(module.name)
        for room in rooms
        for module in iter_modules(import_module(room).__path__, f"{room}.")
    ]


def primitives() -> list[tuple[str, str, str]]:
    """The public classes of the rooms that have operations, with room and module."""
    found = []
    for room in ROOMS:
        for module in iter_modules(import_module(f"sugarbush.concurrency.{room}").__path__):
            lives = import_module(f"sugarbush.concurrency.{room}.{module.name}")
            found += [
                (name, room, module.name)
                for name, one in vars(lives).items()
                if inspect.isclass(one)
                and one.__module__ == lives.__name__
                and not name.startswith("_")
                and _makes_operations(inspect.getsource(one))
            ]
    return found


def _makes_operations(source: str) -> bool:
    """It performs something itself, or is a lock whose operations are `owned_operations`."""
    return "perform" in source or "owned_operations(" in source


NOT_ALONE = ("Lock", "SharedLock", "OwnedLock")
"""What locks have in common: programs use their subclasses."""
PRIMITIVES = [one for one in primitives() if one[0] not in NOT_ALONE]


def lacks(name: str, room: str, module: str) -> list[str]:
    """What the primitive lacks, each in words that say where to put it."""
    word = re.compile(rf"\b{name}\b")
    docs = "\n".join(
        line
        for page in ("primitives.md", "concurrency.md")
        for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    )
    tests = [path for path in TESTS.rglob("test_*.py") if word.search(path.read_text(encoding="utf-8"))]
    programs = (TESTS / "runtimes" / "audit_programs.py").read_text(encoding="utf-8")
    own = [path for path in tests if path.name in EXTRA]
    reports = [
        path for path in tests if re.search(r"\.headline|Kind\.|WouldBlock", path.read_text(encoding="utf-8"))
    ]
    missing = []
    if name not in concurrency.__all__:
        missing.append("is not exported: import it in concurrency/__init__.py, and add it to __all__ there")
    if not word.search(docs):
        missing.append("has no row in docs/primitives.md: add one")
    if not tests:
        missing.append(f"has no test file: add tests/concurrency/{room}/test_{module}.py")
    if not word.search(programs) and not own:
        missing.append(
            "has no program in tests/concurrency/runtimes/audit_programs.py, and none in AUDITED of its test file: "
            "add one that uses every operation"
        )
    if tests and not reports:
        missing.append(
            "has no report program: add a test of how it shows when somebody waits for ever (Kind.DEADLOCK)"
        )
    return [f"the primitive {name} {what}" for what in missing]


@pytest.mark.parametrize(("name", "room", "module"), PRIMITIVES)
def test_a_primitive_has_all_that_belongs_to_it(name: str, room: str, module: str) -> None:
    assert not lacks(name, room, module), "; ".join(lacks(name, room, module))


def test_what_lacks_is_said_in_words() -> None:
    assert {name for name, *_ in PRIMITIVES} >= {"Mutex", "RwSemaphore", "Semaphore", "Completion", "Flag"}
    told = lacks("Nowhere" + "Written", "locks", "nowhere")
    assert told[1:3] == [
        "the primitive NowhereWritten has no row in docs/primitives.md: add one",
        "the primitive NowhereWritten has no test file: add tests/concurrency/locks/test_nowhere.py",
    ]
    assert len(told) == 4


def test_every_face_has_the_signature_that_is_asked_for() -> None:
    seen = 0
    for module in modules():
        for cls in vars(module).values():
            # The protocols themselves, and what others define elsewhere, are met there.
            if not inspect.isclass(cls) or cls.__module__ != module.__name__ or module is faces:  # type: ignore[attr-defined]
                continue
            for face in FACES:
                method = vars(cls).get(face.__name__)
                if method is not None:
                    seen += 1
                    assert [*inspect.signature(method).parameters] == [*inspect.signature(face).parameters], (
                        f"{cls.__name__}.{face.__name__} is asked for as {inspect.signature(face)}"
                    )
    assert seen > 8


def test_a_field_called_as_a_face_does_not_answer_for_it() -> None:
    class Odd(concurrency.Shared):
        awaited: concurrency.Plain[int] = 0

    assert asked(Odd(), faces.Waitable.awaited) is None
    assert asked(concurrency.Mutex("lock"), faces.Waitable.awaited) is not None


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_strategy_has_a_row_and_a_test(strategy: str) -> None:
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    row = any(line.startswith("|") and f"`{strategy}`" in line for line in page.splitlines())
    assert row, f"the strategy {strategy} has no row in docs/strategies.md: add one"
    folder = TESTS / "strategies"
    assert any(f'"{strategy}"' in path.read_text(encoding="utf-8") for path in folder.glob("test_*.py")), (
        f"the strategy {strategy} has no test: add tests/concurrency/strategies/test_{strategy}.py"
    )


def _nothing(*_: object) -> None:
    """An effect."""


def _yes(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"acquires": "lock"}, "write a tuple of names"),
        ({"alike": True}, "waits for nothing: give it ready"),
        ({"spins": True}, "waits for nothing: give it ready"),
        ({"wakes": True, "effect": _nothing, "access": Access.READ}, "only reads, so it can wake nobody"),
        ({"wakes": True}, "has wakes=True but no effect"),
        ({"whole": True}, "leave whole out"),
        ({"local": True, "footprint": Footprint.SHARES}, "leave local out"),
        ({"footprint": Footprint.CHANGE}, "say local=True instead"),
        ({"field": "_count", "local": True}, "`count` for the slot `_count`"),
        ({"touches": _yes, "effect": _nothing, "local": True}, "leave one of them out"),
        ({"touches": _yes}, "bare step"),
        ({"keeps_arg": True}, "a bare step has no argument"),
        ({"touches": _yes, "effect": _nothing, "keeps_arg": True}, "which touches= means anyway"),
        ({"touches": _yes, "effect": _nothing, "region": True}, "leave out touches, or region"),
        ({"orders": _yes, "effect": _nothing}, "leave orders out"),
        ({"dep": Dep.ACQUIRE, "access": Access.READ_ONCE}, "leave out dep="),
        ({"dep": Dep.ACQUIRE, "hold": Hold.TAKES}, "follows from its dep"),
        ({"hold": Hold.TAKES, "access": Access.READ}, "leave out hold="),
        ({"idle": True, "hold": Hold.TAKES}, "contradict"),
        ({"begins": "a", "ends": "a"}, "make it two operations"),
        ({"footprint": Footprint.READER_BEGINS}, "give it rcu="),
        ({"footprint": Footprint.FREES, "effect": _nothing}, "to free is a step"),
        ({"dep": "acquire"}, "that is one of Dep"),
        ({"local": 1}, "True or False"),
        ({"ready": 5}, "cannot be called"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(said: dict[str, object], why: str) -> None:
    with pytest.raises(ConcurrencyError, match=f"(?s)operation wrong.*{re.escape(why)}") as caught:
        Operation("wrong", **said)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
