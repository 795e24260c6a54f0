"""The viewer with one header more in each answer: how many statements it asked the database.

``python -m icm_bench.viewer.counted_viewer SETTINGS``: prints its port, and is ``icm-cloud viewer`` otherwise.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_service.settings import CloudSettings
from cloud_service.viewer.app import ViewerApp
from icm.config.settings import load_settings

HEADER = "x-icm-queries"
_count: ContextVar[list[int] | None] = ContextVar("count", default=None)


@dataclass(frozen=True)
class CountedQueries:
    """Adds the header.

    Attributes:
        app: that answers.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        # Threads that the answer has something done by have a copy of the context, and so the same list.
        asked = [0]
        _count.set(asked)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), (HEADER.encode(), str(asked[0]).encode())]
            await send(message)

        await self.app(scope, receive, counted)


def _note(*_: Any) -> None:
    asked = _count.get()
    if asked is not None:
        asked[0] += 1


async def serve(settings: CloudSettings) -> None:
    """Serves until it is told to end."""
    event.listen(Engine, "before_cursor_execute", _note)
    viewer = ViewerApp(settings)
    viewer.starlette.add_middleware(CountedQueries)
    print(viewer.port, flush=True)
    await viewer.run()


if __name__ == "__main__":
    asyncio.run(serve(load_settings(CloudSettings, Path(sys.argv[1]), {})))
