"""What access an entry may give without a fault, by the flags of its VMA. Kernel: mm/mmap.c, v6.1."""

from __future__ import annotations

from sugarbush.vm.objects.layout import VM_EXEC, VM_READ, VM_SHARED, VM_UFFD_WP, VM_WRITE


def vma_wants_writenotify(flags: int) -> bool:
    """The first store to a page of a shared mapping must fault, since userfaultfd may have protected the page.

    Whoever makes an entry anew out of `vm_page_prot` (the second walk of a migration, mprotect, the end of a NUMA
    hint) would else make a protected page writable. Kernel: mm/mmap.c, as since v6.2 and v6.1.2 (51d3d5eb74ff); the
    other reasons to be told, dirty tracking by file systems and by soft-dirty bits, are not modelled.
    """
    return flags & (VM_WRITE | VM_SHARED | VM_UFFD_WP) == VM_WRITE | VM_SHARED | VM_UFFD_WP


def vm_get_page_prot(flags: int) -> int:
    """The access that an entry may give without a fault: a write only where pages are shared with the file, and
    nobody wants to be told of it.

    A private page is made writable by the fault that finds it to be the process's own (protection_map[]). As on
    x86-64, what may be written may be read.
    """
    # Never for a private page: code that makes an entry out of this alone need know nothing of the page, and
    # the worst that comes of it is one more fault. For a shared page that could undo a protection
    # (uffd-wp-writenotify, Z72).
    writable = flags & VM_SHARED and not vma_wants_writenotify(flags)
    if flags & VM_WRITE:
        flags |= VM_READ
    return flags & (VM_READ | VM_WRITE | VM_EXEC if writable else VM_READ | VM_EXEC)
