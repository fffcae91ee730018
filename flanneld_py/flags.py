"""The command line: flanneld's flags in Go's syntax, and the FLANNELD_* variables.

Go's `flag` package: `-x` and `--x` are the same; `-x=v` or `-x v`; a switch is `-x` or `-x=false`, never `-x false`; no
abbreviations; reading stops at the first word that is not a flag. The command line beats the environment, and an empty variable
is none. Unlike flanneld (which exits 0 there), an unknown flag or a bad value is exit status 2.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import click

from dataplane.errors import ConfigError
from dataplane.inet import IP, parse_ip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ENV_PREFIX = "FLANNELD"
DEFAULT_ENDPOINTS = "http://127.0.0.1:4001,http://127.0.0.1:2379"
_GO_BOOLS = {
    text: value for value, texts in ((True, "1 t T true TRUE True"), (False, "0 f F false FALSE False")) for text in texts.split()
}
# Accepted so that the refusal can say why; the first column of each row of flanneld's table that needs a Kubernetes API.
_NOT_YET = {
    "kube_subnet_mgr": "leases from the Kubernetes API are not supported yet; use -etcd-endpoints or -local-subnet-mgr",
    "kube_api_url": "leases from the Kubernetes API are not supported yet; use -etcd-endpoints or -local-subnet-mgr",
    "kubeconfig_file": "leases from the Kubernetes API are not supported yet; use -etcd-endpoints or -local-subnet-mgr",
    "public_ipv6": "IPv6 is not supported yet; use -public-ip",
}


@dataclass(frozen=True, slots=True)
class Flags:
    """What the operator said, parsed. Empty text means: not given."""

    store: str
    etcd_prefix: str
    etcd_keyfile: str
    etcd_certfile: str
    etcd_cafile: str
    etcd_username: str
    etcd_password: str
    iface: tuple[str, ...]
    iface_regex: tuple[str, ...]
    iface_can_reach: str
    public_ip: IP | None
    subnet_file: str
    renew_margin_s: int
    ip_masq: bool
    random_fully: bool
    forward_rules: bool
    iptables_resync_s: int
    blackhole_route: bool
    healthz_ip: str
    healthz_port: int
    verbosity: int


class _GoBool(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in some versions of click only
    name = "bool"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        if isinstance(value, bool):
            return value
        if value not in _GO_BOOLS:
            self.fail(f"{value!r} is not one of {', '.join(_GO_BOOLS)}", param, ctx)
        return _GO_BOOLS[value]


GO_BOOL = _GoBool()


class GoCommand(click.Command):
    """A click command that reads its arguments as Go's flag package does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        switches = {opt for param in self.params if param.type is GO_BOOL or param.name == "version" for opt in param.opts}
        return super().parse_args(ctx, list(long_form(args, switches)))

    def make_parser(self, ctx: click.Context) -> Any:
        parser = super().make_parser(ctx)
        parser.allow_interspersed_args = False
        return parser


def long_form(args: Sequence[str], switches: set[str]) -> Iterator[str]:
    """Arguments in Go's syntax to `--name=value`, up to the first that is not a flag.

    Args:
        args: as the process was given them.
        switches: names, with two dashes, that take no value from the next argument.
    """
    rest = iter(args)
    for arg in rest:
        if not arg.startswith("-") or arg in ("-", "--"):
            yield arg
            break
        name, equals, value = f"--{arg.lstrip('-')}".partition("=")
        if name in ("--help", "--h"):
            yield "--help"
        elif equals:
            yield f"{name}={value}"
        elif name in switches:
            yield f"{name}=true"
        else:
            following = next(rest, None)
            yield name if following is None else f"{name}={following}"
    yield from rest


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if not asked:
        return
    try:
        number = version("podwire")
    except PackageNotFoundError:
        number = "0 (not installed)"
    print(f"podwire flanneld-py {number}", file=sys.stderr)
    ctx.exit(0)


def _text(name: str, help_text: str, default: str = "") -> click.Option:
    return click.Option([f"--{name}"], default=default, show_default=bool(default), help=help_text)


def _texts(name: str, help_text: str) -> click.Option:
    return click.Option([f"--{name}"], multiple=True, help=help_text)


def _number(name: str, help_text: str, default: int, low: int, high: int) -> click.Option:
    return click.Option([f"--{name}"], type=click.IntRange(low, high), default=default, show_default=True, help=help_text)


def _switch(name: str, help_text: str, default: bool = False) -> click.Option:
    return click.Option([f"--{name}"], type=GO_BOOL, default=default, show_default=True, help=help_text)


