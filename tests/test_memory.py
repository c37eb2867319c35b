"""Arrays that come and go all the time have memory that the system need not hand out each time."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ingestion.base import memory
from ingestion.base.memory import memory_of_the_system

LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
NEEDS_GNU = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"), reason="GNU's C library has it"
)
_BEGIN = """
import resource
import numpy as np
import pyarrow as pa
from ingestion.base.memory import memory_of_the_system

def work():
    for _ in range(10):
        several = [np.ones(1 << 17) for _ in range(40)]
        several += [pa.concat_arrays([pa.nulls(1 << 17, pa.float64())] * 2) for _ in range(40)]

"""


def printed(code: str) -> int:
    """Return what code prints in a process of its own, after it has begun as all of these do."""
    done = subprocess.run([sys.executable, "-c", _BEGIN + code], capture_output=True, check=True)
    return int(done.stdout)


@NEEDS_GNU
def test_memory_that_arrays_had_is_not_cleared_again_for_the_next_ones():
    faults = printed("""
with memory_of_the_system():
    work()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
""")
    # A page is 4 KiB, and the arrays have hundred thousands of them.
    assert faults < 1_000


@NEEDS_GNU
@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[never]" in LARGE_PAGES.read_text(), reason="Linux gives none"
)
def test_arrays_lie_in_large_pages():
    kib = printed("""
with memory_of_the_system():
    several = [np.ones(1 << 17) for _ in range(40)]
    with open("/proc/self/smaps_rollup") as told:
        print(*(line.split()[1] for line in told if line.startswith("AnonHugePages")))
""")
    assert kib >= 2_048


@NEEDS_GNU
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux tells it")
def test_what_is_free_at_the_end_goes_back_to_the_system():
    pages = printed("""
def resident():
    with open("/proc/self/statm") as told:
        return int(told.read().split()[1])

before = resident()
with memory_of_the_system():
    work()
    assert resident() - before > 10_000
print(resident() - before)
""")
    assert pages < 5_000


def test_another_library_has_its_own_way(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_library", lambda: None)
    before = pa.default_memory_pool().backend_name
    with memory_of_the_system():
        assert pa.default_memory_pool().backend_name == "system"
        assert np.ones(1 << 20).sum() == 1 << 20
    assert pa.default_memory_pool().backend_name == before


def test_the_pool_is_put_back_after_an_error():
    before = pa.default_memory_pool().backend_name
    with pytest.raises(ZeroDivisionError), memory_of_the_system():
        _ = 1 / 0
    assert pa.default_memory_pool().backend_name == before
