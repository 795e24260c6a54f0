"""``icm-edge heads``: the heads that were witnessed, and whether the cloud's chains still hold them; ``public-key``."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc

from edge_service.proof.sealing import KEY_NAME
from edge_service.proof.witness import HEADS_NAME, read_heads
from edge_service.settings import EdgeSettings
from icm.errors import NotFoundError, ProofError
from icm.proof.chain import Block, Head
from icm.proof.keys import SigningKey
from icm.proof.witness import check_witnessed
from icm.rpc.channels import open_channel
from icm.rpc.status import error_of
from icm.service.command_line import say
from icm.v1 import proof_pb2, proof_pb2_grpc

CONTRADICTION_STATUS = 1
"""Exit status of ``heads --check`` where a chain does not hold what was witnessed."""
_SECONDS = 30.0
"""Longest wait for an answer."""


def add_commands(commands: Any) -> list[argparse.ArgumentParser]:
    """Adds the commands, and returns them for what all commands with settings have.

    Args:
        commands: what ``add_subparsers`` of the command's parser returned.
    """
    text = "show the heads of the cloud's chains that this edge has witnessed"
    heads = commands.add_parser("heads", help=text, description=text)
    heads.add_argument("--check", action="store_true", help="ask the cloud whether its chains still hold them")
    heads.add_argument("--cloud", metavar="ADDRESS", help="host:port of the cloud to ask (default: as in the settings)")
    text = "print the public key that this edge seals its records with"
    key = commands.add_parser("public-key", help=text, description=text)
    return [heads, key]


def show_key(settings: EdgeSettings) -> int:
    """Prints the public key; returns the exit status.

    Raises:
        IcmError: there is none yet, or it cannot be read.
    """
    path = settings.spool.folder / KEY_NAME
    if not path.exists():
        raise NotFoundError(f"there is no key {path} yet: the first start of icm-edge makes it")
    say(SigningKey.load(path).public.hex())
    return 0


def show_heads(options: argparse.Namespace, settings: EdgeSettings) -> int:
    """Runs the command; returns its exit status.

    Raises:
        IcmError: nothing was witnessed, or the cloud cannot be asked.
    """
    path = settings.spool.folder / HEADS_NAME
    by_camera: dict[tuple[str, str], list[Head]] = {}
    for head in read_heads(path):
        by_camera.setdefault((head.camera, head.store), []).append(head)
    if not by_camera:
        raise NotFoundError(f"there is no head in {path} yet: the cloud shows one within an hour")
    status = 0
    for (camera, store), heads in sorted(by_camera.items()):
        newest = max(heads, key=lambda head: head.block)
        at = f"{datetime.fromtimestamp(newest.signed_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
        told = f"{camera}: {len(heads)} heads of store {store}, the newest of block {newest.block}, signed {at} with"
        say(f"{told} {newest.key.hex()}")
        if options.check:
            try:
                now = asyncio.run(_newest(settings, options.cloud, camera, heads))
                say(f"{camera}: the chain holds them all, and goes up to block {now.block}")
            except ProofError as error:
                say(f"{camera}: CONTRADICTION: {error}")
                status = CONTRADICTION_STATUS
    return status


async def _newest(settings: EdgeSettings, address: str | None, camera: str, heads: list[Head]) -> Head:
    """The newest head of the cloud's chain, which holds all of these.

    Raises:
        ProofError: it does not.
        IcmError: the cloud cannot be asked.
    """
    cloud, address = settings.cloud, address or settings.cloud.address
    channel = open_channel(address, cloud.allow_plaintext, cloud.tls)
    try:
        stub = proof_pb2_grpc.ProofServiceStub(channel)
        shown = [each async for each in _blocks(stub, camera, min(head.block for head in heads))]
    except grpc.aio.AioRpcError as error:
        raise error_of(error, address) from None
    finally:
        await channel.close()
    newest = check_witnessed(heads, shown)
    assert newest is not None
    return newest


async def _blocks(
    stub: proof_pb2_grpc.ProofServiceAsyncStub, camera: str, first: int
) -> AsyncIterator[tuple[Block, Head]]:
    """A camera's blocks from a number on.

    Raises:
        ProofError: the cloud shows something else.
    """
    while True:
        request = proof_pb2.GetHeadsRequest(camera=camera, first_block=first)
        answer = await stub.GetHeads(request, timeout=_SECONDS)
        if not answer.blocks:
            return
        for each in answer.blocks:
            yield Block.of(each.block.encode()), Head.of(each.head.encode())
            number = Block.of(each.block.encode()).number
        if number < first:
            raise ProofError(f"the cloud shows block {number} where it was asked for {first} and later")
        first = number + 1
