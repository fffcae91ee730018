"""A network list run as a container runtime runs it, and `podwire cni`."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cni.errors import CniError
from cni.runtime import run_list
from dataplane.drivers.netns import delete, entered
from podwire.cni_command import cni, container_id_of
from tests.cni_node import Node, addresses_of, links_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# A chained plugin that notes what it gets, and passes the result on.
WITNESS = """#!/bin/sh
cat >{folder}/$CNI_COMMAND.conf; echo $CNI_COMMAND >>{folder}/calls
[ $CNI_COMMAND != ADD ] || python3 -c 'import json; print(json.dumps(json.load(open("{folder}/ADD.conf"))["prevResult"]))'
"""


@pytest.fixture
def node() -> Iterator[Node]:
    with Node() as made:
        witness = Path(made.folder) / "witness"
        witness.write_text(WITNESS.format(folder=made.folder))
        os.chmod(witness, 0o755)
        made.cni_path = f"{made.cni_path}:{made.folder}"
        yield made


def _conflist(node: Node, version: str = "1.1.0", **more: Any) -> str:
    bridge = node.conf("bridge", "v4", ipMasq=True)
    bridge["capabilities"] = {"ips": True, "mac": False}
    plugins = [{key: value for key, value in bridge.items() if key not in ("name", "cniVersion")}, {"type": "witness"}]
    path = Path(node.folder) / "net.conflist"
    path.write_text(json.dumps({"cniVersion": version, "name": "net1", "plugins": plugins, **more}))
    return str(path)


def _run(node: Node, verb: str, pod: str, container_id: str = "c1", **more: Any) -> dict[str, Any] | None:
    path = more.pop("path", None) or _conflist(node)
    return run_list(verb, path, container_id, pod, "eth0", node.cni_path, f"{node.folder}/cache", host_netns=node.host, **more)


def _seen(node: Node, verb: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((Path(node.folder) / f"{verb}.conf").read_text())
    return document


def test_add_goes_forward_and_del_backward_with_results_passed_on(node: Node) -> None:
    pod = node.namespace()
    result = _run(node, "ADD", pod)
    assert result is not None
    assert addresses_of(node, pod, "eth0") == {"10.77.0.2/24"}
    assert _seen(node, "ADD")["prevResult"] == result
    _run(node, "CHECK", pod)
    assert _seen(node, "CHECK")["prevResult"] == result
    os.remove(f"{node.folder}/witness")
    with pytest.raises(CniError, match='failed to find plugin "witness"'):
        _run(node, "DEL", pod)
    assert "eth0" in links_of(node, pod)  # witness is last in the list, so it comes first on DEL


def test_the_cache_is_libcni_s(node: Node) -> None:
    pod = node.namespace()
    result = _run(
        node, "ADD", pod, cni_args="IgnoreUnknown=1;A=B", capability_args={"ips": ["10.77.0.44"], "mac": "02:00:00:00:00:01"}
    )
    path = Path(node.folder) / "cache" / "results" / "net1-c1-eth0"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    cached = json.loads(path.read_text())
    assert json.loads(base64.b64decode(cached.pop("config")))["name"] == "net1"
    assert cached == {
        "kind": "cniCacheV1",
        "containerId": "c1",
        "ifName": "eth0",
        "networkName": "net1",
        "netns": pod,
        "cniArgs": [["IgnoreUnknown", "1"], ["A", "B"]],
        "capabilityArgs": {"ips": ["10.77.0.44"], "mac": "02:00:00:00:00:01"},
        "result": result,
    }
    assert addresses_of(node, pod, "eth0") == {"10.77.0.44/24"}  # asked for and provided; `mac` was not asked for
    _run(node, "DEL", pod)
    assert _seen(node, "DEL")["prevResult"] == result
    assert not path.exists()


@pytest.mark.parametrize("broken", ["", "{", "[]"])
def test_del_works_with_a_cache_that_a_power_cut_left(node: Node, broken: str) -> None:
    pod = node.namespace()
    _run(node, "ADD", pod)
    (Path(node.folder) / "cache" / "results" / "net1-c1-eth0").write_text(broken)
    delete(pod)
    _run(node, "DEL", "")
    assert (node.rules(), node.reservations()) == ([], set())


def test_gc_deletes_what_is_cached_and_dead_and_tells_the_plugins_who_lives(node: Node) -> None:
    pods = [node.namespace() for _ in range(3)]
    for i, pod in enumerate(pods):
        _run(node, "ADD", pod, f"c{i}")
    delete(pods[0])
    living = [{"containerID": "c1", "ifname": "eth0"}]
    _run(node, "GC", "", "", valid_attachments=living)
    assert _seen(node, "GC")["cni.dev/valid-attachments"] == living
    assert node.reservations() == {"10.77.0.3"}
    assert os.listdir(f"{node.folder}/cache/results") == ["net1-c1-eth0"]
    assert "eth0" not in links_of(node, pods[2])


def test_verbs_that_the_list_is_too_old_for_or_has_switched_off(node: Node) -> None:
    for verb in ("GC", "STATUS"):
        with pytest.raises(CniError, match=f"does not support {verb}"):
            _run(node, verb, "", path=_conflist(node, "1.0.0"))
    _run(node, "CHECK", "/none", path=_conflist(node, disableCheck=True))
    _run(node, "GC", "", path=_conflist(node, disableGC="true"))
    assert not os.path.exists(f"{node.folder}/calls")


def test_the_highest_known_version_counts(node: Node) -> None:
    result = _run(node, "ADD", node.namespace(), path=_conflist(node, "0.4.0", cniVersions=["1.0.0", "9.0.0"]))
    assert result is not None
    assert result["cniVersion"] == "1.0.0"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "net.conflist"),
        ("[" * 100_000, "net.conflist: maximum recursion depth"),
        ("[]", "no name"),
        ('{"name":"../x"}', "or a bad one"),
        ('{"name":"x","plugins":[]}', "plugins"),
        ('{"name":"x","plugins":null}', "plugins"),
        ('{"name":"x","plugins":"ab"}', "plugins"),
        ('{"name":"x","plugins":[{"type":"bridge","capabilities":["ips"]}]}', "capabilities"),
        ('{"name":"x","cniVersion":"9"}', "type"),
        ('{"name":"x","cniVersion":9,"cniVersions":null,"type":"bridge"}', "cniVersion 9"),
    ],
)
def test_a_list_that_cannot_be_run_says_why(node: Node, text: str, words: str) -> None:
    path = Path(node.folder) / "net.conflist"
    path.write_text(text)
    with pytest.raises(CniError, match=words):
        _run(node, "ADD", "/none", path=str(path))


def test_the_command_does_what_cnitool_does(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = node.namespace()
    monkeypatch.setenv("NETCONFPATH", os.path.dirname(_conflist(node)))
    monkeypatch.setenv("CNI_PATH", node.cni_path)
    monkeypatch.setenv("CNI_IFNAME", "net7")
    cache = ["--cache-dir", f"{node.folder}/cache"]
    with entered(node.host):
        added = CliRunner().invoke(cni, ["add", "net1", pod, *cache])
        assert added.exit_code == 0, added.output
        assert json.loads(added.output)["ips"][0]["address"] == "10.77.0.2/24"
        assert "net7" in links_of(node, pod)
        assert (Path(node.data) / "net1" / "10.77.0.2").read_text() == f"{container_id_of(pod)}\nnet7"
        assert container_id_of(pod).startswith("cnitool-")
        assert CliRunner().invoke(cni, ["check", "net1", pod, *cache]).exit_code == 0
        assert CliRunner().invoke(cni, ["status", "net1", *cache]).exit_code == 0
        node.sh("ip link set net7 down", pod)
        checked = CliRunner().invoke(cni, ["check", "net1", pod, *cache])
        assert checked.exit_code == 1
        assert json.loads(checked.output)["code"] == 999
        assert CliRunner().invoke(cni, ["gc", "net1", *cache]).exit_code == 2
        assert CliRunner().invoke(cni, ["gc", "net1", "--valid", f"{container_id_of(pod)}/net7", *cache]).exit_code == 0
        assert CliRunner().invoke(cni, ["del", "net1", pod, *cache]).exit_code == 0
    assert set(links_of(node, pod)) == {"lo"}


def test_a_list_that_cannot_be_read_does_not_hide_the_others(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(_conflist(node)).parent
    for number, text in enumerate((b"{", b"[" * 100_000, b"\xff", b'{"name":"net1","cniVersions":null,"plugins":5}')):
        (folder / f"0{number}.conflist").write_bytes(text)
    (folder / "09.conflist").mkdir()
    (folder / "0a.conf").symlink_to("/nonexistent")
    monkeypatch.setenv("NETCONFPATH", str(folder))
    monkeypatch.setenv("CNI_PATH", node.cni_path)
    with entered(node.host):
        ran = CliRunner().invoke(cni, ["status", "net1"])
    assert (ran.exit_code, ran.output) == (0, "")


@pytest.mark.parametrize(
    ("args", "variables", "expected"),
    [
        (["add", "net1", "/none"], {}, (1, '"code": 3')),
        (["add", "net1", "/none"], {"CNI_PATH": "/nonexistent"}, (2, "failed to find plugin")),
        (["add", "net1", "/none"], {"CNI_ARGS": "x"}, (2, "invalid pair")),
        (["add", "net1", "/none"], {"CNI_IFNAME": "a/b"}, (2, "interface name contains")),
        (["add", "net1", "/none"], {"CAP_ARGS": "{"}, (2, "CAP_ARGS")),
        (["add", "net1", "/none"], {"CAP_ARGS": "[]"}, (2, "CAP_ARGS=[]: a JSON object is wanted")),
        (["gc", "net1", "--valid", ""], {}, (2, "CONTAINER_ID/IFNAME is wanted")),
        (["gc", "net1", "--valid", "c1"], {}, (2, "CONTAINER_ID/IFNAME is wanted")),
        (["gc", "net1", "--valid", "c1/eth0/x"], {}, (2, "CONTAINER_ID/IFNAME is wanted")),
        (["install", ""], {}, (2, "must be the path of a folder")),
    ],
)
def test_the_exit_status_tells_the_operator_s_mistakes_from_the_world_s(
    node: Node, monkeypatch: pytest.MonkeyPatch, args: list[str], variables: dict[str, str], expected: tuple[int, str]
) -> None:
    monkeypatch.setenv("NETCONFPATH", os.path.dirname(_conflist(node)))
    for name, value in {"CNI_PATH": node.cni_path, **variables}.items():
        monkeypatch.setenv(name, value)
    with entered(node.host):
        ran = CliRunner().invoke(cni, args)
    assert (ran.exit_code, expected[1] in ran.output) == (expected[0], True), ran.output


def test_a_cache_that_cannot_be_written_is_an_error_of_the_add(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = node.namespace()
    monkeypatch.setenv("NETCONFPATH", os.path.dirname(_conflist(node)))
    monkeypatch.setenv("CNI_PATH", node.cni_path)
    with entered(node.host):
        ran = CliRunner().invoke(cni, ["add", "net1", pod, "--cache-dir", "/dev/null"])
        assert (ran.exit_code, json.loads(ran.output)["code"]) == (1, 5)
        assert CliRunner().invoke(cni, ["del", "net1", pod, "--cache-dir", "/dev/null"]).exit_code == 0
    assert set(links_of(node, pod)) == {"lo"}


def test_the_command_refuses_what_it_does_not_know(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETCONFPATH", node.folder)
    for args in (["add", "other", "/none"], ["install"], ["install", f"{node.folder}/bin", "--python", "/nonexistent"]):
        assert CliRunner().invoke(cni, args).exit_code == 2


def test_the_command_installs(node: Node) -> None:
    ran = CliRunner().invoke(cni, ["install", f"{node.folder}/bin", "--json"])
    assert [os.path.basename(path) for path in json.loads(ran.output)] == ["bridge", "flannel", "host-local", "loopback", "ptp"]
