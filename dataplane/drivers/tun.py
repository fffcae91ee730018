"""TUN devices: IP packets to and from a program, one a read or write, with no header before them (IFF_NO_PI).

See the kernel's Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOENT
from fcntl import ioctl
from struct import pack

from dataplane.drivers.netns import entered
from dataplane.errors import KernelError

TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
NAME_BYTES = 15  # IFNAMSIZ without the closing zero

_HINTS = {
    ENOENT: "there is no /dev/net/tun; load the tun module, or give the container the device",
    EBUSY: "another process has it open",
    EINVAL: "the name is taken by a device of another kind",
}


def open_tun(name: str, *, persistent: bool = False, netns: str | None = None) -> int:
    """Make the TUN device `name`, or take over a persistent one that nobody has open.

    Args:
        name: 1 to 15 bytes.
        persistent: keep the device, with its addresses and routes, when the file is closed; so a restart loses no route.
        netns: where the device is; None is this thread's namespace.

    Returns:
        A non-blocking file descriptor, closed on exec.

    Raises:
        KernelError: the name is too long, the device is in use or of another kind, or TUN is not there.
    """
    what = f"open TUN device {name}"
    encoded = os.fsencode(name)
    if not 0 < len(encoded) <= NAME_BYTES:
        raise KernelError(what, f"a device name has 1 to {NAME_BYTES} bytes", EINVAL)
    with entered(netns):
        try:
            handle = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _refusal(what, error) from error
        try:
            ioctl(handle, TUNSETIFF, pack("16sH22x", encoded, IFF_TUN | IFF_NO_PI))
            ioctl(handle, TUNSETPERSIST, int(persistent))
        except OSError as error:
            os.close(handle)
            raise _refusal(what, error) from error
    return handle


def _refusal(what: str, error: OSError) -> KernelError:
    hint = _HINTS.get(error.errno or 0)
    return KernelError(what, f"{error.strerror}: {hint}" if hint else error.strerror or str(error), error.errno or 0)
