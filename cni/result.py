"""The result of an ADD: one record inside, and its JSON form in every version of the specification.

0.1.0, 0.2.0   ip4 and ip6, one address each; no interfaces. Routes are sorted into the two by their destination.
0.3.0 - 0.4.0  interfaces, ips (each with "version"), routes, dns
1.0.0          the same without "version"
1.1.0          interfaces also with mtu, socketPath, pciID

The reference refuses a prevResult of another major family than the configuration's; here every form is read.
"""

from __future__ import annotations

from cni.errors import INTERNAL, CniError
from cni.jsontext import Section
from cni.version import UNSTATED, parse_version, require_supported
from dataplane.errors import ConfigError
from dataplane.inet import Mac, parse_mac
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dataplane.inet import IP, Prefix

_MAX = 2**32 - 1


@record
class Interface:
    """A device that was made: in the host if `sandbox` is empty."""

    name: str
    mac: Mac | None = None
    sandbox: str = ""
    mtu: int = 0
    socket_path: str = ""
    pci_id: str = ""


@record
class IpConfig:
    """An address with its prefix length; `interface` is an index into the result's interfaces."""

    address: Prefix
    interface: int | None = None
    gateway: IP | None = None


@record
class RouteConfig:
    dst: Prefix
    gw: IP | None = None
    mtu: int = 0
    advmss: int = 0
    priority: int = 0
    table: int | None = None
    scope: int | None = None


@record
class Dns:
    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@record
class Result:
    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IpConfig, ...] = ()
    routes: tuple[RouteConfig, ...] = ()
    dns: Dns = Dns()


def parse_dns(section: Section) -> Dns:
    return Dns(section.texts("nameservers"), section.text("domain"), section.texts("search"), section.texts("options"))


def parse_route(section: Section) -> RouteConfig:
    """A route of a result or of an IPAM configuration."""
    dst = section.prefix("dst")
    if dst is None:
        raise ConfigError(section.path("dst"), None, "a route needs a destination, such as 0.0.0.0/0")
    return RouteConfig(
        dst=dst,
        gw=section.ip("gw"),
        mtu=section.integer("mtu", 0, _MAX),
        advmss=section.integer("advmss", 0, _MAX),
        priority=section.integer("priority", 0, _MAX),
        table=section.integer("table", 0, _MAX) if section.value("table") is not None else None,
        scope=section.integer("scope", 0, 255) if section.value("scope") is not None else None,
    )


def parse_result(section: Section, config_version: str) -> Result:
    """A result in its own version, or in the configuration's if it states none.

    Raises:
        CniError: code 1, a version that we do not know.
        ConfigError: a field that cannot be.
    """
    version = section.text("cniVersion") or config_version or UNSTATED
    require_supported(version)
    return _parse_legacy(section) if _is_legacy(version) else _parse_modern(section)


def _parse_modern(section: Section) -> Result:
    result = Result(
        interfaces=tuple(_parse_interface(item) for item in section.sections("interfaces")),
        ips=tuple(_parse_ip(item) for item in section.sections("ips")),
        routes=tuple(parse_route(item) for item in section.sections("routes")),
        dns=parse_dns(section.section("dns")),
    )
    for i, ip in enumerate(result.ips):
        if ip.interface is not None and ip.interface >= len(result.interfaces) > 0:
            raise ConfigError(section.path(f"ips[{i}].interface"), ip.interface, f"there are {len(result.interfaces)} interfaces")
    return result


def _parse_interface(section: Section) -> Interface:
    mac = section.text("mac")
    try:
        parsed = parse_mac(mac) if mac else None
    except ValueError as error:
        raise ConfigError(section.path("mac"), None, str(error)) from None
    return Interface(
        name=section.text("name"),
        mac=parsed,
        sandbox=section.text("sandbox"),
        mtu=section.integer("mtu", 0, _MAX),
        socket_path=section.text("socketPath"),
        pci_id=section.text("pciID"),
    )


