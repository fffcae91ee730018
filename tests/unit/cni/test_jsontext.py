"""JSON without the json module: the same values, Go's habits with keys, and refusals that say where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni.errors import CniError
from cni.jsontext import Section, parse, parse_object, render
from dataplane.errors import ConfigError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_rendered_is_what_is_parsed_and_json_agrees(value: Any) -> None:
    for indent in ("", "    "):
        text = render(value, indent)
        assert parse(text.encode()) == value == json.loads(text)


@given(st.binary() | st.text().map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode()[:-1]))
def test_any_bytes_are_parsed_as_json_parses_them_or_refused(data: bytes) -> None:
    try:
        expected = json.loads(data.decode("utf-8", "replace"), parse_constant=_refuse)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            parse(data)
    else:
        assert parse(data) == expected


def _refuse(word: str) -> None:
    raise ValueError(word)


def test_the_reference_s_layout() -> None:
    assert render({"a": [1, {}], "b": []}) == '{\n    "a": [\n        1,\n        {}\n    ],\n    "b": []\n}'


@pytest.mark.parametrize(
    "data", [b"", b" ", b"{", b"{} {}", b'{"a":}', b"NaN", b"\xef\xbb\xbf{}", b"'a'", b"01", b"[" * 200_000, b'{"a":1,}']
)
def test_what_is_no_json_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(data)


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"1", b"{"])
def test_a_configuration_must_be_an_object(data: bytes) -> None:
    with pytest.raises(CniError) as error:
        parse_object(data, "network config")
    assert error.value.code == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "a"}', "a"),
        ('{"NAME": "a"}', "a"),
        ('{"name": "a", "Name": "b"}', "b"),
        ('{"Name": "b", "name": "a"}', "a"),
        ('{"name": "a", "Name": "b", "name": "c"}', "c"),
        ('{"name": "a", "NAME": null}', "a"),
        ('{"name": null}', "default"),
        ("{}", "default"),
    ],
)
def test_keys_match_without_case_and_the_last_one_wins(text: str, expected: str) -> None:
    assert parse_object(text.encode(), "x").text("name", "default") == expected


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda s: s.text("k"), 5),
        (lambda s: s.flag("k"), "true"),
        (lambda s: s.flag("k"), 1),
        (lambda s: s.integer("k", 0, 9), True),
        (lambda s: s.integer("k", 0, 9), 1.0),
        (lambda s: s.integer("k", 0, 9), 10),
        (lambda s: s.integer("k", 0, 9), -1),
        (lambda s: s.section("k"), []),
        (lambda s: s.items("k"), {}),
        (lambda s: s.sections("k"), [5]),
        (lambda s: s.texts("k"), ["a", 5]),
        (lambda s: s.ip("k"), "x"),
        (lambda s: s.prefix("k"), "10.0.0.1"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(read: Any, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^ipam\.k"):
        read(Section({"k": value}, "ipam"))


@pytest.mark.parametrize("read", [lambda s: s.text("k"), lambda s: s.texts("l")])
def test_a_text_that_the_kernel_would_cut_off_at_a_nul_is_refused(read: Any) -> None:
    with pytest.raises(ConfigError, match=r"^ipam\.[kl].*NUL"):
        read(Section({"k": "a\0b", "l": ["a\0b"]}, "ipam"))


def test_half_a_surrogate_pair_is_read_as_go_reads_it() -> None:
    text = rb'{"\ud800": ["\uDC00x", "\ud83d\ude00", "\ud800\ud83d\ude00"]}'
    assert parse(text) == {"\ufffd": ["\ufffdx", "\U0001f600", "\ufffd\U0001f600"]}


def test_a_number_that_is_infinite_is_refused() -> None:
    with pytest.raises(ValueError, match="-1e999 is too large a number"):
        parse(b'{"mtu": -1e999}')


def test_what_is_nested_too_deeply_to_be_passed_on_is_the_operator_s_error() -> None:
    value: list[Any] = []
    for _ in range(2000):
        value = [value]
    with pytest.raises(ConfigError, match="nested too deeply"):
        render(value)


def test_nothing_given_is_nothing() -> None:
    section = Section({"gateway": ""})
    assert [section.ip("gateway"), section.ip("none"), section.prefix("none")] == [None, None, None]
    assert (section.flag("f"), section.items("l"), section.section("s").values, section.texts("t")) == (False, [], {}, ())
