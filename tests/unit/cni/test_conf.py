"""What all plugins read: names, prevResult, DNS, CNI_ARGS."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cni.attachments import valid_attachments
from cni.conf import (
    configured_dns,
    is_valid_name,
    parse_cni_args,
    parse_conf,
    prev_result,
    prev_result_if_readable,
    required_prev_result,
)
from cni.errors import CniError
from cni.result import Dns
from dataplane.errors import ConfigError


def _conf(**keys: Any) -> Any:
    return parse_conf(json.dumps({"name": "net", "cniVersion": "1.0.0", **keys}).encode())


@pytest.mark.parametrize("name", ["a", "A9", "a_b", "a.b-c", "0", "x" * 500])
def test_valid_names(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize("name", ["", "_a", ".a", "-a", "a b", "a/b", "a\n", "\n", "é", "a\0", "١"])
def test_invalid_names(name: str) -> None:
    assert not is_valid_name(name)


def test_the_ipam_s_type_is_read_without_regard_to_case() -> None:
    assert _conf(ipAM={"TYPE": "host-local"}).ipam_type == "host-local"


def test_prev_result_in_its_own_version() -> None:
    conf = _conf(prevResult={"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.0.0.2/24"}]})
    result = required_prev_result(conf)
    assert [str(ip.address) for ip in result.ips] == ["10.0.0.2/24"]


@pytest.mark.parametrize("keys", [{}, {"prevResult": None}])
def test_no_prev_result(keys: dict[str, Any]) -> None:
    assert prev_result(_conf(**keys)) is None
    with pytest.raises(CniError, match="Required prevResult missing"):
        required_prev_result(_conf(**keys))


@pytest.mark.parametrize("result", [5, {"cniVersion": "9.0.0"}, {"ips": [{"address": "x"}]}])
def test_a_result_that_cannot_be_read_is_refused_by_all_but_del(result: Any) -> None:
    with pytest.raises((CniError, ConfigError)):
        prev_result(_conf(prevResult=result))
    assert prev_result_if_readable(_conf(prevResult=result)) is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, None),
        ({"dns": {}}, None),
        ({"dns": {"domain": None}}, None),
        ({"dns": {"nameservers": []}}, Dns()),
        ({"dns": {"search": ["a"]}}, Dns(search=("a",))),
    ],
)
def test_dns_counts_if_any_field_is_given(keys: dict[str, Any], expected: Dns | None) -> None:
    assert configured_dns(_conf(**keys)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("IP=10.0.0.1", {"IP": "10.0.0.1"}),
        ("IP=10.0.0.1;MAC=02:00:00:00:00:01", {"IP": "10.0.0.1", "MAC": "02:00:00:00:00:01"}),
        ("IgnoreUnknown=1;FOO=BAR;IP=10.0.0.1", {"IP": "10.0.0.1", "FOO": "BAR"}),
        ("FOO=BAR;IgnoreUnknown=True", {"FOO": "BAR"}),
        ("IgnoreUnknown=0", {}),
        ("IgnoreUnknown=false", {}),
    ],
)
def test_cni_args(text: str, expected: dict[str, str]) -> None:
    assert parse_cni_args(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("FOO=BAR", r'unknown args \["FOO=BAR"\]'),
        ("FOO=BAR;X=Y;IgnoreUnknown=0", r'unknown args \["FOO=BAR" "X=Y"\]'),
        ("ip=10.0.0.1", "unknown args"),
        ("IP", 'invalid pair "IP"'),
        ("IP=1;", 'invalid pair ""'),
        ("IP=1=2", 'invalid pair "IP=1=2"'),
        ("IgnoreUnknown=maybe", "IgnoreUnknown"),
    ],
)
def test_bad_cni_args_are_code_4(text: str, words: str) -> None:
    with pytest.raises(CniError, match=words) as error:
        parse_cni_args(text)
    assert error.value.code == 4


def test_an_empty_list_of_the_living_is_a_list() -> None:
    assert valid_attachments(_conf(**{"cni.dev/valid-attachments": []})) == frozenset()
    with pytest.raises(CniError) as error:
        valid_attachments(_conf())
    assert error.value.code == 7
