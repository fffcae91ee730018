"""A trace as a reader sees it."""

from __future__ import annotations

from dataclasses import replace

from dataplane.inet import parse_ip
from labs.trace.hop import Hop, Layer, Trace
from podwire.trace_text import trace_lines

LAYERS = (
    Layer("IPv4", (("src", "10.0.0.1"), ("dst", "10.0.0.2"), ("ttl", "64"))),
    Layer("UDP", (("sport", "4000"), ("dport", "8472"))),
    Layer("VXLAN", (("vni", "1"),)),
)
OUT_OF_NODE = Hop(1, "node1", "flannel.1", "out", 12.4, "routed", ("route 10.0.0.0/24 dev flannel.1",), LAYERS)


def trace(rtt_ms: float | None, *reply: Hop) -> Trace:
    return Trace("mine", "vxlan", "a", "b", parse_ip("10.0.0.2"), rtt_ms, (OUT_OF_NODE,), reply)


def test_hops_are_numbered_and_headers_indented_from_the_outside_in() -> None:
    assert list(trace_lines(trace(1.234, OUT_OF_NODE)))[:9] == [
        "ping a -> b (10.0.0.2), network: vxlan",
        "",
        "Request",
        "  1. node1  flannel.1 out  +12 us",
        "      routed",
        "      by route 10.0.0.0/24 dev flannel.1",
        "        IPv4 10.0.0.1 > 10.0.0.2, ttl 64",
        "          UDP 4000 > 8472",
        "            VXLAN vni 1",
    ]


def test_headers_that_did_not_change_are_not_repeated() -> None:
    twice = Trace("mine", "vxlan", "a", "b", parse_ip("10.0.0.2"), None, (OUT_OF_NODE, OUT_OF_NODE), ())
    lines = list(trace_lines(twice))
    assert sum("VXLAN vni 1" in line for line in lines) == 1
    assert "        (the same headers)" in lines


def test_an_answered_ping_ends_with_its_round_trip() -> None:
    lines = list(trace_lines(trace(1.234, OUT_OF_NODE)))
    assert lines[-1] == "Answered after 1.23 ms."
    assert "Reply" in lines


def test_a_lost_ping_ends_with_where_it_was_last_seen() -> None:
    lines = list(trace_lines(trace(None)))
    assert lines[-1] == "No answer. The request was last seen on node1, device flannel.1, going out."
    assert "Reply" not in lines


def test_a_ping_that_never_left_says_so() -> None:
    lost = Trace("mine", "vxlan", "a", "b", parse_ip("10.0.0.2"), None, (), ())
    assert list(trace_lines(lost))[-1] == "No answer. It left a by no device: nobody answers for the next hop (ip neigh)."
    refused = replace(lost, error="Network is unreachable")
    assert "No answer. The kernel of a did not send it: Network is unreachable;" in list(trace_lines(refused))[-1]


def test_a_reply_that_was_lost_is_shown_as_far_as_it_came() -> None:
    lines = list(trace_lines(trace(None, OUT_OF_NODE)))
    assert "Reply" in lines
    assert lines[-1] == "No answer. The reply was last seen on node1, device flannel.1, going out."


def test_every_text_goes_through_paint() -> None:
    painted = "\n".join(trace_lines(trace(1.0, OUT_OF_NODE), lambda text, role: f"<{role}:{text}>"))
    assert "<where:node1  flannel.1 out>" in painted
    assert "<layer:VXLAN> vni 1" in painted
