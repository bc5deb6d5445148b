"""What uses memory, and faults if need be: the page fault as a whole, loads and stores of user space, pages for
others (get_user_pages), devices that mirror an address space, and reads and writes of files.
"""

from sugarbush.vm.access.file_io import generic_file_write, vfs_punch_hole
from sugarbush.vm.access.gup import (
    WALK_BEGIN,
    WALK_END,
    access_remote_vm,
    follow_page,
    gup_pte_range,
    lockless_page_from_mm,
    pin_user_page,
    unpin_user_page,
)
from sugarbush.vm.access.hmm import device_close, device_load
from sugarbush.vm.access.page_fault import handle_mm_fault, handle_user_fault, migration_entry_wait
from sugarbush.vm.access.rtnetlink import Rtnl, dev_ioctl, linkwatch_event
from sugarbush.vm.access.user import USER_LOAD, USER_STORE, Killed, translations, user_load, user_store

__all__ = [
    "USER_LOAD",
    "USER_STORE",
    "WALK_BEGIN",
    "WALK_END",
    "Killed",
    "Rtnl",
    "access_remote_vm",
    "dev_ioctl",
    "device_close",
    "device_load",
    "follow_page",
    "generic_file_write",
    "gup_pte_range",
    "handle_mm_fault",
    "handle_user_fault",
    "linkwatch_event",
    "lockless_page_from_mm",
    "migration_entry_wait",
    "pin_user_page",
    "translations",
    "unpin_user_page",
    "user_load",
    "user_store",
    "vfs_punch_hole",
]
