"""The DALI feed: an NVIDIA DALI pipeline over the Rasterizer.

The rasterizer draws bytes a few batches ahead, as in the direct feed; DALI takes each batch from the ring of buffers
it was drawn into, without a copy, writes values through the table, resamples augmented maps, and works on a few batches
at once. On a machine without a GPU it does so on the CPU; on a GPU it takes a ring of CuPy arrays if the rasterizer
draws there, and copies maps over if not.

Shapes: B batch, C channels, H rows, X columns.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from hews_gpu.arrays import Float32, Int64
from hews_gpu.errors import UserError
from hews_gpu.feed.augment import Augmentation
from hews_gpu.feed.batch import AHEAD, Batch, Feed, MapSource, Ring, prefetch, tensors
from hews_gpu.feed.plan import Share
from hews_gpu.kernels._shim import ONE_AT_A_TIME
from hews_gpu.raster.output import Values

__all__ = ["DaliFeed", "Drawn", "dali_pipeline"]

QUEUED = 2
"""Batches that DALI works on at once."""
DEPTH = AHEAD + 1 + QUEUED + 1
"""Of the ring: those being drawn, the one handed over, those in DALI's queue, and the one the reader holds."""

Drawn = tuple[Any, ...]
"""uint8 [B, H, X, C], and where maps are augmented their matrices, float32 [B, 2, 3]."""


def dali_pipeline(
    draw: Callable[[], Drawn],
    *,
    batch_size: int,
    values: Values,
    is_augmented: bool,
    device_id: int | None = None,
    is_drawn_on_device: bool = False,
) -> Any:
    """Return a built pipeline that gives float32 or uint8 maps [B, H, X, C], batch by batch.

    Args:
        draw: returns the next batch of bytes, with matrices where maps are augmented; StopIteration ends it.
        batch_size: of the largest batch; others may be smaller.
        values: what a byte becomes; half precision is left to the reader, float32 holds it exactly.
        is_augmented: whether `draw` returns matrices too.
        device_id: of the GPU; None: on the CPU.
        is_drawn_on_device: whether `draw` returns arrays on that GPU.
    """
    library = _installed("nvidia.dali")
    fn, types = library.fn, library.types
    is_bytes = values.dtype == "uint8"
    pipeline = library.Pipeline(
        batch_size=batch_size,
        num_threads=_threads(),
        device_id=device_id,
        prefetch_queue_depth=QUEUED,
        set_affinity=False,
    )
    with pipeline:
        kinds = [("HWC", types.UINT8, 3), ("", types.FLOAT, 2)][: 1 + is_augmented]
        layout, dtype, ndim = (list(part) for part in zip(*kinds, strict=True))
        about = {"layout": layout, "dtype": dtype, "ndim": ndim, "no_copy": True}
        device = "gpu" if is_drawn_on_device else "cpu"
        given = fn.external_source(source=draw, num_outputs=len(kinds), device=device, **about)
        if device_id is not None and not is_drawn_on_device:
            given = [one.gpu() for one in given]
        maps = given[0]
        if not values.is_plain:
            table = {"keys": list(range(256)), "values": values.real().tolist()}
            maps = fn.lookup_table(maps, dtype=types.UINT8 if is_bytes else types.FLOAT, **table)
        if is_augmented:
            maps = fn.warp_affine(maps, given[1])
        pipeline.set_outputs(maps)
    pipeline.build()
    return pipeline


