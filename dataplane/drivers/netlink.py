"""Links, addresses, routes, neighbours and forwarding entries of one namespace: read, and written in batches.

Thousands of routes go out in few sends, so that one costs a few microseconds. What the kernel makes of a wish is told in
rtnl_route.py, rtnl_device.py and rtnl_link.py.
"""

from __future__ import annotations

import os
from errno import EACCES, EEXIST, EHOSTUNREACH, EINVAL, ENETUNREACH, ENODEV
from struct import error as StructError

from dataplane.drivers.netlink_socket import WINDOW, NetlinkSocket, refusal
from dataplane.errors import KernelError
from dataplane.kernel import Failure
from dataplane.ownership import Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.record import replace
from dataplane.rtnl import RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETROUTE, RtnlError
from dataplane.rtnl_device import (
    decode_address,
    decode_fdb_entry,
    decode_neighbor,
    encode_address_dump,
    encode_fdb_dump,
    encode_neighbor_dump,
)
from dataplane.rtnl_link import decode_link, decode_link_name, encode_link_dump, encode_link_query, encode_link_query_by_index
from dataplane.rtnl_request import is_done, requests
from dataplane.rtnl_route import decode_route, decode_route_answer, encode_route_dump, encode_route_query
from dataplane.state import FdbEntry, Link, Neighbor, Route, agrees
from dataplane.words import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dataplane.inet import IP
    from dataplane.rtnl_request import Request
    from dataplane.state import Object

_NO_WAY = frozenset({ENETUNREACH, EHOSTUNREACH, EINVAL, EACCES})  # unreachable, blackhole and prohibit routes too
_FEW_DEVICES = 8  # up to here a dump for each is cheaper than one of all

_DEVICE_TABLES: tuple[tuple[int, Callable[[int], bytes], Callable[[bytes, Mapping[int, str]], Object | None]], ...] = (
    (RTM_GETADDR, encode_address_dump, decode_address),
    (RTM_GETNEIGH, encode_neighbor_dump, decode_neighbor),
    (RTM_GETNEIGH, encode_fdb_dump, decode_fdb_entry),
)


