"""The toy city of the training tests, with a twin for every other shooting: an assault a few minutes later, near it."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hews_gpu.audit.planted import Cities
from hews_gpu.data.events import open_prepared
from tests.toy_city import incidents, write_prepared


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_twins(frame):
    """Rows and `twin_of`, in order of time."""
    shootings = np.flatnonzero(frame["category"] == "SHOOTING")[::2]
    twins = frame.iloc[shootings].assign(category="AGG. ASSAULT", twin_of=shootings)
    twins["time_s"] += 240
    both = pd.concat([frame.assign(twin_of=-1, row_id=np.arange(len(frame))), twins.assign(row_id=-1)])
    both = both.sort_values("time_s", kind="stable", ignore_index=True)
    return both, {name: pa.array(both[name].to_numpy(np.int64)) for name in ("row_id", "twin_of")}


def nulled(extra):
    """-1 as a null in `twin_of`; rows without an id get one of their own."""
    ids = extra["row_id"].to_numpy().copy()
    ids[ids < 0] = 1_000_000 + np.flatnonzero(ids < 0)
    twin = extra["twin_of"].to_numpy()
    return {"row_id": pa.array(ids), "twin_of": pa.array([None if t < 0 else int(t) for t in twin], pa.int64())}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The prepared folder; not to be written to."""
    frame, extra = with_twins(incidents())
    return write_prepared(tmp_path_factory.mktemp("audit") / "prepared", frame, extra=nulled(extra))


@pytest.fixture(scope="session")
def prepared(folder):
    return open_prepared(folder)


@pytest.fixture(scope="session")
def cities(folder):
    """Where leaks are planted."""
    return Cities(folder)


@pytest.fixture(scope="session")
def young(folder):
    """The same with cities of one year: for what compares bits, they do as well for half the time."""
    return Cities(folder, years=1)
