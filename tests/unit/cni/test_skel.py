"""The frame of every plugin: variables, validation in order, dispatch, and one document out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cni.errors import CniError
from cni.result import Interface, IpConfig, Result
from cni.skel import Args, Plugin, run
from cni.version import SUPPORTED
from dataplane.errors import ConfigError, KernelError
from dataplane.inet import parse_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

FULL = {
    "CNI_CONTAINERID": "some-container-id",
    "CNI_NETNS": "/some/netns/path",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "K=V",
    "CNI_PATH": "/some/cni/path",
}
REQUIRED = {
    "ADD": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "CHECK": ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
    "DEL": ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
    "GC": ["CNI_PATH"],
    "STATUS": ["CNI_PATH"],
    "VERSION": [],
}
RESULT = Result((Interface("eth0", None, "/some/netns/path"),), (IpConfig(parse_prefix("10.1.2.3/24"), 0),))


class Recorder:
    """A plugin that notes how it was called, and the process's edges."""

    def __init__(self, add: Callable[[Args], Result] | None = None) -> None:
        self.calls: list[Args] = []
        self.out: list[str] = []
        self.err: list[str] = []
        self.reads = 0
        self._add = add

    def run(self, command: str | None, stdin: Any = b'{"name":"net","cniVersion":"1.1.0"}', **env: str) -> int:
        def read() -> bytes:
            self.reads += 1
            if isinstance(stdin, Exception):
                raise stdin
            return stdin if isinstance(stdin, bytes) else json.dumps(stdin).encode()

        def verb(args: Args) -> Any:
            self.calls.append(args)
            return self._add(args) if self._add else RESULT

        environ = {**FULL, **env} | ({} if command is None else {"CNI_COMMAND": command})
        return run(Plugin("test", verb, verb, verb, verb, verb), environ, read, self.out.append, self.err.append)

    @property
    def document(self) -> Any:
        (text,) = self.out
        return json.loads(text)


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC", "STATUS"])
def test_variables_and_stdin_reach_the_verb(command: str) -> None:
    plugin = Recorder()
    assert plugin.run(command) == 0
    (args,) = plugin.calls
    assert (args.command, args.container_id, args.netns, args.ifname, args.cni_args, args.path) == (command, *FULL.values())
    assert args.stdin == b'{"name":"net","cniVersion":"1.1.0"}'
    assert (args.conf.name, args.conf.version) == ("net", "1.1.0")


def test_add_prints_the_result_in_the_configuration_s_version() -> None:
    plugin = Recorder()
    plugin.run("ADD", {"name": "net", "cniVersion": "0.4.0"})
    assert plugin.document == {
        "cniVersion": "0.4.0",
        "interfaces": [{"name": "eth0", "sandbox": "/some/netns/path"}],
        "ips": [{"version": "4", "interface": 0, "address": "10.1.2.3/24"}],
        "dns": {},
    }
    assert plugin.out[0].startswith('{\n    "cniVersion": "0.4.0",\n')


@pytest.mark.parametrize("command", ["DEL", "CHECK", "GC", "STATUS"])
def test_the_other_verbs_print_nothing(command: str) -> None:
    plugin = Recorder()
    plugin.run(command)
    assert plugin.out == plugin.err == []


@pytest.mark.parametrize("command", REQUIRED)
@pytest.mark.parametrize("name", FULL)
@pytest.mark.parametrize("how", ["empty"])
def test_a_variable_that_is_empty_is_missing_where_it_is_required(command: str, name: str, how: str) -> None:
    plugin = Recorder()
    status = plugin.run(command, **{name: ""})
    if name not in REQUIRED[command]:
        assert status == 0
        return
    assert status == 1
    assert (plugin.document["code"], plugin.document["msg"]) == (4, f"required env variables [{name}] missing")
    assert plugin.calls == []
    assert plugin.reads == 0


def test_all_missing_variables_are_told_at_once() -> None:
    plugin = Recorder()
    plugin.run("ADD", **dict.fromkeys(FULL, ""))
    assert plugin.document["msg"] == "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"


