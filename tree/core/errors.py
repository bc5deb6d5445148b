"""What the tree raises.

One rule for both interfaces: where the kernel returns an error number, an exception of this module is raised,
which carries that number as `errno`; where the kernel returns NULL, the result is None. Nothing is changed by
a call that raises.
"""

from __future__ import annotations

import errno as _errno

from sugarbush.concurrency import SugarbushError


class TreeError(SugarbushError):
    """Base of everything that the tree raises."""

    errno: int = _errno.EINVAL

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else self.__class__.__name__


class BadRange(TreeError, ValueError):
    """The first key of a range lies beyond its last, or a search window cannot hold the size asked for."""


class TwoLocks(TreeError, ValueError):
    """A kind of lock is asked of a tree that is given its lock."""


class BadKey(TreeError, ValueError):
    """A key is not an integer in 0..2**64-1."""


class ReservedEntry(TreeError, ValueError):
    """The entry is one of the tree's own marks and cannot be stored."""


class NoGaps(TreeError, ValueError):
    """A gap search on a tree that does not track gaps."""


class StaleState(TreeError, RuntimeError):
    """A cursor was used after its tree had been changed, but not through it; reset or pause it first."""


class NotLocked(TreeError, RuntimeError):
    """The tree was touched without the lock that protects it."""


class NoMemory(TreeError, MemoryError):
    """An allocation of nodes failed; the tree is as it was."""

    errno = _errno.ENOMEM


class Exists(TreeError, KeyError):
    """A key of the range is already set."""

    errno = _errno.EEXIST


class Unset(TreeError, KeyError):
    """Nothing is stored at the key."""

    errno = _errno.ENOENT


class Busy(TreeError, LookupError):
    """No gap of that size lies in the window."""

    errno = _errno.EBUSY


class Corrupt(TreeError, AssertionError):
    """`validate` found the tree broken; the message says where and how."""
