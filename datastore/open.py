"""From the address of a store, as an operator writes it, to the store.

`http://host:port` and `https://host:port` name an etcd member; several are separated by commas, as in flanneld's
-etcd-endpoints. `sqlite:/absolute/path` names the embedded store of this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from datastore.errors import BadStoreAddress
from datastore.etcd import EtcdStore
from datastore.etcd_channel import Endpoint, Tls
from datastore.local import LocalStore
from datastore.store import Store

FORMS = "http://HOST:PORT[,http://HOST:PORT...], https://HOST:PORT[,...] or sqlite:/ABSOLUTE/PATH"
SQLITE = "sqlite:"
SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """The file of the embedded store."""

    path: str


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """The members of one etcd cluster, in the order in which they are tried."""

    endpoints: tuple[Endpoint, ...]
    secure: bool


async def open_store(address: str, *, tls: Tls | None = None, user: str | None = None, password: str | None = None) -> Store:
    """Open a store. etcd is not spoken to yet, so that a daemon can start before its store: the first call finds out.

    Raises:
        BadStoreAddress: the address, or what comes with it, cannot be understood.
        StoreError: a file (embedded store, certificate, key) cannot be opened.
    """
    parsed = parse_address(address)
    if isinstance(parsed, LocalAddress):
        _refuse(address, "has no use for", {"TLS files": tls, "a user": user, "a password": password})
        return await LocalStore.open(parsed.path)
    if tls is not None and not parsed.secure:
        raise BadStoreAddress(f"{address}: TLS files are given, but the address is http; write https://, or leave the files out")
    if (user is None) != (password is None):
        raise BadStoreAddress(f"{address}: a user and a password go together; one of them is missing")
    login = None if user is None or password is None else (user, password)
    return EtcdStore(parsed.endpoints, tls=(tls or Tls()) if parsed.secure else None, login=login)


def parse_address(address: str) -> LocalAddress | EtcdAddress:
    """Understand an address.

    Raises:
        BadStoreAddress: it is of none of the allowed forms.
    """
    if address.startswith(SQLITE):
        return _parse_sqlite(address)
    if "@" in address:  # before anything else could repeat it: errors end up in logs
        raise BadStoreAddress(
            f"the address has an '@': user and password do not stand in it, but in options of their own; allowed: {FORMS}"
        )
    urls = [part.strip() for part in address.split(",")]
    schemes = {url.partition("://")[0] for url in urls}
    if schemes == set(SCHEMES):
        raise BadStoreAddress(f"{address}: mixes http and https; all members of a cluster are reached the same way")
    return EtcdAddress(tuple(dict.fromkeys(_parse_url(address, url) for url in urls)), secure=schemes == {"https"})


def _parse_sqlite(address: str) -> LocalAddress:
    path = address.removeprefix(SQLITE)
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise BadStoreAddress(
            f"{address!r}: after 'sqlite:' an absolute path to a file is needed, such as sqlite:/var/lib/podwire/store.db"
        )
    return LocalAddress(path)


def _parse_url(address: str, url: str) -> Endpoint:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadStoreAddress(f"{address!r}: {url!r}: {error}; allowed: {FORMS}") from error
    wrong = _what_is_wrong(parts)
    if wrong or parts.hostname is None or not port:
        raise BadStoreAddress(f"{address!r}: {wrong or 'host or port is missing'}; allowed: {FORMS}")
    return Endpoint(parts.hostname, port)


def _what_is_wrong(parts: SplitResult) -> str:
    """The first thing that an etcd endpoint must not have."""
    if parts.scheme not in SCHEMES:
        return f"unknown scheme {parts.scheme!r}" if parts.scheme else "a scheme is missing"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "nothing may follow the port"
    return ""


def _refuse(address: str, why: str, given: dict[str, object]) -> None:
    needless: Iterable[str] = [name for name, value in given.items() if value is not None]
    if needless:
        raise BadStoreAddress(f"{address}: {why} {' and '.join(needless)}; leave them out")
