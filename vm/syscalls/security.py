"""What a security module does before a file is mapped. Kernel: security/security.c and security/integrity/ima, v6.13.

IMA measures the content of the file, and keeps the result with the inode, under the inode's lock. So it must be asked
before mmap_lock is taken.
"""

from __future__ import annotations

from sugarbush.concurrency import trace
from sugarbush.vm.objects import AddressSpace


def security_mmap_file(mapping: AddressSpace) -> int:
    """May the file be mapped? 0: it may. Takes i_rwsem. Kernel: ima_file_mmap()."""
    mapping.i_rwsem.down_write()
    trace("ima_file_mmap", file=mapping.name)
    mapping.i_rwsem.up_write()
    return 0
