"""The cloud, viewer and browser that the tests of the wall have too."""

from tests.cloud_service.viewer.live.conftest import browser, live

__all__ = ["browser", "live"]
