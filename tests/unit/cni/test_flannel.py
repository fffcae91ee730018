"""flannel: subnet.env, the delegate's configuration, and the file kept for DEL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cni.conf import parse_conf
from cni.flannel.conf import SubnetEnv, attachment_conf, delegate_conf, parse_subnet_env
from cni.flannel.scratch import attachments, load, path_of, remove, remove_name, save
from cni.jsontext import Section
from dataplane.errors import ConfigError
from dataplane.inet import parse_prefix

TEXT = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
ENV = SubnetEnv((parse_prefix("10.244.0.0/16"),), parse_prefix("10.244.3.0/24"), (), None, 1450, True)


def _conf(**keys: Any) -> Any:
    return parse_conf(json.dumps({"name": "net", "cniVersion": "1.0.0", **keys}).encode())


def test_subnet_env() -> None:
    assert parse_subnet_env(TEXT, "f") == ENV


def test_both_families_and_several_networks() -> None:
    text = (
        "# written by flanneld\n\nFLANNEL_NETWORK=10.1.0.0/16,10.2.0.0/16,10.1.0.0/16\nFLANNEL_SUBNET=10.1.3.1/24\n"
        "FLANNEL_IPV6_NETWORK=fd01::/48\nFLANNEL_IPV6_SUBNET=fd01:0:0:3::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\nOTHER=x\n"
    )
    env = parse_subnet_env(text, "f")
    assert [str(network) for network in (*env.networks, *env.ipv6_networks)] == ["10.1.0.0/16", "10.2.0.0/16", "fd01::/48"]
    assert (str(env.subnet), str(env.ipv6_subnet), env.mtu, env.ip_masq) == ("10.1.3.0/24", "fd01:0:0:3::/64", 1430, False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "",
            "f is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ",
        ),
        (TEXT.replace("FLANNEL_MTU=1450\n", ""), "f is missing FLANNEL_MTU"),
        (TEXT.replace("1450", "big"), "FLANNEL_MTU: 'big'"),
        (TEXT.replace("1450", "99999999999"), "FLANNEL_MTU"),
        (TEXT.replace("10.244.3.1/24", "10.244.3.1"), "FLANNEL_SUBNET"),
        (TEXT + "FLANNEL_NETWORK\n", "KEY=VALUE"),
        (TEXT.replace("10.244.0.0/16", '"10.244.0.0/16"'), "FLANNEL_NETWORK"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_subnet_env(text, "f")
    assert words in str(error.value)


def test_the_delegate_s_configuration_by_default() -> None:
    assert delegate_conf(_conf(), ENV) == {
        "name": "net",
        "cniVersion": "1.0.0",
        "type": "bridge",
        "ipMasq": False,
        "mtu": 1450,
        "isGateway": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.3.0/24"}]], "routes": [{"dst": "10.244.0.0/16"}]},
    }


def test_what_the_delegate_says_itself_stays() -> None:
    conf = _conf(
        delegate={"type": "ptp", "mtu": 1300, "IPMASQ": True, "extra": 1},
        ipam={"type": "foo", "dataDir": "/d", "ranges": [["x"]], "routes": [{"dst": "192.0.2.0/24"}]},
        runtimeConfig={"ips": ["10.244.3.9"]},
    )
    assert delegate_conf(conf, ENV) == {
        "name": "net",
        "cniVersion": "1.0.0",
        "type": "ptp",
        "mtu": 1300,
        "IPMASQ": True,
        "extra": 1,
        "runtimeConfig": {"ips": ["10.244.3.9"]},
        "ipam": {
            "type": "foo",
            "dataDir": "/d",
            "ranges": [[{"subnet": "10.244.3.0/24"}]],
            "routes": [{"dst": "192.0.2.0/24"}, {"dst": "10.244.0.0/16"}],
        },
    }


def test_without_subnet_env_there_is_enough_to_delete() -> None:
    made = delegate_conf(_conf(ipam={"dataDir": "/d"}), None)
    assert made["ipam"] == {"dataDir": "/d", "type": "host-local"}
    assert made["ipMasq"] is True


def test_what_only_the_runtime_knows_is_passed_on() -> None:
    stdin = _conf(prevResult={"ips": []}, **{"cni.dev/valid-attachments": []}).body
    made = json.loads(attachment_conf(Section({"name": "net"}), stdin))
    assert made == {"name": "net", "prevResult": {"ips": []}, "cni.dev/valid-attachments": []}


def test_each_interface_has_its_file(tmp_path: Path) -> None:
    folder = str(tmp_path / "d")
    save(folder, "c1", "eth0", b'{"name":"net","type":"a","ipam":{}}')
    save(folder, "c1", "net1", b'{"name":"net","type":"b","ipam":{}}')
    assert [load(folder, "net", "c1", ifname).text("type") for ifname in ("eth0", "net1")] == ["a", "b"]  # type: ignore[union-attr]
    assert attachments(folder, "net") == (("c1", ""), ("c1", "net1"))
    remove(folder, "net", "c1", "net1")
    remove(folder, "net", "c1", "net1")
    assert attachments(folder, "net") == (("c1", ""),)
    remove_name(folder, "c1", "")
    assert attachments(folder, "net") == attachments("/nonexistent", "net") == ()


def test_files_of_other_networks_and_programs_are_nobody_s_to_remove(tmp_path: Path) -> None:
    save(str(tmp_path), "c1", "eth0", b'{"name":"other","type":"a","ipam":{}}')
    for name, text in (("passwd", "root:x"), ("settings", '{"name":"net"}'), ("list", "[]")):
        (tmp_path / name).write_text(text)
    assert attachments(str(tmp_path), "net") == ()
    assert load(str(tmp_path), "net", "c1", "eth0") is None
    remove(str(tmp_path), "net", "c1", "eth0")
    assert attachments(str(tmp_path), "other") == (("c1", ""),)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"name":"net","type":5,"ipam":{}}', '{"name":"net","type":"a","ipam":"x"}'])
def test_a_file_that_makes_no_sense_is_none_and_can_be_removed(tmp_path: Path, text: str) -> None:
    Path(path_of(str(tmp_path), "c1", "eth0")).write_text(text)
    assert load(str(tmp_path), "net", "c1", "eth0") is None
    remove(str(tmp_path), "net", "c1", "eth0")
    assert not list(tmp_path.iterdir())


def test_a_file_of_the_go_plugin_serves_any_interface(tmp_path: Path) -> None:
    (tmp_path / "c1").write_text('{"name":"net","type":"a","ipam":{}}')
    found = load(str(tmp_path), "net", "c1", "net1")
    assert found is not None
    assert found.text("type") == "a"
