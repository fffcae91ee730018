"""Rules as text: words, quotes, comments, targets."""

from __future__ import annotations

import pytest

from dataplane.errors import ConfigError
from dataplane.netfilter import COMMENT_BYTES, Chain, Jump, clipped, comment, comment_of, quoted, rule_words, target_of

QUOTED = {  # as iptables-save 1.8.9 prints them; tests/netns/test_iptables.py asks the tool itself
    "plain_1-x": "plain_1-x",
    "a.b": '"a.b"',
    "": '""',
    "two words": '"two words"',
    'say "hi"': r'"say \"hi\""',
    "it's": r'"it\'s"',
    "back\\slash": r'"back\\slash"',
    "a/b": '"a/b"',
    "a:b": '"a:b"',
    "a=b,c": '"a=b,c"',
    "grün": '"grün"',
}


@pytest.mark.parametrize(("text", "printed"), QUOTED.items())
def test_a_word_is_quoted_as_iptables_save_prints_it_and_read_back(text: str, printed: str) -> None:
    assert quoted(text) == printed
    assert rule_words(f"-m comment --comment {printed} -j RETURN") == ["-m", "comment", "--comment", text, "-j", "RETURN"]
    assert comment_of(f"{comment(text)} -j RETURN") == text


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0b"])
def test_what_iptables_restore_cannot_carry_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="may not contain line breaks"):
        quoted(text)


@pytest.mark.parametrize(("text", "kept"), [("x" * 255, "x" * 255), ("x" * 256, "x" * 255), ("é" * 200, "é" * 127), ("", "")])
def test_a_comment_is_cut_to_what_the_kernel_keeps_at_a_whole_character(text: str, kept: str) -> None:
    assert clipped(text) == kept
    assert len(kept.encode()) <= COMMENT_BYTES
    assert comment_of(comment(text)) == kept


TARGETS = {
    "-s 10.0.0.0/8 -j RETURN": "RETURN",
    "-g CNI-FORWARD": "CNI-FORWARD",
    '-m comment --comment "a -j b" -j MASQUERADE --random-fully': "MASQUERADE",
    r'-m string --string \\ -m comment --comment "a \" -j b" -j DROP': "DROP",
    "-s 10.0.0.0/8": "",
    "-j": "",
}


@pytest.mark.parametrize(("rule", "target"), TARGETS.items())
def test_the_target_is_the_word_after_j_or_g_outside_of_quotes(rule: str, target: str) -> None:
    assert target_of(rule) == target
    assert Jump(4, "nat", "POSTROUTING", rule).target == target


def test_a_chain_knows_all_its_targets() -> None:
    assert Chain(4, "nat", "X", ("-j A", "-g B", "-p tcp")).targets == {"A", "B", ""}


@pytest.mark.parametrize("rule", ["-j RETURN", "-m mark --mark 0x1/0x1"])
def test_a_rule_without_comment_has_none(rule: str) -> None:
    assert comment_of(rule) is None


def test_where_a_rule_stands_first_or_last_makes_no_other_rule_of_it() -> None:
    assert Jump(4, "nat", "OUTPUT", "-j X", first=True).key == Jump(4, "nat", "OUTPUT", "-j X").key
    assert Chain(4, "nat", "X", ("-j RETURN",)).key == Chain(4, "nat", "X").key != Chain(6, "nat", "X").key
