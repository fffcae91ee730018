"""Which device leads to the other nodes. Pure; host.py reads the facts.

flannel's pkg/ipmatch: `-iface` (name or address), then `-iface-regex` (addresses of all devices first, then names), then
`-iface-can-reach`; with none of them the owner of `-public-ip` if that is given, else the device of the default route. The
address is the first of the device that is not link-local.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix, parse_ip
from flanneld_py.backend.common import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flanneld_py.flags import Flags

Choice = tuple[str, IP | None]  # a device, and its address where that was asked for


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine has: MTU by device; (device, address) in the kernel's order; the device of the default route.

    way_to tells by which device, and from which address, the kernel would send to an address.
    """

    mtus: dict[str, int]
    addresses: tuple[tuple[str, Prefix], ...]
    default_device: str | None
    way_to: Callable[[IP], Choice | None]

    def owner_of(self, address: IP) -> str | None:
        """The device that has an address."""
        return next((device for device, prefix in self.addresses if prefix.address == address), None)

    def address_of(self, device: str) -> IP | None:
        """A device's first IPv4 address, link-local ones last."""
        found = [prefix.address for name, prefix in self.addresses if name == device and prefix.version == 4]
        return min(found, key=lambda address: address.is_link_local, default=None)


def choose(flags: Flags, facts: Facts) -> Uplink:
    """The uplink that the flags ask for.

    Raises:
        ConfigError: no device fits, or the one that does has no IPv4 address or no MTU.
    """
    device, address = next(_candidates(flags, facts), None) or _usual(flags, facts)
    chosen = address or facts.address_of(device)
    if chosen is None:
        raise ConfigError("-iface", device, "this device has no IPv4 address; give it one or name another device")
    if not facts.mtus.get(device):
        raise ConfigError("-iface", device, "the MTU of this device is unknown; name another device")
    on_link = tuple(prefix.network for name, prefix in facts.addresses if name == device)
    return Uplink(device, facts.mtus[device], chosen, flags.public_ip or chosen, on_link)


def _candidates(flags: Flags, facts: Facts) -> Iterator[Choice]:
    for text in flags.iface:
        yield from _by_name_or_ip(text, facts)
    for text in flags.iface_regex:
        yield from _by_expression(text, facts)
    if flags.iface_can_reach:
        yield from _by_way_to(flags.iface_can_reach, facts)
    asked = [f"-iface {text}" for text in flags.iface] + [f"-iface-regex {text}" for text in flags.iface_regex]
    if asked or flags.iface_can_reach:
        devices = ", ".join(sorted(facts.mtus))
        raise ConfigError(
            " ".join(asked) or "-iface-can-reach", flags.iface_can_reach or None, f"no device matches; there are {devices}"
        )


def _by_name_or_ip(text: str, facts: Facts) -> Iterator[Choice]:
    if text in facts.mtus:
        yield text, None
        return
    try:
        address = parse_ip(text)
    except ValueError:
        return
    if owner := facts.owner_of(address):
        yield owner, address


def _by_expression(text: str, facts: Facts) -> Iterator[Choice]:
    try:
        expression = re.compile(text)
    except re.error as error:
        raise ConfigError("-iface-regex", text, f"is not a regular expression: {error}") from None
    for device, prefix in facts.addresses:
        if prefix.version == 4 and expression.search(str(prefix.address)):
            yield device, prefix.address
    for device in facts.mtus:
        if expression.search(device):
            yield device, None


def _by_way_to(text: str, facts: Facts) -> Iterator[Choice]:
    try:
        target = parse_ip(text)
    except ValueError as error:
        raise ConfigError("-iface-can-reach", text, str(error)) from None
    if found := facts.way_to(target):
        yield found


def _usual(flags: Flags, facts: Facts) -> Choice:
    if flags.public_ip:
        owner = facts.owner_of(flags.public_ip)
        if owner is None:
            raise ConfigError("-public-ip", str(flags.public_ip), "no device has this address; behind NAT, say -iface too")
        return owner, flags.public_ip
    if facts.default_device is None:
        raise ConfigError("-iface", None, f"there is no default route to choose by; name one of {', '.join(sorted(facts.mtus))}")
    return facts.default_device, None
