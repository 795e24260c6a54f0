"""``icm-cloud verify`` as a command: what can be asked of it, and that it changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from cloud_service.cli import main
from cloud_service.proof.signing import key_path
from icm.proof.keys import SigningKey
from tests.cloud_service.proof.test_verification import remove, verify


def test_a_range_of_time_and_a_camera_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], store: Path, place: list[str]
) -> None:
    status, output = verify(
        capsys, place, "--camera", "gate", "--from", "2026-09-21T14:13:22Z", "--to", "2026-09-21T14:13:23.5Z"
    )
    assert status == 0
    assert "gate 3-4: ok" in output
    assert "gate 1" not in output
    assert "yard" not in output
    remove(store)
    assert verify(capsys, place, "--to", "2026-09-21T14:13:21Z")[0] == 0
    assert verify(capsys, place, "--camera", "yard")[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--camera", "door"], "there is no camera 'door'"),
        (["--key", "abc"], "'abc' is no public key"),
        (["--witness", "nowhere.txt"], "cannot read nowhere.txt"),
    ],
)
def test_what_cannot_be_asked_is_named(
    capsys: pytest.CaptureFixture[str], store: Path, options: list[str], said: str
) -> None:
    status, output = verify(capsys, ["--store", str(store)], *options)
    assert status == 2
    assert said in output


def test_a_folder_that_is_no_store_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, output = verify(capsys, ["--store", str(tmp_path / "none")])
    assert status == 2
    assert "there is no store in" in output
    assert main(["public-key", "--store", str(tmp_path / "none")]) == 2
    assert "the first start of icm-cloud makes it" in capsys.readouterr().err


def test_the_public_key_is_printed(capsys: pytest.CaptureFixture[str], store: Path, place: list[str]) -> None:
    assert main(["public-key", *place]) == 0
    assert capsys.readouterr().out.strip() == SigningKey.load(key_path(store)).public.hex()


def test_verify_changes_nothing(capsys: pytest.CaptureFixture[str], store: Path, place: list[str]) -> None:
    def content() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in store.rglob("*")
            if path.is_file() and not path.name.startswith("cloud.db")
        }

    before = content()
    engine = create_engine(f"sqlite:///{store / 'cloud.db'}")
    with engine.connect() as connection:
        tables = [connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("chains", "record_segments")]
        verify(capsys, place, "--deep")
        assert tables == [
            connection.execute(text(f"SELECT * FROM {name}")).all() for name in ("chains", "record_segments")
        ]
    engine.dispose()
    assert content() == before
