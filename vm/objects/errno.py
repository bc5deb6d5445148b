"""How model calls say no: the kernel's negative error numbers."""

from __future__ import annotations

import errno

EPERM = -errno.EPERM
ENOENT = -errno.ENOENT
ESRCH = -errno.ESRCH
ENOMEM = -errno.ENOMEM
EFAULT = -errno.EFAULT
EINVAL = -errno.EINVAL
EAGAIN = -errno.EAGAIN
EBUSY = -errno.EBUSY
EEXIST = -errno.EEXIST
EACCES = -errno.EACCES
