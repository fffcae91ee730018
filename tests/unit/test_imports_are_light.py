"""What a CNI verb imports is counted: a plugin has some 12 ms, and the interpreter alone takes 7 of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOT_PATH = (
    "dataplane.reconcile",
    "dataplane.drivers.netlink",
    "dataplane.drivers.netns",
    "dataplane.drivers.sysctl",
    "dataplane.drivers.iptables",
    "dataplane.drivers.host",
)
# Beside our own and what the bare interpreter has loaded: C built-ins, and the few modules of plain tables and paths behind `os`.
ALLOWED = frozenset(
    {
        "__future__",
        "_collections_abc",
        "_socket",
        "_stat",
        "_struct",
        "errno",
        "fcntl",
        "genericpath",
        "os",
        "os.path",
        "posixpath",
        "select",
        "stat",
        "struct",
    }
)
SCRIPT = """
import sys
before = set(sys.modules)
sys.path.insert(0, {root!r})
for name in {names!r}:
    __import__(name)
print(*sorted(set(sys.modules) - before))
"""


def modules_after_importing(*names: str) -> set[str]:
    """What a cold interpreter, as isolated as a plugin's, has loaded on top of its own."""
    script = SCRIPT.format(root=str(ROOT), names=names)
    found = subprocess.run([_bare_python(), "-ISB", "-c", script], check=True, capture_output=True, text=True)
    return set(found.stdout.split())


def _bare_python() -> str:
    """The interpreter behind a virtual environment: the system's own where the tests were started with it."""
    return str(getattr(sys, "_base_executable", sys.executable))


@pytest.mark.parametrize("name", HOT_PATH)
def test_the_hot_path_loads_nothing_heavy(name: str) -> None:
    loaded = modules_after_importing(name)
    assert name in loaded
    assert {module for module in loaded if not module.startswith("dataplane")} <= ALLOWED


def test_the_kernel_as_a_whole_loads_its_drivers_only_when_there_is_work() -> None:
    assert not {"dataplane.drivers.netlink", "dataplane.drivers.iptables", "dataplane.drivers.run"} & modules_after_importing(
        "dataplane.drivers.host"
    )


def test_the_count_can_fail() -> None:
    assert {"re", "enum", "functools"} <= modules_after_importing("json")
