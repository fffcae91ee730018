"""The demonstration: what a newcomer sees first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from labs.catalog import find_topology
from labs.check import check
from labs.harness import down, held_lab
from labs.layout import Layout
from labs.state import only_lab
from labs.topology_file import with_options
from tests.netns.lab_fixture import CHECKOUT, lab_name, leftovers, own_devices, podwire


def test_the_demo_shows_all_pairs_and_a_trace_says_pass_and_leaves_nothing() -> None:
    name, devices = lab_name("demo"), own_devices()
    done = podwire("lab", "demo", "--name", name)
    assert "54 of 54 pairs are as they should be" in done.stdout
    assert "the kernel has encapsulated it: VXLAN, VNI 1, to node 192.168.50.12" in done.stdout
    assert done.stdout.splitlines()[-1] == "PASS"
    assert leftovers(name) == []
    assert own_devices() == devices


@pytest.mark.parametrize("moment", ["namespaces", "pods"])
def test_an_interrupted_demo_leaves_nothing(moment: str) -> None:
    name = lab_name(f"demo-{moment}")
    sign = {"namespaces": f"/run/netns/pw-{name}-node1", "pods": f"/run/podwire/lab/{name}/node1/cni-cache/results"}[moment]
    process = subprocess.Popen(
        [sys.executable, "-m", "podwire", "lab", "demo", "--name", name],
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not os.path.exists(sign) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
        assert leftovers(name) == []
    finally:
        process.kill()
        process.wait()
        down(name)


def test_a_demo_removes_what_a_killed_one_left() -> None:
    name = lab_name("demo-again")
    podwire("lab", "up", "bridge", "--name", name, "--pods", "1")
    assert podwire("lab", "demo", "--name", name, "--backend", "host-gw").stdout.endswith("PASS\n")
    assert leftovers(name) == []


def test_two_demos_of_one_name_do_not_disturb_each_other() -> None:
    name = lab_name("demo-two")
    with held_lab(Layout(with_options(find_topology("bridge"), name=name, pods=2))):
        layout = only_lab(name).layout
        assert "is at work on it" in podwire("lab", "demo", "--name", name, expect=2).stderr
        assert "is at work on it" in podwire("lab", "down", name, expect=2).stderr
        assert check(layout).ok
    assert leftovers(name) == []
