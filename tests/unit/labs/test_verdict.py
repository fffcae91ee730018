"""Who must reach whom, and how answers are judged."""

from __future__ import annotations

from dataplane.inet import parse_ip
from labs.catalog import find_topology
from labs.layout import Layout
from labs.topology_file import with_options
from labs.verdict import DENY, Answer, Pair, Probe, judge, wanted_probes

LAYOUT = Layout(with_options(find_topology("flannel"), nodes=2, pods=1))
POD1, POD2, NODE1, NODE1_TUNNEL = (parse_ip(text) for text in ("10.244.1.2", "10.244.2.2", "192.168.50.11", "10.244.1.0"))
ADDRESSES = {
    "node1-pod1": (POD1,),
    "node2-pod1": (POD2,),
    "node1": (NODE1, NODE1_TUNNEL),
    "node2": (parse_ip("192.168.50.12"),),
}
PROBES = wanted_probes(LAYOUT, ADDRESSES)


def test_all_ordered_pairs_of_pods_every_node_to_every_pod_every_pod_to_the_outside() -> None:
    assert [(probe.source, probe.target) for probe in PROBES if not probe.outside] == [
        ("node1-pod1", "node2-pod1"),
        ("node2-pod1", "node1-pod1"),
        ("node1", "node1-pod1"),
        ("node1", "node2-pod1"),
        ("node2", "node1-pod1"),
        ("node2", "node2-pod1"),
    ]
    assert [(probe.source, str(probe.address)) for probe in PROBES if probe.outside] == [
        ("node1-pod1", "203.0.113.1"),
        ("node2-pod1", "203.0.113.1"),
    ]


def test_a_pod_must_be_seen_by_its_own_address_and_outside_by_its_nodes() -> None:
    inside, outside = PROBES[0], next(probe for probe in PROBES if probe.outside)
    assert Pair(inside, Answer(0.1, POD1)).ok
    assert not Pair(inside, Answer(0.1, NODE1)).ok
    assert Pair(outside, Answer(0.1, NODE1)).ok
    assert not Pair(outside, Answer(0.1, POD1)).ok


def test_a_node_may_be_seen_by_any_address_of_its_own() -> None:
    probe = next(probe for probe in PROBES if probe.source == "node1")
    assert Pair(probe, Answer(0.1, NODE1)).ok
    assert Pair(probe, Answer(0.1, NODE1_TUNNEL)).ok
    assert not Pair(probe, Answer(0.1, POD1)).ok


def test_what_shall_be_denied_is_right_without_an_answer() -> None:
    probe = Probe("a", "b", POD2, frozenset({POD1}), want=DENY)
    assert Pair(probe, None).ok
    assert not Pair(probe, Answer(0.1, POD1)).ok


def test_one_pair_without_an_answer_spoils_the_whole() -> None:
    answers = {probe: Answer(0.25, min(probe.sources)) for probe in PROBES}
    assert judge(LAYOUT, PROBES, answers).ok
    del answers[PROBES[3]]
    verdict = judge(LAYOUT, PROBES, answers)
    assert not verdict.ok
    assert [pair.probe for pair in verdict.pairs if not pair.ok] == [PROBES[3]]


def test_a_pod_without_an_address_is_asked_for_and_not_ok() -> None:
    probes = wanted_probes(LAYOUT, {**ADDRESSES, "node2-pod1": ()})
    assert [probe.address for probe in probes if probe.target == "node2-pod1"] == [None, None, None]
    assert not judge(LAYOUT, probes, {}).ok


def test_the_document_is_what_the_command_promises() -> None:
    answers = {probe: Answer(0.25, min(probe.sources)) for probe in PROBES[1:]}
    document = judge(LAYOUT, PROBES, answers).document()
    assert {key: document[key] for key in ("topology", "backend", "ok")} == {"topology": "flannel", "backend": "vxlan", "ok": False}
    pairs, outside = document["pairs"], document["outside"]
    assert isinstance(pairs, list)
    assert isinstance(outside, list)
    assert pairs[:2] == [
        {"from": "node1-pod1", "to": "node2-pod1", "ok": False, "rtt_ms": None, "source_seen": None, "want": "allow"},
        {"from": "node2-pod1", "to": "node1-pod1", "ok": True, "rtt_ms": 0.25, "source_seen": "10.244.2.2", "want": "allow"},
    ]
    assert (len(pairs), len(outside)) == (6, 2)
