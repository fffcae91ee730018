"""Measure who reaches whom: one UDP echo socket and one asking socket in every namespace, all served by one loop.

A socket stays in the namespace that it was opened in (namespaces(7)), so one process can stand in all of them. The echo says
which source address it saw: that is how NAT becomes visible. First all pairs are asked together, until each has answered or none
did for a while; then those that did are measured one after the other on the warm path, so that a round trip holds no waiting of
ours.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from dataplane.inet import IP
from dataplane.ownership import Scope
from dataplane.state import Address
from labs.layout import Layout
from labs.verdict import Answer, Probe, Verdict, judge, wanted_probes

PATIENCE_S = 2.0  # without any new answer, until the rest counts as lost: a slow machine that goes on answering is not cut short
_AGAIN_S = 0.2  # an unanswered question is asked again
_AT_ONCE = 64  # questions between two looks for answers: a socket's buffer holds some hundreds
_ROUNDS = 3  # of measuring; the best counts
_QUESTION = struct.Struct("!8sII")  # nonce of this check, number of the probe, number of the attempt


@dataclass(slots=True)
class Station:
    """The two sockets in one namespace."""

    echo: socket.socket
    asker: socket.socket

    @property
    def port(self) -> int:
        return int(self.echo.getsockname()[1])


@dataclass(slots=True)
class Survey:
    """One check under way: who has been asked, and what came back."""

    stations: Mapping[str, Station]
    probes: Sequence[Probe]
    nonce: bytes = field(default_factory=lambda: os.urandom(8))
    sent_at: list[float] = field(default_factory=list)  # seconds, monotonic; by attempt, counted over all probes
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def open(self) -> tuple[int, ...]:
        """The probes that have no answer yet."""
        return tuple(number for number in range(len(self.probes)) if number not in self.answers)

    def ask(self, number: int) -> None:
        """Send one question. A kernel that has no route says so at once; the question then stays open."""
        probe = self.probes[number]
        source, target = self.stations.get(probe.source), self.stations.get(probe.target)
        if source is None or target is None or probe.address is None:
            return
        self.sent_at.append(time.perf_counter())
        question = _QUESTION.pack(self.nonce, number, len(self.sent_at) - 1)
        with suppress(OSError):
            source.asker.sendto(question, (str(probe.address), target.port))

    def hear(self, station: Station) -> None:
        """Take in one answer."""
        with suppress(OSError):  # an ICMP error to an earlier question
            text = station.asker.recv(64)
            now = time.perf_counter()
            if len(text) != _QUESTION.size + 4 or text[:8] != self.nonce:
                return
            _, number, attempt = _QUESTION.unpack_from(text)
            rtt_ms = (now - self.sent_at[attempt]) * 1000
            before = self.answers.get(number)
            self.answers[number] = Answer(min(rtt_ms, before.rtt_ms) if before else rtt_ms, IP(text[_QUESTION.size :]))


def check(layout: Layout, patience_s: float = PATIENCE_S) -> Verdict:
    """Ask all pairs of a lab.

    Raises:
        KernelError: a namespace could not be read.
    """
    addresses = read_addresses(layout)
    probes = wanted_probes(layout, addresses)
    with open_stations(layout) as stations:
        survey = Survey(stations, probes)
        _ask_all(survey, patience_s)
        _measure(survey)
    return judge(layout, probes, {probes[number]: answer for number, answer in survey.answers.items()})


def read_addresses(layout: Layout) -> dict[str, tuple[IP, ...]]:
    """The IPv4 addresses of machines and pods without loopback's. What is not there has none."""
    names = (*(node.name for node in layout.topology.nodes), *(pod.name for pod in layout.pods))
    return {name: _addresses(layout.netns(name)) for name in names}


def _addresses(netns: str) -> tuple[IP, ...]:
    try:
        driver = NetlinkDriver(netns)
    except KernelError:
        return ()
    try:
        found = driver.read(Scope(devices=frozenset({"*"})))
    finally:
        driver.close()
    ips = (item.prefix.address for item in found if isinstance(item, Address))
    return tuple(sorted(ip for ip in ips if ip.version == 4 and not ip.is_loopback))


@contextmanager
def open_stations(layout: Layout) -> Iterator[dict[str, Station]]:
    """A station in each namespace that is there, by name."""
    outside = layout.topology.outside
    names = (outside.name, *(node.name for node in layout.topology.nodes), *(pod.name for pod in layout.pods))
    with ExitStack() as stack:
        stations = {}
        for name in names:
            # An echo must come from the address that was asked: the outside host has two, and would choose the other one.
            address = str(outside.address) if name == outside.name else "0.0.0.0"
            with suppress(KernelError), entered(layout.netns(name)):
                stations[name] = Station(stack.enter_context(_udp()), stack.enter_context(_udp()))
                stations[name].echo.bind((address, 0))
        yield stations


def _udp() -> socket.socket:
    handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    handle.setblocking(False)
    return handle


def _ask_all(survey: Survey, patience_s: float) -> None:
    with selectors.DefaultSelector() as selector:
        for station in survey.stations.values():
            selector.register(station.echo, selectors.EVENT_READ, None)
            selector.register(station.asker, selectors.EVENT_READ, station)
        lost_at = time.monotonic() + patience_s
        while survey.open and time.monotonic() < lost_at:
            answered = len(survey.answers)
            _ask_round(survey, selector)
            if len(survey.answers) > answered:
                lost_at = time.monotonic() + patience_s


def _ask_round(survey: Survey, selector: selectors.BaseSelector) -> None:
    """Ask every open question once, and wait a little for the last answers."""
    unanswered = survey.open
    for start in range(0, len(unanswered), _AT_ONCE):
        for number in unanswered[start : start + _AT_ONCE]:
            survey.ask(number)
        _serve_all(survey, selector, 0.0)
    _serve_all(survey, selector, _AGAIN_S)


def _serve_all(survey: Survey, selector: selectors.BaseSelector, wait_s: float) -> None:
    """Questions and answers, as they come, until none came for what is left of `wait_s`."""
    until = time.monotonic() + wait_s
    while len(survey.answers) < len(survey.probes) and (ready := selector.select(max(0.0, until - time.monotonic()))):
        for key, _ in ready:
            _serve(survey, key.fileobj, key.data)


def _serve(survey: Survey, handle: object, station: Station | None) -> None:
    if station is not None:
        survey.hear(station)
    elif isinstance(handle, socket.socket):
        echo(handle)


def echo(handle: socket.socket) -> None:
    """Send one question back, with the source address that it came from."""
    with suppress(OSError):
        text, source = handle.recvfrom(64)
        handle.sendto(text + socket.inet_aton(source[0]), source)


def _measure(survey: Survey) -> None:
    for _ in range(_ROUNDS):
        for number in tuple(survey.answers):
            survey.ask(number)
            probe = survey.probes[number]
            _answer_one(survey, survey.stations[probe.source], survey.stations[probe.target])


def _answer_one(survey: Survey, source: Station, target: Station) -> None:
    """Wait for one question and its answer; a lost one costs a short while and is not measured."""
    for handle in (target.echo, source.asker):
        ready, _, _ = select.select([handle], [], [], _AGAIN_S)
        if not ready:
            return
        _serve(survey, handle, None if handle is target.echo else source)
