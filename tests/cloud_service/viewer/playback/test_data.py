"""What players and scripts load of a camera's past, from a real viewer beside a real cloud and its archive."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from io import BytesIO

import av
import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cloud_service.viewer.accounts.records import Scope, new_token
from icm import CloudClient
from tests.cloud_service.viewer.house import Visit
from tests.cloud_service.viewer.playback.past import (
    AFTER,
    BEFORE,
    SEGMENT_FRAMES,
    SIDE,
    Past,
    at,
    capture_us,
    get,
    square,
    window,
)

ALL = window(0, BEFORE + AFTER)


@pytest.fixture(scope="module")
def anna(past: Past) -> Visit:
    return past.house.logged_in("anna")


def seen_square(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Where the bright square is, as near as its size tells: the middle, moved to its left and top edge."""
    rows, columns = np.nonzero(picture.mean(axis=2) > 140)
    return round(float(np.median(columns)) - (SIDE - 1) / 2), round(float(np.median(rows)) - (SIDE - 1) / 2)


def is_square_of(number: int, picture: NDArray[np.uint8]) -> bool:
    left, top = square(number)
    seen = seen_square(picture)
    return abs(seen[0] - left) <= 2 and abs(seen[1] - top) <= 2


def played(client: httpx.Client, playlist: str, text: str) -> dict[int, NDArray[np.uint8]]:
    """Frames of a playlist as a player of HLS sees them, by their capture time in microseconds."""
    shown: dict[int, NDArray[np.uint8]] = {}
    init = held = ""
    for line in text.splitlines():
        if line.startswith("#EXT-X-MAP:"):
            init = line.split('"')[1]
        elif line.startswith("#EXT-X-BYTERANGE:"):
            length, _, offset = line.removeprefix("#EXT-X-BYTERANGE:").partition("@")
            held = f"bytes={offset}-{int(offset) + int(length) - 1}"
        elif line and not line.startswith("#"):
            url = httpx.URL(playlist)
            content = get(client, str(url.join(init))).content
            answer = get(client, str(url.join(line)), **({"range": held} if held else {}))
            assert answer.status_code == (206 if held else 200)
            with av.open(BytesIO(content + answer.content)) as container:
                for frame in container.decode(video=0):
                    assert frame.pts is not None
                    assert frame.time_base is not None
                    shown[round(frame.pts * frame.time_base * 1_000_000)] = frame.to_ndarray(format="rgb24")
            held = ""
    return shown


def shows_all(shown: dict[int, NDArray[np.uint8]], first: int, end: int) -> bool:
    """Whether at the capture of each frame its picture is shown: where nothing moves, the one before lasts."""
    times = sorted(shown)
    return all(
        is_square_of(number, shown[max(us for us in times if us <= capture_us(number) + 2000)])
        for number in range(first, end)
    )


def test_a_playlist_plays_every_frame_at_the_time_of_its_capture(past: Past, anna: Visit) -> None:
    path = f"/cameras/gate/hls.m3u8?{window(BEFORE - 20, BEFORE + 20)}"
    answer = get(anna.client, path)
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    shown = played(anna.client, path, answer.text)
    assert shows_all(shown, BEFORE - 20, BEFORE + 20)
    assert {capture_us(BEFORE - 20), capture_us(BEFORE)} <= set(shown)
    hole = range(capture_us(BEFORE - 1) + 1, capture_us(BEFORE))
    assert not any(us in hole for us in shown)
    assert "DISCONTINUITY" not in answer.text


def test_what_has_no_video_any_more_is_rendered_behind_the_same_playlist(past: Past, anna: Visit) -> None:
    path = f"/cameras/yard/hls.m3u8?{window(30, 50)}"
    answer = get(anna.client, path)
    assert "rendered/" in answer.text
    assert "video/" in answer.text
    assert answer.text.count("#EXT-X-DISCONTINUITY") == 1
    assert shows_all(played(anna.client, path, answer.text), 30, 50)


