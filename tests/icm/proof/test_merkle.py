"""The Merkle tree is that of RFC 6962, and paths lead to its root from their own leaf alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from icm.proof.merkle import leaf_hash, node_hash, path_to, root_by_path, root_of

# The leaves and roots that implementations of Certificate Transparency are held to.
LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_roots_are_those_of_certificate_transparency() -> None:
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]
    assert [root_of(hashes[:count]).hex() for count in range(1, len(LEAVES) + 1)] == ROOTS


def test_a_leaf_that_looks_like_a_node_is_none() -> None:
    left, right = leaf_hash(b"left"), leaf_hash(b"right")
    assert leaf_hash(left + right) != node_hash(left, right)


@given(st.integers(1, 70).flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1))))
def test_a_path_leads_from_each_leaf_to_the_root(case: tuple[int, int]) -> None:
    count, index = case
    leaves = [leaf_hash(bytes([number])) for number in range(count)]
    path = path_to(leaves, index)
    assert root_by_path(leaves[index], index, count, path) == root_of(leaves)


@given(
    st.integers(2, 40).flatmap(lambda count: st.tuples(st.just(count), *[st.integers(0, count - 1)] * 2)),
    st.integers(0, 3),
)
def test_no_path_leads_from_another_leaf_place_or_size(case: tuple[int, int, int], change: int) -> None:
    count, index, other = case
    leaves = [leaf_hash(bytes([number])) for number in range(count)]
    path = path_to(leaves, index)
    if other != index:
        assert root_by_path(leaves[other], index, count, path) != root_of(leaves)
        assert root_by_path(leaves[index], other, count, path) != root_of(leaves)
    assert root_by_path(leaves[index], index, count, path[:-1]) != root_of(leaves)
    assert root_by_path(leaves[index], index, count, [*path, bytes(32)]) != root_of(leaves)
    assert root_by_path(leaves[index], count + change, count, path) is None