def _options() -> list[click.Parameter]:
    return [
        _text("etcd-endpoints", "comma-separated etcd endpoints", DEFAULT_ENDPOINTS),
        _text("etcd-prefix", "prefix of all keys", "/coreos.com/network"),
        _text("etcd-keyfile", "TLS key of this client"),
        _text("etcd-certfile", "TLS certificate of this client"),
        _text("etcd-cafile", "certificate authority that signed etcd's certificate"),
        _text("etcd-username", "etcd user"),
        _text("etcd-password", "etcd password"),
        _text("local-subnet-mgr", "path of the embedded store; takes the place of etcd"),
        _texts("iface", "device (name or IP) that leads to the other nodes; repeatable, the first match wins"),
        _texts("iface-regex", "expression for the device's addresses or name; repeatable, tried after -iface"),
        _text("iface-can-reach", "the device by which this IP is reached; tried last"),
        _text("public-ip", "IP by which other nodes reach this one"),
        _text("public-ipv6", "(not supported yet)"),
        _text("subnet-file", "where to write the subnet, for the CNI plugin", "/run/flannel/subnet.env"),
        _number("subnet-lease-renew-margin", "renew the lease so many minutes before it ends", 60, 1, 1439),
        _switch("ip-masq", "masquerade traffic that leaves the network"),
        _switch("ip-masq-fully-random-disable", "masquerade without --random-fully"),
        _switch("iptables-forward-rules", "accept forwarded traffic of the network", True),
        _number("iptables-resync", "compare iptables rules every so many seconds", 5, 1, 86400),
        _switch("ip-blackhole-route", "drop traffic to addresses of our subnet that nobody has"),
        _text("healthz-ip", "address of /healthz and /readyz", "0.0.0.0"),
        _number("healthz-port", "port of /healthz and /readyz; 0 is off", 0, 0, 65535),
        _switch("kube-subnet-mgr", "(not supported yet)"),
        _text("kube-api-url", "(not supported yet)"),
        _text("kubeconfig-file", "(not supported yet)"),
        _text("kube-annotation-prefix", "used with -kube-subnet-mgr only", "flannel.alpha.coreos.com"),
        _text("net-config-path", "used with -kube-subnet-mgr only", "/etc/kube-flannel/net-conf.json"),
        _switch("set-node-network-unavailable", "used with -kube-subnet-mgr only", True),
        click.Option(
            ["--v", "verbosity"], type=click.IntRange(0), default=0, envvar=f"{ENV_PREFIX}_V", help="more than 0 logs every turn"
        ),
        _text("vmodule", "accepted for compatibility, no effect"),
        _text("log_backtrace_at", "accepted for compatibility, no effect"),
        click.Option(
            ["--version"], type=GO_BOOL, is_eager=True, expose_value=False, callback=_version, help="print the version to stderr"
        ),
    ]


def command(serve: Callable[..., None]) -> click.Command:
    """The command `flanneld-py`, which hands the values of all flags to `serve`, by name."""
    return GoCommand(
        "flanneld-py",
        callback=serve,
        params=_options(),
        context_settings={"auto_envvar_prefix": ENV_PREFIX, "help_option_names": ["--help"]},
        help="A flannel-compatible overlay daemon. Flags may be written with one dash, or given as variables: FLANNELD_ETCD_PREFIX "
        "for -etcd-prefix.",
    )


def parse_flags(values: dict[str, Any]) -> Flags:
    """The options' values, checked across one another.

    Raises:
        ConfigError: a value cannot be, or is for something that is not supported yet.
    """
    for name, why in _NOT_YET.items():
        if values[name]:
            raise ConfigError(f"-{name.replace('_', '-')}", values[name], why)
    if bool(values["etcd_keyfile"]) != bool(values["etcd_certfile"]):
        raise ConfigError("-etcd-keyfile, -etcd-certfile", None, "must be given together")
    return Flags(
        store=_store(values),
        etcd_prefix=values["etcd_prefix"].rstrip("/"),
        public_ip=_ipv4("-public-ip", values["public_ip"]),
        renew_margin_s=values["subnet_lease_renew_margin"] * 60,
        random_fully=not values["ip_masq_fully_random_disable"],
        forward_rules=values["iptables_forward_rules"],
        iptables_resync_s=values["iptables_resync"],
        blackhole_route=values["ip_blackhole_route"],
        **{name: values[name] for name in _AS_IT_IS},
    )


_AS_IT_IS = (
    *("etcd_keyfile", "etcd_certfile", "etcd_cafile", "etcd_username", "etcd_password"),
    *("iface", "iface_regex", "iface_can_reach", "subnet_file", "ip_masq", "healthz_ip", "healthz_port", "verbosity"),
)


def _store(values: dict[str, Any]) -> str:
    local = str(values["local_subnet_mgr"])
    if local and not local.startswith("/"):
        raise ConfigError("-local-subnet-mgr", local, "must be an absolute path")
    return f"sqlite:{local}" if local else str(values["etcd_endpoints"])


def _ipv4(flag: str, text: str) -> IP | None:
    if not text:
        return None
    try:
        address = parse_ip(text)
    except ValueError as error:
        raise ConfigError(flag, text, str(error)) from None
    if address.version != 4:
        raise ConfigError(flag, text, "must be an IPv4 address")
    return address
