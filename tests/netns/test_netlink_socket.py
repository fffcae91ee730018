"""What the netlink socket promises its driver, on the real kernel."""

from __future__ import annotations

from errno import EAGAIN, ENOBUFS, ENODEV
from typing import TYPE_CHECKING

import pytest

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netlink_socket import DUMP_TRIES, NetlinkSocket
from dataplane.inet import parse_prefix
from dataplane.plan import ADD, SET, Op
from dataplane.rtnl import NLM_F_REQUEST, RTM_DELLINK, RTM_GETADDR, RTM_GETLINK, attributes
from dataplane.rtnl_device import IFADDRMSG, encode_address_dump
from dataplane.rtnl_link import IFINFOMSG, decode_link_name, encode_link_dump, encode_link_query, encode_link_removal
from dataplane.state import Address, Bridge, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dataplane.rtnl_request import Request

IFLA_INET6_STATS = 3
BRIDGES = 40  # more than fit into the first part of a dump


@pytest.fixture
def path(namespace: Callable[[], str]) -> str:
    path = namespace()
    driver = NetlinkDriver(path)
    ops = [Op(SET, Link("lo")), *(Op(ADD, Bridge(f"br{n}")) for n in range(BRIDGES))]
    ops.append(Op(ADD, Address("br0", parse_prefix("10.0.0.1/24"))))
    assert driver.apply(ops) == ()
    driver.close()
    return path


@pytest.fixture
def sock(path: str) -> Iterator[NetlinkSocket]:
    made = NetlinkSocket(path)
    yield made
    made.close()


def test_a_dump_is_filtered_by_the_kernel(sock: NetlinkSocket) -> None:
    bodies = sock.dump(RTM_GETADDR, encode_address_dump(1))
    assert {IFADDRMSG.unpack_from(body)[4] for body in bodies} == {1}
    assert len(sock.dump(RTM_GETADDR, encode_address_dump())) > len(bodies)


def test_a_dump_of_an_absent_device_is_refused_and_the_driver_reads_nothing(sock: NetlinkSocket, path: str) -> None:
    with pytest.raises(OSError, match="No such device") as refused:
        sock.dump(RTM_GETADDR, encode_address_dump(99999))
    assert refused.value.errno == ENODEV
    driver = NetlinkDriver(path)
    assert driver._dump_device(RTM_GETADDR, encode_address_dump(99999)) == []
    driver.close()


def test_links_are_read_without_the_counters_of_ipv6(sock: NetlinkSocket) -> None:
    for body in sock.dump(RTM_GETLINK, encode_link_dump()):
        families = attributes(attributes(body, IFINFOMSG.size)[26])  # IFLA_AF_SPEC
        assert IFLA_INET6_STATS not in attributes(families[10])


def test_what_is_left_of_a_question_given_up_is_not_the_answer_to_the_next(sock: NetlinkSocket) -> None:
    sock._send([(RTM_GETLINK, NLM_F_REQUEST, encode_link_query("lo"))])
    assert decode_link_name(sock.ask(RTM_GETLINK, encode_link_query("br7")))[1] == "br7"


def test_an_answer_that_was_dropped_is_an_error_and_no_wait(sock: NetlinkSocket) -> None:
    with pytest.raises(OSError, match="buffer") as lost:
        sock.perform([(RTM_DELLINK, NLM_F_REQUEST, encode_link_removal(Link("gone0")))] * 2000)
    assert lost.value.errno == ENOBUFS


class Disturbed(NetlinkSocket):
    """A socket while whose dumps the links change, a number of times."""

    def __init__(self, path: str, times: int) -> None:
        super().__init__(path)
        self.times, self.driver = times, NetlinkDriver(path)

    def _send(self, batch: Sequence[Request]) -> int:
        sequence = super()._send(batch)  # the first part of the dump is made here
        if self.times:
            self.times -= 1
            assert self.driver.apply([Op(ADD, Bridge(f"new{self.times}"))]) == ()
        return sequence

    def close(self) -> None:
        super().close()
        self.driver.close()


def test_a_table_that_changes_while_it_is_read_is_read_again(path: str) -> None:
    sock = Disturbed(path, times=3)
    found = {decode_link_name(body)[1] for body in sock.dump(RTM_GETLINK, encode_link_dump())}
    assert found == {"lo", "new0", "new1", "new2", *(f"br{n}" for n in range(BRIDGES))}
    assert sock.times == 0
    sock.close()


def test_a_table_that_never_stands_still_is_an_error(path: str) -> None:
    sock = Disturbed(path, times=DUMP_TRIES)
    with pytest.raises(OSError, match="the table changed") as given_up:
        sock.dump(RTM_GETLINK, encode_link_dump())
    assert given_up.value.errno == EAGAIN
    sock.close()
