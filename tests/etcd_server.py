"""Real etcd servers for tests: free loopback ports, a temporary folder, gone at the end of the block.

with etcd_server() as server:
    store = await open_store(server.url)
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

START_DEADLINE_S = 60.0
# A member that is alone has no election to lose: ten times etcd's pace makes a restart quick, and lets leases of 1 s be.
ALONE = ("--heartbeat-interval=20", "--election-timeout=200")
READY = b"ready to serve client requests"


@dataclass(eq=False)
class EtcdServer:
    """One member. `url` is its client address; `folder` holds its data (data/) and its log (log)."""

    url: str
    folder: Path
    argv: Sequence[str]
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log(self) -> bytes:
        """All it has said."""
        return (self.folder / "log").read_bytes()

    def launch(self) -> None:
        """Start the process without waiting: members of a cluster wait for one another."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)

    def wait_ready(self) -> None:
        """Return when it serves clients."""
        deadline = time.monotonic() + START_DEADLINE_S
        while READY not in self.log():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"etcd at {self.url} did not start:\n{self.log().decode(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def start(self) -> None:
        """Start it, on the data it has, and wait until it serves."""
        self.launch()
        self.wait_ready()

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it: SIGTERM in good order, SIGKILL as a crash does. One that has ended is fine."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signum)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def freeze(self) -> None:
        """Make it hang: connections stay, answers do not come."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Throw away the data of a server that is stopped."""
        shutil.rmtree(self.folder / "data")


@contextmanager
def etcd_server(
    options: Sequence[str] = (), *, scheme: str = "http", host: str = "127.0.0.1", netns: str | None = None
) -> Iterator[EtcdServer]:
    """A running server.

    Args:
        options: further flags of etcd, such as the paths of certificates.
        scheme: http or https, for clients.
        host: the address it listens on; in `netns` it must exist there.
        netns: path of a network namespace to run in, such as /run/netns/NAME.
    """
    with _folder() as folder:
        server = _member(folder, "m0", _free_ports(2), [*ALONE, *options], scheme=scheme, host=host, netns=netns)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGKILL)


@contextmanager
def etcd_cluster(size: int, options: Sequence[str] = ()) -> Iterator[list[EtcdServer]]:
    """A running cluster on loopback."""
    with ExitStack() as undo:
        ports = _free_ports(2 * size)
        names = [f"m{number}" for number in range(size)]
        peers = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports[1::2], strict=True))
        flags = [f"--initial-cluster={peers}", *options]
        servers = []
        for number, name in enumerate(names):
            own = ports[2 * number : 2 * number + 2]
            servers.append(_member(undo.enter_context(_folder()), name, own, flags))
            undo.callback(servers[-1].stop, signal.SIGKILL)
            servers[-1].launch()
        for server in servers:
            server.wait_ready()
        yield servers


def _member(
    folder: Path,
    name: str,
    ports: Sequence[int],
    options: Sequence[str],
    *,
    scheme: str = "http",
    host: str = "127.0.0.1",
    netns: str | None = None,
) -> EtcdServer:
    client, peer = f"{scheme}://{host}:{ports[0]}", f"http://{host}:{ports[1]}"
    argv = [
        *(["nsenter", f"--net={netns}"] if netns else []),
        *("etcd", f"--name={name}", f"--data-dir={folder}/data", "--log-level=info"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
        f"--initial-cluster={name}={peer}",
        *options,  # of a flag that is given twice the last one counts
    ]
    return EtcdServer(client, folder, argv)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="podwire-etcd-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _free_ports(count: int) -> list[int]:
    """Ports that are free now. All sockets are open at once, so that none is given twice."""
    with ExitStack() as undo:
        sockets = [undo.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