def test_a_timeline_tells_what_is_left_and_what_moved_and_was_seen(past: Past, anna: Visit) -> None:
    told = get(anna.client, f"/cameras/yard/timeline.json?{window(0, 110)}").json()
    kept = [(round(start), what) for start, _, what, _ in told["kept"]]
    assert kept[:3] == [
        (capture_us(0) // 1000, "deleted"),
        (capture_us(20) // 1000, "records"),
        (capture_us(40) // 1000, "video"),
    ]
    assert "records older than 30 days" in told["kept"][0][3]
    assert all(rate > 0 for _, _, rate in told["activity"])
    assert {name for _, _, name, _, _ in told["sightings"]} == {"person", "car"}
    hole = get(anna.client, f"/cameras/gate/timeline.json?{ALL}").json()["kept"]
    assert [(round(start), round(end)) for start, end, _, _ in hole[:2]] == [
        (capture_us(0) // 1000, (capture_us(BEFORE - 1) + 500_000) // 1000),
        (capture_us(BEFORE) // 1000, (capture_us(BEFORE + AFTER - 1) + 500_000) // 1000),
    ]


@pytest.mark.parametrize(
    ("span", "seconds"),
    [
        ("2026-09-21T00:00:00Z&to=2026-09-22T00:00:00Z", 60),
        ("2026-08-01&to=2026-10-01", 3600),
        ("2022-01-01&to=2026-11-01", 86400),
    ],
    ids=["a day", "months", "years"],
)
def test_a_long_timeline_is_told_in_buckets(past: Past, anna: Visit, span: str, seconds: int) -> None:
    told = get(anna.client, f"/cameras/yard/timeline.json?from={span}").json()
    assert told["bucket"] == 1000 * seconds
    first = capture_us(0) // 1_000_000 // seconds * seconds * 1000
    assert [told["kept"][0][0], told["kept"][0][2]] == [first, "video"]
    assert told["activity"][0][0] == first
    assert {name for _, _, name, _ in told["classes"]} == {"person", "car"}


def test_what_is_held_is_told_of_the_cameras_that_it_is_of(past: Past, anna: Visit) -> None:
    start, end = (datetime.fromtimestamp(capture_us(number) / 1e6, UTC) for number in (10, 30))
    with CloudClient(f"127.0.0.1:{past.app.port}") as cloud:
        hold = cloud.add_hold(start, end, owner="anna", reason="a theft", cameras=["gate"])
        held = {
            (camera, first): get(anna.client, f"/cameras/{camera}/holds.json?{window(first, first + 15)}").json()[
                "holds"
            ]
            for camera, first in (("gate", 0), ("gate", 40), ("yard", 0))
        }
        cloud.release_hold(hold.id, by="anna")
    told = [capture_us(10) / 1000, capture_us(30) / 1000, "a theft"]
    assert held == {("gate", 0): [told], ("gate", 40): [], ("yard", 0): []}


def test_a_browser_asks_again_only_for_what_changed(past: Past, anna: Visit) -> None:
    path = f"/cameras/gate/timeline.json?{ALL}"
    tag = get(anna.client, path).headers["etag"]
    assert get(anna.client, path, **{"if-none-match": tag}).status_code == 304


def test_boxes_are_those_of_the_frames(past: Past, anna: Visit) -> None:
    told = get(anna.client, f"/cameras/gate/boxes.json?{window(10, 30)}").json()
    assert [us for us, *_ in told["frames"]] == [capture_us(number) / 1000 for number in range(10, 30)]
    for number, (_, _, _, found) in zip(range(10, 30), told["frames"], strict=True):
        name, _, left, top, *_ = found[0]
        assert (name, (abs(left - square(number)[0]), abs(top - square(number)[1])) <= (2, 2)) == ("person", True)
    texts = get(anna.client, f"/cameras/gate/boxes.vtt?{window(10, 30)}").text
    assert texts.startswith("WEBVTT\n")
    assert texts.count(" --> ") == 20
    assert "00:00:00.500 --> 00:00:01.000" in texts


def test_the_exact_frame_of_a_time_is_the_one_that_was_captured_by_then(past: Past, anna: Visit) -> None:
    for time_number, number in ((17.0, 17), (17.9, 17), (BEFORE - 1 + 0.9, BEFORE - 1)):
        answer = get(anna.client, f"/cameras/gate/frame.jpg?t={at(time_number)}")
        assert answer.headers["x-frame-sequence"] == str(number + 1)
        with Image.open(BytesIO(answer.content)) as picture:
            assert is_square_of(number, np.asarray(picture.convert("RGB")))
    assert get(anna.client, "/cameras/gate/frame.jpg?t=2026-09-20T00:00:00Z").status_code == 404


def test_a_sprite_shows_each_ten_seconds_of_an_hour(past: Past, anna: Visit) -> None:
    hour = capture_us(0) // 3_600_000_000
    answer = get(anna.client, f"/cameras/gate/sprites/{hour}.jpg")
    with Image.open(BytesIO(answer.content)) as picture:
        assert picture.size == (24 * 160, 15 * 90)
        tiles = np.asarray(picture.convert("RGB")).reshape(15, 90, 24, 160, 3).swapaxes(1, 2).reshape(360, 90, 160, 3)
    first = (capture_us(0) - hour * 3_600_000_000) // 10_000_000
    shown = [bool((tile > 140).any()) for tile in tiles[first : first + 15]]
    assert shown == [*[True] * 6, *[False] * 3, *[True] * 4, *[False] * 2]
    assert not (tiles[:first] > 140).any()


def test_a_clip_is_a_file_of_its_own(past: Past, anna: Visit) -> None:
    answer = get(anna.client, f"/cameras/gate/clip.mp4?{window(20, 40)}")
    assert answer.headers["content-disposition"] == 'attachment; filename="gate-20260921T141330Z.mp4"'
    with av.open(BytesIO(answer.content)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert is_square_of(20, frames[0])
    assert is_square_of(39, frames[-1])


@pytest.mark.parametrize(
    ("asked", "status", "got"),
    [
        ("bytes=0-99", 206, (0, 100)),
        ("bytes=100-", 206, (100, None)),
        ("bytes=-50", 206, (-50, None)),
        ("bytes=99999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-2", 416, None),
        ("bytes=0-1,5-9", 400, None),
        ("bytes=-", 400, None),
        ("pages=1-2", 400, None),
        ("bytes=" + "9" * 400 + "-", 400, None),
        ("bytes=\xb2-\xb3", 400, None),
    ],
)
def test_of_a_video_one_range_is_given(
    past: Past, anna: Visit, asked: str, status: int, got: tuple[int, int | None] | None
) -> None:
    path = video_of(anna)
    whole = get(anna.client, path).content
    answer = anna.client.get(path, headers={b"accept": b"*/*", b"range": asked.encode("latin-1")})
    assert answer.status_code == status
    if got is not None:
        assert answer.content == whole[got[0] : got[1]]
        start = got[0] % len(whole)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(answer.content) - 1}/{len(whole)}"
    elif status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(whole)}"
    else:
        assert answer.json()["error"]["reason"] == "CONFIG_INVALID"


def video_of(visit: Visit) -> str:
    text = get(visit.client, f"/cameras/gate/hls.m3u8?{window(0, SEGMENT_FRAMES)}").text
    return "/cameras/gate/" + next(line for line in text.splitlines() if line.startswith("video/"))


WINDOWS = ("timeline.json", "frames.json", "holds.json", "boxes.json", "boxes.vtt", "hls.m3u8", "clip.mp4")
HOSTILE = (
    "",
    "from=2026-09-21T14:00:00Z",
    "from=2026-09-21T14:00:00Z&to=2026-09-21T14:00:00Z",
    "from=2026-09-21T15:00:00Z&to=2026-09-21T14:00:00Z",
    "from=now&to=later",
    "from=0&to=" + "9" * 5000,
    "from=1969-12-31T23:59:59Z&to=2026-09-21T14:00:00Z",
    "from=2026-09-21T14:00:00Z&to=2200-01-01T00:00:00Z",
    "from=2026-09-21T14:00:00Z&from=2026-09-21T14:00:00Z&to=2026-09-21T15:00:00Z",
    "from=0001-01-01T00:00:00Z&to=9999-12-31T23:59:59-23:59",
    "from=2026-09-21T14:00:00%00Z&to=2026-09-21T15:00:00Z",
    "from=1970-01-01T00:00:00Z&to=2199-12-31T00:00:00Z",
)


@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_that_is_none_or_too_long_is_refused_in_words(past: Past, anna: Visit, name: str) -> None:
    for query in HOSTILE:
        answer = get(anna.client, f"/cameras/gate/{name}?{query}")
        assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "CONFIG_INVALID"), query
        assert len(answer.json()["error"]["message"]) < 400


@pytest.mark.parametrize(
    "path",
    [
        "video/1-1.mp4", "video/999999999999999999-1.mp4", "video/..%2f..%2fcloud.db.mp4", "video/1.mp4",
        "video/" + "1" * 5000 + "-1.mp4", "video/\u0661-\u0661.mp4", "init/0123456789abcdef.mp4", "init/..%2finit.mp4",
        "init/" + "a" * 5000 + ".mp4", "rendered/0-9999999999999/piece.m4s", "rendered/5-5/init.mp4",
        "rendered/9-1/init.mp4",
        "rendered/" + "9" * 400 + "-" + "9" * 401 + "/piece.m4s", "rendered/-5-1/piece.m4s", "sprites/99999999999.jpg",
        "sprites/-1.jpg", "sprites/" + "9" * 400 + ".jpg", "sprites/x.jpg",
    ],
    ids=lambda path: path[:40],
)  # fmt: skip
def test_what_no_playlist_names_is_not_there(past: Past, anna: Visit, path: str) -> None:
    answer = get(anna.client, f"/cameras/gate/{path}")
    assert (answer.status_code, answer.json()["error"]["reason"]) == (404, "NOT_FOUND")


def test_an_hour_before_there_was_anything_is_an_empty_sprite(past: Past, anna: Visit) -> None:
    answer = get(anna.client, "/cameras/gate/sprites/5.jpg")
    with Image.open(BytesIO(answer.content)) as picture:
        assert np.asarray(picture.convert("L")).max() < 40


def test_who_may_not_see_a_camera_gets_nothing_of_its_past(past: Past, vera: Visit, anna: Visit) -> None:
    text = get(anna.client, f"/cameras/yard/hls.m3u8?{window(40, 60)}").text
    video_name = next(line for line in text.splitlines() if line.startswith("video/"))
    for path in (f"timeline.json?{ALL}", f"frame.jpg?t={at(50)}", f"hls.m3u8?{ALL}", video_name):
        assert get(vera.client, f"/cameras/yard/{path}").status_code == 404
        assert get(anna.client, f"/cameras/yard/{path}").status_code == 200
    # Nor is a video of one camera there under another.
    text = get(anna.client, f"/cameras/gate/hls.m3u8?{window(160, 180)}").text
    video_name = next(line for line in text.splitlines() if line.startswith("video/"))
    assert get(anna.client, f"/cameras/yard/{video_name}").status_code == 404


def test_who_looked_at_which_hour_is_noted(past: Past, vera: Visit, anna: Visit) -> None:
    get(vera.client, f"/cameras/gate/frame.jpg?t={at(50)}")
    get(vera.client, f"/cameras/gate/clip.mp4?{window(50, 52)}")
    log = anna.get("/admin/audit").text
    assert "gate 2026-09-21T14" in log
    assert "gate 2026-09-21T14:13:45.000Z 2026-09-21T14:13:46.000Z" in log


def test_a_token_plays_a_day_in_another_program(past: Past) -> None:
    token, text = new_token(
        name="player", owner="vera", scopes=(Scope.FEED,), cameras=("*",), now_us=time.time_ns() // 1000
    )
    past.house.book.add_token(token)
    day = "from=2026-09-21T00:00:00Z&to=2026-09-22T00:00:00Z"
    path = f"/cameras/gate/hls.m3u8?{day}&token={text}"
    with httpx.Client(base_url=past.house.url, timeout=30) as client:
        shown = played(client, path, client.get(path).text)
        assert shows_all(shown, 0, BEFORE + AFTER)
        assert client.get(f"/cameras/yard/hls.m3u8?{day}&token={text}").status_code == 404
        assert client.get(f"/cameras/gate/timeline.json?{day}&token={text}").status_code in (401, 403)
        assert client.get(f"/cameras/gate/hls.m3u8?{day}&to={day[5:25]}&token={text}").status_code == 400


def test_a_sighting_whose_records_were_deleted_has_a_picture_that_says_so(past: Past) -> None:
    visit = past.house.logged_in("anna")
    page = visit.get(f"/search?camera=yard&class=person&to={at(10)[:19]}").text
    pictures = [visit.get(path) for path in re.findall(r'<img src="([^"]+/crop\.jpg)"', page)]
    assert pictures
    assert {picture.status_code for picture in pictures} == {200}
    deleted = [picture for picture in pictures if picture.headers["content-type"] == "image/svg+xml"]
    assert deleted
    assert "Picture deleted" in deleted[0].text