class NetlinkDriver:
    """The rtnetlink part of a Kernel (kernel.py), in the namespace at `netns` (None: this thread's).

    Raises:
        KernelError: the namespace cannot be entered.
    """

    def __init__(self, netns: str | None = None) -> None:
        self._socket = NetlinkSocket(netns)

    def close(self) -> None:
        self._socket.close()

    def read(self, scope: Scope) -> frozenset[Object]:
        """Links, addresses, routes, permanent neighbours and forwarding entries within `scope`.

        Raises:
            KernelError: the kernel refused to be read.
        """
        names = _Names(self._socket)
        try:
            found: list[Object] = []
            found += self._read_links(scope.links, names)
            found += self._read_devices(scope.devices, names)
            for version in sorted(scope.routes):
                bodies = self._socket.dump(RTM_GETROUTE, encode_route_dump(version))
                found += [route for body in bodies if (route := decode_route(body, names)) is not None]
        except (OSError, RtnlError) as error:
            raise _kernel_error("read the kernel's network state", error) from error
        return frozenset(found)

    def apply(self, ops: Sequence[Op]) -> tuple[Failure, ...]:
        """Carry out operations on links, addresses, routes, neighbours and forwarding entries, in order, all of them.

        Returns:
            What failed, each with the kernel's words. To add what exists is success only if it equals the wish.
        """
        batch = _Batch(self._socket)
        for position, op in enumerate(ops):
            batch.add(position, op)
        batch.flush()
        refused = batch.refused
        taken = [at for at, error in refused.items() if error.errno == EEXIST and ops[at].verb == ADD]
        if taken:
            refused = self._settle(ops, taken, refused)
        return tuple(Failure(ops[at], _op_error(ops[at], refused[at])) for at in sorted(refused))

    def link_index(self, name: str) -> int | None:
        """The index of a device, or None if there is none of this name.

        Raises:
            KernelError: the kernel refused to be read.
        """
        try:
            return _Indices(self._socket).get_or_none(name)
        except (OSError, RtnlError) as error:
            raise _kernel_error(f"look up device {name}", error) from error

    def route_to(self, ip: IP) -> Route | None:
        """Which way packets to `ip` leave: device, gateway, source address. `type` is LOCAL for an address of our own.

        Returns:
            None if the kernel would not send them.

        Raises:
            KernelError: the kernel refused to be read.
        """
        try:
            return decode_route_answer(self._socket.ask(RTM_GETROUTE, encode_route_query(ip)), _Names(self._socket))
        except (OSError, RtnlError) as error:
            if isinstance(error, OSError) and error.errno in _NO_WAY:
                return None
            raise _kernel_error(f"look up the route to {ip}", error) from error

    def _read_links(self, wanted: frozenset[str], names: _Names) -> list[Object]:
        if "*" in wanted:
            bodies = self._socket.dump(RTM_GETLINK, encode_link_dump())
        else:
            bodies = [body for name in sorted(wanted) if (body := _ask_link(self._socket, name)) is not None]
        names.update(decode_link_name(body) for body in bodies)
        return [decode_link(body, names) for body in bodies]

    def _read_devices(self, wanted: frozenset[str], names: _Names) -> list[Object]:
        every = "*" in wanted
        indices = [0] if every else [0] if len(wanted) > _FEW_DEVICES else self._known_indices(wanted, names)
        found = []
        for kind, encode, decode in _DEVICE_TABLES:
            for index in indices:
                for body in self._dump_device(kind, encode(index)):
                    item = decode(body, names)
                    if item is not None and (every or item.dev in wanted):
                        found.append(item)
        return found

    def _known_indices(self, wanted: frozenset[str], names: _Names) -> list[int]:
        by_name = _Indices(self._socket, {name: index for index, name in names.items()})
        return [index for name in sorted(wanted) if (index := by_name.get_or_none(name)) is not None]

    def _dump_device(self, kind: int, body: bytes) -> list[bytes]:
        try:
            return self._socket.dump(kind, body)
        except OSError as error:
            if error.errno == ENODEV:  # it went away since its index was looked up
                return []
            raise

    def _settle(self, ops: Sequence[Op], taken: list[int], refused: dict[int, OSError]) -> dict[int, OSError]:
        """Look at what is in the way of additions: if it equals the wish, it is no failure.

        A neighbour or forwarding entry that is there and not read is a learned one: the kernel's cache, which a wish replaces.
        """
        items = [ops[at].item for at in taken]
        scope = Scope(
            links=frozenset(item.name for item in items if isinstance(item, Link)),
            devices=frozenset(item.dev for item in items if item.dev is not None and not isinstance(item, Route)),
            routes=frozenset(item.dst.version for item in items if isinstance(item, Route)),
        )
        try:
            found = {item.key: item for item in self.read(scope)}
        except KernelError:
            return refused
        left = dict(refused)
        again = _Batch(self._socket)
        for at in taken:
            wish, other = ops[at].item, found.get(ops[at].item.key)
            if other is None and isinstance(wish, (Neighbor, FdbEntry)):
                del left[at]
                again.add(at, Op(SET, wish))
            elif other is not None and agrees(_as_added(wish), other):
                del left[at]
            elif other is not None:
                left[at] = OSError(EEXIST, f"{os.strerror(EEXIST)}, and differs: {words(other)}")
        again.flush()
        return {**left, **again.refused}


class _Names(dict[int, str]):
    """Device names by index, looked up when first needed. "" for a device that has gone or is in another namespace."""

    def __init__(self, socket: NetlinkSocket) -> None:
        super().__init__()
        self._socket = socket

    def __missing__(self, index: int) -> str:
        try:
            name = decode_link_name(self._socket.ask(RTM_GETLINK, encode_link_query_by_index(index)))[1]
        except OSError as error:
            if error.errno != ENODEV:
                raise
            name = ""
        self[index] = name
        return name


