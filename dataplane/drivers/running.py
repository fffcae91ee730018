"""Whether a device can carry packets now: IFF_RUNNING, by the ioctl SIOCGIFFLAGS (netdevice(7)).

A device that is up is not running before the kernel has noticed its carrier, which it does a little later by itself; a bridge
forwards to and from a port only then.
"""

from __future__ import annotations

from _socket import AF_INET, SOCK_CLOEXEC, SOCK_DGRAM, socket
from fcntl import ioctl
from sys import byteorder
from time import monotonic, sleep

SIOCGIFFLAGS = 0x8913
IFF_RUNNING = 0x40
_IFREQ_BYTES, _NAME_BYTES = 40, 16
_PAUSE_S = 0.001


def wait_until_running(name: str, wait_s: float) -> bool:
    """Wait until device `name` of this namespace runs; False if it does not within the time or is not there."""
    asker = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
    deadline_s = monotonic() + wait_s
    try:
        while not _is_running(asker, name):
            if monotonic() > deadline_s:
                return False
            sleep(_PAUSE_S)
        return True
    except OSError:
        return False
    finally:
        asker.close()


def _is_running(asker: socket, name: str) -> bool:
    answer = ioctl(asker.fileno(), SIOCGIFFLAGS, name.encode().ljust(_IFREQ_BYTES, b"\0"))
    return bool(int.from_bytes(answer[_NAME_BYTES : _NAME_BYTES + 2], byteorder) & IFF_RUNNING)
