"""Whatever stands in the environment and on stdin: one JSON document or none, never a traceback."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cni.plugins import NAMES, load
from cni.skel import COMMANDS, run
from dataplane.drivers import netns

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = st.sampled_from(
    [
        "cniVersion",
        "name",
        "type",
        "ipam",
        "prevResult",
        "dns",
        "args",
        "runtimeConfig",
        "capabilities",
        "bridge",
        "isGateway",
        "mtu",
        "ranges",
        "subnet",
        "routes",
        "dst",
        "dataDir",
        "ips",
        "interfaces",
        "cni",
        "cni.dev/valid-attachments",
        "delegate",
        "subnetFile",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(
        ["0.1.0", "0.4.0", "1.0.0", "1.1.0", "host-local", "bridge", "10.1.0.0/24", "fd00::/64", "::", "/nonexistent"]
    )
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(KEYS, v, max_size=4), max_leaves=12
)
CONFS = st.dictionaries(KEYS, VALUES, max_size=8).map(lambda conf: {"name": "net", "cniVersion": "1.1.0", **conf})
STDIN = st.binary() | VALUES.map(lambda v: json.dumps(v).encode()) | CONFS.map(lambda conf: json.dumps(conf).encode())
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)
ENVIRONMENTS = st.fixed_dictionaries(
    {"CNI_COMMAND": st.sampled_from([*COMMANDS, "", "FOO"]) | TEXTS},
    optional={
        "CNI_CONTAINERID": st.just("c1") | TEXTS,
        "CNI_NETNS": st.sampled_from(
            ["/run/netns/pwt-none", "/nonexistent", "/dev/null", "/proc/thread-self/ns/net", "/proc/self/ns/mnt"]
        ),
        "CNI_IFNAME": st.just("eth0") | TEXTS,
        "CNI_ARGS": st.sampled_from(["", "IP=10.1.0.5", "IgnoreUnknown=1;A=B", ";"]) | TEXTS,
        "CNI_PATH": st.just("/nonexistent"),
    },
)


@pytest.fixture(scope="module", autouse=True)
def _private_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A namespace and a folder of its own: nothing that a configuration could name or leave open lies in either."""
    folder, home = tmp_path_factory.mktemp("cwd"), os.getcwd()
    path = f"/run/netns/pwtfuzz{os.getpid()}"
    netns.create(path)
    try:
        os.chdir(folder)
        with netns.entered(path):
            yield
    finally:
        os.chdir(home)
        netns.delete(path)


@settings(max_examples=400)
@given(st.sampled_from(sorted(NAMES)), ENVIRONMENTS, STDIN)
def test_one_document_or_none(name: str, environ: dict[str, str], stdin: bytes) -> None:
    out: list[str] = []
    plugin = load(name)
    if name == "host-local" and environ["CNI_COMMAND"] == "ADD":
        plugin = load("loopback")  # it would write wherever the configuration says
    status = run(plugin, environ, lambda: stdin, out.append, lambda _: None)
    assert len(out) <= 1
    assert status == (1 if out and "code" in json.loads(out[0]) else 0)
    if status == 1:
        document = json.loads(out[0])
        assert set(document) <= {"cniVersion", "code", "msg", "details"}
        assert "please report it" not in document.get("details", ""), document
