"""`podwire cni`: installs the plugins, and runs a network list as a container runtime does, with cnitool's environment variables.

NETCONFPATH   folder of the network lists (/etc/cni/net.d)      CNI_PATH   folders of the plugins (/opt/cni/bin)
CNI_IFNAME    the container's interface (eth0)                  CNI_ARGS   K=V;K=V for the plugins
CAP_ARGS      JSON: capability arguments

What a plugin refuses is printed as the CNI error document. The exit status is then 2 if its code blames the configuration or a
variable (1, 2, 4, 6, 7), else 1.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import click

from cni.conf import is_valid_name
from cni.errors import (
    DECODING_FAILURE,
    INCOMPATIBLE_VERSION,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    UNSUPPORTED_FIELD,
    CniError,
    as_cni_error,
)
from cni.install import install as install_plugins
from cni.runtime import DEFAULT_CACHE_DIR, load_list, run_list
from cni.version import CURRENT
from dataplane.errors import ConfigError, KernelError

_ID_BYTES = 10  # of the hash, as cnitool takes them
_MISCONFIGURED = frozenset({INCOMPATIBLE_VERSION, UNSUPPORTED_FIELD, INVALID_ENVIRONMENT, DECODING_FAILURE, INVALID_CONFIG})


@click.group()
def cni() -> None:
    """Install the CNI plugins, or run them on a network namespace."""


@cni.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--python", help="Interpreter for the plugins; the system's by default.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def install(directory: str, python: str | None, as_json: bool) -> None:
    """Write the plugins into DIRECTORY, for example /opt/cni/bin."""
    try:
        paths = install_plugins(directory, python)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except OSError as error:
        raise click.UsageError(f"DIRECTORY: {directory!r}: cannot be written to: {error.strerror}") from error
    click.echo(json.dumps(paths) if as_json else "\n".join(paths))


def container_id_of(netns: str) -> str:
    """The container ID that cnitool makes of a namespace's path."""
    return "cnitool-" + hashlib.sha512(os.path.abspath(netns).encode()).digest()[:_ID_BYTES].hex()


def _find_list(name: str) -> str:
    """The file of the network: a path, or the first list of that name in NETCONFPATH."""
    if os.path.isfile(name):
        return name
    folder = os.environ.get("NETCONFPATH", "/etc/cni/net.d")
    try:
        files = sorted(os.listdir(folder), key=lambda file: (not file.endswith(".conflist"), file))
    except OSError as error:
        raise click.UsageError(f"NETCONFPATH={folder}: {error.strerror}; name the file, or set NETCONFPATH") from error
    for file in files:
        path = os.path.join(folder, file)
        if file.endswith((".conflist", ".conf", ".json")) and _name_of(path) == name:
            return path
    raise click.UsageError(f'no network "{name}" in {folder} (NETCONFPATH)')


def _name_of(path: str) -> str:
    try:
        return load_list(path).name
    except (CniError, OSError):
        return ""


def _run(
    verb: str, network: str, netns: str, cache_dir: str, valid_attachments: list[dict[str, str]] | None = None
) -> dict[str, Any] | None:
    try:
        return run_list(
            verb,
            _find_list(network),
            container_id_of(netns) if netns else "",
            os.path.abspath(netns) if netns else "",
            os.environ.get("CNI_IFNAME", "eth0"),
            os.environ.get("CNI_PATH", "/opt/cni/bin"),
            cache_dir,
            cni_args=os.environ.get("CNI_ARGS", ""),
            capability_args=_capability_args(),
            valid_attachments=valid_attachments,
        )
    except (CniError, KernelError, OSError) as error:
        refusal = as_cni_error(error)
        click.echo(json.dumps(refusal.document(CURRENT), indent=4))
        sys.exit(2 if refusal.code in _MISCONFIGURED else 1)


def _capability_args() -> dict[str, Any]:
    try:
        given = json.loads(os.environ.get("CAP_ARGS") or "{}")
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"CAP_ARGS: {error}; a JSON object is wanted") from error
    if not isinstance(given, dict):
        raise click.UsageError(f"CAP_ARGS={given!r}: a JSON object is wanted, with a key for each capability")
    return given


_network = click.argument("network")
_netns = click.argument("netns", type=click.Path())
_cache_dir = click.option(
    "--cache-dir", default=DEFAULT_CACHE_DIR, show_default=True, help="Where results are kept between ADD and DEL."
)


@cni.command()
@_network
@_netns
@_cache_dir
def add(network: str, netns: str, cache_dir: str) -> None:
    """Attach NETNS to NETWORK (a name, or a file) and print the result."""
    click.echo(json.dumps(_run("ADD", network, netns, cache_dir), indent=4))


@cni.command("del")
@_network
@_netns
@_cache_dir
def delete(network: str, netns: str, cache_dir: str) -> None:
    """Detach NETNS from NETWORK."""
    _run("DEL", network, netns, cache_dir)


@cni.command()
@_network
@_netns
@_cache_dir
def check(network: str, netns: str, cache_dir: str) -> None:
    """Check that the attachment is as ADD left it; exit status 1 and the deviations if not."""
    _run("CHECK", network, netns, cache_dir)


@cni.command()
@_network
@click.option(
    "--valid",
    multiple=True,
    metavar="CONTAINER_ID/IFNAME",
    help="An attachment that lives; repeat for each.",
)
@click.option("--none", is_flag=True, help="No attachment lives: remove everything.")
@_cache_dir
def gc(network: str, valid: tuple[str, ...], none: bool, cache_dir: str) -> None:
    """Remove what is left of attachments of NETWORK that do not live."""
    if bool(valid) == none:
        raise click.UsageError("say which attachments live with --valid CONTAINER_ID/IFNAME, or --none if none does")
    pairs = [_attachment(item) for item in valid]
    _run(
        "GC",
        network,
        "",
        cache_dir,
        [{"containerID": container_id, "ifname": ifname} for container_id, ifname in pairs],
    )


def _attachment(text: str) -> tuple[str, str]:
    """A value of --valid. A mistake in it would have GC take away what lives."""
    container_id, _, ifname = text.partition("/")
    if not is_valid_name(container_id) or not ifname or "/" in ifname:
        raise click.UsageError(f"--valid {text!r}: CONTAINER_ID/IFNAME is wanted, such as c1/eth0")
    return container_id, ifname


@cni.command()
@_network
@_cache_dir
def status(network: str, cache_dir: str) -> None:
    """Whether NETWORK could take an attachment now."""
    _run("STATUS", network, "", cache_dir)
