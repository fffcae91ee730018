"""A lab's folder: what is remembered, who may work on it, what is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataplane.errors import ConfigError
from labs.catalog import find_topology
from labs.layout import Layout
from labs.state import RUNNING, STARTING, LabState, lab_names, locked, only_lab, read_state, remove_files, write_state
from labs.topology_file import with_options


def lab(root: Path, name: str = "flannel") -> LabState:
    return LabState(Layout(with_options(find_topology("flannel"), name=name, nodes=2), str(root)), STARTING)


def put(root: Path, name: str) -> None:
    (root / name).mkdir(parents=True)
    write_state(lab(root, name))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    assert read_state("mine", str(tmp_path)) == lab(tmp_path, "mine")
    write_state(LabState(lab(tmp_path, "mine").layout, RUNNING))
    state = read_state("mine", str(tmp_path))
    assert state is not None
    assert state.phase == RUNNING
    assert os.listdir(tmp_path / "mine") == ["state.json"]


def test_a_lab_that_is_not_there_has_no_state(tmp_path: Path) -> None:
    assert read_state("mine", str(tmp_path)) is None


@pytest.mark.parametrize("name", ["../mine", "", "Mine", "a/b", "-all"])
def test_a_name_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lower-case"):
        read_state(name, str(tmp_path))


def test_a_damaged_state_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "state.json").write_text("{")
    with pytest.raises(ConfigError, match=r"mine/state\.json.*is damaged"):
        read_state("mine", str(tmp_path))


def test_the_only_lab_needs_no_name(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    assert only_lab(None, str(tmp_path)).layout.name == "mine"
    put(tmp_path, "other")
    assert lab_names(str(tmp_path)) == ("mine", "other")
    with pytest.raises(ConfigError, match="name one: mine, other"):
        only_lab(None, str(tmp_path))
    with pytest.raises(ConfigError, match="'third': is not up; up are: mine, other"):
        only_lab("third", str(tmp_path))


def test_without_any_lab_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="podwire lab up"):
        only_lab(None, str(tmp_path / "nothing"))


def test_two_cannot_work_on_one_lab(tmp_path: Path) -> None:
    root = str(tmp_path)
    with locked("mine", root), locked("other", root), pytest.raises(ConfigError, match="is at work on it"), locked("mine", root):
        pass


def test_a_folder_that_stays_empty_is_removed_with_those_above_it(tmp_path: Path) -> None:
    root = tmp_path / "podwire" / "lab"
    with locked("mine", str(root)):
        assert (root / "mine").is_dir()
    assert os.listdir(tmp_path) == []


def test_a_folder_with_another_lab_beside_it_stays(tmp_path: Path) -> None:
    root = tmp_path / "podwire" / "lab"
    put(root, "other")
    with locked("mine", str(root)):
        pass
    assert os.listdir(root) == ["other"]


def test_all_files_are_removed(tmp_path: Path) -> None:
    put(tmp_path, "mine")
    (tmp_path / "mine" / "node1" / "net.d").mkdir(parents=True)
    (tmp_path / "mine" / "node1" / "subnet.env").write_text("x")
    (tmp_path / "mine" / "link").symlink_to(tmp_path)
    remove_files(lab(tmp_path, "mine").layout)
    assert os.listdir(tmp_path / "mine") == []


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"topology": 3, "phase": "running"}', '{"phase": "gone", "topology": {}}', "\xff"]
)
def test_a_damaged_state_file_is_named_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/state.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=f"is damaged .*remove {tmp_path}/mine and the namespaces /run/netns/pw-mine-"):
        read_state("mine", str(tmp_path))


def test_a_folder_that_cannot_be_a_labs_is_no_lab(tmp_path: Path) -> None:
    (tmp_path / "Foo").mkdir()
    (tmp_path / "mine").mkdir()
    assert lab_names(str(tmp_path)) == ("mine",)
