"""The cloud's database, which another process makes and may replace."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from cloud_service.viewer.web.database import attach_when_there
from icm.errors import StorageError
from tests.cloud_service.viewer.house import add_camera, make_database


def test_a_database_that_was_replaced_is_followed(tmp_path: Path) -> None:
    make_database(tmp_path)
    make_database(tmp_path / "new")
    add_camera(tmp_path / "new", "gate", 1)
    engine = attach_when_there(f"sqlite:///{tmp_path / 'cloud.db'}", 0)
    count = text("SELECT count(*) FROM progress")
    with engine.connect() as connection:
        assert connection.execute(count).scalar_one() == 0
    for path in tmp_path.glob("cloud.db*"):
        path.rename(tmp_path / f"{path.name}.damaged")
    (tmp_path / "new" / "cloud.db").rename(tmp_path / "cloud.db")
    with engine.connect() as connection:
        assert connection.execute(count).scalar_one() == 1
    engine.dispose()


def test_a_viewer_that_starts_before_the_cloud_waits_for_its_database(tmp_path: Path) -> None:
    made = threading.Timer(0.2, make_database, [tmp_path])
    made.start()
    engine = attach_when_there(f"sqlite:///{tmp_path / 'cloud.db'}", 60)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM viewer_sessions")).scalar_one() == 0
    engine.dispose()
    made.join()


def test_one_that_never_comes_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"there is no database .*cloud\.db"):
        attach_when_there(f"sqlite:///{tmp_path / 'cloud.db'}", 0)
