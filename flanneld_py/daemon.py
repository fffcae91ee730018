"""The daemon: from the command line to a node that is part of the network, and then keeping it so.

The order is flannel's (main.go), as far as others can see it: health endpoint, configuration (asked for every second), uplink,
lease, device, rules, subnet.env, ready. From then on the leases of all nodes are followed, our own is renewed, and two keepers hold
kernel and wish together. Nothing is removed at the end: routes, device, rules, file and lease stay, so that a restart loses no
packet.

Where flannel stops without br_netfilter, we warn: pods reach one another without it, only Services between pods of one node do not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import time
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

from dataplane.drivers.events import KINDS, NetlinkEvents
from dataplane.drivers.host import HostKernel
from dataplane.errors import ConfigError, KernelError
from datastore.etcd_channel import Tls
from datastore.open import open_store
from flanneld_py import healthz, host, sdnotify, subnet_file
from flanneld_py.backend import backend_of, check_device, device_of
from flanneld_py.conf import parse_config, supported_plan
from flanneld_py.keeper import Keeper
from flanneld_py.lease import Lease
from flanneld_py.membership import Membership
from flanneld_py.overlay import Overlay
from flanneld_py.patience import patiently
from flanneld_py.registry import Held, Registry
from flanneld_py.uplink import choose
from flanneld_py.wish import FILTER_OWNER, Node, Rules, desired_filter, network_owner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dataplane.inet import Prefix
    from datastore.store import Store
    from flanneld_py.flags import Flags

log = logging.getLogger(__name__)

POLL_CONFIG_S = 1.0
AUDIT_S = 30.0  # sysctls change without an event
NEIGHBOR_CALM_S = 0.5  # neighbour events come with every ARP exchange of the machine: many make one turn
EVENTS_RETRY_S = 1.0


async def run(flags: Flags) -> None:
    """Be a member of the network until SIGTERM or SIGINT.

    Raises:
        ConfigError, BadStoreAddress: the operator has to change something.
        LeaseLost: our subnet is no longer ours.
        KernelError: the kernel does not tell what the uplink is.
    """
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    await first_of(_serve(flags), _until(told_to_stop))


async def _until(told_to_stop: asyncio.Event) -> None:
    await told_to_stop.wait()
    log.info("stopping; routes, rules and lease stay")


async def first_of(*jobs: Coroutine[object, object, None]) -> None:
    """Run all until one ends; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _serve(flags: Flags) -> None:
    ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        if flags.healthz_port:
            server = await _healthz(flags, ready.is_set)
            stack.callback(server.close)
        store = await patiently("open the store", lambda: _open(flags))
        stack.push_async_callback(store.close)
        registry = Registry(store, flags.etcd_prefix, _boot_seconds)
        text = await _wait_config(registry)
        node, held = await _join(flags, registry, text)
        await _keep(flags, registry, node, held, ready)


async def _healthz(flags: Flags, ready: Callable[[], bool]) -> asyncio.Server:
    try:
        return await healthz.serve(flags.healthz_ip, flags.healthz_port, ready)
    except OSError as error:
        raise ConfigError("-healthz-ip, -healthz-port", f"{flags.healthz_ip}:{flags.healthz_port}", str(error)) from error


async def _open(flags: Flags) -> Store:
    files = (flags.etcd_cafile, flags.etcd_certfile, flags.etcd_keyfile)
    tls = Tls(*(name or None for name in files)) if any(files) else None
    return await open_store(flags.store, tls=tls, user=flags.etcd_username or None, password=flags.etcd_password or None)


async def _wait_config(registry: Registry) -> bytes:
    told = False
    while (text := await patiently("read the network configuration", registry.config)) is None:
        if not told:
            log.warning("network configuration missing key=%s poll_s=%g", registry.config_key, POLL_CONFIG_S)
        told = True
        await asyncio.sleep(POLL_CONFIG_S)
    return text


