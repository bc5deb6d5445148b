"""The model beside the kernel that the tests run on: the same random calls, the same answers, the same VMAs.

    python tests/vm/real_kernel.py 100000 [SEED]     so many calls; exit status 1 at the first difference

The model says first what each call does; `real_child.py` then makes the calls. The running kernel is of another era,
so the model runs with the rules that have changed since v6.1 as patches (`later_rules`); docs/vm.md lists them.
"""

from __future__ import annotations

import json
import platform
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from later_rules import release, rules
from real_calls import HEAP, HIGH, LOW, PAGES, Call, Calls, Shown

from sugarbush.concurrency.lowlevel import quiet
from sugarbush.stress.kit.patches import applied
from sugarbush.vm.access.user import user_store
from sugarbush.vm.objects.layout import PAGE_SHIFT, VM_EXEC, VM_READ, VM_SHARED, VM_WRITE
from sugarbush.vm.objects.mm_types import AddressSpace, MmStruct, VmArea
from sugarbush.vm.syscalls.brk import sys_brk
from sugarbush.vm.syscalls.fork import sys_fork
from sugarbush.vm.syscalls.madvise import sys_madvise
from sugarbush.vm.syscalls.mmap import sys_mmap
from sugarbush.vm.syscalls.mprotect import sys_mprotect
from sugarbush.vm.syscalls.mremap import sys_mremap
from sugarbush.vm.vmas.exit import exit_mmap
from sugarbush.vm.vmas.machine import Machine, boot
from sugarbush.vm.vmas.munmap import do_munmap

CALLS_A_PROCESS = 24


def supported() -> str | None:
    """Why there can be no comparison here, or None."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "only on x86-64 Linux"
    if not (6, 1) <= release() <= (6, 18):
        return "the rules of this kernel are not known"
    return None


# -- the model's side -----------------------------------------------------------------------------------------------


class Model:
    """One process of the model, and what a /proc/self/maps of it would show."""

    def __init__(self, machine: Machine, mm: MmStruct, file: AddressSpace) -> None:
        self.machine = machine
        self.mm = mm
        self.file = file

    def vmas(self) -> list[VmArea]:
        with quiet():
            return [vma for _, _, vma in self.mm.mm_mt.ranges() if LOW <= vma.vm_start < HIGH]

    def window(self) -> Shown:
        files: dict[int, int] = {}
        shown: Shown = []
        for vma in self.vmas():
            flags, file = vma.vm_flags, vma.vm_file
            rights = "".join(
                letter if flags & bit else "-"
                for bit, letter in ((VM_READ, "r"), (VM_WRITE, "w"), (VM_EXEC, "x"))
            )
            number = 0 if file is None else files.setdefault(id(file), len(files) + 1)
            offset = 0 if file is None else vma.vm_pgoff << PAGE_SHIFT
            kind = "s" if flags & VM_SHARED else "p"
            shown.append([vma.vm_start, vma.vm_end, rights + kind, offset, number])
        return shown

    def call(self, name: str, arguments: list[Any]) -> int:
        mm = self.mm
        if name == "mmap":
            address, length, prot, flags, file, offset = arguments
            return sys_mmap(mm, address, length, prot, flags, self.file if file == "file" else None, offset)
        if name == "brk":
            return sys_brk(mm, arguments[0])
        if name == "touch":
            user_store(mm, arguments[0], "x")
            return 1
        calls = {"munmap": do_munmap, "mprotect": sys_mprotect, "mremap": sys_mremap, "madvise": sys_madvise}
        return calls[name](mm, *arguments)

    def run(self, calls: list[Call]) -> list[Any]:
        """Make the calls; what `real_child.run` would answer."""
        answers: list[Any] = []
        for name, *arguments in calls:
            if name == "fork":
                with self.child() as child:
                    answers.append([[child.window(), child.run(arguments[0])], self.window()])
            else:
                answers.append([self.call(name, arguments), self.window()])
        return answers

    @contextmanager
    def child(self) -> Iterator[Model]:
        mm = sys_fork(self.machine, self.mm, "child")
        assert mm is not None
        yield Model(self.machine, mm, self.file)
        exit_mmap(mm)
        self.machine.remove_mm(mm)


# -- both -----------------------------------------------------------------------------------------------------------


class Real:
    """The process that makes the calls."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("real_child.py")), hex(LOW), hex(HIGH), hex(HEAP)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        self.ready = self.child.stdout.readline() == "ready\n"

    def answers(self, calls: list[Call]) -> Any:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(calls) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            _, said = self.child.communicate()
            raise RuntimeError(f"the process died ({self.child.returncode}): {said}\n{_hex(calls)}")
        return json.loads(line)

    def close(self) -> None:
        self.child.communicate()


def difference(calls: list[Call], said: list[Any], real: list[Any]) -> str | None:
    """The first call to which the two answered differently."""
    before: object = []
    for call, ours, theirs in zip(calls, said, real, strict=True):
        if ours != theirs:
            if call[0] == "fork" and ours[0][0] == theirs[0][0]:
                inner = difference(call[1], ours[0][1], theirs[0][1])
                if inner is not None:
                    return f"in a child: {inner}"
            return f"{_hex(call)}\nbefore: {_hex(before)}\nmodel:  {_hex(ours)}\nkernel: {_hex(theirs)}"
        before = ours[1]
    return None


def _hex(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(str(_hex(part)) for part in value) + "]"
    return hex(value) if isinstance(value, int) and abs(value) > 999 else value


def count_calls(calls: list[Call]) -> int:
    return sum(1 + (count_calls(call[1]) if call[0] == "fork" else 0) for call in calls)


def compare(real: Real, calls: int, seed: int, era: str = "6.1") -> tuple[int, str | None]:
    """Make at least so many calls in both: (how many were made, what differs first)."""
    made, number = 0, 0
    with applied(rules()):
        while made < calls:
            rng = random.Random(f"{seed}/{number}")
            machine = boot(4 * PAGES, era)
            file = AddressSpace("memfd")
            model = Model(machine, machine.add_mm("child", HEAP), file)
            script, said = Calls(rng).script(model, CALLS_A_PROCESS)
            exit_mmap(model.mm)
            machine.remove_mm(model.mm)
            wrong = difference(script, said, real.answers(script))
            made += count_calls(script)
            if wrong is not None:
                listing = "\n".join(str(_hex(call)) for call in script)
                return made, f"seed {seed}/{number}: {wrong}\nthe calls:\n{listing}"
            number += 1
    return made, None


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    made, wrong = compare(Real(), wanted, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(f"{made} calls: {wrong or 'no difference'}")
    sys.exit(wrong is not None)
