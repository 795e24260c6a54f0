"""What a camera may be called. The name becomes a folder and a metric label, so it is checked at every border."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from icm.errors import ConfigError

_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def check_camera_name(name: str) -> str:
    """Returns the name.

    Raises:
        ConfigError: it is not 1 to 64 characters of a-z, 0-9, "-" and "_", starting with a letter or digit.
    """
    if _PATTERN.fullmatch(name) is None:
        raise ConfigError(
            f"camera name {name[:80]!r} is not allowed: use 1 to 64 characters of a-z, 0-9, '-' and '_',"
            " starting with a letter or digit"
        )
    return name


def _for_pydantic(name: str) -> str:
    try:
        return check_camera_name(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None


CameraName = Annotated[str, AfterValidator(_for_pydantic)]
