"""host-local's configuration: range sets, requested addresses, routes, where the reservations lie (reference: allocator/config.go).

Range sets come in this order: runtimeConfig.ipRanges, the old form with `subnet` in `ipam` itself, `ipam.ranges`.
Requested addresses come from runtimeConfig.ips, args.cni.ips and CNI_ARGS IP, all together.
"""

from __future__ import annotations

from cni.conf import NetConf, parse_cni_args
from cni.host_local_ipam.ranges import RangeSet, check_range_set, make_range, overlap
from cni.result import RouteConfig, parse_route
from cni.version import parse_version
from dataplane.errors import ConfigError
from dataplane.inet import parse_ip
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.host_local_ipam.ranges import Range
    from cni.jsontext import Section
    from dataplane.inet import IP

DEFAULT_DATA_DIR = "/var/lib/cni/networks"


@record
class IpamConf:
    range_sets: tuple[RangeSet, ...]
    requested: tuple[IP, ...]
    routes: tuple[RouteConfig, ...]
    resolv_conf: str


def data_dir(conf: NetConf) -> str:
    """Folder of the network's reservations: all that DEL and GC need to know."""
    return f"{conf.body.section('ipam').text('dataDir') or DEFAULT_DATA_DIR}/{conf.name}"


def parse_ipam_conf(conf: NetConf, cni_args: str) -> IpamConf:
    """The whole `ipam` object, checked.

    Raises:
        ConfigError: with the key, the value and what is allowed.
        CniError: code 4, from CNI_ARGS.
    """
    if conf.body.value("ipam") is None:
        raise ConfigError("ipam", None, "IPAM config missing 'ipam' key")
    ipam = conf.body.section("ipam")
    sets = (*_range_sets(conf.body.section("runtimeConfig"), "ipRanges"), *_old_form(ipam), *_range_sets(ipam, "ranges"))
    if not sets:
        raise ConfigError("ipam.ranges", None, "no IP ranges specified")
    _check_apart(sets)
    if parse_version(conf.version) < (0, 3, 0):
        _check_one_each(sets, conf.version)
    return IpamConf(
        sets, _requested(conf, cni_args), tuple(parse_route(r) for r in ipam.sections("routes")), ipam.text("resolvConf")
    )


def _old_form(ipam: Section) -> tuple[RangeSet, ...]:
    return ((_range(ipam),),) if ipam.text("subnet") else ()


def _range_sets(section: Section, name: str) -> tuple[RangeSet, ...]:
    """A list of lists of ranges."""
    sets = []
    for i, items in enumerate(section.items(name)):
        where = f"{section.path(name)}[{i}]"
        holder = type(section)({"set": items}, where)
        found = tuple(_range(item) for item in holder.sections("set"))
        check_range_set(f"{where}: invalid range set {i}", found)
        sets.append(found)
    return tuple(sets)


def _range(section: Section) -> Range:
    subnet = section.prefix("subnet")
    if subnet is None:
        raise ConfigError(section.path("subnet"), None, "a range needs a subnet, such as 10.1.0.0/16")
    return make_range(section.where, subnet, section.ip("rangeStart"), section.ip("rangeEnd"), section.ip("gateway"))


def _check_apart(sets: tuple[RangeSet, ...]) -> None:
    for i, one in enumerate(sets):
        for j, other in enumerate(sets[i + 1 :], i + 1):
            if any(overlap(first, second) for first in one for second in other):
                raise ConfigError("ipam.ranges", None, f"range set {i} overlaps with {j}")


def _check_one_each(sets: tuple[RangeSet, ...], version: str) -> None:
    families = [ranges[0].subnet.version for ranges in sets]
    if len(families) != len(set(families)):
        raise ConfigError("ipam.ranges", None, f"CNI version {version} does not support more than 1 address per family")


def _requested(conf: NetConf, cni_args: str) -> tuple[IP, ...]:
    body = conf.body
    texts = [
        *((text, "CNI_ARGS IP") for text in filter(None, [parse_cni_args(cni_args).get("IP")])),
        *((text, "args.cni.ips") for text in body.section("args").section("cni").texts("ips")),
        *((text, "runtimeConfig.ips") for text in body.section("runtimeConfig").texts("ips")),
    ]
    found = [_address(text, where) for text, where in texts]
    return tuple(dict.fromkeys(found))


def _address(text: str, where: str) -> IP:
    """`10.0.0.5` or `10.0.0.5/24`; the length is ignored, as the range set has its own."""
    try:
        return parse_ip(text.partition("/")[0])
    except ValueError as error:
        raise ConfigError(where, None, str(error)) from None
