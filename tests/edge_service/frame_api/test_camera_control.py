"""GetCamera and SetRateControl: a camera's rate control is read and changed while it runs."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from edge_service.frame_api.tokens import Tokens, add_token
from edge_service.spool.store import Spool
from icm.service.clock import ManualClock
from icm.v1 import camera_pb2
from tests.edge_service.frame_api.test_frame_api import Edge, edge, edge_on, picture

__all__ = ["edge"]

Get, Set = camera_pb2.GetCameraRequest, camera_pb2.SetRateControlRequest


def asking(**fields: float) -> camera_pb2.SetRateControlRequest:
    return Set(camera="door", rate_control=camera_pb2.RateControl(**fields))


async def test_a_camera_says_where_it_stands(edge: Edge) -> None:
    state = await edge.stub.GetCamera(Get(camera="door"))
    assert (state.quality, state.scale, state.target_bits_per_second, state.waiting_bytes) == (3, 1, 0, 0)
    assert (state.rate_control.quality, state.rate_control.min_fps) == (3, 2)
    assert not state.rate_control.HasField("target_kbit_per_second")


async def test_what_waits_for_the_cloud_is_told(edge: Edge) -> None:
    submit = camera_pb2.SubmitFrameRequest(camera="door")
    submit.frame.encoded = picture("PNG")
    size = (await edge.stub.SubmitFrame(submit)).bytes
    assert (await edge.stub.GetCamera(Get(camera="door"))).waiting_bytes == size


async def test_another_quality_holds_from_the_next_frame_on(edge: Edge) -> None:
    submit = camera_pb2.SubmitFrameRequest(camera="door")
    submit.frame.encoded = picture("PNG")
    await edge.stub.SubmitFrame(submit)
    told = await edge.stub.SetRateControl(asking(quality=1.5))
    await edge.stub.SubmitFrame(submit)
    assert told.rate_control.quality == 1.5
    assert [record.quality for record in edge.records()] == [48, 24]


async def test_a_target_can_be_set_and_taken_back_and_the_rest_stays(edge: Edge) -> None:
    await edge.stub.SetRateControl(asking(quality=4, target_kbit_per_second=60, min_fps=5))
    state = await edge.stub.GetCamera(Get(camera="door"))
    assert state.target_bits_per_second == 60_000
    assert state.rate_control == camera_pb2.RateControl(quality=4, target_kbit_per_second=60, min_fps=5)
    told = await edge.stub.SetRateControl(asking())
    assert told.rate_control == camera_pb2.RateControl(quality=4, min_fps=5)
    assert (await edge.stub.GetCamera(Get(camera="door"))).target_bits_per_second == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"quality": -0.1},
        {"quality": 7.1},
        {"quality": float("nan")},
        {"target_kbit_per_second": 0},
        {"target_kbit_per_second": float("inf")},
        {"min_fps": 0},
    ],
)
async def test_what_cannot_be_is_refused_by_name_and_changes_nothing(edge: Edge, fields: dict[str, float]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await edge.stub.SetRateControl(asking(**fields))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert next(iter(fields)) in (caught.value.details() or "")
    assert (await edge.stub.GetCamera(Get(camera="door"))).rate_control == camera_pb2.RateControl(quality=3, min_fps=2)


async def test_a_camera_that_is_not_there_is_named(edge: Edge) -> None:
    for call in (
        edge.stub.GetCamera(Get(camera="roof")),
        edge.stub.SetRateControl(Set(camera="roof")),
    ):
        with pytest.raises(grpc.aio.AioRpcError, match="'roof'") as caught:
            await call
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_both_ask_for_a_token_for_that_camera(
    tmp_path: Path, spool: Spool, metrics, problems, clock: ManualClock
) -> None:
    path = tmp_path / "tokens.yaml"
    token, other = add_token(path, "door-app", ["door"]), add_token(path, "yard-app", ["yard"])
    async with edge_on(spool, metrics, problems, clock, Tokens(path)) as edge:
        for call, request in ((edge.stub.GetCamera, Get(camera="door")), (edge.stub.SetRateControl, asking(quality=2))):
            for metadata, code in (
                ((), grpc.StatusCode.UNAUTHENTICATED),
                ((("authorization", f"Bearer {other}"),), grpc.StatusCode.PERMISSION_DENIED),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(request, metadata=metadata)  # type: ignore[operator]
                assert caught.value.code() == code
            await call(request, metadata=(("authorization", f"Bearer {token}"),))  # type: ignore[operator]
