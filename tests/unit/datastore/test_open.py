from __future__ import annotations

import asyncio

import pytest

from datastore.errors import BadStoreAddress
from datastore.etcd_channel import Endpoint, Tls
from datastore.open import EtcdAddress, LocalAddress, open_store, parse_address


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("http://127.0.0.1:2379", EtcdAddress((Endpoint("127.0.0.1", 2379),), secure=False)),
        ("https://etcd.example:2379/", EtcdAddress((Endpoint("etcd.example", 2379),), secure=True)),
        ("http://a:1, http://b:2,http://a:1", EtcdAddress((Endpoint("a", 1), Endpoint("b", 2)), secure=False)),
        ("http://[fd00::1]:2379", EtcdAddress((Endpoint("fd00::1", 2379),), secure=False)),
        ("sqlite:/var/lib/podwire/store.db", LocalAddress("/var/lib/podwire/store.db")),
        ("sqlite:/a,b:c", LocalAddress("/a,b:c")),
    ],
)
def test_an_address_is_understood(address: str, parsed: EtcdAddress | LocalAddress) -> None:
    assert parse_address(address) == parsed


def test_an_endpoint_is_written_as_in_an_address() -> None:
    assert [str(Endpoint("fd00::1", 1)), str(Endpoint("a", 2))] == ["[fd00::1]:1", "a:2"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "a scheme is missing"),
        ("127.0.0.1:2379", "unknown scheme|a scheme is missing"),
        ("etcd://a:1", "unknown scheme 'etcd'"),
        ("http://a", "host or port is missing"),
        ("http://:1", "host or port is missing"),
        ("http://a:0", "host or port is missing"),
        ("http://a:70000", "Port out of range"),
        ("http://a:x", "'http://a:x'"),
        ("http://[fd00::1:1", "Invalid IPv6"),
        ("http://a:1/v3", "nothing may follow the port"),
        ("http://a:1?x=y", "nothing may follow the port"),
        ("http://a:1,", "a scheme is missing"),
        ("http://a:1,https://b:1", "mixes http and https"),
        ("http://a:1,sqlite:/x", "unknown scheme 'sqlite'"),
        ("sqlite:relative.db", "absolute path"),
        ("sqlite:", "absolute path"),
        ("sqlite:/", "absolute path"),
        ("sqlite:/a\0b", "absolute path"),
    ],
)
def test_an_address_that_is_not_understood_is_named_with_what_is_allowed(address: str, words: str) -> None:
    with pytest.raises(BadStoreAddress, match=words) as caught:
        parse_address(address)
    assert address in str(caught.value) or repr(address) in str(caught.value)
    assert any(allowed in str(caught.value) for allowed in ("sqlite:/", "reached the same way"))


@pytest.mark.parametrize(
    "address", ["http://me:hush@a:1", "http://a:1,http://me:hush@b:1", "http://me:hush@a:x", "https://a:1,http://me:hush@b:1"]
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(BadStoreAddress) as caught:
        parse_address(address)
    assert "hush" not in f"{caught.value!r}{caught.value.__cause__!r}"


@pytest.mark.parametrize(
    ("address", "options", "words"),
    [
        ("http://a:1", {"tls": Tls(ca="/ca.pem")}, "TLS files are given, but the address is http"),
        ("http://a:1", {"user": "me"}, "go together"),
        ("http://a:1", {"password": "hush"}, "go together"),
        ("sqlite:/a", {"tls": Tls()}, "no use for TLS files"),
        ("sqlite:/a", {"user": "me", "password": "hush"}, "no use for a user and a password"),
    ],
)
def test_options_that_do_not_fit_the_address_are_refused(address: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(BadStoreAddress, match=words) as caught:
        asyncio.run(open_store(address, **options))  # type: ignore[arg-type] # a table of options
    assert address in str(caught.value)
    assert "hush" not in str(caught.value)