class _Indices(dict[str, int]):
    """Device indices by name, looked up when first needed, after `before`. KeyError: there is no such device."""

    def __init__(
        self, socket: NetlinkSocket, known: Mapping[str, int] | None = None, before: Callable[[], None] | None = None
    ) -> None:
        super().__init__(known or {})
        self._socket, self._before = socket, before

    def __missing__(self, name: str) -> int:
        if self._before is not None:
            self._before()
        body = _ask_link(self._socket, name)
        if body is None:
            raise KeyError(name)
        self[name] = decode_link_name(body)[0]
        return self[name]

    def get_or_none(self, name: str) -> int | None:
        try:
            return self[name]
        except KeyError:
            return None


class _Batch:
    """Requests on their way to the kernel, sent a window at a time. `refused` has the errors by position of the operation."""

    def __init__(self, socket: NetlinkSocket) -> None:
        self.refused: dict[int, OSError] = {}
        self._socket = socket
        self._indices = _Indices(socket, before=self.flush)
        self._pending: list[Request] = []
        self._positions: list[int] = []
        self._netns_fds = _NetnsFds()

    def add(self, position: int, op: Op) -> None:
        """Queue an operation. An index that it needs is looked up after all before it was carried out."""
        item = op.item
        try:
            for request in requests(op, self._indices, self._netns_fds):
                self._pending.append(request)
                self._positions.append(position)
        except KeyError as error:
            if op.verb != REMOVE:  # what hangs on a device that is absent is absent too
                self._refuse(position, OSError(ENODEV, f"there is no device {error.args[0]}"))
        except (OverflowError, StructError) as error:
            self._refuse(position, OSError(EINVAL, f"a number does not fit its field: {error}"))
        except (OSError, RtnlError) as error:
            self._refuse(position, error if isinstance(error, OSError) else OSError(0, str(error)))
        if isinstance(item, Link) and op.verb == REMOVE:
            self._indices.clear()  # with a device, its peer and what runs over it go too; their names may come back
        if len(self._pending) >= WINDOW:
            self.flush()

    def flush(self) -> None:
        """Have everything queued carried out."""
        batch, positions = self._pending, self._positions
        self._pending, self._positions = [], []
        try:
            if batch:
                for at, answer in self._socket.perform(batch).items():
                    if not is_done(batch[at][0], answer.errno):
                        self._refuse(positions[at], refusal(answer))
        except (OSError, RtnlError) as error:
            for position in positions:
                self._refuse(position, OSError(getattr(error, "errno", 0), f"the answer was lost: {error}"))
        finally:
            self._netns_fds.close()

    def _refuse(self, position: int, error: OSError) -> None:
        self.refused.setdefault(position, error)


class _NetnsFds(dict[str, int]):
    """Open namespaces by path, opened when first needed, until the requests that name them have been carried out."""

    def __missing__(self, path: str) -> int:
        self[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        return self[path]

    def close(self) -> None:
        for handle in self.values():
            os.close(handle)
        self.clear()


def _ask_link(socket: NetlinkSocket, name: str) -> bytes | None:
    try:
        return socket.ask(RTM_GETLINK, encode_link_query(name))
    except OSError as error:
        if error.errno == ENODEV:
            return None
        raise


def _as_added(wish: Object) -> Object:
    """A link is added down, and comes up later."""
    return replace(wish, up=None) if isinstance(wish, Link) else wish


def _op_error(op: Op, error: OSError) -> KernelError:
    return KernelError(f"{op.verb} {words(op.item)}", error.strerror or str(error), error.errno or 0)


def _kernel_error(what: str, error: OSError | RtnlError) -> KernelError:
    if isinstance(error, OSError):
        return KernelError(what, error.strerror or str(error), error.errno or 0)
    return KernelError(what, f"unreadable netlink answer: {error}")
