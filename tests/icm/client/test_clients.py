"""The clients against real services: what they give, what they refuse, how long they try."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import icm
from icm import errors
from tests.cloud_service.parts import BrightnessDetector
from tests.services import CAMERA, Services, cloud_thread

FOLDED_SECONDS = 60.0
BRIGHT = np.full((48, 64, 3), 200, np.uint8)
DARK = np.full((48, 64, 3), 20, np.uint8)


@pytest.fixture
def edge(services: Services) -> Iterator[icm.EdgeClient]:
    with icm.EdgeClient(services.edge) as client:
        yield client


@pytest.fixture
def cloud(services: Services) -> Iterator[icm.CloudClient]:
    with icm.CloudClient(services.cloud) as client:
        yield client


def jpeg(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def nobody() -> str:
    """An address where nobody listens."""
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.mark.parametrize(("image", "found"), [(BRIGHT, "bright"), (DARK, "dark"), (jpeg(BRIGHT), "bright")])
def test_a_picture_is_submitted_and_what_was_found_in_it_comes_back(
    edge: icm.EdgeClient, image: np.ndarray | bytes, found: str
) -> None:
    answer = edge.submit(CAMERA, image, wait=True)
    assert answer.frame.camera == CAMERA
    assert answer.frame.sequence >= 1
    assert answer.bytes > 0
    assert answer.detections is not None
    (box,) = answer.detections.boxes
    assert (box.class_name, box.left, box.top, box.right, box.bottom) == (found, 0, 0, 64, 48)
    assert (answer.detections.model, answer.detections.frame) == (BrightnessDetector.model, answer.frame)


def test_nobody_waits_unless_told_to(edge: icm.EdgeClient) -> None:
    assert edge.submit(CAMERA, BRIGHT).detections is None


def test_quality_and_time_of_a_picture_are_its_own(edge: icm.EdgeClient, cloud: icm.CloudClient) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    at = datetime.now(UTC).replace(microsecond=123_000)
    poor = edge.submit(CAMERA, noise, quality=0, captured=at + timedelta(hours=1))
    good = edge.submit(CAMERA, noise, quality=7, captured=at + timedelta(hours=1, seconds=1), wait=True)
    assert good.bytes > poor.bytes
    assert cloud.frame(good.frame).captured == at + timedelta(hours=1, seconds=1)


def test_the_cloud_gives_cameras_segments_and_frames(edge: icm.EdgeClient, cloud: icm.CloudClient) -> None:
    answer = edge.submit(CAMERA, DARK, wait=True)
    (camera,) = cloud.cameras()
    assert (camera.name, camera.first <= camera.last) == (CAMERA, True)
    assert camera.records >= answer.frame.sequence
    frame = cloud.frame(answer.frame)
    assert (frame.image.shape, frame.image.dtype) == (DARK.shape, np.uint8)
    assert abs(frame.image.mean() - DARK.mean()) < 8
    assert answer.detections is not None
    assert frame.captured == answer.detections.captured
    segments = list(cloud.segments(CAMERA))
    assert [segment.start for segment in segments] == sorted(segment.start for segment in segments)
    assert list(cloud.segments(CAMERA, end=datetime(2020, 1, 1, tzinfo=UTC))) == []


def test_the_past_is_searched_and_counted_in_pages_that_are_followed(
    edge: icm.EdgeClient, cloud: icm.CloudClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icm.client.search._PAGE", 1)
    bright, dark = edge.submit(CAMERA, BRIGHT, wait=True), edge.submit(CAMERA, DARK, wait=True)
    assert bright.detections is not None
    assert dark.detections is not None
    at = bright.detections.captured
    # Other pictures of this camera are captured later than now.
    seen = {"bright": at, "dark": dark.detections.captured}
    deadline = time.monotonic() + FOLDED_SECONDS
    while not all(any(of.start <= seen[name] <= of.end for of in cloud.search(CAMERA, name)) for name in seen):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    found = list(cloud.search())
    assert len(found) >= 2
    assert [of.start for of in found] == sorted((of.start for of in found), reverse=True)
    assert {of.id for of in found} == {of.id for name in ("bright", "dark") for of in cloud.search(CAMERA, name)}
    best = next(of for of in cloud.search(CAMERA, ["bright"], start=at) if of.start <= at <= of.end)
    assert (best.camera, best.class_name, best.model) == (CAMERA, "bright", "brightness")
    assert best.best_box == best.union_box == icm.Region(0, 0, 1, 1)
    assert cloud.frame(best.best_frame).captured == best.best_time
    assert dark.frame > bright.frame
    day = timedelta(days=1)
    assert list(cloud.search(end=at - 400 * day)) == []
    hours = list(cloud.activity(CAMERA, at - day, at + day, every="hour"))
    assert all(hour.record_bytes > 0 for hour in hours)
    # More minutes than the cloud tells of at once.
    minutes = [minute for minute in cloud.activity(CAMERA, at - 2 * day, at + 2 * day) if minute.classes]
    assert len({minute.start for minute in minutes}) == len(minutes)
    counted = {
        name: [
            sum(one.boxes for of in part for one in of.classes if one.class_name == name) for part in (hours, minutes)
        ]
        for name in ("bright", "dark")
    }
    assert all(by_hour == by_minute > 0 for by_hour, by_minute in counted.values())
    only = list(cloud.activity(CAMERA, at - day, at + day, every="day", class_name="dark"))
    assert {one.class_name for of in only for one in of.classes} == {"dark"}


def test_searches_that_cannot_be_are_refused(cloud: icm.CloudClient) -> None:
    now = datetime.now(UTC)
    with pytest.raises(errors.ConfigError, match="no time zone"):
        next(cloud.search(start=datetime(2026, 1, 1)))
    with pytest.raises(errors.ConfigError, match=r"least_score is 2\.0"):
        next(cloud.search(least_score=2))
    with pytest.raises(errors.NotFoundError, match="no camera 'nowhere'"):
        next(cloud.search("nowhere"))
    with pytest.raises(errors.ConfigError, match="by 'week': minute, hour or day"):
        next(cloud.activity(CAMERA, now, now + timedelta(1), every="week"))
    with pytest.raises(errors.ConfigError, match="give 'from' and a later 'to'"):
        next(cloud.activity(CAMERA, now, now))


def test_watchers_are_told_what_is_found_from_then_on(edge: icm.EdgeClient, cloud: icm.CloudClient) -> None:
    stop = threading.Event()

    def submit_again_and_again() -> None:
        while not stop.wait(0.05):
            edge.submit(CAMERA, BRIGHT)

    submitting = threading.Thread(target=submit_again_and_again)
    submitting.start()
    try:
        watched = cloud.watch(CAMERA)
        first, second = next(watched), next(watched)
        watched.close()
    finally:
        stop.set()
        submitting.join()
    assert first.frame < second.frame
    assert [box.class_name for box in second.boxes] == ["bright"]


def test_watchers_of_frames_get_pictures_with_what_was_found_in_them(
    edge: icm.EdgeClient, cloud: icm.CloudClient
) -> None:
    stop = threading.Event()

    def submit_again_and_again() -> None:
        while not stop.wait(0.05):
            edge.submit(CAMERA, BRIGHT)

    submitting = threading.Thread(target=submit_again_and_again)
    submitting.start()
    try:
        watched = cloud.watch_frames([CAMERA, "nowhere"], max_fps=50)
        news = [next(watched)]
        while news[-1].frame is None or news[-1].frame.reused_from is not None:
            news.append(next(watched))
        watched.close()
    finally:
        stop.set()
        submitting.join()
    frame = news[-1].frame
    assert frame is not None
    assert frame.detections is not None
    assert [box.class_name for box in frame.detections.boxes] == ["bright"]
    assert (frame.frame.camera, frame.width, frame.height) == (CAMERA, 64, 48)
    with Image.open(BytesIO(frame.jpeg)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (64, 48))
        assert abs(np.asarray(picture).mean() - BRIGHT.mean()) < 8
    assert [(one.state, one.age) for one in news if one.camera == "nowhere"] == [("empty", None)]


async def test_frames_can_be_watched_with_asyncio_and_what_cannot_be_is_an_error(services: Services) -> None:
    async with icm.AsyncCloudClient(services.cloud) as cloud:
        async for news in cloud.watch_frames(["nowhere"]):
            assert (news.camera, news.state, news.frame) == ("nowhere", "empty", None)
            break
        with pytest.raises(errors.ConfigError, match="max_width"):
            await anext(cloud.watch_frames(max_width=1))


async def test_clients_of_asyncio_do_the_same(services: Services) -> None:
    async with icm.AsyncEdgeClient(services.edge) as edge, icm.AsyncCloudClient(services.cloud) as cloud:
        watched = cloud.watch()
        begun = asyncio.ensure_future(anext(watched))
        answers = await asyncio.gather(*(edge.submit(CAMERA, image, wait=True) for image in (BRIGHT, DARK)))
        names = [answer.detections.boxes[0].class_name for answer in answers if answer.detections is not None]
        assert names == ["bright", "dark"]
        assert [camera.name for camera in await cloud.cameras()] == [CAMERA]
        assert (await cloud.frame(answers[0].frame)).image.shape == BRIGHT.shape
        starts = [segment.start async for segment in cloud.segments(CAMERA)]
        assert starts == sorted(starts)
        captured = [answer.detections.captured for answer in answers if answer.detections is not None]
        hour, half = timedelta(hours=1), icm.Region(0, 0, 0.5, 1)
        async with asyncio.timeout(FOLDED_SECONDS):
            while True:
                found = [of async for of in cloud.search(CAMERA, region=half, start=captured[0])]
                if any(of.end >= captured[0] for of in found):
                    break
                await asyncio.sleep(0.2)
        activity = [of async for of in cloud.activity(CAMERA, captured[0] - hour, captured[1] + hour)]
        assert sum(one.boxes for of in activity for one in of.classes) >= 2
        begun.cancel()
        await asyncio.wait([begun])


def test_behind_tls_a_token_and_a_certificate_let_clients_in(secured: Services) -> None:
    with (
        icm.EdgeClient(secured.edge, tls=secured.edge_tls, token=secured.token) as edge,
        icm.CloudClient(secured.cloud, tls=secured.cloud_tls) as cloud,
    ):
        answer = edge.submit(CAMERA, BRIGHT, wait=True)
        assert answer.detections is not None
        assert cloud.frame(answer.frame).image.shape == BRIGHT.shape


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_a_known_token_nobody_is_let_in(secured: Services, token: str | None) -> None:
    with (
        icm.EdgeClient(secured.edge, tls=secured.edge_tls, token=token) as edge,
        pytest.raises(errors.UnauthenticatedError),
    ):
        edge.submit(CAMERA, BRIGHT)


def test_without_tls_a_service_that_speaks_it_is_not_reached_and_that_is_said(secured: Services) -> None:
    with (
        icm.EdgeClient(secured.edge, token=secured.token, timeout=1.0) as edge,
        pytest.raises(errors.UnreachableError, match=f"{secured.edge} did not answer in time.*TLS"),
    ):
        edge.submit(CAMERA, BRIGHT)


@pytest.mark.parametrize(
    ("camera", "image", "error", "said"),
    [
        ("gate", BRIGHT, errors.NotFoundError, "no camera 'gate'.*door"),
        (CAMERA, b"no picture", errors.ImageError, "picture"),
        (CAMERA, BRIGHT.astype(np.float32), errors.ImageError, "not float32"),
        (CAMERA, BRIGHT[0], errors.ImageError, r"uint8\[64, 3\]"),
        (CAMERA, "photo.jpg", errors.ImageError, "not str"),
        (CAMERA, None, errors.ImageError, "not NoneType"),
    ],
)
def test_what_cannot_be_submitted_is_one_typed_error(
    edge: icm.EdgeClient, camera: str, image: object, error: type[icm.IcmError], said: str
) -> None:
    with pytest.raises(error, match=said):
        edge.submit(camera, image)  # type: ignore[arg-type]


def test_times_without_a_zone_are_refused(edge: icm.EdgeClient, cloud: icm.CloudClient) -> None:
    naive = datetime(2026, 1, 1)
    with pytest.raises(errors.ConfigError, match="no time zone"):
        edge.submit(CAMERA, BRIGHT, captured=naive)
    with pytest.raises(errors.ConfigError, match="no time zone"):
        next(cloud.segments(CAMERA, start=naive))


def test_a_frame_that_there_is_not_is_said(cloud: icm.CloudClient) -> None:
    with pytest.raises(errors.NotFoundError):
        cloud.frame(icm.FrameId(CAMERA, 1, 4_000_000))


def test_nobody_there_is_said_once_the_time_is_over() -> None:
    address = nobody()
    with icm.EdgeClient(address, timeout=0.5) as edge, pytest.raises(errors.UnreachableError, match=address):
        edge.submit(CAMERA, BRIGHT)
    with icm.CloudClient(address, timeout=0.5) as cloud:
        with pytest.raises(errors.UnreachableError, match=address):
            cloud.cameras()
        with pytest.raises(errors.UnreachableError, match=address):
            next(cloud.watch())


def test_a_client_waits_for_a_service_that_comes_up_meanwhile(tmp_path: Path, bundle: Path) -> None:
    address = nobody()
    with icm.CloudClient(address, timeout=60) as cloud:
        answers: list[list[icm.Camera]] = []
        asking = threading.Thread(target=lambda: answers.append(cloud.cameras()))
        asking.start()
        with cloud_thread(tmp_path, bundle, None, {"ingest.address": address}):
            asking.join()
    assert answers == [[]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"address": "edge"}, "host:port"),
        ({"address": "http://127.0.0.1:1"}, "://"),
        ({"address": "192.0.2.1:7444"}, "refusing to speak plaintext"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"token": "two words"}, "icm-edge token"),
        ({"token": ""}, "icm-edge token"),
        ({"tls": icm.Tls("/nowhere/ca.pem")}, "/nowhere/ca.pem"),
        ({"tls": icm.Tls("/nowhere/ca.pem", certificate="mine.pem")}, "alone: give both, or none"),
    ],
)
@pytest.mark.parametrize("client", [icm.EdgeClient, icm.CloudClient, icm.AsyncEdgeClient, icm.AsyncCloudClient])
def test_what_cannot_be_is_said_before_anything_is_sent(client, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(errors.ConfigError, match=said):
        client(**arguments)