BAD_VARIABLES = [
    ("CNI_CONTAINERID", "-x", "invalid characters in containerID"),
    ("CNI_CONTAINERID", "a/b", "invalid characters in containerID"),
    ("CNI_CONTAINERID", "a\n", "invalid characters in containerID"),
    ("CNI_CONTAINERID", "ä", "invalid characters in containerID"),
    ("CNI_IFNAME", "1234567890123456", "interface name is too long"),
    ("CNI_IFNAME", "ääääääää", "interface name is too long"),  # 16 bytes
    ("CNI_IFNAME", ".", "interface name is . or .."),
    ("CNI_IFNAME", "..", "interface name is . or .."),
    ("CNI_IFNAME", "test/test", "interface name contains / or : or whitespace characters"),
    ("CNI_IFNAME", "test:test", "interface name contains / or : or whitespace characters"),
    ("CNI_IFNAME", "test test1", "interface name contains / or : or whitespace characters"),
    ("CNI_IFNAME", "a\u2003b", "interface name contains / or : or whitespace characters"),
    ("CNI_IFNAME", "a\udcff", "interface name is not UTF-8"),  # as os.environ gives the byte 0xff
    ("CNI_IFNAME", "eth%d", 'the kernel gives no interface the name "eth%d"'),
    ("CNI_IFNAME", "all", 'the kernel gives no interface the name "all"'),
]


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
@pytest.mark.parametrize(("name", "value", "words"), BAD_VARIABLES)
def test_variables_that_are_not_well_formed_are_code_4_before_stdin_is_read(
    command: str, name: str, value: str, words: str
) -> None:
    plugin = Recorder()
    assert plugin.run(command, **{name: value}) == 1
    assert (plugin.document["code"], plugin.document["msg"]) == (4, words)
    assert plugin.reads == 0


@pytest.mark.parametrize("command", ["GC", "STATUS"])
@pytest.mark.parametrize(("name", "value", "words"), BAD_VARIABLES)
def test_variables_that_a_command_does_not_need_are_not_judged(command: str, name: str, value: str, words: str) -> None:
    assert Recorder().run(command, **{name: value}) == 0


STDIN = [
    (b"", 6, "unexpected end of JSON input"),
    (b"{", 6, "error unmarshall network config"),
    (b"[]", 6, "not an object"),
    (b'{"name": 5}', 6, "a string is wanted"),
    (b'{"name": "net"} x', 6, "after the document"),
    (b"{}", 7, "missing network name"),
    (b"null", 7, "missing network name"),
    (b'{"name": ""}', 7, "missing network name"),
    (b'{"name": "a/b"}', 7, "invalid characters found in network name"),
    (b'{"name": "net\\n"}', 7, "invalid characters found in network name"),
    (b'{"name": "net", "cniVersion": "9.9.0"}', 1, "incompatible CNI versions"),
    (b'{"name": "net", "cniVersion": "1.0"}', 1, "incompatible CNI versions"),
]


@pytest.mark.parametrize("command", ["ADD", "DEL"])
@pytest.mark.parametrize(("stdin", "code", "words"), STDIN)
def test_stdin_is_judged_in_order(command: str, stdin: bytes, code: int, words: str) -> None:
    plugin = Recorder()
    assert plugin.run(command, stdin) == 1
    assert plugin.document["code"] == code
    assert words in plugin.document["msg"]
    assert plugin.calls == []


def test_the_versions_that_we_know_are_told() -> None:
    plugin = Recorder()
    plugin.run("ADD", {"name": "net", "cniVersion": "9.9.0"})
    known = " ".join(f'"{version}"' for version in SUPPORTED)
    assert plugin.document["details"] == f'config is "9.9.0", plugin supports [{known}]'


def test_a_configuration_without_a_version_is_0_1_0() -> None:
    plugin = Recorder()
    plugin.run("ADD", {"name": "net"})
    assert plugin.document["cniVersion"] == "0.1.0"
    assert plugin.document["ip4"]["ip"] == "10.1.2.3/24"


