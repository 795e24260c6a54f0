"""Where an archive may lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_service.archive.storage import ArchiveStorage
from icm.codec.bundle.loading import Bundle
from icm.errors import ConfigError
from tests.cloud_service.running import app_in

READ_ONLY = [
    ("http://host/archive", "http"),
    ("https://host/archive", "https"),
    ("simplecache::https://host/archive", "https"),
    ("zip::archive.zip", "zip"),
    ("github://archive", "github"),
]


@pytest.mark.parametrize(("url", "kind"), READ_ONLY)
def test_an_archive_that_cannot_be_written_is_refused_by_name(url: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"archive\.url '{url}': {kind} takes no files; give a folder"):
        ArchiveStorage(url)


async def test_a_cloud_does_not_start_with_one(tmp_path: Path, loaded: Bundle) -> None:
    with pytest.raises(ConfigError, match="http takes no files"):
        app_in(tmp_path, loaded, None, **{"archive.url": "http://127.0.0.1:1/archive"})


@pytest.mark.parametrize("url", ["/var/archive", "file:///var/archive", "memory://archive"])
def test_one_that_can_be_written_is_taken(url: str) -> None:
    assert ArchiveStorage(url).url == url
