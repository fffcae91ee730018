"""An `up` that is killed at any moment leaves nothing that `down` does not find."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from labs.harness import down
from tests.netns.lab_fixture import CHECKOUT, lab_name, leftovers, own_devices, podwire

KILLED_AT_STEP = """
import os, signal, sys
from labs.catalog import find_topology
from labs.harness import up
from labs.layout import Layout
from labs.topology_file import with_options

topology, name, last = sys.argv[1], sys.argv[2], int(sys.argv[3])
steps = 0

def progress(words):
    global steps
    steps += 1
    if steps > last:
        print(words, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

up(Layout(with_options(find_topology(topology), name=name)), progress)
"""
STEPS = 7


@pytest.mark.parametrize("step", range(STEPS))
@pytest.mark.parametrize("topology", ["bridge", "flannel"])
def test_an_up_killed_at_a_step_is_removed_whole(topology: str, step: int) -> None:
    name, devices = lab_name(f"step{step}"), own_devices()
    try:
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AT_STEP, topology, name, str(step)],
            cwd=CHECKOUT,
            capture_output=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout  # it was killed at the step, not before
        podwire("lab", "up", topology, "--name", name, expect=2)
    finally:
        assert down(name)
    assert leftovers(name) == []
    assert own_devices() == devices
    assert not down(name)


@pytest.mark.parametrize("seed", range(8))
def test_an_up_killed_at_a_random_moment_is_removed_whole(seed: int) -> None:
    name = lab_name(f"random{seed}")
    delay_s = random.Random(seed).uniform(0.2, 1.2)
    command = [sys.executable, "-m", "podwire", "lab", "up", "flannel", "--name", name]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(delay_s)
        process.kill()
    finally:
        process.wait()
        down(name)
    assert leftovers(name) == [], f"killed after {delay_s:.3f} s"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_up_that_is_interrupted_undoes_itself(number: signal.Signals) -> None:
    name = lab_name("interrupted")
    command = [sys.executable, "-m", "podwire", "lab", "up", "flannel", "--name", name]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not os.path.exists(f"/run/netns/pw-{name}-node1") and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) != 0
        assert leftovers(name) == []
    finally:
        process.kill()
        process.wait()
        down(name)


INTERRUPTED_AGAIN = """
import os, signal, sys
from labs.catalog import find_topology
from labs.harness import held_lab, up
from labs.interrupt import end_in_order
from labs.layout import Layout
from labs.topology_file import with_options

name, how, first, *more = sys.argv[1:]

def progress(words):
    if words == first or words in more:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)

end_in_order()
layout = Layout(with_options(find_topology("bridge"), name=name, pods=1))
if how == "up":
    up(layout, progress)
else:
    with held_lab(layout, progress):
        print("it works")
"""


@pytest.mark.parametrize(
    ("how", "moments"),
    [
        ("up", ("attaching pods", "undoing what was made")),
        ("held", ("attaching pods", "stopping daemons", "removing namespaces and files")),
        ("held", ("detaching pods",)),
    ],
)
def test_an_undo_that_is_interrupted_goes_on(how: str, moments: tuple[str, ...]) -> None:
    name = lab_name("again")
    command = [sys.executable, "-c", INTERRUPTED_AGAIN, name, how, *moments]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 128 + signal.SIGINT, done.stderr
        assert ("it works" in done.stdout) == ("attaching pods" not in moments)
        assert leftovers(name) == []
    finally:
        down(name)


def test_a_demo_whose_reader_goes_away_leaves_nothing() -> None:
    name = lab_name("unread")
    command = [sys.executable, "-m", "podwire", "lab", "demo", "--name", name]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("... ")
        process.stdout.close()
        assert process.wait(60) != 0
        assert leftovers(name) == []
    finally:
        process.kill()
        process.wait()
        down(name)
