"""Finding and running another plugin, with shell scripts as foreign ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cni.conf import parse_conf
from cni.delegate import delegate, find
from cni.errors import CniError
from cni.ipam import ipam_add
from cni.skel import Args

CONF = b'{"name": "net", "cniVersion": "0.2.0", "ipam": {"type": "foreign"}}'


def _plugin(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    os.chmod(folder / name, 0o755)


def _args(path: str) -> Args:
    environ = {"CNI_COMMAND": "ADD", "CNI_PATH": path, "TRACEPARENT": "t", "PATH": os.environ["PATH"]}
    return Args("ADD", "c1", "", "eth0", "", path, CONF, environ, parse_conf(CONF))


def test_the_first_regular_file_along_the_path_is_taken(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").mkdir()
    (tmp_path / "c" / "x").touch()
    (tmp_path / "b" / "x").symlink_to(tmp_path / "c" / "x")
    assert find("x", f"/nonexistent:{tmp_path}/a::{tmp_path}/b:{tmp_path}/c") == f"{tmp_path}/b/x"


@pytest.mark.parametrize("kind", ["", "a/b", "../x", "absent"])
def test_a_plugin_that_is_not_there_is_code_7(kind: str, tmp_path: Path) -> None:
    with pytest.raises(CniError) as error:
        find(kind, str(tmp_path))
    assert error.value.code == 7


def test_a_foreign_plugin_gets_environment_and_stdin_and_its_result_is_read(tmp_path: Path) -> None:
    _plugin(tmp_path, "foreign", f'cat >{tmp_path}/in; env >{tmp_path}/env; echo \'{{"ip4": {{"ip": "10.0.0.2/8"}}}}\'')
    result = delegate(_args(str(tmp_path)), "foreign", "ADD")
    assert result is not None
    assert [str(ip.address) for ip in result.ips] == ["10.0.0.2/8"]  # no version stated: the configuration's, 0.2.0
    assert (tmp_path / "in").read_bytes() == CONF
    assert {"CNI_COMMAND=ADD", "TRACEPARENT=t", f"CNI_PATH={tmp_path}"} <= set((tmp_path / "env").read_text().splitlines())


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('echo \'{"code": 11, "msg": "later", "details": "d"}\'; exit 1', 11, "later; d"),
        ("echo oops >&2; exit 3", 999, "exit status 3: oops"),
        ("exit 1", 999, "it printed nothing"),
        ("echo '[]'; exit 1", 999, "exit status 1"),
        ("echo '{'", 6, "error unmarshall result"),
        ('echo \'{"ip4": {"ip": "x"}}\'', 999, "makes no sense"),
    ],
)
def test_its_failure_is_passed_on(text: str, code: int, words: str, tmp_path: Path) -> None:
    _plugin(tmp_path, "foreign", text)
    with pytest.raises(CniError) as error:
        delegate(_args(str(tmp_path)), "foreign", "ADD")
    assert error.value.code == code
    assert words in str(error.value)


def test_a_delegate_s_failed_add_is_followed_by_its_del(tmp_path: Path) -> None:
    _plugin(
        tmp_path,
        "foreign",
        f'echo $CNI_COMMAND >>{tmp_path}/calls; [ $CNI_COMMAND = DEL ] || {{ echo \'{{"code": 7, "msg": "no"}}\'; exit 1; }}',
    )
    with pytest.raises(CniError, match="no"):
        ipam_add(_args(str(tmp_path)))
    assert (tmp_path / "calls").read_text().split() == ["ADD", "DEL"]


def test_no_address_is_no_result(tmp_path: Path) -> None:
    _plugin(tmp_path, "foreign", f"echo $CNI_COMMAND >>{tmp_path}/calls; echo '{json.dumps({'cniVersion': '1.0.0'})}'")
    with pytest.raises(CniError, match="IPAM plugin returned missing IP config"):
        ipam_add(_args(str(tmp_path)))
    assert (tmp_path / "calls").read_text().split() == ["ADD", "DEL"]