async def _join(flags: Flags, registry: Registry, text: bytes) -> tuple[Node, Held]:
    """Settle what this node is: configuration, uplink, lease."""
    config = parse_config(text, registry.config_key)
    plan, backend = supported_plan(config, registry.config_key), backend_of(config)
    if not host.bridges_are_filtered():
        log.warning("br_netfilter is not loaded: Services between pods of one node will not work; modprobe br_netfilter")
    uplink = choose(flags, await asyncio.to_thread(host.read_facts))
    backend.check(uplink)
    log.info("uplink chosen device=%s address=%s public_ip=%s mtu=%d", uplink.name, uplink.address, uplink.public_ip, uplink.mtu)
    found = host.link_of(backend.device) if backend.device else None
    check_device(backend, found)
    found_mac = found.mac if found else None
    fresh_mac = host.fresh_mac()
    previous = subnet_file.previous_subnet(subnet_file.read(flags.subnet_file))

    def wanted(subnet: Prefix, former: Lease | None) -> Lease:
        # Only with our own subnet.env do we take a lease's MAC for ours: another node with our public IP by mistake must not.
        kept = former.backend_data if former and former.subnet == previous else ""
        return Lease(subnet, uplink.public_ip, backend.lease_type, backend.lease_data(found_mac, kept, fresh_mac))

    held = await patiently("acquire a subnet", lambda: registry.acquire(plan, wanted, uplink.public_ip, previous))
    rules = Rules(flags.ip_masq, flags.random_fully, flags.forward_rules, flags.blackhole_route)
    old_device = device_of(held.former) if held.former else None
    old_devices = frozenset({old_device} if old_device else ())
    return Node(plan.network, held.lease, backend, uplink, rules, old_devices), held


async def _keep(flags: Flags, registry: Registry, node: Node, held: Held, ready: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        kernel, filter_kernel = stack.enter_context(HostKernel()), stack.enter_context(HostKernel())
        member = Membership(registry, held, flags.renew_margin_s, _boot_seconds, lambda: network.touch())  # noqa: PLW0108  made below
        overlay = stack.enter_context(closing(Overlay(node, lambda: member.leases)))
        network = Keeper("network", kernel, network_owner(node), overlay.wish, AUDIT_S)
        rules = Keeper("rules", filter_kernel, FILTER_OWNER, lambda: desired_filter(node), flags.iptables_resync_s)
        keepers = [network]
        if desired_filter(node) or shutil.which("iptables-save"):  # nothing wished for, nothing to find it with: nothing to do
            keepers.append(rules)
        jobs = [_run_when(member.known, keeper) for keeper in keepers]
        kinds = KINDS if node.own.backend_data else KINDS - {"neighbor"}
        await first_of(
            member.follow(), member.renew(), _listen(network.touch, kinds), _announce(flags, node, keepers, ready), *jobs
        )


async def _run_when(known: asyncio.Event, keeper: Keeper) -> None:
    """No turn before all leases are known: it would take the other nodes for gone."""
    await known.wait()
    await keeper.run()


async def _announce(flags: Flags, node: Node, keepers: list[Keeper], ready: asyncio.Event) -> None:
    """Tell the CNI plugin, probes and systemd, once everything stands."""
    for keeper in keepers:
        await keeper.ready.wait()
    mtu = node.backend.network_mtu(node.uplink)
    text = subnet_file.render(node.network, node.own.subnet, mtu, node.rules.ip_masq)
    try:
        subnet_file.write(flags.subnet_file, text)
    except OSError as error:
        raise ConfigError("-subnet-file", flags.subnet_file, f"cannot be written: {error.strerror}") from error
    ready.set()
    log.info("ready subnet=%s mtu=%d subnet_file=%s", node.own.subnet, mtu, flags.subnet_file)
    sdnotify.ready(os.environ.get("NOTIFY_SOCKET", ""))
    await asyncio.Event().wait()  # for ever


async def _listen(touch: Callable[[], None], kinds: frozenset[str]) -> None:
    """Touch whenever the kernel says that something changed."""
    while True:
        try:
            await _listen_once(touch, kinds)
        except KernelError as error:
            log.warning("kernel events interrupted, will retry reason=%s", error)
        await asyncio.sleep(EVENTS_RETRY_S)
        touch()  # whatever was said meanwhile


async def _listen_once(touch: Callable[[], None], kinds: frozenset[str]) -> None:
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()
    calm: list[asyncio.TimerHandle] = []

    def heard() -> None:
        try:
            changed = events.drain()
        except KernelError as error:
            loop.remove_reader(events.fileno())
            broken.set_exception(error)
            return
        if changed - {"neighbor"}:
            touch()
        elif changed and not (calm and calm[-1].when() > loop.time()):
            calm[:] = [loop.call_later(NEIGHBOR_CALM_S, touch)]

    with closing(NetlinkEvents(groups=kinds)) as events:
        loop.add_reader(events.fileno(), heard)
        try:
            await broken
        finally:
            loop.remove_reader(events.fileno())


def _boot_seconds() -> float:
    """Seconds since boot, suspended time included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
