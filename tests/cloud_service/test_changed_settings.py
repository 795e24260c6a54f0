"""A cloud takes up what changes in its settings file about retention, without a restart."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path

from tests.system.machine import PATIENCE_SECONDS, Machine


async def test_a_running_cloud_goes_by_changed_rules_and_keeps_the_old_ones_while_the_file_is_wrong(
    tmp_path: Path, bundle: Path
) -> None:
    with ExitStack() as cleanup:
        machine = Machine(tmp_path, bundle, cleanup)
        service, _ = await machine.cloud()
        file = machine.folder / "icm-cloud.yaml"
        written = file.read_text()

        async def says(text: str) -> None:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while text not in service.log:
                    service.check()
                    await asyncio.sleep(0.05)

        file.write_text(f"{written}\nretention: {{records: {{max_age_seconds: -1}}}}\n")
        await says("going on with what was read before")
        file.write_text(f"{written}\nretention: {{records: {{max_age_seconds: 86400}}}}\n")
        await says("retention goes by the changed settings")
        assert await service.stop() == 0
        assert service.log.count("going on with what was read before") == 1
    assert '"max_age_seconds": 86400' in (tmp_path / "cloud/records/retention.json").read_text()
