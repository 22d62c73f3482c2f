"""Which libraries are held at one thread, and what is not loaded for it."""

import subprocess
import sys

PROGRAM = """
import sys
import hews_gpu.runs.evaluate
from hews_gpu.forecasters.threads import one_thread
with one_thread():
    pass
assert not {"torch", "sklearn", "xarray"} & set(sys.modules)  # a second or more each
from importlib import import_module
from threadpoolctl import threadpool_info, threadpool_limits
for name in ("sklearn.ensemble", "torch"):
    before = len(threadpool_info())
    import_module(name)
    assert len(threadpool_info()) > before
    with threadpool_limits(2), one_thread():
        threads = [library["num_threads"] for library in threadpool_info()]
    assert set(threads) == {1}, (name, threads)
"""


def test_libraries_loaded_later_are_held_too_and_none_is_loaded_for_it():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
