"""Sysctls of a namespace on the real kernel."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers import netns
from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.sysctl import SysctlDriver
from dataplane.errors import KernelError
from dataplane.ownership import Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.state import Bridge, Sysctl

if TYPE_CHECKING:
    from collections.abc import Callable

FORWARD = "net/ipv4/ip_forward"


def witness(path: str, name: str) -> str:
    argv = ["ip", "netns", "exec", os.path.basename(path), "cat", f"/proc/sys/{name}"]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()


def own(name: str) -> str:
    with open(f"/proc/sys/{name}", encoding="ascii") as file:
        return file.read().strip()


def test_a_setting_is_written_in_the_namespace_and_nowhere_else(namespace: Callable[[], str]) -> None:
    path, other = namespace(), namespace()
    before = own(FORWARD)
    driver = SysctlDriver(path)
    for value in ("1", "0", "1"):
        assert driver.apply([Op(SET, Sysctl(FORWARD, value))]) == ()
        assert witness(path, FORWARD) == value
        assert driver.read(Scope(sysctls=frozenset({FORWARD}))) == {Sysctl(FORWARD, value)}
    assert SysctlDriver(other).read(Scope(sysctls=frozenset({FORWARD}))) == {Sysctl(FORWARD, witness(other, FORWARD))}
    assert own(FORWARD) == before


def test_a_device_name_with_dots_is_one_part_of_the_path(namespace: Callable[[], str]) -> None:
    path = namespace()
    links = NetlinkDriver(path)
    assert links.apply([Op(ADD, Bridge("a.100"))]) == ()
    links.close()
    wish = Sysctl("net/ipv6/conf/a.100/accept_ra", "0")
    assert SysctlDriver(path).apply([Op(ADD, wish)]) == ()
    assert witness(path, wish.name) == "0"


def test_what_does_not_exist_is_not_read_and_fails_to_be_written(namespace: Callable[[], str]) -> None:
    driver = SysctlDriver(namespace())
    gone = Sysctl("net/ipv4/conf/gone0/rp_filter", "1")
    good = Sysctl(FORWARD, "1")
    assert driver.read(Scope(sysctls=frozenset({gone.name}))) == frozenset()
    (failure,) = driver.apply([Op(SET, gone), Op(SET, good)])
    assert str(failure.error).startswith("set sysctl net/ipv4/conf/gone0/rp_filter = 1: No such file or directory: this kernel")
    assert driver.read(Scope(sysctls=frozenset({FORWARD}))) == {good}


def test_a_value_that_the_kernel_refuses_is_a_failure(namespace: Callable[[], str]) -> None:
    (failure,) = SysctlDriver(namespace()).apply([Op(SET, Sysctl(FORWARD, "many"))])
    assert "does not take this value" in str(failure.error)


def test_words_of_a_value_are_separated_by_one_space(namespace: Callable[[], str]) -> None:
    driver = SysctlDriver(namespace())
    wish = Sysctl("net/ipv4/ip_local_port_range", "20000 30000")
    assert driver.apply([Op(SET, wish)]) == ()
    assert driver.read(Scope(sysctls=frozenset({wish.name}))) == {wish}


@pytest.mark.parametrize("name", ["net/../kernel/hostname", "/etc/passwd", "net//x", "", "net/./x", "net/\0"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    driver = SysctlDriver()
    with pytest.raises(KernelError, match="below /proc/sys"):
        driver.read(Scope(sysctls=frozenset({name})))
    (failure,) = driver.apply([Op(SET, Sysctl(name, "1"))])
    assert "below /proc/sys" in str(failure.error)


def test_a_setting_cannot_be_removed(namespace: Callable[[], str]) -> None:
    (failure,) = SysctlDriver(namespace()).apply([Op(REMOVE, Sysctl(FORWARD, "1"))])
    assert "not removed" in str(failure.error)


def test_a_namespace_that_is_not_there_fails_every_operation() -> None:
    home = netns.identity(netns.OWN)
    driver = SysctlDriver("/run/netns/pwt-gone")
    ops = [Op(SET, Sysctl(FORWARD, "1")), Op(SET, Sysctl("net/ipv4/ip_nonlocal_bind", "1"))]
    assert [failure.op for failure in driver.apply(ops)] == ops
    with pytest.raises(KernelError):
        driver.read(Scope(sysctls=frozenset({FORWARD})))
    assert netns.identity(netns.OWN) == home
