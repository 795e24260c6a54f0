"""Rules that hold while others wait are, after a restart, what they were: of each camera too."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from cloud_service.retention.rules import as_json
from cloud_service.retention_settings import RetentionSettings
from tests.cloud_service.retention.test_loop import Running, older_than
from tests.cloud_service.retention.world import World

YEAR = 365 * 86_400


@pytest.fixture
def world(tmp_path: Path, database: Engine) -> World:
    """Five segments of a second each."""
    world = World(tmp_path, database)
    world.seal(segments=5)
    return world


def test_a_cameras_own_rule_takes_the_place_of_no_other_common_one_after_a_restart(world: World) -> None:
    common = {"max_age_seconds": 10 * YEAR, "min_age_seconds": 3600}
    own = [{"name": "gate", "records": {"max_bytes_per_camera": 10**12}}]
    running = Running(world)
    running.open(records=common, cameras=own)
    assert not running.retention.state.waiting
    running.open(records={"max_age_seconds": older_than(world, 4)})
    assert running.retention.state.waiting
    of_gate = running.retention.policy.settings.of("gate").records
    assert (of_gate.max_age_seconds, of_gate.min_age_seconds, of_gate.max_bytes_per_camera) == (10 * YEAR, 3600, 10**12)


@given(
    common=st.fixed_dictionaries({}, optional={"max_age_seconds": st.integers(10, 20), "min_age_seconds": st.just(5)}),
    own=st.fixed_dictionaries({}, optional={"max_age_seconds": st.integers(10, 20), "min_age_seconds": st.just(6)}),
)
def test_what_is_written_down_makes_the_same_settings_of_each_camera(
    common: dict[str, int], own: dict[str, int]
) -> None:
    settings = RetentionSettings.model_validate({"records": common, "cameras": [{"name": "gate", "records": own}]})
    again = RetentionSettings.model_validate(as_json(settings))
    assert [again.of(camera) for camera in ("gate", "yard")] == [settings.of(camera) for camera in ("gate", "yard")]
