"""Entries, blocks and heads: written one way, read back the same, and any change of them is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from icm.errors import ConfigError, ProofError, StorageError
from icm.proof.chain import Head, Link, check_inclusion, make_link, read_links
from icm.proof.entries import Entry, Leaf, Origin, SegmentFacts, Tombstone, entry_of
from icm.proof.keys import SigningKey, public_key_of, signed_by
from icm.proof.merkle import path_to
from icm.proof.statements import MOST_US

KEY = SigningKey.new()
STORE = "0123456789abcdef"
numbers = st.integers(0, 2**63 - 1)
times = st.integers(0, MOST_US)
facts = st.builds(
    SegmentFacts,
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True),
    st.integers(1, 2**63 - 1),
    *[numbers] * 3,
    st.sampled_from(["", "1-1", "1-5,7-7"]),
    *[times] * 2,
    st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)),
)
entries = st.one_of(
    st.builds(Leaf, facts, st.sampled_from(Origin)),
    st.builds(Tombstone, facts, st.just("max_age"), times, st.text(), st.text()),
)


def leaf(number: int, camera: str = "gate") -> Leaf:
    return Leaf(SegmentFacts(camera, number, 7, 1000, 10, "1-10", 5, 6, bytes([number % 256]) * 32), Origin.SEALED)


def link(*entries_: Entry, previous: Head | None = None, key: SigningKey = KEY, camera: str = "gate") -> Link:
    return make_link(store=STORE, camera=camera, previous=previous, entries=entries_, key=key, now_us=99)


def chain(count: int) -> list[Link]:
    links: list[Link] = []
    for number in range(count):
        before = links[-1].head if links else None
        links.append(link(leaf(2 * number + 1), leaf(2 * number + 2), previous=before))
    return links


def checked(links: list[Link]) -> None:
    previous = None
    for each in links:
        each.check(previous)
        previous = each.head


@given(entries)
@example(Tombstone(SegmentFacts("gate", 1, 7, 9, 9, "1-9", 5, 6, bytes(32)), "max_age", 7, "-", "-"))
def test_an_entry_is_read_back_as_it_was(entry: Entry) -> None:
    line = entry.line()
    assert entry_of(line) == entry
    assert line.isascii()
    assert b"\n" not in line


@given(entries, st.data())
def test_an_entry_whose_bytes_change_is_another_entry_or_none(entry: Entry, data: st.DataObject) -> None:
    line = bytearray(entry.line())
    line[data.draw(st.integers(0, len(line) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = entry_of(bytes(line))
    except ProofError:
        return
    assert other.hash() != entry.hash()


@given(st.binary(max_size=300))
def test_any_bytes_are_an_entry_a_head_a_block_or_one_error(data: bytes) -> None:
    for read in (entry_of, Head.of):
        with pytest.raises(ProofError):
            read(data)
    with pytest.raises(ProofError):
        list(read_links(iter([data + b"\n"])))


def test_a_chain_is_read_back_and_holds() -> None:
    links = chain(3)
    packed = b"".join(each.pack() for each in links)
    assert list(read_links(iter(packed.splitlines(keepends=True)))) == links
    checked(links)


def test_a_chain_that_was_cut_within_a_block_ends_before_it() -> None:
    links = chain(2)
    whole, torn = links[0].pack(), links[1].pack()
    for cut in range(len(torn)):
        assert list(read_links(iter((whole + torn[:cut]).splitlines(keepends=True)))) == links[:1]


@pytest.mark.parametrize(
    ("tampered", "said"),
    [
        (lambda links: links[1:], "does not follow block 0"),
        (lambda links: [links[0], links[2]], "does not follow block 1"),
        (lambda links: [links[1], links[0]], "does not follow block 0"),
        (lambda links: [links[0], replace(links[1], entries=links[1].entries[::-1])], "are not those"),
        (lambda links: [replace(links[0], entries=links[0].entries[:1])], "are not those"),
        (lambda links: [replace(links[0], entries=(*links[0].entries, leaf(9)))], "are not those"),
        (lambda links: [replace(links[0], entries=(leaf(9), links[0].entries[1]))], "are not those"),
        (lambda links: [replace(links[0], entries=(leaf(1, "yard"), leaf(2)))], "of another camera"),
        (lambda links: [replace(links[0], head=links[1].head)], "is another block's"),
        (lambda links: [replace(links[0], block=replace(links[0].block, last_us=7))], "line was changed"),
        (lambda links: [replace(links[0], head=replace(links[0].head, signed_us=1))], "signature"),
        (lambda links: [replace(links[0], head=replace(links[0].head, signature=bytes(64)))], "signature"),
        (lambda links: [links[0], link(leaf(3), previous=links[0].head, key=SigningKey.new())], "another key"),
        (lambda links: [links[0], link(leaf(3, "yard"), previous=links[0].head, camera="yard")], "another chain"),
    ],
)
def test_each_change_of_a_chain_breaks_it_by_name(tampered: object, said: str) -> None:
    assert callable(tampered)
    with pytest.raises(ProofError, match=said):
        checked(tampered(chain(3)))


def test_a_path_proves_an_entry_of_a_block_and_of_no_other() -> None:
    entries_ = [leaf(number) for number in range(1, 8)]
    of = link(*entries_)
    hashes = [entry.hash() for entry in entries_]
    for index, entry in enumerate(entries_):
        path = path_to(hashes, index)
        check_inclusion(entry=entry, index=index, path=path, block=of.block, head=of.head)
        with pytest.raises(ProofError, match="does not lead"):
            check_inclusion(entry=leaf(50), index=index, path=path, block=of.block, head=of.head)
        with pytest.raises(ProofError, match="cannot be in block"):
            check_inclusion(entry=leaf(index + 1, "yard"), index=index, path=path, block=of.block, head=of.head)


def test_a_key_is_kept_for_its_owner_alone_and_signs_the_same_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "proof" / "signing.key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = SigningKey.load(path)
    assert again.public == KEY.public == public_key_of(f" {KEY.public.hex()}\n")
    assert signed_by(KEY.public, b"data", again.sign(b"data"))
    assert not signed_by(SigningKey.new().public, b"data", again.sign(b"data"))
    assert not signed_by(KEY.public, b"date", again.sign(b"data"))


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.key"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"signing\.key is no Ed25519 key"):
        SigningKey.load(path)


def test_a_text_that_is_no_public_key_is_named() -> None:
    with pytest.raises(ConfigError, match="'abc' is no public key"):
        public_key_of("abc")
