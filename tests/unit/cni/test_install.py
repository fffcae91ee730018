"""Installation: executables that need nothing else, and what they import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cni.install import HIDDEN, install
from cni.plugins import NAMES
from dataplane.errors import ConfigError

FORBIDDEN = {
    *("dataclasses", "typing", "json", "re", "ipaddress", "subprocess", "enum", "logging", "pathlib", "socket"),
    *("contextlib", "functools", "shutil", "tempfile", "ctypes", "hashlib", "inspect", "pyroute2"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bin")
    install(str(made))
    return made


def _copies(folder: Path) -> set[str]:
    return {name for name in os.listdir(folder) if name.startswith(HIDDEN)}


@pytest.mark.parametrize("name", NAMES)
def test_every_plugin_runs_with_an_empty_environment(folder: Path, name: str) -> None:
    ran = subprocess.run(
        [folder / name], env={"CNI_COMMAND": "VERSION"}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b'{"cniVersion":"1.1.0"')


def test_the_executables_need_no_checkout(folder: Path) -> None:
    text = (folder / "bridge").read_text()
    assert text.startswith("#!/")
    assert text.splitlines()[0].endswith(" -ISB")
    assert str(Path(__file__).parents[3]) not in text
    copy = folder / next(iter(_copies(folder)))
    assert {entry.name for entry in copy.iterdir()} == {"cni", "dataplane"}
    assert list(copy.rglob("*.pyc"))
    assert not list(copy.rglob("fake.py"))


def test_a_moved_folder_still_runs(folder: Path, tmp_path: Path) -> None:
    """An installing container writes to the node's folder under another name."""
    shutil.copytree(folder, tmp_path / "moved", symlinks=True)
    (tmp_path / "link").symlink_to(tmp_path / "moved" / "bridge")
    for program in (tmp_path / "moved" / "bridge", tmp_path / "link"):
        ran = subprocess.run([program], env={"CNI_COMMAND": "VERSION"}, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_is_installed_under_a_strict_umask_is_open_to_others(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        install(str(tmp_path / "bin"))
    finally:
        os.umask(before)
    copy = tmp_path / "bin" / next(iter(_copies(tmp_path / "bin")))
    modes = {path.stat().st_mode & 0o777 for path in (copy, *copy.rglob("*"))}
    assert modes == {0o755, 0o644}


@pytest.mark.parametrize("program", ["/bin/true", "/bin/echo"])
def test_a_program_that_is_no_python_is_refused(tmp_path: Path, program: str) -> None:
    with pytest.raises(ConfigError, match=f"{program}.*it is not Python"):
        install(str(tmp_path), program)


def test_leftovers_of_a_killed_installation_go(tmp_path: Path) -> None:
    (tmp_path / f"{HIDDEN}new-abc").mkdir()
    (tmp_path / f"{HIDDEN}new-bridge-abc").write_text("half")
    install(str(tmp_path))
    assert not list(tmp_path.glob(f"{HIDDEN}new-*"))


def test_installations_at_the_same_time_end_whole(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({tuple(paths) for paths in pool.map(install, [str(tmp_path)] * 4)}) == 1
    assert len(_copies(tmp_path)) == 1


def test_installing_again_changes_nothing(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    paths = install(str(folder))
    assert sorted(os.path.basename(path) for path in paths) == sorted(NAMES)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_older_copies_go_unless_something_names_them(tmp_path: Path) -> None:
    for name in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        (tmp_path / (HIDDEN + name)).mkdir()
    (tmp_path / "foreign").write_text(f"sys.path.insert(0, {HIDDEN + 'bbbbbbbbbbbb'!r})")
    install(str(tmp_path))
    assert HIDDEN + "aaaaaaaaaaaa" not in _copies(tmp_path)
    assert HIDDEN + "bbbbbbbbbbbb" in _copies(tmp_path)
    assert len(_copies(tmp_path)) == 2


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "dhcp").write_text("x")
    install(str(tmp_path))
    assert (tmp_path / "dhcp").read_text() == "x"
    assert not [name for name in os.listdir(tmp_path) if "new" in name]


def test_an_interpreter_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be run"):
        install(str(tmp_path), "/nonexistent/python")
    assert list(tmp_path.iterdir()) == []


def test_a_named_interpreter_is_resolved_to_the_real_one(tmp_path: Path) -> None:
    install(str(tmp_path), sys.executable)
    interpreter = (tmp_path / "bridge").read_text().splitlines()[0].removeprefix("#!").removesuffix(" -ISB")
    assert os.path.realpath(interpreter) == interpreter


@pytest.mark.parametrize("name", NAMES)
def test_no_plugin_imports_what_costs_milliseconds(folder: Path, name: str) -> None:
    """Of everything that any verb may import: the modules are imported, with all that they import when work is to be done."""
    copy = folder / next(iter(_copies(folder)))
    lazy = "dataplane.drivers.netlink, dataplane.drivers.sysctl, dataplane.drivers.iptables, dataplane.drivers.run, cni.skel"
    code = f"import sys; sys.path.insert(0, {str(copy)!r}); import {NAMES[name]}, {lazy}; print(*sys.modules)"
    ran = subprocess.run(["/usr/bin/python3", "-ISBc", code], capture_output=True, text=True, check=True)
    assert FORBIDDEN & set(ran.stdout.split()) == set()
