"""What addresses ask for, and that they ask for the same again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from cloud_service.viewer.search.criteria import Criteria, read_criteria
from icm.errors import ConfigError

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=3, unique=True)
EDGES = st.tuples(st.integers(0, 500), st.integers(501, 1000)).map(lambda edges: (edges[0] / 1000, edges[1] / 1000))
SECONDS = st.none() | st.integers(0, 4_000_000_000)


@given(NAMES, NAMES, st.integers(0, 20), st.none() | st.tuples(EDGES, EDGES), SECONDS, st.integers(0, 3600))
def test_an_address_asks_for_what_it_was_made_of(
    cameras: list[str],
    classes: list[str],
    score: int,
    sides: tuple[tuple[float, float], tuple[float, float]] | None,
    begin: int | None,
    least: int,
) -> None:
    region = sides and (sides[0][0], sides[1][0], sides[0][1], sides[1][1])
    asked = Criteria(
        cameras=tuple(cameras),
        classes=tuple(classes),
        least_score=score / 20,
        from_us=None if begin is None else begin * 1_000_000,
        to_us=None if begin is None else (begin + 60) * 1_000_000,
        region=region,
        least_seconds=float(least),
    )
    assert read_criteria(QueryParams(asked.address())) == asked


def test_an_empty_form_asks_for_everything() -> None:
    assert read_criteria(QueryParams("from=&to=&score=&seconds=&region=")) == Criteria()


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("score=1.5", "score"),
        ("score=nan", "score"),
        ("seconds=-1", "seconds"),
        ("seconds=3601", "seconds"),
        ("from=yesterday", "from"),
        ("to=1969-12-31T00:00", "to"),
        ("to=9999-12-31T23:59:59", "to"),
        ("from=2026-01-02T00:00&to=2026-01-01T00:00", "ends before it begins"),
        ("region=0,0,1", "region"),
        ("region=0.5,0,0.5,1", "region"),
        ("region=0,0,inf,1", "region"),
        ("&".join(f"class=c{n}" for n in range(65)), "class"),
    ],
)
def test_what_cannot_be_asked_is_named(address: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        read_criteria(QueryParams(address))
