"""flannel's configuration, subnet.env, and the delegate's configuration made of both. Pure (reference: flannel-io/cni-plugin)."""

from __future__ import annotations

from cni.jsontext import Section, render
from dataplane.errors import ConfigError
from dataplane.inet import parse_prefix
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cni.conf import NetConf
    from dataplane.inet import Prefix

DEFAULT_SUBNET_FILE = "/run/flannel/subnet.env"
DEFAULT_DATA_DIR = "/var/lib/cni/flannel"
DEFAULT_DELEGATE, DEFAULT_IPAM = "bridge", "host-local"
_MAX_MTU = 2**32 - 1


@record
class SubnetEnv:
    """What flanneld tells about this node. Either family may be missing, not both."""

    networks: tuple[Prefix, ...]
    subnet: Prefix | None
    ipv6_networks: tuple[Prefix, ...]
    ipv6_subnet: Prefix | None
    mtu: int
    ip_masq: bool


def subnet_file(conf: NetConf) -> str:
    return conf.body.text("subnetFile") or DEFAULT_SUBNET_FILE


def data_dir(conf: NetConf) -> str:
    return conf.body.text("dataDir") or DEFAULT_DATA_DIR


def parse_subnet_env(text: str, path: str) -> SubnetEnv:
    """Lines KEY=VALUE, without quotes; unknown keys are ignored.

    Args:
        path: for messages.

    Raises:
        ConfigError: a value cannot be, or something that an ADD needs is missing.
    """
    values = dict(_pair(line, path) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    networks, ipv6_networks = (_prefixes(values, key, path) for key in ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"))
    subnets, ipv6_subnets = (_prefixes(values, key, path) for key in ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"))
    missing = [
        *(() if networks or ipv6_networks else ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK")),
        *(() if subnets or ipv6_subnets else ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET")),
        *(key for key in ("FLANNEL_MTU", "FLANNEL_IPMASQ") if key not in values),
    ]
    if missing:
        raise ConfigError(path, None, f"{path} is missing {', '.join(missing)}; check the flannel pod log for this node")
    return SubnetEnv(
        networks,
        subnets[0].network if subnets else None,
        ipv6_networks,
        ipv6_subnets[0].network if ipv6_subnets else None,
        _mtu(values["FLANNEL_MTU"], path),
        values["FLANNEL_IPMASQ"] == "true",
    )


def _pair(line: str, path: str) -> tuple[str, str]:
    key, equals, value = line.strip().partition("=")
    if not equals:
        raise ConfigError(path, line, "lines are KEY=VALUE")
    return key, value


def _prefixes(values: dict[str, str], key: str, path: str) -> tuple[Prefix, ...]:
    """A list joined by commas, each once."""
    try:
        return tuple(dict.fromkeys(parse_prefix(text.strip()) for text in values.get(key, "").split(",") if text.strip()))
    except ValueError as error:
        raise ConfigError(f"{path}: {key}", None, str(error)) from None


def _mtu(text: str, path: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _MAX_MTU:
        raise ConfigError(f"{path}: FLANNEL_MTU", text, "a number of bytes is wanted")
    return int(text)


def check_delegate(conf: NetConf) -> Section:
    """The `delegate` dictionary. Raises ConfigError for keys that are ours to set."""
    delegate = conf.body.section("delegate")
    if delegate.values and not isinstance(delegate.value("type") or "", str):
        raise ConfigError(
            "delegate.type", delegate.value("type"), "'delegate' dictionary, if present, must have (string) 'type' field"
        )
    for name in ("name", "ipam"):
        if delegate.value(name) is not None:
            raise ConfigError(f"delegate.{name}", delegate.value(name), f"'delegate' dictionary must not have '{name}' field")
    return delegate


def delegate_conf(conf: NetConf, env: SubnetEnv | None) -> dict[str, Any]:
    """The configuration for the delegate.

    Args:
        env: None where subnet.env has gone; that is enough to remove an attachment, for which no range is needed.

    Raises:
        ConfigError: `delegate` or `ipam` cannot be used.
    """
    section = check_delegate(conf)
    made: dict[str, Any] = dict(section.values)
    made["name"] = conf.name
    _default(section, made, "type", DEFAULT_DELEGATE)
    _default(section, made, "ipMasq", not env.ip_masq if env else True)
    if env is not None:
        _default(section, made, "mtu", env.mtu)
    if made.get("type") == "bridge":
        _default(section, made, "isGateway", True)
    if conf.body.text("cniVersion"):
        made["cniVersion"] = conf.body.text("cniVersion")
    if conf.body.section("runtimeConfig").values:
        made["runtimeConfig"] = conf.body.section("runtimeConfig").values
    made["ipam"] = _ipam(conf, env)
    return made


def _ipam(conf: NetConf, env: SubnetEnv | None) -> dict[str, Any]:
    section = conf.body.section("ipam")
    made: dict[str, Any] = {key: value for key, value in section.values.items() if key.lower() not in ("ranges", "routes")}
    _default(section, made, "type", DEFAULT_IPAM)
    if env is not None:
        made["ranges"] = [[{"subnet": str(subnet)}] for subnet in (env.subnet, env.ipv6_subnet) if subnet is not None]
        routes = [{"dst": str(network.network)} for network in (*env.networks, *env.ipv6_networks)]
        made["routes"] = [*section.items("routes"), *routes]
    return made


def _default(section: Section, made: dict[str, Any], name: str, value: Any) -> None:
    if section.value(name) is None:
        made[name] = value


def attachment_conf(saved: Section, stdin: Section) -> bytes:
    """The delegate's configuration for CHECK and GC: as it was saved or made, with what the runtime gives only now."""
    made = dict(saved.values)
    for key in ("prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"):
        if stdin.value(key) is not None:
            made[key] = stdin.value(key)
    return render(made, indent="").encode()
