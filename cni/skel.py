"""The frame of a plugin (reference: pkg/skel): environment and stdin to `Args`, validation, dispatch, one JSON document out.

The order of validation is the reference's: variables present, variables well formed, stdin read, JSON, network name,
version that the command needs, version that we know. One thing is done earlier: that CNI_NETNS is not our own namespace is
asked before the work, not after it. Process edges are parameters, so that tests call `run` in process.
"""

from __future__ import annotations

import os

from cni.conf import NOT_A_DEVICE, is_valid_name, parse_conf
from cni.errors import INVALID_ENVIRONMENT, INVALID_NETNS, IO_FAILURE, CniError, as_cni_error
from cni.jsontext import render
from cni.result import render_result
from cni.version import CURRENT, SUPPORTED, require_at_least, require_supported
from dataplane.drivers.netns import identity
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cni.conf import NetConf
    from cni.result import Result

IFNAMSIZ = 16  # with the terminating zero: a name has at most 15 bytes


@record
class Args:
    """One call, checked. `container_id`, `netns`, `ifname` are empty where the command does not need them and got none."""

    command: str
    container_id: str
    netns: str
    ifname: str
    cni_args: str
    path: str
    stdin: bytes
    environ: Mapping[str, str]
    conf: NetConf


@record
class Plugin:
    """A plugin's verbs. `gc` and `status` may do nothing, but are always there."""

    name: str
    add: Callable[[Args], Result]
    delete: Callable[[Args], None]
    check: Callable[[Args], None]
    gc: Callable[[Args], None]
    status: Callable[[Args], None]


@record
class Command:
    """What a value of CNI_COMMAND asks for: variables in the reference's order, and the oldest version that knows it."""

    requires: tuple[str, ...]
    since: str = SUPPORTED[0]
    foreign_netns: bool = False  # works in the container's namespace, so that must not be our own


_ID, _NETNS, _IFNAME, _PATH = "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"

COMMANDS: dict[str, Command] = {
    "ADD": Command((_ID, _NETNS, _IFNAME, _PATH), foreign_netns=True),
    "DEL": Command((_ID, _IFNAME, _PATH), foreign_netns=True),
    "CHECK": Command((_ID, _NETNS, _IFNAME, _PATH), since="0.4.0"),
    "GC": Command((_PATH,), since="1.1.0"),
    "STATUS": Command((_PATH,), since="1.1.0"),
    "VERSION": Command(()),
}


def run(
    plugin: Plugin,
    environ: Mapping[str, str],
    read: Callable[[], bytes],
    write: Callable[[str], object],
    complain: Callable[[str], object],
) -> int:
    """Do what CNI_COMMAND says and return the exit status.

    Args:
        read: gives the whole of stdin; not called for VERSION.
        write: takes the one document for stdout; called at most once.
        complain: takes text for stderr.
    """
    if not environ.get("CNI_COMMAND"):
        complain(f"CNI {plugin.name} plugin of podwire\nCNI protocol versions supported: {', '.join(SUPPORTED)}\n")
        return 0
    seen = [CURRENT]
    try:
        answer = _answer(plugin, environ, read, seen)
    except BaseException as error:  # noqa: BLE001  whatever happens, the runtime gets one JSON document
        write(render(as_cni_error(error).document(seen[0])))
        return 1
    if answer:
        write(answer)
    return 0


def _answer(plugin: Plugin, environ: Mapping[str, str], read: Callable[[], bytes], seen: list[str]) -> str:
    name = environ["CNI_COMMAND"]
    command = _command(name)
    _check_environment(command, environ)
    if name == "VERSION":
        return render({"cniVersion": CURRENT, "supportedVersions": list(SUPPORTED)}, indent="") + "\n"
    args = _read_args(name, environ, read)
    if args.conf.version in SUPPORTED:
        seen[0] = args.conf.version
    if command.since != SUPPORTED[0]:
        require_at_least(args.conf.version, command.since, name)
    require_supported(args.conf.version)
    if command.foreign_netns:
        _check_netns(args)
    return _dispatch(plugin, args)


def _dispatch(plugin: Plugin, args: Args) -> str:
    if args.command == "ADD":
        return render(render_result(plugin.add(args), args.conf.version))
    verbs = {"DEL": plugin.delete, "CHECK": plugin.check, "GC": plugin.gc, "STATUS": plugin.status}
    verbs[args.command](args)
    return ""


def _command(name: str) -> Command:
    if name not in COMMANDS:
        raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {name}", f"known are {', '.join(COMMANDS)}")
    return COMMANDS[name]


def _check_environment(command: Command, environ: Mapping[str, str]) -> None:
    missing = [name for name in command.requires if not environ.get(name)]
    if missing:
        raise CniError(INVALID_ENVIRONMENT, f"required env variables [{','.join(missing)}] missing")
    if _ID in command.requires and not is_valid_name(environ[_ID]):
        raise CniError(INVALID_ENVIRONMENT, "invalid characters in containerID", environ[_ID])
    if _IFNAME in command.requires:
        _check_ifname(environ[_IFNAME])


def _check_ifname(name: str) -> None:
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        raise CniError(INVALID_ENVIRONMENT, "interface name is not UTF-8", repr(os.fsencode(name))) from None
    if length >= IFNAMSIZ:
        raise CniError(
            INVALID_ENVIRONMENT, "interface name is too long", f"interface name should be less than {IFNAMSIZ} characters"
        )
    if name in (".", ".."):
        raise CniError(INVALID_ENVIRONMENT, "interface name is . or ..", name)
    if any(c in "/:" or c.isspace() for c in name):
        raise CniError(INVALID_ENVIRONMENT, "interface name contains / or : or whitespace characters", name)
    if "%" in name or name in NOT_A_DEVICE:
        raise CniError(INVALID_ENVIRONMENT, f'the kernel gives no interface the name "{name}"', "choose another CNI_IFNAME")


def _read_args(name: str, environ: Mapping[str, str], read: Callable[[], bytes]) -> Args:
    try:
        stdin = read()
    except OSError as error:
        raise CniError(IO_FAILURE, f"error reading from stdin: {error}") from error
    return Args(
        command=name,
        container_id=environ.get(_ID, ""),
        netns=environ.get(_NETNS, ""),
        ifname=environ.get(_IFNAME, ""),
        cni_args=environ.get("CNI_ARGS", ""),
        path=environ.get(_PATH, ""),
        stdin=stdin,
        environ=environ,
        conf=parse_conf(stdin),
    )


def _check_netns(args: Args) -> None:
    """Work meant for a container must not be done to the host."""
    override = args.environ.get("CNI_NETNS_OVERRIDE", "")
    if not args.netns or override == "1" or override.upper() == "TRUE":
        return
    own = identity("/proc/thread-self/ns/net")
    if own is not None and own == identity(args.netns):
        raise CniError(INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same", args.netns)
