"""The other side of the comparison with the running kernel: makes calls in a window of its own address space.

Reads one JSON list of calls a line and answers, for each, what the kernel said and which VMAs the window has then.
Runs as a process of its own, since the calls move its heap. Only for x86-64 Linux.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
NUMBERS = {"read": 0, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28}
PR_SET_MM, PR_SET_MM_MAP = 35, 14
LOW, HIGH, HEAP = (int(argument, 0) for argument in sys.argv[1:4])
FILE = os.memfd_create("sugarbush")
ZERO = os.open("/dev/zero", os.O_RDONLY)
os.ftruncate(FILE, 1 << 20)


class PrctlMmMap(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "start_code",
            "end_code",
            "start_data",
            "end_data",
            "start_brk",
            "brk",
            "start_stack",
            "arg_start",
            "arg_end",
            "env_start",
            "env_end",
            "auxv",
        )
    ] + [("auxv_size", ctypes.c_uint32), ("exe_fd", ctypes.c_uint32)]


def move_heap() -> None:
    """Let the heap begin, empty, in the window."""
    with open("/proc/self/stat") as file:
        stat = file.read().rpartition(")")[2].split()
    field = {number: int(text) for number, text in enumerate(stat, 3) if text.lstrip("-").isdigit()}
    where = PrctlMmMap(
        start_code=field[26],
        end_code=field[27],
        start_data=field[45],
        end_data=field[46],
        start_brk=HEAP,
        brk=HEAP,
        start_stack=field[28],
        arg_start=field[48],
        arg_end=field[49],
        env_start=field[50],
        env_end=field[51],
        auxv=0,
        auxv_size=0,
        exe_fd=0xFFFFFFFF,
    )
    if LIBC.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.byref(where), ctypes.sizeof(where), 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_MM_MAP)")


def call(name: str, arguments: list[int]) -> int:
    if name == "touch":
        arguments, name = [ZERO, arguments[0], 1], "read"
    numbers = [FILE if argument == "file" else argument for argument in arguments]
    result = LIBC.syscall(NUMBERS[name], *[ctypes.c_ulong(number & (1 << 64) - 1) for number in numbers])
    return -ctypes.get_errno() if result == -1 else result


def window() -> list[tuple[int, int, str, int, int]]:
    """start, end, permissions, offset, and a number for the file, 0 for none."""
    found, files = [], {"0": 0}
    with open("/proc/self/maps") as maps:
        for line in maps:
            where, permissions, offset, _, inode, *_ = line.split()
            start, end = (int(text, 16) for text in where.split("-"))
            if LOW <= start < HIGH:
                number = files.setdefault(inode, len(files))
                found.append((start, end, permissions, int(offset, 16), number))
    return found


def run(calls: list) -> list:
    answers = []
    for name, *arguments in calls:
        if name == "fork":
            reader, writer = os.pipe()
            pid = os.fork()
            if pid == 0:
                with os.fdopen(writer, "w") as out:
                    json.dump([window(), run(arguments[0])], out)
                    out.flush()
                    os._exit(0)
            os.close(writer)
            with os.fdopen(reader) as answer:
                answers.append([json.load(answer), window()])
            os.waitpid(pid, 0)
        else:
            answers.append([call(name, arguments), window()])
    return answers


def keep_malloc_off_brk() -> None:
    """Let malloc take 64 MiB of heap now and give none of it back: later, brk is ours."""
    trim_threshold, top_pad = -1, -2
    LIBC.mallopt(trim_threshold, 1 << 30)
    LIBC.mallopt(top_pad, 64 << 20)
    LIBC.malloc.restype, LIBC.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    LIBC.free(LIBC.malloc(100_000))


def main() -> None:
    keep_malloc_off_brk()
    move_heap()
    print("ready", flush=True)
    for line in sys.stdin:
        answers = run(json.loads(line))
        LIBC.syscall(NUMBERS["munmap"], ctypes.c_ulong(LOW), ctypes.c_ulong(HIGH - LOW))
        move_heap()
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