def _parse_ip(section: Section) -> IpConfig:
    address = section.prefix("address")
    if address is None:
        raise ConfigError(section.path("address"), None, "an address with its prefix length is wanted")
    index = section.integer("interface", 0, _MAX) if section.value("interface") is not None else None
    return IpConfig(address, index, section.ip("gateway"))


def _parse_legacy(section: Section) -> Result:
    parts = [section.section(name) for name in ("ip4", "ip6") if section.value(name) is not None]
    ips = []
    for part in parts:
        address = part.prefix("ip")
        if address is not None:
            ips.append(IpConfig(address, None, part.ip("gateway")))
    routes = tuple(parse_route(item) for part in parts for item in part.sections("routes"))
    return Result((), tuple(ips), routes, parse_dns(section.section("dns")))


def require_expressible(result: Result, version: str) -> None:
    """Raises CniError where the version has no words for the result: asked before the work, so that nothing is left behind."""
    if _is_legacy(version) and not result.ips:
        raise CniError(
            INTERNAL,
            "cannot convert: no valid IP addresses",
            f"cniVersion {version} has no result without an address; use 0.3.0 or later",
        )


def render_result(result: Result, version: str) -> dict[str, Any]:
    """The result as JSON values in the version asked for.

    Raises:
        CniError: 0.1.0 and 0.2.0 have no form for a result without addresses.
    """
    require_expressible(result, version)
    return _render_legacy(result, version) if _is_legacy(version) else _render_modern(result, version)


def _render_modern(result: Result, version: str) -> dict[str, Any]:
    number = parse_version(version)
    dns = _render_dns(result.dns)
    shown: dict[str, Any] = {"cniVersion": version}
    shown |= _given(
        interfaces=[_render_interface(item, number >= (1, 1, 0)) for item in result.interfaces],
        ips=[_render_ip(item, number < (1, 0, 0)) for item in result.ips],
        routes=[_render_route(item) for item in result.routes],
    )
    if dns or number < (1, 0, 0):
        shown["dns"] = dns
    return shown


def _render_legacy(result: Result, version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"cniVersion": version}
    for family in (4, 6):
        ip = next((ip for ip in result.ips if ip.address.version == family), None)
        if ip is None:
            continue
        routes = [route for route in result.routes if route.dst.version == family]
        shown[f"ip{family}"] = {"ip": str(ip.address)} | _given(
            gateway=_text(ip.gateway),
            routes=[{"dst": str(route.dst)} | _given(gw=_text(route.gw)) for route in routes],
        )
    shown["dns"] = _render_dns(result.dns)
    return shown


def _render_interface(item: Interface, extended: bool) -> dict[str, Any]:
    shown = {"name": item.name} | _given(mac=_text(item.mac), sandbox=item.sandbox)
    return shown | _given(mtu=item.mtu, socketPath=item.socket_path, pciID=item.pci_id) if extended else shown


def _render_ip(item: IpConfig, with_version: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"version": str(item.address.version)} if with_version else {}
    if item.interface is not None:
        shown["interface"] = item.interface  # also 0: a missing index would mean "unspecified"
    return shown | {"address": str(item.address)} | _given(gateway=_text(item.gateway))


def _render_route(item: RouteConfig) -> dict[str, Any]:
    shown = {"dst": str(item.dst)} | _given(gw=_text(item.gw), mtu=item.mtu, advmss=item.advmss, priority=item.priority)
    shown |= {} if item.table is None else {"table": item.table}
    return shown | ({} if item.scope is None else {"scope": item.scope})


def _render_dns(dns: Dns) -> dict[str, Any]:
    return _given(nameservers=list(dns.nameservers), domain=dns.domain, search=list(dns.search), options=list(dns.options))


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _text(value: IP | Mac | None) -> str:
    return "" if value is None else str(value)


def _is_legacy(version: str) -> bool:
    return parse_version(version) < (0, 3, 0)
