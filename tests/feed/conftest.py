"""The toy city, prepared once, and its maps of either style as files.

Imports are within the fixtures: tests marked gpu of this folder also run where only the GPU's own libraries are.
"""

import pytest


@pytest.fixture(scope="session")
def toy_prepared(tmp_path_factory):
    from tests.feed.toy import write_prepared

    return write_prepared(tmp_path_factory.mktemp("feed") / "prepared")


@pytest.fixture(scope="session")
def toy_stores(toy_prepared, tmp_path_factory):
    from hews_gpu.feed.maps import rasterize

    folder = tmp_path_factory.mktemp("stores")
    for style in ("reference", "channels"):
        rasterize(toy_prepared, folder / style, style=style)
    return {style: folder / style for style in ("reference", "channels")}
