"""The lock of the network configuration, and two who take it. Kernel: net/core/rtnetlink.c, dev_ioctl.c, link_watch.c.

It is here because it meets mmap_lock: an ioctl reads its arguments from user memory with it held.
"""

from __future__ import annotations

from sugarbush.concurrency import Mutex, trace
from sugarbush.vm.access.user import user_load
from sugarbush.vm.objects import MmStruct


class Rtnl:
    """`rtnl_mutex`, outside of mmap_lock."""

    __slots__ = ("mutex",)

    def __init__(self) -> None:
        self.mutex = Mutex("rtnl_mutex")


def linkwatch_event(rtnl: Rtnl) -> None:
    """Work that the carrier of a network device queues when it comes or goes."""
    with rtnl.mutex:
        trace("linkwatch_event")


def dev_ioctl(rtnl: Rtnl, mm: MmStruct, argument: int) -> object:
    """Configure a device as the page at address `argument` says; gives what it said. May fault."""
    with rtnl.mutex:
        return user_load(mm, argument)
