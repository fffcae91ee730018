"""Running another plugin for part of the work (specification, section 4): found along CNI_PATH, same environment, same stdin.

If the file that the search finds is one of our own executables, its verb is called in this process: an exec would cost as much as
all the rest of an ADD. Everything else (dhcp, static, whereabouts, ...) is executed.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from cni.conf import parse_conf
from cni.errors import INTERNAL, INVALID_CONFIG, CniError
from cni.jsontext import Section, parse, parse_object
from cni.plugins import NAMES, load
from cni.result import parse_result
from dataplane.errors import ConfigError
from dataplane.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.result import Result
    from cni.skel import Args

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the folder that this copy of the packages lies in
_HEAD_BYTES = 1024
_TIMEOUT_S = 180.0  # a DHCP server may take its time


def delegate(args: Args, kind: str, command: str, stdin: bytes | None = None) -> Result | None:
    """Let plugin `kind` do `command`; its result if that is ADD.

    Args:
        stdin: the configuration for it; None is the one that we got.

    Raises:
        CniError: the plugin is not there, or it failed: with its own code and words.
    """
    path = find(kind, args.path)
    if _is_ours(path, kind):
        conf = args.conf if stdin is None else parse_conf(stdin)
        return _call(replace(args, command=command, stdin=args.stdin if stdin is None else stdin, conf=conf), kind)
    return _execute(args, path, command, args.stdin if stdin is None else stdin)


def find(kind: str, path: str) -> str:
    """The plugin's file: the first regular one along CNI_PATH.

    Raises:
        CniError: code 7.
    """
    if not kind or "/" in kind:
        raise CniError(INVALID_CONFIG, f'invalid plugin name: "{kind}"', "a plugin is named by its file, without folders")
    for folder in path.split(":"):
        candidate = os.path.join(folder, kind)
        try:
            if folder and S_ISREG(os.stat(candidate).st_mode):
                return candidate
        except OSError:
            continue
    raise CniError(INVALID_CONFIG, f'failed to find plugin "{kind}" in path [{path}]', "install it there, or correct CNI_PATH")


def _is_ours(path: str, kind: str) -> bool:
    """Whether the file starts this very copy of the packages (see install.py), and not one of another version or program."""
    folder, name = os.path.split(ROOT)
    if kind not in NAMES or os.path.dirname(os.path.realpath(path)) != folder:
        return False
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        head = os.read(file, _HEAD_BYTES)
    finally:
        os.close(file)
    return head.startswith(b"#!") and f"/{name}'".encode() in head


def _call(args: Args, kind: str) -> Result | None:
    plugin = load(kind)
    if args.command == "ADD":
        return plugin.add(args)
    {"DEL": plugin.delete, "CHECK": plugin.check, "GC": plugin.gc, "STATUS": plugin.status}[args.command](args)
    return None


def _execute(args: Args, path: str, command: str, stdin: bytes) -> Result | None:
    from dataplane.drivers.run import run  # noqa: PLC0415  an ADD with our own IPAM executes nothing

    ran = run([path], stdin, env={**args.environ, "CNI_COMMAND": command}, timeout_s=_TIMEOUT_S)
    if ran.stderr:
        os.write(2, ran.stderr)
    if ran.status != 0:
        raise _error_of(path, ran.status, ran.stdout, ran.stderr)
    if command != "ADD":
        return None
    try:
        return parse_result(parse_object(ran.stdout, f"result of {path}"), parse_conf(stdin).version)
    except ConfigError as error:
        raise CniError(INTERNAL, f"{path} gave a result that makes no sense: {error}") from None


def _error_of(path: str, status: int, stdout: bytes, stderr: bytes) -> CniError:
    try:
        document = Section(parse(stdout))
        return CniError(document.integer("code", 0, 2**32, INTERNAL), document.text("msg"), document.text("details"))
    except (ValueError, AttributeError):
        said = (stdout.strip() or stderr.strip()).decode(errors="replace") or "it printed nothing"
        return CniError(INTERNAL, f"{path} failed with exit status {status}: {said}")
