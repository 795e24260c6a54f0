"""What people may do, and which cameras they see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from cloud_service.viewer.web.routes import Right
from icm.errors import ConfigError, NotFoundError

EVERY_CAMERA = ("*",)
_PATTERN = re.compile(r"[a-z0-9*?_-]{1,64}")
_MOST_PATTERNS = 1000


class Role(StrEnum):
    """Of a person; each may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rights(self) -> frozenset[Right]:
        """What it allows."""
        return _RIGHTS[self]

    @staticmethod
    def of(name: str) -> Role:
        """The role of a name.

        Raises:
            ConfigError: there is none.
        """
        try:
            return Role(name)
        except ValueError:
            raise ConfigError(f"there is no role {name[:80]!r}: choose {', '.join(Role)}") from None


_RIGHTS = {
    Role.VIEWER: frozenset((Right.PUBLIC, Right.VIEW)),
    Role.OPERATOR: frozenset((Right.PUBLIC, Right.VIEW, Right.OPERATE)),
    Role.ADMIN: frozenset(Right),
}


def camera_patterns(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of cameras, in which ``*`` stands for any characters and ``?`` for one, checked.

    Raises:
        ConfigError: no camera can be meant by one, there are none, or too many.
    """
    patterns = tuple(dict.fromkeys(texts))
    if not patterns:
        raise ConfigError("name cameras, or * for all of them: gate yard-*")
    if len(patterns) > _MOST_PATTERNS:
        raise ConfigError(f"{len(patterns)} patterns of cameras are too many: {_MOST_PATTERNS} at most")
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            raise ConfigError(
                f"{pattern[:80]!r} names no camera: use a-z, 0-9, '-' and '_', * for any characters and ? for one"
            )
    return patterns


@dataclass(frozen=True)
class Allowed:
    """What somebody may do who has no account here, or whose account follows somebody else's word.

    Attributes:
        role: of that person.
        cameras: patterns of the cameras that they see.
    """

    role: Role
    cameras: tuple[str, ...]


class GroupRoles:
    """What groups may do that others name: a proxy, or a login provider."""

    def __init__(self, roles: Iterable[tuple[str, str, Iterable[str]]]) -> None:
        """Of groups, each with its role and the patterns of its cameras.

        Raises:
            ConfigError: a role or a pattern cannot be.
        """
        self._of = [(group, Role.of(role), camera_patterns(cameras)) for group, role, cameras in roles]

    def of(self, groups: Iterable[str]) -> Allowed | None:
        """What somebody in some groups may do: the highest role, for the cameras of the groups that have it.

        Args:
            groups: their names; unknown ones count for nothing.

        Returns:
            None: no group has a role.
        """
        named = set(groups)
        found = [(role, cameras) for group, role, cameras in self._of if group in named]
        if not found:
            return None
        order = list(Role)
        highest = max((role for role, _ in found), key=order.index)
        cameras = tuple(dict.fromkeys(each for role, some in found if role is highest for each in some))
        return Allowed(highest, EVERY_CAMERA if EVERY_CAMERA[0] in cameras else cameras)


@dataclass(frozen=True)
class Visitor:
    """Who makes a request, and what they may do with it.

    Attributes:
        name: of the account, or of the person that a proxy names.
        role: of that person.
        cameras: patterns of the cameras that they see.
        within: patterns of those that the request may be about, of a token.
        rights: what the request may do: those of the role, or fewer with a token.
        address: where the request comes from.
        csrf: what forms carry, so that they are known to be of a page of this visitor's.
        session: of the browser; empty with a token, or where a proxy says who comes.
        token: id of the token; empty with another proof.
    """

    name: str
    role: Role
    cameras: tuple[str, ...]
    rights: frozenset[Right]
    address: str
    within: tuple[str, ...] = EVERY_CAMERA
    csrf: str = ""
    session: bytes = b""
    token: str = ""

    def may(self, right: Right) -> bool:
        """Whether the request may do something."""
        return right in self.rights

    def sees(self, camera: str) -> bool:
        """Whether this visitor sees a camera."""
        return _matches(camera, self.cameras) and _matches(camera, self.within)

    def check_sees(self, camera: str) -> None:
        """Checks that this visitor sees a camera.

        Raises:
            NotFoundError: they do not; whether there is such a camera is not told.
        """
        if not self.sees(camera):
            raise no_such_camera(camera)

    def visible(self, cameras: Iterable[str]) -> list[str]:
        """Those of some cameras that this visitor sees, in their order."""
        return [camera for camera in cameras if self.sees(camera)]

    @property
    def sees_all(self) -> bool:
        """Whether no camera is hidden, one that comes later included."""
        return "*" in self.cameras and "*" in self.within


def no_such_camera(camera: str) -> NotFoundError:
    """The answer to whoever asks for a camera that is not there, or that they do not see."""
    return NotFoundError(f"there is no camera {camera[:80]!r} that you see: ask who administers for it")


def _matches(camera: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(camera, pattern) for pattern in patterns)
