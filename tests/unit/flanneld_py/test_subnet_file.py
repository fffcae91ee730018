"""subnet.env, written and read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from dataplane.inet import parse_prefix
from flanneld_py.subnet_file import parse_env, previous_subnet, read, render, write

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.72.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n"


def test_the_text_is_flannels() -> None:
    assert render(parse_prefix("10.5.0.0/16"), parse_prefix("10.5.72.0/24"), 1450, False) == TEXT
    assert render(parse_prefix("10.5.0.0/16"), parse_prefix("10.5.72.0/24"), 1450, True).endswith("FLANNEL_IPMASQ=true\n")


def test_it_is_readable_by_all_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "run" / "flannel" / "subnet.env"
    old = os.umask(0o077)
    try:
        write(str(path), "old")
        write(str(path), TEXT)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o644
    assert read(str(path)) == TEXT
    assert [each.name for each in path.parent.iterdir()] == ["subnet.env"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "subnet.env").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(str(tmp_path / "subnet.env"), TEXT)
    assert [each.name for each in tmp_path.iterdir()] == ["subnet.env"]


def test_a_missing_file_reads_as_nothing(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TEXT, "10.5.72.0/24"),
        ('# mine\nexport FLANNEL_SUBNET="10.5.72.1/24"\n', "10.5.72.0/24"),
        ("FLANNEL_SUBNET = 10.5.72.1/24", "10.5.72.0/24"),
        ("FLANNEL_SUBNET=10.5.72.1/24,10.5.73.1/24", None),
        ("FLANNEL_SUBNET=", None),
        ("#FLANNEL_SUBNET=10.5.72.1/24", None),
        ("", None),
        ("FLANNEL_SUBNET=10.5.72.1/99", None),
    ],
)
def test_the_previous_subnet_is_read_back(text: str, wanted: str | None) -> None:
    assert previous_subnet(text) == (parse_prefix(wanted) if wanted else None)


def test_lines_without_an_equals_sign_are_passed_over() -> None:
    assert parse_env("hello\nA=1=2\n\n'x'\n") == {"A": "1=2"}