class DaliFeed(Feed):
    """Lets DALI finish what the source's rasterizer draws.

    Raises:
        UserError: DALI is not installed, or on a GPU CuPy is not.
    """

    def __init__(self, source: MapSource, *, device: str = "cpu") -> None:
        super().__init__(source, device=device)
        _installed("nvidia.dali")
        self._cupy = _installed("cupy") if self.is_drawn_on_device else None
        self._device_id = None if self.device.type == "cpu" else _index(self.device)
        self._bytes = source.rasterizer.writing(Values.plain())

    def _new_ring(self) -> Ring[Any]:
        if self._cupy is None:
            return tensors(self._bytes, DEPTH)
        cupy = self._cupy
        with cupy.cuda.Device(self._device_id):
            return Ring(self._bytes.shape, lambda dims: cupy.empty(dims, cupy.uint8), DEPTH)

    def _make(self, shares: Iterator[Share], augment: Augmentation | None) -> Any:
        plan = list(shares)
        if plan:
            with self._ring() as ring:
                yield from self._run(plan, ring, augment)

    def _run(self, plan: Sequence[Share], ring: Ring[Any], augment: Augmentation | None) -> Iterator[Batch]:
        drawn = prefetch(iter(plan), lambda turn, share: self._draw(ring.take(turn, len(share)), share, augment))
        errors: list[BaseException] = []

        def draw() -> Drawn:
            """Return the next batch; of an error the pipeline only learns that there is no more."""
            try:
                return next(drawn)
            except StopIteration:
                raise
            except BaseException as error:
                errors.append(error)
                raise StopIteration from error

        try:
            pipeline = dali_pipeline(
                draw,
                batch_size=max(len(share) for share in plan),
                values=self.source.rasterizer.values,
                is_augmented=augment is not None,
                device_id=self._device_id,
                is_drawn_on_device=self.is_drawn_on_device,
            )
            for share in plan:
                try:
                    (maps,) = pipeline.run()
                except StopIteration:
                    break
                yield self._batch(share.ids, self._torch(maps))
            if errors:
                raise errors[0]
        finally:
            drawn.close()

    def _draw(self, out: Any, share: Share, augment: Augmentation | None) -> Drawn:
        pairs = self.source.pairs[share.ids]
        matrices = () if augment is None else (_matrices(share, augment, self._bytes.shape),)
        if self._cupy is not None:
            return self._draw_on_device(out, pairs, matrices)
        self._bytes.fill(pairs, out)
        return (out.numpy(), *matrices)

    def _draw_on_device(self, out: Any, pairs: Int64, matrices: tuple[Float32, ...]) -> Drawn:
        """Draw into a CuPy array; it is whole when this returns, so DALI need not know of the stream."""
        assert self._cupy is not None
        with self._cupy.cuda.Device(self._device_id), ONE_AT_A_TIME:
            stream = self._cupy.cuda.Stream(non_blocking=True)
            with stream:
                self._bytes.fill(pairs, out, stream=stream)
                moved = tuple(self._cupy.asarray(some) for some in matrices)
            stream.synchronize()
        return (out, *moved)

    def _torch(self, maps: Any) -> Tensor:
        """Return DALI's list of maps as one tensor [B, C, H, X] of the source's dtype."""
        dtype: torch.dtype = getattr(torch, self.source.rasterizer.values.dtype)
        if self._device_id is None:  # DALI's own memory, which lasts until its next run
            return torch.utils.dlpack.from_dlpack(maps.as_tensor()).permute(0, 3, 1, 2).to(dtype)
        whole = maps.as_tensor()
        held = torch.uint8 if dtype == torch.uint8 else torch.float32
        copied = torch.empty(whole.shape(), dtype=held, device=self.device)
        feed = _installed("nvidia.dali.plugin.pytorch").feed_ndarray
        feed(whole, copied, cuda_stream=torch.cuda.current_stream(self.device))
        return copied.permute(0, 3, 1, 2).to(dtype)


def _matrices(share: Share, augment: Augmentation, shape: tuple[int, ...]) -> Float32:
    return augment.matrices(share.epoch, share.first, len(share), shape[0], shape[1])


def _index(device: torch.device) -> int:
    """Return which GPU torch means: that of this process unless the device names one."""
    return device.index if ":" in str(device) else torch.cuda.current_device()


def _threads() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _installed(name: str) -> Any:
    """Import an optional library.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = "Install it with 'pip install hews-gpu[dali]' (in a clone: pip install .[dali]), or use --feed direct"
        allowed = f"needs {name}, which is not installed ({error})"
        raise UserError("--feed", "dali", allowed=allowed, remedy=remedy) from None
