"""DEL and GC of an attachment with a veth pair: desire nothing, and leave nothing, whatever is still there to work with.

Every step is taken even if one before it failed; the first failure is then reported, so that the runtime tries again. Nothing here
needs the namespace, a prevResult or the state of a living ADD: the host end has a name that can be computed, the rules hang on a
chain that can be computed, and the IPAM goes by the container's ID.
"""

from __future__ import annotations

from _thread import allocate_lock, start_new_thread

from cni.attachments import valid_attachments
from cni.conf import prev_result_if_readable
from cni.interface import addresses_of
from cni.ipam import ipam_delete, ipam_forward
from cni.masquerade import dead_masquerade, stale_masquerade, tables
from cni.pair import host_names
from dataplane.drivers.host import HostKernel
from dataplane.drivers.netns import is_netns
from dataplane.errors import KernelError
from dataplane.ownership import Scope
from dataplane.plan import REMOVE, Op
from dataplane.state import Address, Link, Veth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cni.skel import Args
    from dataplane.inet import IP
    from dataplane.kernel import Kernel
    from dataplane.state import Object

    Choice = Callable[[frozenset[Object]], tuple[Object, ...]]

FAMILIES = (4, 6)


def delete_attachment(args: Args) -> None:
    """Remove the pair, give back the addresses, remove the masquerading.

    Raises:
        CniError, KernelError, OSError: of the first step that failed, once all have been tried.
    """
    told = _told_addresses(args)
    found: set[IP] = set()
    steps: list[Callable[[], None]] = [lambda: found.update(_addresses_of_link(args)), lambda: _delete_pair(args)]
    if _masquerades(args):
        # What the runtime tells is complete. What the link has is not, if the ADD was killed: then both families are cleaned.
        families = {address.version for address in told} or FAMILIES
        pair = Meanwhile(lambda: _delete_pair(args))
        steps[1:] = [pair.start, lambda: _delete_masquerade(args, told or found, families), pair.end]
    if args.conf.ipam_type:  # last: an address is not given to another while the pair may still answer for it
        steps.append(lambda: ipam_delete(args))
    attempt_all(steps)


def gc_attachments(args: Args) -> None:
    """Pass GC on to the IPAM, and remove the masquerading of attachments that do not live."""
    living = {container_id for container_id, _ in valid_attachments(args.conf)}
    steps: list[Callable[[], None]] = []
    if args.conf.ipam_type:
        steps.append(lambda: ipam_forward(args))
    if _masquerades(args):
        steps += [_cleaning(family, lambda actual: dead_masquerade(args.conf.name, living, actual)) for family in FAMILIES]
    attempt_all(steps)


def _masquerades(args: Args) -> bool:
    """Whether there may be rules. Other keys are not looked at: what an ADD would refuse, DEL still has to clean up after."""
    return bool(args.conf.body.value("ipMasq") and args.conf.ipam_type)


def attempt_all(steps: Iterable[Callable[[], None]]) -> None:
    """Take every step; then raise the first exception, if there was one."""
    first: Exception | None = None
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001  a failure must not keep the rest from being removed
            first = first or error
    if first is not None:
        raise first


class Meanwhile:
    """A step that runs in a thread of its own: the kernel takes 20 ms to delete a veth pair, in which the packet filter's programs
    can be at work."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self._error: Exception | None = None
        self._running = allocate_lock()

    def start(self) -> None:
        self._running.acquire()
        try:
            start_new_thread(self._run, ())
        except RuntimeError:  # a container's limit of processes: then one after the other
            self._run()

    def end(self) -> None:
        """Wait for it. Raises what it raised."""
        self._running.acquire()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._step()
        except Exception as error:  # noqa: BLE001  `end` raises it
            self._error = error
        finally:
            self._running.release()


def _told_addresses(args: Args) -> set[IP]:
    result = prev_result_if_readable(args.conf)
    if result is None:
        return set()
    return {ip.address.address for ip in addresses_of(result, args.ifname, args.netns)} or {ip.address.address for ip in result.ips}


def _addresses_of_link(args: Args) -> set[IP]:
    """The addresses of the container's end, if it is still there."""
    if not _masquerades(args) or not is_netns(args.netns):
        return set()
    with HostKernel(args.netns) as container:
        actual = container.read(Scope(devices=frozenset({args.ifname})))
    return {item.prefix.address for item in actual if isinstance(item, Address) and not item.prefix.address.is_link_local}


def _delete_pair(args: Args) -> None:
    """Remove the container's end if the namespace is there, and the host's end in any case."""
    names = host_names(args.conf.name, args.container_id, args.ifname)
    if is_netns(args.netns):
        _remove_veths(args.netns, (args.ifname,))
    _remove_veths(None, names)


def _remove_veths(netns: str | None, names: tuple[str, ...]) -> None:
    with HostKernel(netns) as kernel:
        _remove(kernel, [item for item in kernel.read(Scope(links=frozenset(names))) if isinstance(item, Veth)])


def _delete_masquerade(args: Args, addresses: set[IP], families: Iterable[int]) -> None:
    """Remove the attachment's rules of `families`. One of which no address is known may be a family that this machine does not
    have, which is no reason to fail."""
    for family in families:
        known = {address for address in addresses if address.version == family}
        try:
            _delete_found(family, _stale_of(args, known))
        except KernelError:
            if known:
                raise


def _stale_of(args: Args, known: set[IP]) -> Choice:
    return lambda actual: stale_masquerade(args.conf.name, args.container_id, known, actual)


def _cleaning(family: int, choose: Choice) -> Callable[[], None]:
    return lambda: _delete_found(family, choose)


def _delete_found(family: int, choose: Choice) -> None:
    """Read the nat table of a family and remove what `choose` picks."""
    with HostKernel() as host:
        gone = choose(host.read(Scope(tables=tables([family]))))
        _remove(host, gone)


def _remove(kernel: Kernel, items: Iterable[Object]) -> None:
    ops = tuple(Op(REMOVE, item) for item in sorted(items, key=lambda item: not isinstance(item, Link)))
    failures = kernel.apply(ops) if ops else ()
    if failures:
        raise failures[0].error
