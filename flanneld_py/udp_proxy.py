"""The udp data path: packets from the TUN device into datagrams and back, in a thread of its own.

The control plane never delays a packet: it hands over a whole new table (`use`), which the thread takes at its next batch. A
wake-up handles up to BATCH packets each way, so that neither direction starves the other. The TUN device is persistent: it stays
while the daemon restarts, so that packets wait in its queue and do not leave by another route.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from dataplane.drivers.tun import open_tun
from dataplane.errors import KernelError
from dataplane.inet import IP
from flanneld_py.backend.udp import OVERHEAD
from flanneld_py.udp_packet import FRAGMENTATION_NEEDED, Verdict, icmp_error, inbound, may_fragment, outbound

if TYPE_CHECKING:
    from flanneld_py.backend.udp import OVERHEAD
from flanneld_py.udp_packet import Paths

log = logging.getLogger(__name__)

BATCH = 64
LARGEST_PACKET = 65535
SOCKET_BUFFER = 4 << 20  # bytes: a burst of some thousand packets while the thread does not run
ANSWERS_A_SECOND = 100  # ICMP errors; the kernel's own limit is of this size
IP_MTU = 14  # from <linux/in.h>
SAFE_MTU = 576  # every path carries it (RFC 791)
ALL_QUIET = (errno.EAGAIN, errno.EINTR)


class UdpProxy:
    """Between a TUN device and a UDP socket.

    Args:
        device: name of the TUN device.
        address: local address of the socket.
        port: of the socket, and of all peers.
        paths: what to forward where, until `use` says otherwise.
    """

    def __init__(self, device: str, address: IP, port: int, paths: Paths) -> None:
        self._device, self._address, self._port, self._paths = device, address, port, paths
        self._thread: threading.Thread | None = None
        self._answers, self._second = 0, 0
        self._stop_r, self._stop_w = os.pipe()

    def use(self, paths: Paths) -> None:
        """Forward by this table from now on."""
        self._paths = paths

    def ensure(self) -> None:
        """Run, also after the device was deleted under us.

        Raises:
            KernelError: the TUN device or the socket cannot be opened.
        """
        if self._thread and self._thread.is_alive():
            return
        tun = open_tun(self._device, persistent=True)
        try:
            sock = _bound(self._address, self._port)
        except OSError as error:
            os.close(tun)
            what = f"bind UDP {self._address}:{self._port}"
            raise KernelError(what, os.strerror(error.errno or 0), error.errno or 0) from error
        self._thread = threading.Thread(target=self._run, args=(tun, sock), name="udp data path", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and give back device and socket. The persistent device stays."""
        os.close(self._stop_w)
        if self._thread:
            self._thread.join()
        os.close(self._stop_r)

    def _run(self, tun: int, sock: socket.socket) -> None:
        poll = select.poll()
        for fd in (tun, sock.fileno(), self._stop_r):
            poll.register(fd, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in poll.poll()}
                if self._stop_r in ready:
                    return
                if tun in ready:
                    self._from_tun(tun, sock)
                if sock.fileno() in ready:
                    self._from_wire(tun, sock)
        except OSError as error:
            log.warning("udp data path ended, the next turn opens it again device=%s error=%s", self._device, error)
        finally:
            os.close(tun)
            sock.close()

    def _from_tun(self, tun: int, sock: socket.socket) -> None:
        paths = self._paths
        for _ in range(BATCH):
            try:
                packet = os.read(tun, LARGEST_PACKET)
            except OSError as error:
                if error.errno in ALL_QUIET:
                    return
                raise
            verdict = outbound(packet, paths)
            if verdict.forward is not None:
                verdict = self._send(sock, packet, verdict, paths)
            self._answer(tun, verdict)

    def _from_wire(self, tun: int, sock: socket.socket) -> None:
        paths = self._paths
        for _ in range(BATCH):
            try:
                datagram, (sender, _) = sock.recvfrom(LARGEST_PACKET)
            except OSError as error:
                if error.errno in ALL_QUIET:
                    return
                continue  # an ICMP error about an earlier datagram
            verdict = inbound(datagram, IP(socket.inet_aton(sender)), paths)
            if verdict.forward is not None:
                _write(tun, verdict.forward)
            self._answer(tun, verdict)

    def _send(self, sock: socket.socket, packet: bytes, verdict: Verdict, paths: Paths) -> Verdict:
        """Send a datagram; what is to be answered when the way is too narrow for it."""
        try:
            sock.sendto(verdict.forward or b"", (str(verdict.node), self._port))
        except OSError as error:
            # Anything else is a node that cannot be reached at the moment: the packet is lost, as on any wire.
            if error.errno == errno.EMSGSIZE and not may_fragment(packet):
                return Verdict(answer=icmp_error(packet, paths.own.first, FRAGMENTATION_NEEDED, self._inner_mtu(verdict.node)))
        return Verdict()

    def _inner_mtu(self, node: IP | None) -> int:
        """The largest packet that fits on the way to a node; the kernel tells the path's MTU on connected sockets only."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            try:
                asker.connect((str(node), self._port))
                return asker.getsockopt(socket.IPPROTO_IP, IP_MTU) - OVERHEAD
            except OSError:
                return SAFE_MTU - OVERHEAD

    def _answer(self, tun: int, verdict: Verdict) -> None:
        if verdict.answer is None:
            return
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._answers = second, 0
        self._answers += 1
        if self._answers <= ANSWERS_A_SECOND:
            _write(tun, verdict.answer)


def _write(tun: int, packet: bytes) -> None:
    """Into the kernel. A full queue or a device that is down loses the packet; a device that is gone ends the thread."""
    try:
        os.write(tun, packet)
    except OSError as error:
        if error.errno == errno.EBADFD:
            raise


def _bound(address: IP, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        sock.bind((str(address), port))
    except OSError:
        sock.close()
        raise
    return sock
