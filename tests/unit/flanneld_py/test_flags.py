"""flanneld's command line in Go's syntax."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from dataplane.errors import ConfigError
from dataplane.inet import parse_ip
from flanneld_py.flags import Flags, command, long_form, parse_flags

SWITCHES = {"--ip-masq", "--version"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("-iface eth0", "--iface=eth0"),
        ("--iface eth0", "--iface=eth0"),
        ("-iface=eth0 -v 10", "--iface=eth0 --v=10"),
        ("-etcd-prefix=/vxlan/network -v 10", "--etcd-prefix=/vxlan/network --v=10"),
        ("-iface -x", "--iface=-x"),
        ("-ip-masq", "--ip-masq=true"),
        ("-ip-masq=false -v=1", "--ip-masq=false --v=1"),
        ("-ip-masq false -v=1", "--ip-masq=true false -v=1"),
        ("-ip-masq -- -v=1", "--ip-masq=true -- -v=1"),
        ("-iface", "--iface"),
        ("-iface=", "--iface="),
        ("-h", "--help"),
        ("-help", "--help"),
        ("a -v 1", "a -v 1"),
        ("-", "-"),
    ],
)
def test_go_arguments_are_read_as_go_reads_them(given: str, wanted: str) -> None:
    assert list(long_form(given.split(), SWITCHES)) == wanted.split()


def invoke(*args: str, **env: str) -> tuple[int, Flags | None, str]:
    """Exit status, parsed flags, all output."""
    seen: list[Flags] = []

    def serve(**values: Any) -> None:
        seen.append(parse_flags(values))

    result = CliRunner().invoke(command(serve), args, env=env)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code, seen[0] if seen else None, result.output


def flags(*args: str, **env: str) -> Flags:
    status, found, output = invoke(*args, **env)
    assert status == 0, output
    assert found is not None
    return found


def test_defaults_are_flannels() -> None:
    found = flags()
    assert found.store == "http://127.0.0.1:4001,http://127.0.0.1:2379"
    assert found.etcd_prefix == "/coreos.com/network"
    assert found.subnet_file == "/run/flannel/subnet.env"
    assert (found.renew_margin_s, found.iptables_resync_s, found.healthz_port, found.healthz_ip) == (3600, 5, 0, "0.0.0.0")
    assert (found.ip_masq, found.random_fully, found.forward_rules, found.blackhole_route) == (False, True, True, False)
    assert (found.iface, found.iface_regex, found.iface_can_reach, found.public_ip) == ((), (), "", None)


def test_every_flag_of_flanneld_is_taken() -> None:
    found = flags(
        *("-etcd-endpoints", "https://a:1,https://b:2", "-etcd-prefix", "/p/", "-etcd-keyfile=k", "-etcd-certfile=c"),
        *("-etcd-cafile=a", "-etcd-username=u", "-etcd-password=p", "-iface=eth0", "-iface", "eth1", "-iface-regex=^en"),
        *("-iface-can-reach=10.0.0.1", "-public-ip=1.2.3.4", "-subnet-file=/x", "-subnet-lease-renew-margin=30", "-ip-masq"),
        *("-ip-masq-fully-random-disable", "-iptables-forward-rules=f", "-iptables-resync=7", "-ip-blackhole-route=T"),
        *("-healthz-ip=127.0.0.1", "-healthz-port=8081", "-v", "10", "-vmodule=x=1", "-log_backtrace_at=a:1"),
        *("-kube-annotation-prefix=x.y", "-net-config-path=/n", "-set-node-network-unavailable=false"),
    )
    assert (found.store, found.etcd_prefix, found.etcd_keyfile) == ("https://a:1,https://b:2", "/p", "k")
    assert (found.iface, found.iface_regex, found.public_ip) == (("eth0", "eth1"), ("^en",), parse_ip("1.2.3.4"))
    assert (found.renew_margin_s, found.ip_masq, found.random_fully, found.forward_rules) == (1800, True, False, False)
    assert (found.iptables_resync_s, found.blackhole_route, found.healthz_port, found.verbosity) == (7, True, 8081, 10)


@pytest.mark.parametrize(("given", "kept"), [("/p/", "/p"), ("/", ""), ("p/q", "p/q"), ("/p//", "/p")])
def test_the_prefix_is_joined_as_flanneld_does(given: str, kept: str) -> None:
    assert flags(f"-etcd-prefix={given}").etcd_prefix == kept  # keys are kept + "/config"


def test_the_embedded_store_takes_the_place_of_etcd() -> None:
    assert flags("-local-subnet-mgr", "/var/lib/podwire/store.db").store == "sqlite:/var/lib/podwire/store.db"


def test_the_command_line_beats_the_environment_and_empty_variables_are_none() -> None:
    assert flags(FLANNELD_IP_MASQ="true", FLANNELD_IFACE="eth7").iface == ("eth7",)
    assert flags("-ip-masq=false", FLANNELD_IP_MASQ="true").ip_masq is False
    assert flags(FLANNELD_IP_MASQ="", FLANNELD_HEALTHZ_PORT="").healthz_port == 0
    assert flags(FLANNELD_V="3", FLANNELD_SUBNET_LEASE_RENEW_MARGIN="5").verbosity == 3


@pytest.mark.parametrize(
    "args",
    [
        ("-no-such-flag",),
        ("-etcd-endpoint=x",),  # no abbreviations
        ("-ip-masq=maybe",),
        ("-healthz-port=70000",),
        ("-subnet-lease-renew-margin=0",),
        ("-subnet-lease-renew-margin=1440",),
        ("-iface",),
        ("stray",),
    ],
)
def test_bad_usage_is_status_2(args: tuple[str, ...]) -> None:
    status, found, output = invoke(*args)
    assert (status, found) == (2, None)
    assert "Error" in output


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("-kube-subnet-mgr",), "not supported yet"),
        (("-kubeconfig-file=/x",), "not supported yet"),
        (("-public-ipv6=fd00::1",), "IPv6 is not supported yet"),
        (("-public-ip=x",), "is not an IP address"),
        (("-public-ip=fd00::1",), "must be an IPv4 address"),
        (("-local-subnet-mgr=x.db",), "must be an absolute path"),
        (("-etcd-keyfile=k",), "must be given together"),
    ],
)
def test_what_cannot_be_names_flag_and_reason(args: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        invoke(*args)
    assert str(caught.value).startswith("-")


def test_version_and_help_are_status_0() -> None:
    assert invoke("-version", FLANNELD_HEALTHZ_PORT="garbage")[0] == 0
    status, _, output = invoke("-help")
    assert status == 0
    assert "--subnet-lease-renew-margin" in output
