"""The network configuration: the JSON below `<prefix>/config`, read as flannel reads it, refused by flannel's rules.

Go's encoding/json matches keys without regard to case and ignores unknown ones; `null` leaves the default; a wrong type is an
error. The rules are those of flannel's pkg/subnet/config.go, plus two that it lacks: SubnetMin must not lie behind SubnetMax, and
at least one address family must be enabled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix, parse_ip, parse_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

DEFAULT_BACKEND = "udp"  # flannel's code; its documentation says vxlan (reference behaviour: config without Backend runs udp)
_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "a string", dict: "an object"}


class Options:
    """A JSON object with Go's view of keys: any case, last one wins, null is absent.

    Args:
        where: the object's place, for messages: `"/coreos.com/network/config"` or `"…/config: Backend"`.
    """

    def __init__(self, where: str, members: Mapping[str, object]) -> None:
        self.where = where
        self._members = {name.lower(): value for name, value in members.items() if value is not None}

    def take(self, name: str, kind: type[T], default: T) -> T:
        """The member `name`. Raises ConfigError when it is of another JSON type."""
        value = self._members.get(name.lower(), default)
        if (isinstance(value, bool) and kind is not bool) or not isinstance(value, kind):
            raise ConfigError(f"{self.where}: {name}", value, f"must be {_TYPE_NAMES[kind]}")
        return value

    def take_uint(self, name: str, default: int, top: int) -> int:
        """A whole number from 0 to `top`."""
        value = self.take(name, int, default)
        if not 0 <= value <= top:
            raise ConfigError(f"{self.where}: {name}", value, f"must be from 0 to {top}")
        return value

    def section(self, name: str) -> Options | None:
        """A nested object, or None when there is none."""
        if name.lower() not in self._members:
            return None
        return Options(f"{self.where}: {name}", self.take(name, dict, {}))


@dataclass(frozen=True, slots=True)
class SubnetPlan:
    """How a network is cut: subnets of length `subnet_len`, their network addresses from `subnet_min` to `subnet_max`."""

    network: Prefix
    subnet_len: int
    subnet_min: IP
    subnet_max: IP


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """A configuration that keeps every rule. A plan is None where its family is not enabled."""

    ipv4: SubnetPlan | None
    ipv6: SubnetPlan | None
    enable_nftables: bool
    backend_type: str
    backend: Options = field(compare=False)


class _Family(NamedTuple):
    """Names and limits of one address family's keys."""

    version: int
    key: str  # of the network
    stem: str  # of the keys about subnets
    usual_len: int
    longest_subnet: int
    longest_network: int


_IPV4 = _Family(4, "Network", "Subnet", usual_len=24, longest_subnet=30, longest_network=28)
_IPV6 = _Family(6, "IPv6Network", "IPv6Subnet", usual_len=64, longest_subnet=126, longest_network=124)


def parse_config(text: bytes | str, where: str) -> NetworkConfig:
    """The configuration in `text`.

    Args:
        text: JSON, as it stands in the store.
        where: its place, for messages.

    Raises:
        ConfigError: naming the key, its value and the rule that it breaks.
    """
    options = Options(where, _object(text, where))
    enabled = {
        _IPV4: options.take("EnableIPv4", bool, True),
        _IPV6: options.take("EnableIPv6", bool, False),
    }
    if not any(enabled.values()):
        raise ConfigError(f"{where}: EnableIPv4", False, "at least one of EnableIPv4 and EnableIPv6 must be true")
    backend = options.section("Backend")
    return NetworkConfig(
        ipv4=_subnet_plan(options, _IPV4, enabled[_IPV4]),
        ipv6=_subnet_plan(options, _IPV6, enabled[_IPV6]),
        enable_nftables=options.take("EnableNFTables", bool, False),
        backend_type=backend.take("Type", str, "").lower() if backend else DEFAULT_BACKEND,
        backend=backend or Options(f"{where}: Backend", {}),
    )


def supported_plan(config: NetworkConfig, where: str) -> SubnetPlan:
    """The IPv4 plan of a configuration that this daemon can run.

    Raises:
        ConfigError: it asks for what is not supported yet.
    """
    if config.ipv6 or not config.ipv4:
        raise ConfigError(f"{where}: EnableIPv6", True, "IPv6 is not supported yet; leave it out")
    if config.enable_nftables:
        raise ConfigError(f"{where}: EnableNFTables", True, "rules are written with iptables only so far; leave it out")
    return config.ipv4


def _object(text: bytes | str, where: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(where, None, f'is not JSON ({error}); write an object such as {{"Network": "10.244.0.0/16"}}') from None
    if not isinstance(found, dict):
        raise ConfigError(where, found, 'must be a JSON object such as {"Network": "10.244.0.0/16"}')
    return found


def _subnet_plan(options: Options, family: _Family, enabled: bool) -> SubnetPlan | None:
    """Every key is read, so that a wrong type is told also where the family is off."""
    network_text = options.take(family.key, str, "")
    length = options.take_uint(f"{family.stem}Len", 0, top=128)
    low_text, high_text = (options.take(f"{family.stem}{end}", str, "") for end in ("Min", "Max"))
    if not enabled:
        return None
    network = _network(options.where, family, network_text)
    subnet_len = _subnet_len(options.where, family, network, length)
    step = 1 << (network.address.bits - subnet_len)
    last = IP((int(network.last) + 1 - step).to_bytes(len(network.address), "big"))
    low = _bound(f"{options.where}: {family.stem}Min", low_text, network, subnet_len) or network.address + step
    high = _bound(f"{options.where}: {family.stem}Max", high_text, network, subnet_len) or last
    if low > high:
        raise ConfigError(f"{options.where}: {family.stem}Min", str(low), f"must not be greater than {family.stem}Max, {high}")
    return SubnetPlan(network, subnet_len, low, high)


def _network(where: str, family: _Family, text: str) -> Prefix:
    if not text:
        raise ConfigError(f"{where}: {family.key}", None, f"is missing; IPv{family.version} is enabled and needs it")
    try:
        network = parse_prefix(text).network
    except ValueError as error:
        raise ConfigError(f"{where}: {family.key}", text, str(error)) from None
    if network.version != family.version:
        raise ConfigError(f"{where}: {family.key}", text, f"must be an IPv{family.version} prefix")
    if network.length > family.longest_network:
        rule = f"is too small; the prefix length may be at most {family.longest_network}, for at least four subnets"
        raise ConfigError(f"{where}: {family.key}", text, rule)
    return network


def _subnet_len(where: str, family: _Family, network: Prefix, given: int) -> int:
    shortest = network.length + 2  # at least four subnets; the first is not handed out
    if given == 0:
        return max(family.usual_len, shortest)
    if not shortest <= given <= family.longest_subnet:
        rule = f"must be from {shortest} ({family.key}'s length {network.length} + 2) to {family.longest_subnet}"
        raise ConfigError(f"{where}: {family.stem}Len", given, rule)
    return given


def _bound(where: str, text: str, network: Prefix, subnet_len: int) -> IP | None:
    if not text:
        return None
    try:
        address = parse_ip(text)
    except ValueError as error:
        raise ConfigError(where, text, str(error)) from None
    if address not in network:
        raise ConfigError(where, text, f"must lie inside the network {network}")
    if Prefix(address, subnet_len).first != address:
        raise ConfigError(where, text, f"must be the first address of a /{subnet_len} subnet")
    return address
