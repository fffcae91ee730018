"""What tests of labs share: names that collide with nobody's lab, the command as a user runs it, and what a lab left behind.

The lab itself is `labs.harness.running_lab`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from dataplane.drivers.netns import identity

CHECKOUT = Path(__file__).parent.parent.parent
ROOT_FOLDER = "/run/podwire/lab"


def lab_name(suffix: str) -> str:
    """A name that only this test run uses."""
    return f"t{os.getpid()}-{suffix}"


def podwire(*arguments: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit status (None: any)."""
    done = subprocess.run(
        [sys.executable, "-m", "podwire", *arguments], cwd=CHECKOUT, capture_output=True, text=True, timeout=110, check=False
    )
    assert expect is None or done.returncode == expect, done.stdout + done.stderr
    return done


def podwire_json(*arguments: str, expect: int | None = 0) -> Any:
    """The document that a command prints."""
    return json.loads(podwire(*arguments, "--json", expect=expect).stdout)


def namespaces_of(name: str) -> set[tuple[int, int]]:
    """The identities of a running lab's namespaces, to look for those who still live there later."""
    paths = Path("/run/netns").glob(f"pw-{name}-*")
    return {found for path in paths if (found := identity(str(path))) is not None}


def leftovers(name: str, namespaces: set[tuple[int, int]] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """All that is left of a lab: named namespaces, mounts, files, and processes by command line or in one of `namespaces`."""
    found = [str(path) for path in Path("/run/netns").glob(f"pw-{name}-*")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"pw-{name}-" in line]
    found += [folder for folder in (f"{ROOT_FOLDER}/{name}",) if os.path.exists(folder)]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if f"{ROOT_FOLDER}/{name}/" in command or identity(str(entry / "ns/net")) in namespaces:
            found.append(f"process {entry.name}: {command}")
    return found


def own_devices() -> set[str]:
    """The devices in the namespace that the tests run in: a lab must not add one."""
    return set(os.listdir("/sys/class/net"))
