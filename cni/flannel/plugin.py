"""flannel: makes a bridge (or other) configuration out of what flanneld wrote to subnet.env, and lets that plugin do the work.

Beyond the reference: CHECK, GC and STATUS reach the delegate; while subnet.env is missing ADD asks for another try (code 11) and
STATUS says so (50); DEL works without its file and without subnet.env, and keeps the file as long as the delegate fails.
"""

from __future__ import annotations

from cni.attachments import valid_attachments
from cni.delegate import delegate
from cni.errors import INTERNAL, NOT_AVAILABLE, TRY_AGAIN_LATER, CniError
from cni.flannel.conf import SubnetEnv, attachment_conf, check_delegate, data_dir, delegate_conf, parse_subnet_env, subnet_file
from cni.flannel.scratch import attachments, load, remove, remove_name, save
from cni.jsontext import Section, render
from cni.result import Result
from cni.skel import Args, Plugin
from cni.transaction import Transaction
from dataplane.errors import ConfigError


def add(args: Args) -> Result:
    made = Section(delegate_conf(args.conf, _subnet_env(args, TRY_AGAIN_LATER)))
    conf = render(made.values, indent="").encode()
    folder = data_dir(args.conf)
    with Transaction() as work:
        save(folder, args.container_id, args.ifname, conf)
        work.on_undo(lambda: remove(folder, args.conf.name, args.container_id, args.ifname))
        result = delegate(args, made.text("type"), "ADD", conf)
        if result is None:
            raise CniError(INTERNAL, f"{made.text('type')} gave no result", "the delegate must print one on ADD")
        return result


def delete(args: Args) -> None:
    """The file goes last: as long as the delegate fails, the next DEL needs it."""
    folder = data_dir(args.conf)
    made = load(folder, args.conf.name, args.container_id, args.ifname) or _remade(args)
    delegate(args, made.text("type"), "DEL", attachment_conf(made, args.conf.body))
    remove(folder, args.conf.name, args.container_id, args.ifname)


def check(args: Args) -> None:
    made = load(data_dir(args.conf), args.conf.name, args.container_id, args.ifname)
    if made is None:
        path = data_dir(args.conf)
        raise CniError(
            INTERNAL, f"flannel: no file for container {args.container_id} in {path}", "the ADD wrote it; DEL and ADD again"
        )
    delegate(args, made.text("type"), "CHECK", attachment_conf(made, args.conf.body))


def gc(args: Args) -> None:
    """The delegate first, with whatever configuration can be made; then this network's files of what does not live."""
    living = valid_attachments(args.conf)
    made = _remade(args)
    delegate(args, made.text("type"), "GC", attachment_conf(made, args.conf.body))
    containers = {container_id for container_id, _ in living}
    folder = data_dir(args.conf)
    for container_id, ifname in attachments(folder, args.conf.name):
        if (container_id, ifname) not in living and not (not ifname and container_id in containers):
            remove_name(folder, container_id, ifname)


def status(args: Args) -> None:
    check_delegate(args.conf)
    made = Section(delegate_conf(args.conf, _subnet_env(args, NOT_AVAILABLE)))
    delegate(args, made.text("type"), "STATUS", render(made.values, indent="").encode())


def _remade(args: Args) -> Section:
    """The delegate's configuration from stdin, and from subnet.env if that is still there."""
    try:
        env: SubnetEnv | None = _subnet_env(args, TRY_AGAIN_LATER)
    except (CniError, ConfigError):
        env = None
    return Section(delegate_conf(args.conf, env))


def _subnet_env(args: Args, code_if_missing: int) -> SubnetEnv:
    path = subnet_file(args.conf)
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return parse_subnet_env(file.read(), path)
    except FileNotFoundError as error:
        words = f"failed to load flannel 'subnet.env' file: open {path}: no such file or directory"
        raise CniError(code_if_missing, words, "flanneld writes it; check the flannel pod log for this node") from error


PLUGIN = Plugin("flannel", add, delete, check, gc, status)
