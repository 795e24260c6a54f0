"""The pages about what is kept, as one."""

from __future__ import annotations

from sqlalchemy import Engine

from cloud_service.viewer.accounts.notes import Notes
from cloud_service.viewer.exports.jobs import ExportJobs
from cloud_service.viewer.keeping.holds import HOLDS, HoldPages
from cloud_service.viewer.keeping.integrity import INTEGRITY, IntegrityPages
from cloud_service.viewer.keeping.jobs import JOBS, JobPages
from cloud_service.viewer.keeping.storage import STORAGE, StoragePages
from cloud_service.viewer.web.routes import Page, Right
from cloud_service.viewer.web.templates import Place, Templates
from icm.client.cloud import AsyncCloudClient

KEEPING = Place(STORAGE, "Keeping", Right.OPERATE, (HOLDS, INTEGRITY, JOBS))
"""One link for all of them, so that the navigation stays short; they lead to each other."""


def keeping_pages(
    cloud: AsyncCloudClient, exports: ExportJobs, database: Engine, templates: Templates, notes: Notes
) -> list[Page]:
    """For the routes.

    Args:
        cloud: knows and does it.
        exports: that the viewer has made.
        database: knows the cameras.
        templates: for the pages.
        notes: of who did what.
    """
    return [
        *HoldPages(cloud, database, templates, notes).pages(),
        *StoragePages(cloud, templates).pages(),
        *IntegrityPages(cloud, database, templates, notes).pages(),
        *JobPages(cloud, exports, database, templates, notes).pages(),
    ]
