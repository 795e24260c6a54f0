"""An edge keeps what the cloud shows of its chains, bounded, and says what contradicts."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from edge_service.proof import witness as witnessing
from edge_service.proof.witness import HEADS_NAME, Witness, read_heads
from icm.errors import ProofError, SpoolError
from icm.proof.chain import Block, Head
from icm.proof.keys import SigningKey
from icm.proof.witness import check_witnessed
from icm.service.health import Problems
from tests.icm.proof.test_chain import KEY, STORE, leaf, link


def chain(count: int, number: int = 0, key: SigningKey = KEY) -> list[tuple[Block, Head]]:
    """Blocks and heads; with another ``number``, of another history."""
    found: list[tuple[Block, Head]] = []
    for place in range(count):
        of = link(leaf(number + place + 1), previous=found[-1][1] if found else None, key=key)
        found.append((of.block, of.head))
    return found


def heads(count: int, number: int = 0, key: SigningKey = KEY) -> list[Head]:
    return [head for _, head in chain(count, number, key)]


def take(folder: Path, shown: list[Head]) -> list[str]:
    """Shows heads to an edge that starts anew each time; what its health says then."""
    problems = Problems()
    for head in shown:
        Witness(folder, problems).take("gate", head.line().decode())
    return problems.lines()


def test_heads_are_kept_once_each_and_survive_a_restart(tmp_path: Path) -> None:
    shown = heads(3)
    assert take(tmp_path, [shown[0], shown[0], shown[2]]) == []
    assert read_heads(tmp_path / HEADS_NAME) == [shown[0], shown[2]]


def test_what_contradicts_is_kept_and_is_a_health_problem(tmp_path: Path) -> None:
    shown = heads(3)
    for wrong, said in (
        (heads(3, number=100)[2], "block 3 of the cloud's chain is another one than was shown before"),
        (heads(2, number=100)[1], "block 2 of the cloud's chain comes after block 3"),
        (heads(4, key=SigningKey.new())[3], "block 4 of the cloud's chain is signed with another key"),
    ):
        (tmp_path / HEADS_NAME).unlink(missing_ok=True)
        (problem,) = take(tmp_path, [shown[2], wrong])
        assert said in problem
        assert read_heads(tmp_path / HEADS_NAME) == [shown[2], wrong]


@pytest.mark.parametrize(
    "line", ["", "no head", "x" * 5000, "\n", replace(heads(1)[0], signed_us=5).line().decode(), "ü"]
)
def test_what_is_no_head_is_logged_and_left_out(tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        Witness(tmp_path, Problems()).take("gate", line)
    assert "shows a head of its chain that is none" in caplog.text
    assert read_heads(tmp_path / HEADS_NAME) == []
    of_another = link(leaf(1, "yard"), camera="yard").head
    Witness(tmp_path, Problems()).take("gate", of_another.line().decode())
    assert read_heads(tmp_path / HEADS_NAME) == []


def test_the_file_is_bounded_and_keeps_the_first_and_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witnessing, "MOST_HEADS", 16)
    shown = heads(60)
    assert take(tmp_path, shown) == []
    kept = read_heads(tmp_path / HEADS_NAME)
    assert len(kept) <= 16
    assert kept == sorted(kept, key=lambda head: head.block)
    assert (kept[0], kept[-8:]) == (shown[0], shown[-8:])


def test_a_torn_line_is_left_out_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / HEADS_NAME
    take(tmp_path, heads(2))
    path.write_bytes(path.read_bytes()[:-20])
    assert read_heads(path) == heads(1)
    take(tmp_path, heads(2))
    assert read_heads(path)[-1] == heads(2)[-1]
    path.write_bytes(b"something else\n")
    with pytest.raises(SpoolError, match=r"heads\.txt is damaged"):
        read_heads(path)


def test_a_chain_that_holds_what_was_witnessed_is_followed_to_its_newest_head() -> None:
    shown = chain(6)
    assert check_witnessed([shown[1][1], shown[3][1]], shown[1:]) == shown[5][1]
    assert check_witnessed([], []) is None


def test_each_contradiction_is_named() -> None:
    shown, other = chain(6), chain(6, number=100)
    witnessed = [shown[1][1], shown[3][1]]
    for now, said in (
        (other[1:], "block 2 of camera gate is another one now"),
        (shown[1:3], "block 4 of camera gate, witnessed .* is not there any more: the chain ends with block 3"),
        ([], "block 2 of camera gate, witnessed .* the cloud shows no such block"),
        (shown[2:], "the cloud shows no such block"),
        ([*shown[1:3], *other[3:]], "block 4 of camera gate is another one now"),
        ([*shown[1:4], *other[4:]], "block 5 of camera gate does not follow block 4"),
        ([*shown[1:4], shown[5]], "block 6 of camera gate does not follow block 4"),
        ([(other[1][0], shown[1][1]), *shown[2:]], "the head of block 2 of camera gate is another block's"),
    ):
        with pytest.raises(ProofError, match=said):
            check_witnessed(witnessed, now)
    with pytest.raises(ProofError, match="shown in two forms"):
        check_witnessed([*witnessed, other[1][1]], shown[1:])
    assert shown[0][1].store == STORE
