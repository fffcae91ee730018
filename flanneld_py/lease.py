"""A subnet lease, and its key and value in the store, byte for byte as flannel writes them (pkg/subnet/etcd, pkg/lease).

    <prefix>/subnets/10.5.72.0-24                      {"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}
    <prefix>/subnets/10.5.72.0-24&fd00:12:13::-56      one key for both families

Compact JSON in the order PublicIP, PublicIPv6, BackendType, BackendData, BackendV6Data; the last three are left out when empty;
`PublicIPv6` is always there. Reading follows Go: keys in any case, unknown ones ignored. What cannot be read is a BadLease.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from dataplane.inet import IP, Prefix, parse_ip

SUBNETS = "subnets/"
# flannel's own expression; it is anchored at the end only, and so is ours
_KEY = re.compile(r"([0-9]+\.[0-9]+.[0-9]+.[0-9]+)-([0-9]+)(?:&([a-f0-9:]+)-([0-9]+))?\Z")
_LONGEST = {4: 31, 6: 127}  # flannel reads 5 bits of an IPv4 length and 7 of an IPv6 one


class BadLease(ValueError):
    """A key or value that is not a lease. It is left alone and not used."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a subnet and how it is reached. `backend_data` is compact JSON text, empty where the backend needs none."""

    subnet: Prefix
    public_ip: IP
    backend_type: str = ""
    backend_data: str = ""
    subnet6: Prefix | None = None
    public_ipv6: IP | None = None
    backend_v6_data: str = ""


def key_of(subnet: Prefix, subnet6: Prefix | None = None) -> str:
    """The key below `<prefix>/subnets/`."""
    first = f"{subnet.address}-{subnet.length}"
    return f"{first}&{subnet6.address}-{subnet6.length}" if subnet6 else first


def parse_key(key: str) -> tuple[Prefix, Prefix | None]:
    """The subnets that a key names.

    Raises:
        BadLease: the key names none.
    """
    found = _KEY.search(key)
    if not found:
        raise BadLease(f"{key}: the key does not end in ADDRESS-LENGTH")
    address, length, address6, length6 = found.groups()
    return _subnet(key, address, length, 4), _subnet(key, address6, length6, 6) if address6 else None


def _subnet(key: str, address_text: str, length_text: str, version: int) -> Prefix:
    try:
        address = parse_ip(address_text)
    except ValueError as error:
        raise BadLease(f"{key}: {error}") from None
    if address.version != version or len(length_text) > 3 or int(length_text) > _LONGEST[version]:
        raise BadLease(f"{key}: {address_text}-{length_text} is not an IPv{version} subnet of length 0 to {_LONGEST[version]}")
    return Prefix(address, int(length_text)).network


def encode_value(lease: Lease) -> bytes:
    """The value that flannel would write."""
    members = [
        f'"PublicIP":"{lease.public_ip}"',
        f'"PublicIPv6":"{lease.public_ipv6}"' if lease.public_ipv6 else '"PublicIPv6":null',
        f'"BackendType":{_go_string(lease.backend_type)}' if lease.backend_type else "",
        f'"BackendData":{lease.backend_data}' if lease.backend_data else "",
        f'"BackendV6Data":{lease.backend_v6_data}' if lease.backend_v6_data else "",
    ]
    return ("{" + ",".join(member for member in members if member) + "}").encode()


def decode_lease(key: str, value: bytes) -> Lease:
    """The lease in a key and its value.

    Raises:
        BadLease: saying what is wrong with which.
    """
    subnet, subnet6 = parse_key(key)
    try:
        found = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise BadLease(f"{key}: the value is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise BadLease(f"{key}: the value is not a JSON object")
    members = {name.lower(): member for name, member in found.items()}
    public_ip = _ip(key, "PublicIP", members, 4)
    if public_ip is None:
        raise BadLease(f"{key}: PublicIP is missing")
    return Lease(
        subnet=subnet,
        public_ip=public_ip,
        backend_type=_backend_type(key, members),
        backend_data=_compact(key, members.get("backenddata")),
        subnet6=subnet6,
        public_ipv6=_ip(key, "PublicIPv6", members, 6),
        backend_v6_data=_compact(key, members.get("backendv6data")),
    )


def _ip(key: str, name: str, members: dict[str, object], version: int) -> IP | None:
    text = members.get(name.lower())
    if text is None:
        return None
    try:
        address = parse_ip(text) if isinstance(text, str) else None
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise BadLease(f"{key}: {name} {text!r:.80} is not an IPv{version} address")
    return address


def _backend_type(key: str, members: dict[str, object]) -> str:
    found = members.get("backendtype")
    if found is not None and not isinstance(found, str):
        raise BadLease(f"{key}: BackendType {found!r:.80} is not a string")
    return found or ""


def _compact(key: str, member: object) -> str:
    try:
        return "" if member is None else json.dumps(member, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise BadLease(f"{key}: backend data cannot be read ({error})") from None


def _go_string(text: str) -> str:
    """Go escapes <, > and & in JSON strings."""
    return json.dumps(text, ensure_ascii=False).translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&"})
