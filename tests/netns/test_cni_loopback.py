"""loopback on the real kernel, as installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dataplane.drivers import netns
from tests.cni_node import VERSIONS, WITH_PREV_RESULT, Node, Refused, links_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        yield made


def _conf(version: str = "1.1.0") -> dict[str, Any]:
    return {"cniVersion": version, "name": "lo", "type": "loopback"}


@pytest.mark.parametrize("version", VERSIONS)
def test_lo_comes_up_and_goes_down(node: Node, version: str) -> None:
    pod = node.namespace()
    result = node.add(_conf(version), pod)
    assert "UP" in links_of(node, pod)["lo"]["flags"]
    shown = [result[key]["ip"] for key in ("ip4", "ip6")] if version < "0.3" else [ip["address"] for ip in result["ips"]]
    assert shown == ["127.0.0.1/8", "::1/128"]
    if version in WITH_PREV_RESULT:
        node.check(_conf(version), result, pod)
    node.delete(_conf(version), pod)
    assert "UP" not in links_of(node, pod)["lo"]["flags"]
    node.delete(_conf(version), pod)


def test_check_finds_lo_down(node: Node) -> None:
    pod = node.namespace()
    result = node.add(_conf(), pod)
    node.sh("ip link set lo down", pod)
    with pytest.raises(Refused, match="link lo: up is False"):
        node.check(_conf(), result, pod)


def test_an_earlier_result_is_passed_through(node: Node) -> None:
    earlier = {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": "x", "sandbox": "/s"}],
        "ips": [{"address": "10.1.0.2/24", "interface": 0}],
    }
    assert node.add({**_conf(), "prevResult": earlier}, node.namespace()) == earlier


def test_another_address_on_lo_is_refused(node: Node) -> None:
    pod = node.namespace()
    node.sh("ip addr add 10.1.0.1/32 dev lo", pod)
    with pytest.raises(Refused, match='non-loopback address \\\\"10.1.0.1\\\\"'):
        node.add(_conf(), pod)
    assert "UP" not in links_of(node, pod)["lo"]["flags"]


@pytest.mark.parametrize("gone", [True, False])
def test_del_without_a_namespace_succeeds(node: Node, gone: bool) -> None:
    pod = node.namespace()
    netns.delete(pod)
    node.delete(_conf(), pod if gone else "")


def test_add_without_a_namespace_is_code_3(node: Node) -> None:
    with pytest.raises(Refused) as refused:
        node.add(_conf(), "/run/netns/pwt-none")
    assert refused.value.code == 3
