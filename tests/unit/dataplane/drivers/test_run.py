"""Real programs, run to their end."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import pytest

from dataplane.drivers.run import Ran, run
from dataplane.errors import KernelError


def test_status_and_both_outputs_come_back() -> None:
    assert run(["sh", "-c", "cat; echo oops >&2; exit 3"], b"in") == Ran(3, b"in", b"oops\n")


def test_a_signal_is_a_negative_status() -> None:
    assert run(["sh", "-c", "kill -9 $$"]).status == -9


def test_much_in_and_much_out_at_once_does_not_block() -> None:
    big = os.urandom(1 << 20) * 3
    ran = run(["sh", "-c", "tee /dev/stderr"], big)
    assert (ran.status, ran.stdout == big, ran.stderr == big) == (0, True, True)


def test_a_program_that_reads_nothing_is_no_error() -> None:
    assert run(["true"], b"x" * 1_000_000).status == 0


def test_a_program_that_closes_its_outputs_and_lives_on_is_waited_for() -> None:
    assert run(["sh", "-c", "exec >&- 2>&-; sleep 0.2; exit 4"]).status == 4


def test_a_program_that_does_not_end_is_killed_and_named() -> None:
    before_s = time.monotonic()
    with pytest.raises(KernelError, match=r"sleep 1000: still running after 0.2 s, killed"):
        run(["sleep", "1000"], timeout_s=0.2)
    assert time.monotonic() - before_s < 100


def test_a_child_that_the_program_leaves_behind_is_not_waited_for() -> None:
    ran = run(["sh", "-c", "sleep 1000 & echo $!; head -c 300000 /dev/zero >&2; exit 5"], timeout_s=100)
    os.kill(int(ran.stdout), signal.SIGKILL)
    assert (ran.status, len(ran.stderr)) == (5, 300_000)


def test_nor_one_that_prints_for_ever() -> None:
    ran = run(["sh", "-c", "yes & echo $! >&2; exit 6"], timeout_s=100)
    os.kill(int(ran.stderr), signal.SIGKILL)
    assert ran.status == 6


def test_a_process_that_may_open_no_more_files_is_told_and_leaves_none_open() -> None:
    before = os.listdir("/proc/self/fd")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        for allowed in range(6):
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + allowed, limits[1]))
            with pytest.raises(KernelError, match="Too many open files"):
                run(["/bin/true"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert os.listdir("/proc/self/fd") == before


def test_a_script_without_its_interpreter_is_not_called_missing_itself(tmp_path: Path) -> None:
    script = tmp_path / "tool"
    script.write_text("#!/nonexistent/python3 -I\n")
    script.chmod(0o755)
    with pytest.raises(KernelError, match="tool: its interpreter is missing: #!/nonexistent/python3 -I"):
        run([str(script)])


def test_no_descriptor_and_no_zombie_is_left() -> None:
    before, children = os.listdir("/proc/self/fd"), _children()
    run(["cat"], b"x")
    with pytest.raises(KernelError):
        run(["sleep", "1000"], timeout_s=0.01)
    with pytest.raises(KernelError):
        run(["/etc/passwd"])
    assert os.listdir("/proc/self/fd") == before
    assert _children() == children


def _children() -> set[str]:
    """This process's children, also those that are dead and not waited for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = stat.read_text().rpartition(") ")[2].split()[1]
        except OSError:
            continue
        if parent == str(os.getpid()):
            found.add(stat.parent.name)
    return found


def test_an_empty_environment_is_enough_to_find_a_program() -> None:
    ran = run(["env"], env={})
    assert (ran.status, ran.stdout) == (0, b"")


def test_the_environment_is_what_was_given_or_else_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_TEST", "grün")
    assert "PODWIRE_TEST=grün\n".encode() in run(["env"]).stdout
    assert run(["env"], env={"A": "ü"}).stdout == "A=ü\n".encode()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nft-of-tomorrow", "run nft-of-tomorrow: no such program; on Debian: apt-get install nftables"),
        ("ip6tables-never-save", "run ip6tables-never-save: no such program; on Debian: apt-get install iptables"),
        ("/nowhere/ipset", "run /nowhere/ipset: no such program; on Debian: apt-get install ipset"),
        ("no-such-tool", "run no-such-tool: no such program$"),
        ("/etc/passwd", "run /etc/passwd: Permission denied"),
    ],
)
def test_a_missing_program_is_named_with_the_package_that_has_it(name: str, complaint: str) -> None:
    with pytest.raises(KernelError, match=complaint):
        run([name])


def test_a_namespace_that_is_not_there_is_named() -> None:
    with pytest.raises(KernelError, match="enter network namespace /run/netns/pwt-none"):
        run(["true"], netns="/run/netns/pwt-none")
