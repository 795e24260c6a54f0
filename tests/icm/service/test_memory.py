"""What services keep of memory that they no longer use."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, threading
from icm.service.memory import share_one_arena

if {called}:
    share_one_arena()
libc, ready = ctypes.CDLL(None), threading.Barrier(5)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def take():
    ready.wait()
    libc.malloc(1000)
    ready.wait()

threads = [threading.Thread(target=take) for _ in range(4)]
for thread in threads:
    thread.start()
ready.wait()
ready.wait()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w")))
libc.fflush(None)
"""
"""Prints glibc's own account of its heaps, once four threads have taken memory at a time."""


def heaps(called: bool, **variables: str) -> int:
    script = HEAPS.format(called=called)
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | variables
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's only")
@pytest.mark.parametrize(
    ("called", "variables", "one"),
    [(True, {}, True), (False, {}, False), (True, {"MALLOC_ARENA_MAX": "8"}, False)],
    ids=["a service", "any other process", "a service whose user said otherwise"],
)
def test_threads_of_a_service_take_memory_from_one_place(called: bool, variables: dict[str, str], one: bool) -> None:
    assert (heaps(called, **variables) == 1) == one
