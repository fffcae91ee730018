"""Whether a device can carry packets now: the operational state "up" of RFC 2863.

A device that is up is not operational before the kernel has noticed its carrier, which it does a little later by itself; until then
it drops what it is given, and a bridge forwards neither to nor from it. The flag IFF_RUNNING will not do: it is set from birth, as
long as the kernel has not looked at the carrier at all (state "unknown").
"""

from __future__ import annotations

from time import monotonic, sleep

from dataplane.drivers.netlink_socket import NetlinkSocket
from dataplane.rtnl import RTM_GETLINK
from dataplane.rtnl_link import decode_is_operational, encode_link_query

_PAUSE_S = 0.001


def wait_until_running(names: tuple[str, ...], wait_s: float) -> bool:
    """Wait until all of these devices of this namespace run; False if one does not within the time or is not there."""
    asker = NetlinkSocket()
    deadline_s = monotonic() + wait_s
    try:
        while not all(decode_is_operational(asker.ask(RTM_GETLINK, encode_link_query(name))) for name in names):
            if monotonic() > deadline_s:
                return False
            sleep(_PAUSE_S)
        return True
    except OSError:
        return False
    finally:
        asker.close()
