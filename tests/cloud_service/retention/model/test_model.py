"""Whatever happens to an archive, in whatever order: what is due goes, by the reason that is due, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine, delete

from cloud_service.database.retention_tables import GarbageRow
from cloud_service.database.statements import transaction
from cloud_service.retention import execution
from cloud_service.retention.loop import Retention
from tests.cloud_service.retention.model.machine import Machine

BOUNDED = settings(
    max_examples=120,
    stateful_step_count=10,
    deadline=None,
    # A world takes a while to make: what is found is shown as it is, and not made smaller for minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def test_whatever_happens_nothing_protected_goes_nothing_due_stays_and_all_adds_up() -> None:
    run_state_machine_as_test(Machine, settings=BOUNDED)


def garbage_that_is_forgotten_before_it_is_unlinked(database: Engine, name: str, real: Any = execution._garbage) -> Any:
    paths = real(database, name)
    with transaction(database) as connection:
        connection.execute(delete(GarbageRow).where(GarbageRow.root == name, GarbageRow.path.in_(paths)))
    return paths


@pytest.mark.parametrize(
    ("where", "what", "fault"),
    [
        pytest.param(
            execution, "_garbage", garbage_that_is_forgotten_before_it_is_unlinked, id="garbage is forgotten early"
        ),
        pytest.param(Retention, "_is_held", lambda self, item, reason: False, id="holds are ignored"),
    ],
)
def test_the_model_finds_a_planted_fault(monkeypatch: pytest.MonkeyPatch, where: Any, what: str, fault: Any) -> None:
    monkeypatch.setattr(where, what, fault)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=settings(BOUNDED, max_examples=200, database=None))
