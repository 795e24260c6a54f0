"""The chain remembers which key an edge seals with, so that a swapped one shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from cloud_service.cli import main
from cloud_service.proof import chains
from cloud_service.proof.chain_file import ChainFile
from cloud_service.proof.signing import signing_key
from cloud_service.seals.edge_keys import EdgeKeys
from icm.errors import ConfigError, NotFoundError, StorageFullError
from icm.proof.chain import make_link
from icm.proof.keys import SigningKey
from icm.proof.statements import EdgeKey
from icm.service.clock import ManualClock
from tests.cloud_service.parts import START_US
from tests.cloud_service.proof.kept import STORE, Kept, links
from tests.cloud_service.proof.test_keeper import delete, forget

FIRST, SECOND = SigningKey.new().public, SigningKey.new().public
DAY = 86_400.0


@pytest.fixture
def database_url(each_database_url: str) -> str:
    return each_database_url


def opened(folder: Path, database: Engine, now_us: int = START_US) -> tuple[Kept, EdgeKeys]:
    kept = Kept(folder, database, ManualClock(now_us))
    return kept, EdgeKeys(kept.keeper, kept.store.names, kept.clock)


def chained(folder: Path) -> list[tuple[bytes, str, str]]:
    """Key, who accepted it, and why, of each that the chain names."""
    found = [entry for link in links(folder) for entry in link.entries if isinstance(entry, EdgeKey)]
    return [(entry.key, entry.by, entry.reason) for entry in found]


def verify(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[int, str]:
    status = main(["verify", "--store", str(folder)])
    return status, capsys.readouterr().out


def test_the_first_key_is_trusted_and_another_is_not_until_somebody_accepts_it(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, keys = opened(tmp_path, database)
    kept.append(1, 25)
    assert keys.is_known("gate", FIRST)
    assert keys.is_known("gate", FIRST)
    assert not keys.is_known("gate", SECOND)
    assert chained(tmp_path) == [(FIRST, "", "")]
    keys.accept("gate", SECOND, "Ann", "the edge's disk was replaced")
    assert keys.is_known("gate", SECOND)
    assert not keys.is_known("gate", FIRST)
    kept.close()
    assert chained(tmp_path) == [(FIRST, "", ""), (SECOND, "Ann", "the edge's disk was replaced")]
    status, said = verify(capsys, tmp_path)
    assert status == 0, said
    assert f"gate: the edge's key is {FIRST.hex()} from 2026-09-21T14:13:20Z on, as it was met first" in said
    assert f"gate: the edge's key is {SECOND.hex()} from" in said
    assert "as Ann accepted it: the edge's disk was replaced" in said


@pytest.mark.parametrize("lost", [(), ("chains", "chain_blocks")])
def test_keys_are_known_after_a_start_with_its_database_and_without_and_after_pruning(
    tmp_path: Path, database: Engine, lost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "LEAST_SEGMENTS", 1)
    kept, keys = opened(tmp_path, database)
    kept.append(1, 30)
    keys.is_known("gate", FIRST)
    kept.keeper.work()
    kept.store.close()
    kept.keeper.work(close=True)
    delete(kept, 1, 2, 3)
    kept.keeper.settle("gate")
    kept.clock.advance(2 * DAY)
    kept.keeper.work()
    assert any(link.pruned for link in links(tmp_path))
    kept.close()
    forget(database, *lost)
    kept, keys = opened(tmp_path, database, kept.clock.now_us())
    assert keys.is_known("gate", FIRST)
    assert not keys.is_known("gate", SECOND)
    kept.close()
    assert chained(tmp_path) == [(FIRST, "", "")]


def test_what_cannot_be_accepted_is_refused(tmp_path: Path, database: Engine) -> None:
    kept, keys = opened(tmp_path, database)
    kept.append(1, 5)
    with pytest.raises(NotFoundError, match="no camera 'yard'"):
        keys.accept("yard", FIRST, "Ann", "why")
    keys.accept("gate", FIRST, "Ann", "noted before the edge sent a seal")
    with pytest.raises(ConfigError, match="already"):
        keys.accept("gate", FIRST, "Ann", "again")
    kept.close()


def test_a_key_that_the_disk_refuses_is_noted_the_next_time(
    tmp_path: Path, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    kept, keys = opened(tmp_path, database)
    kept.append(1, 5)
    with monkeypatch.context() as patch:
        patch.setattr(ChainFile, "append", full)
        with pytest.raises(StorageFullError):
            keys.is_known("gate", FIRST)
    assert keys.is_known("gate", FIRST)
    assert chained(tmp_path) == [(FIRST, "", "")]
    kept.close()


def test_a_key_that_took_the_place_of_another_without_a_word_is_named_though_the_chains_key_signed_it(
    tmp_path: Path, database: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, keys = opened(tmp_path, database)
    kept.append(1, 25)
    keys.is_known("gate", FIRST)
    kept.close()
    swapped = make_link(
        store=STORE,
        camera="gate",
        previous=links(tmp_path)[-1].head,
        entries=[EdgeKey("gate", SECOND, START_US)],
        key=signing_key(tmp_path),
        now_us=START_US,
    )
    with (tmp_path / "proof/gate.chain").open("ab") as file:
        file.write(swapped.pack())
    status, said = verify(capsys, tmp_path)
    assert status == 1
    assert f"the edge's key of camera gate changed to {SECOND.hex()}, and the chain does not say who" in said