@pytest.mark.parametrize(("command", "since"), [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")])
@pytest.mark.parametrize("version", SUPPORTED)
def test_a_command_newer_than_the_configuration_is_code_1(command: str, since: str, version: str) -> None:
    plugin = Recorder()
    status = plugin.run(command, {"name": "net", "cniVersion": version})
    if SUPPORTED.index(version) >= SUPPORTED.index(since):
        assert (status, len(plugin.calls)) == (0, 1)
    else:
        assert (plugin.document["code"], plugin.document["msg"]) == (1, f"config version does not allow {command}")


@pytest.mark.parametrize("version", ["asdf", "asdf.", ".asdfas", "0.", "..", "1.2.3.4.5", "1.٢.0"])
def test_a_version_that_is_none_is_code_6_where_it_is_compared(version: str) -> None:
    plugin = Recorder()
    plugin.run("CHECK", {"name": "net", "cniVersion": version})
    assert plugin.document["code"] == 6


def test_version_prints_what_is_supported_and_reads_no_stdin() -> None:
    plugin = Recorder()
    assert plugin.run("VERSION", **dict.fromkeys(FULL, "")) == 0
    assert plugin.out == ['{"cniVersion":"1.1.0","supportedVersions":["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n']
    assert plugin.reads == 0


def test_an_unknown_command_is_code_4() -> None:
    plugin = Recorder()
    assert plugin.run("FOO") == 1
    assert (plugin.document["code"], plugin.document["msg"]) == (4, "unknown CNI_COMMAND: FOO")


@pytest.mark.parametrize("command", [None, ""])
def test_without_a_command_the_plugin_introduces_itself_on_stderr(command: str | None) -> None:
    plugin = Recorder()
    assert plugin.run(command) == 0
    assert plugin.out == []
    assert "CNI test plugin" in plugin.err[0]
    assert plugin.err[0].endswith(f"CNI protocol versions supported: {', '.join(SUPPORTED)}\n")


def test_stdin_that_cannot_be_read_is_code_5() -> None:
    plugin = Recorder()
    assert plugin.run("ADD", OSError("banana")) == 1
    assert (plugin.document["code"], plugin.document["msg"]) == (5, "error reading from stdin: banana")


ERRORS: list[tuple[BaseException, int, str]] = [
    (CniError(1234, "insufficient something", "details"), 1234, "insufficient something"),
    (ConfigError("mtu", -1, "an integer from 0"), 7, "mtu: -1: an integer from 0"),
    (KernelError("add link x", "Device or resource busy", 16), 11, "add link x: Device or resource busy"),
    (KernelError("add link x", "Operation not supported", 95), 999, "add link x: Operation not supported"),
    (FileNotFoundError(2, "No such file or directory", "/a/b"), 5, "/a/b: No such file or directory"),
    (ZeroDivisionError("potato"), 999, "ZeroDivisionError: potato"),
    (KeyboardInterrupt(), 999, "KeyboardInterrupt: "),
    (SystemExit(3), 999, "SystemExit: 3"),
]


@pytest.mark.parametrize(("error", "code", "msg"), ERRORS)
def test_every_exception_becomes_one_document(error: BaseException, code: int, msg: str) -> None:
    def fail(_: Args) -> Result:
        raise error

    plugin = Recorder(fail)
    assert plugin.run("ADD") == 1
    assert (plugin.document["code"], plugin.document["msg"], plugin.document["cniVersion"]) == (code, msg, "1.1.0")


def test_a_result_that_the_version_cannot_tell_is_one_error_document() -> None:
    plugin = Recorder(lambda _: Result())
    assert plugin.run("ADD", {"name": "net", "cniVersion": "0.2.0"}) == 1
    assert plugin.document["msg"] == "cannot convert: no valid IP addresses"


@pytest.mark.parametrize("override", ["", "0", "1", "TRUE", "true"])
@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK"])
def test_our_own_namespace_is_refused_before_the_work_unless_overridden(command: str, override: str) -> None:
    plugin = Recorder()
    plugin.run(command, CNI_NETNS="/proc/self/ns/net", CNI_NETNS_OVERRIDE=override)
    if command == "CHECK" or override in ("1", "TRUE", "true"):
        assert len(plugin.calls) == 1
    else:
        assert plugin.calls == []
        assert plugin.document["code"] == 8
