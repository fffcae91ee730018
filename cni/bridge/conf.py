"""bridge's configuration (reference: plugins/main/bridge). What cannot be honoured is refused by name, never ignored."""

from __future__ import annotations

from cni.conf import NOT_A_DEVICE, configured_dns, parse_cni_args
from cni.version import parse_version
from dataplane.errors import ConfigError
from dataplane.inet import parse_mac
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.conf import NetConf
    from cni.jsontext import Section
    from cni.result import Dns
    from dataplane.inet import Mac

DEFAULT_BRIDGE = "cni0"
MIN_MTU, MAX_MTU = 68, 65535  # ETH_MIN_MTU is what any host must take at once (RFC 791)
_NO_DEVICE = (".", "..", *NOT_A_DEVICE)
_NOT_YET = ("vlan", "vlanTrunk", "macspoofchk")


@record
class BridgeConf:
    bridge: str
    is_gateway: bool
    is_default_gateway: bool
    force_address: bool
    ip_masq: bool
    mtu: int  # 0: the kernel's default
    hairpin: bool
    promisc: bool
    port_isolation: bool
    enable_dad: bool
    container_interface: bool  # False: its link stays down, for somebody else to set up
    ipam_type: str  # "": layer 2 only
    mac: Mac | None
    dns: Dns | None


def parse_bridge_conf(conf: NetConf, cni_args: str) -> BridgeConf:
    """The plugin's keys, checked.

    Raises:
        ConfigError: a value that cannot be, or a pair of keys that exclude one another.
        CniError: code 4, from CNI_ARGS.
    """
    body = conf.body
    refuse_unsupported(body, _NOT_YET)
    parsed = BridgeConf(
        bridge=_device(body, "bridge", DEFAULT_BRIDGE),
        is_gateway=body.flag("isGateway") or body.flag("isDefaultGateway"),
        is_default_gateway=body.flag("isDefaultGateway"),
        force_address=body.flag("forceAddress"),
        ip_masq=ip_masq(body),
        mtu=parse_mtu(body),
        hairpin=body.flag("hairpinMode"),
        promisc=body.flag("promiscMode"),
        port_isolation=body.flag("portIsolation"),
        enable_dad=body.flag("enabledad"),
        container_interface=not body.flag("disableContainerInterface"),
        ipam_type=conf.ipam_type,
        mac=_mac(body, cni_args),
        dns=configured_dns(conf),
    )
    _check(parsed, conf.version)
    return parsed


def _check(conf: BridgeConf, version: str) -> None:
    if conf.hairpin and conf.promisc:
        raise ConfigError("hairpinMode", True, "cannot set hairpin mode and promiscuous mode at the same time")
    if conf.ipam_type and not conf.container_interface:
        raise ConfigError("disableContainerInterface", True, "cannot use IPAM when DisableContainerInterface flag is set")
    if not conf.ipam_type and parse_version(version) < (0, 3, 0):
        raise ConfigError(
            "cniVersion", version, "no valid IP addresses: a bridge without ipam needs 0.3.0 or later to tell its result"
        )


def refuse_unsupported(body: Section, names: tuple[str, ...]) -> None:
    for name in names:
        if body.value(name):
            raise ConfigError(name, body.value(name), "not supported yet; remove it, or use the reference plugin for this network")


def ip_masq(body: Section) -> bool:
    """Whether to masquerade. Raises ConfigError for a backend that we do not have."""
    backend = body.text("ipMasqBackend")
    if backend not in ("", "iptables"):
        raise ConfigError(
            "ipMasqBackend", backend, 'not supported yet; "iptables" is, which also serves nftables through iptables-nft'
        )
    return body.flag("ipMasq")


def parse_mtu(body: Section) -> int:
    """Bytes; 0 is the kernel's default. Raises ConfigError for what no veth takes."""
    mtu = body.integer("mtu", 0, MAX_MTU)
    if 0 < mtu < MIN_MTU:
        raise ConfigError(body.path("mtu"), mtu, f"an integer from {MIN_MTU} to {MAX_MTU} is wanted, or 0 for the default")
    return mtu


def _device(body: Section, name: str, default: str) -> str:
    text = body.text(name) or default
    if len(text.encode()) > 15 or text in _NO_DEVICE or any(c in "/:%" or c.isspace() for c in text):
        raise ConfigError(
            body.path(name),
            text,
            "a device name has 1 to 15 characters, no slash, colon, percent sign or space, and is not all or default",
        )
    return text


def _mac(body: Section, cni_args: str) -> Mac | None:
    """The container's MAC address: CNI_ARGS MAC, args.cni.mac, runtimeConfig.mac; a later one wins."""
    sources = (
        ("CNI_ARGS MAC", parse_cni_args(cni_args).get("MAC", "")),
        ("args.cni.mac", body.section("args").section("cni").text("mac")),
        ("runtimeConfig.mac", body.section("runtimeConfig").text("mac")),
    )
    where, text = next(((where, text) for where, text in reversed(sources) if text), ("", ""))
    try:
        mac = parse_mac(text) if text else None
    except ValueError as error:
        raise ConfigError(where, None, str(error)) from None
    if mac is not None and (mac[0] & 1 or not any(mac)):
        raise ConfigError(where, text, "an interface has a unicast address: the first byte is even, and not all are zero")
    return mac
