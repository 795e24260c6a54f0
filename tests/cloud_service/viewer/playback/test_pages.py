"""The pages of the past as they come from the server: what is there without scripts, for whom, and what is refused."""

from __future__ import annotations

import re

import pytest

from tests.cloud_service.viewer.house import House


def test_without_scripts_a_camera_shows_the_frame_of_a_time_and_leads_on(house: House) -> None:
    page = house.logged_in("anna").get("/cameras/gate?t=2026-09-21T14:13:20Z").text
    assert '<img class="alone" src="/cameras/gate/frame.jpg?t=2026-09-21T14:13:20.000Z"' in page
    led = dict(re.findall(r'<a class="button" href="([^"]+)">([^<]+)</a>', page))
    assert led["/cameras/gate?t=2026-09-21T14:12:20.000Z"] == "1 min back"
    assert led["/cameras/gate?t=2026-09-21T14:13:30.000Z"] == "10 s on"


def test_without_a_time_it_begins_with_the_newest_segment_so_that_something_plays(house: House) -> None:
    visit = house.logged_in("anna")
    assert 'data-at="2026-09-21T14:13:11.250Z"' in visit.get("/cameras/gate").text
    assert 'data-at="2026-09-21T14:13:12.000Z"' in visit.get("/watch?cameras=gate,yard-1,cellar").text


def test_a_camera_that_has_nothing_yet_has_a_page(house: House) -> None:
    answer = house.logged_in("anna").get("/cameras/cellar")
    assert (answer.status_code, 'data-newest=""' in answer.text) == (200, True)


def test_only_cameras_that_a_visitor_sees_are_offered(house: House) -> None:
    for path in ("/cameras/gate", "/watch", "/watch?cameras=gate,yard-1"):
        page = house.logged_in("vera").get(path).text
        assert "yard-1" in page
        assert "cellar" not in page


@pytest.mark.parametrize("path", ["/watch?cameras=gate,cellar", "/watch?cameras=nosuch", "/watch?cameras=..%2fgate"])
def test_what_a_visitor_does_not_see_cannot_be_watched(house: House, path: str) -> None:
    assert house.logged_in("vera").get(path).status_code == 404


def test_exports_and_holds_are_offered_to_who_may_make_them(house: House) -> None:
    offered = {name: "/holds" in house.logged_in(name).get("/cameras/gate").text for name in ("vera", "otto")}
    assert offered == {"vera": False, "otto": True}


@pytest.mark.parametrize(
    "query",
    ["t=yesterday", "t=2026-09-21T14:13:20Z&t=2026-09-21", "t=1969-12-31T23:59:59Z", "t=" + "9" * 5000, "t=%00"],
    ids=lambda query: query[:30],
)  # fmt: skip
def test_a_time_that_is_none_is_refused_in_words(house: House, query: str) -> None:
    visit = house.logged_in("anna")
    for path in ("/cameras/gate", "/watch?cameras=gate"):
        answer = visit.get(f"{path}{'&' if '?' in path else '?'}{query}")
        assert answer.status_code == 400
        assert "&#39;t&#39;" in answer.text or "`t`" in answer.text


def test_more_cameras_than_play_together_are_refused(house: House) -> None:
    answer = house.logged_in("anna").get("/watch?cameras=" + ",".join(f"camera-{n}" for n in range(9)))
    assert (answer.status_code, "9 cameras are too many" in answer.text) == (400, True)


def test_the_wall_and_the_list_lead_to_the_player(house: House) -> None:
    visit = house.logged_in("anna")
    assert '<a class="tile-name" href="/cameras/gate"' in visit.get("/").text
