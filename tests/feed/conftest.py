"""The toy city, prepared once, and its maps of either style as files."""

import pytest

from hews_gpu.feed.maps import rasterize
from tests.feed.toy import write_prepared


@pytest.fixture(scope="session")
def toy_prepared(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("feed") / "prepared")


@pytest.fixture(scope="session")
def toy_stores(toy_prepared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    for style in ("reference", "channels"):
        rasterize(toy_prepared, folder / style, style=style)
    return {style: folder / style for style in ("reference", "channels")}
