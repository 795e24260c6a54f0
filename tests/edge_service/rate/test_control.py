"""Rate control against a camera and a link that are made up, on a clock that is moved."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_service.rate.control import SCALES, RateTarget
from tests.edge_service.simulated_camera import SimulatedCamera


@settings(max_examples=12, deadline=None)
@given(target=st.floats(20_000, 350_000), fps=st.sampled_from([5.0, 10.0, 25.0]), seed=st.integers(0, 100))
def test_over_half_a_minute_the_bitrate_is_the_target_within_a_tenth(target: float, fps: float, seed: int) -> None:
    camera = SimulatedCamera(min(target, 35_000 * fps), fps, seed=seed)
    camera.run(80)
    assert camera.target is not None
    for start in (20, 35, 50):
        assert camera.bits_per_second(start, start + 30) == pytest.approx(camera.target, rel=0.1)


@pytest.mark.parametrize("link", [90_000.0, 150_000.0, 250_000.0])
@pytest.mark.parametrize(("delay", "held_back"), [(0.03, 0.5), (0.1, 0.0), (0.3, 0.5)])
def test_from_five_seconds_after_the_link_halved_the_camera_takes_what_it_carries_and_no_more(
    link: float, delay: float, held_back: float
) -> None:
    camera = SimulatedCamera(link / 1.2, link=link, delay=delay, held_back=held_back)
    camera.run(40)
    camera.link, settled = link / 2, camera.now + 5
    camera.run(65)
    for start in range(55):
        assert camera.bits_per_second(settled + start, settled + start + 5) < 1.13 * camera.link
    for start in (0, 15, 30):
        assert 0.7 * camera.link < camera.bits_per_second(settled + start, settled + start + 30) < camera.link
    assert max(waiting for time, waiting in camera.waited if time > settled + 10) < 3 * camera.link


def test_once_the_link_carries_the_target_again_it_is_reached_again() -> None:
    camera = SimulatedCamera(60_000, link=70_000)
    camera.run(30)
    camera.link = 35_000
    camera.run(30)
    assert camera.rate.state.target < 40_000
    camera.link = 70_000
    camera.run(40)
    assert camera.rate.state.target == 60_000
    assert camera.decisions["link_slower"] == camera.decisions["link_recovered"] >= 1


def test_while_the_cloud_is_away_the_camera_goes_on_as_before() -> None:
    camera = SimulatedCamera(60_000)
    camera.run(30)
    camera.away = True
    camera.run(60)
    assert camera.rate.state.target == 60_000
    assert camera.bits_per_second(40, 90) == pytest.approx(60_000, rel=0.1)


def test_frames_give_way_first() -> None:
    camera = SimulatedCamera(90_000)
    camera.run(30)
    state = camera.rate.state
    assert (state.quality, state.scale) == (3, 1)
    assert 2 <= state.frame_rate < 10


def test_then_quality_gives_way_and_the_least_frames_go_on() -> None:
    camera = SimulatedCamera(25_000)
    camera.run(60)
    state = camera.rate.state
    assert 0 < state.quality < 3
    assert state.scale == 1
    assert len([time for time, _ in camera.coded if time >= 30]) >= 1.4 * 30


def test_resolution_gives_way_last() -> None:
    camera = SimulatedCamera(4_000)
    camera.run(150)
    assert (camera.rate.state.quality, camera.rate.state.scale) == (0, SCALES[-1])
    assert camera.bits_per_second(120, 150) == pytest.approx(4_000, rel=0.1)


def test_all_comes_back_in_the_opposite_order() -> None:
    camera = SimulatedCamera(90_000, link=105_000)
    camera.run(30)
    camera.link = 5_000
    camera.run(60)
    assert camera.rate.state.scale < 1
    camera.link = 105_000
    seen = []
    for _ in range(180):
        camera.run(1)
        seen.append(camera.rate.state)
    whole = next(index for index, state in enumerate(seen) if state.scale == 1)
    wanted = next(index for index, state in enumerate(seen) if state.quality == 3)
    assert all(state.quality == 0 for state in seen[:whole])
    assert whole < wanted
    assert seen[-1].target == 90_000
    assert camera.bits_per_second(camera.now - 30, camera.now) == pytest.approx(90_000, rel=0.1)


def test_room_beyond_all_frames_goes_into_quality() -> None:
    camera = SimulatedCamera(300_000, quality=2.0)
    camera.run(60)
    assert camera.rate.state.quality > 3
    assert camera.rate.state.frame_rate == pytest.approx(10)


def test_quality_does_not_swing_while_nothing_changes_but_motion() -> None:
    camera = SimulatedCamera(90_000)
    camera.run(300)
    assert camera.decisions["quality_up"] + camera.decisions["quality_down"] <= 6


def test_without_a_target_every_frame_is_coded_at_the_quality_asked_for() -> None:
    camera = SimulatedCamera(None, quality=4.5, link=1000)
    camera.run(20)
    assert len(camera.coded) == 200
    assert camera.rate.state.quality == 4.5
    assert not camera.decisions


def test_the_record_after_a_change_of_quality_is_saved_up_for() -> None:
    camera = SimulatedCamera(15_000)
    while not camera.decisions["quality_down"]:
        camera.run(0.1)
    before = len(camera.coded)
    while len(camera.coded) == before:
        camera.run(0.1)
    (last, bits), (first, _) = camera.coded[before - 1 : before + 1]
    assert first - last > bits / 15_000 + 0.1


def test_an_i_record_silences_the_camera_only_for_a_moment() -> None:
    camera = SimulatedCamera(60_000)
    camera.run(30)
    camera.rate.coded(60_000 // 8 * 5)
    resumed = camera.now
    camera.run(3)
    assert [time for time, _ in camera.coded if time > resumed]


def test_every_decision_is_one_line_in_the_log_that_says_why(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    camera = SimulatedCamera(15_000)
    camera.run(30)
    camera.rate.aim(RateTarget(1.0))
    assert len(caplog.messages) == camera.decisions.total()
    assert "camera gate: rate control: quality 3 -> " in caplog.messages[0]
    assert "15.0 kbit/s pays for " in caplog.messages[0]
    assert caplog.messages[-1] == "camera gate: rate control: aims at quality 1"
