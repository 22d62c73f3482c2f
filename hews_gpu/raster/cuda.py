"""What draws for a Rasterizer on a GPU: tables laid out once and kept on the GPU, one launch per batch.

Nothing is allocated per call: pairs given as NumPy arrays go through a buffer that grows to the largest batch seen (one
stream at a time), and so does a batch on the host, which is drawn on the device and copied; device arrays are taken as
they are. What pairs on the device hold cannot be looked into without waiting for it: the kernel does, draws nothing for
a window that reaches outside the tables, and leaves the window's number in memory that the host sees, too. The next
call raises, or `check`. In the simulator the same code runs on NumPy arrays.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels import layout_cuda, raster_cuda
from hews_gpu.kernels._launch_cuda import Launch, packed
from hews_gpu.kernels._shim_cuda import SIMULATED, cuda, has_bulk_copies
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables
from hews_gpu.raster.cpu import Tables
from hews_gpu.raster.output import Values, address_of, host_target, is_on_device, target_address

__all__ = ["CudaKernels", "Tiling"]

MOST_NEIGHBORHOODS = 16_384
"""A byte of shared memory each."""
MOST_BYTES = 2**30
"""Of a map: sums of positions stay within 32 bits."""


class Tiling(NamedTuple):
    """How a map is cut: threads of a block, shared memory of a tile, bytes of each tile, tiles of a map."""

    threads: int
    room: int
    tile: int
    tiles: int

    @classmethod
    def of(cls, size: int, threads: int, room: int) -> Tiling:
        """Cut a map of `size` bytes into tiles of one size, as few as fit, each of whole 16-byte stores."""
        units = (size + 15) // 16
        tiles = (units + room // 16 - 1) // (room // 16)
        each = (units + tiles - 1) // tiles
        return cls(threads, room, each * 16, (units + each - 1) // each)


class CudaKernels:
    """The CUDA kernels, on the current device."""

    def __init__(
        self,
        tables: Tables,
        neighborhoods: int,
        *,
        steps: int,
        threads: int = raster_cuda.THREADS,
        room: int = raster_cuda.TILE_BYTES,
        is_bulk: bool = False,
    ) -> None:
        """Lay tables out on the device.

        Args:
            tables: of a style.
            neighborhoods: N.
            steps: T of the channels style, else 0.
            threads: of a block.
            room: bytes of a tile, at most.
            is_bulk: whether tiles are copied in bulk where the device can: not yet measured on any.
        """
        self.tables, self.neighborhoods, self.steps = tables, neighborhoods, steps
        self.shape = tables.base.shape
        if neighborhoods > MOST_NEIGHBORHOODS:
            raise ValueError(f"basemap: has {neighborhoods} areas, must have at most {MOST_NEIGHBORHOODS} on a GPU")
        if tables.base.size > MOST_BYTES:
            raise ValueError(f"map: takes {tables.base.size} bytes, must be at most {MOST_BYTES} on a GPU")
        self._tiling, self._is_bulk = Tiling.of(tables.base.size, threads, room), is_bulk
        self._sizes, self._size = self._count(), tables.base.size
        layout = layout_cuda.lay_out(tables, neighborhoods, self._tiling.tile)
        # An array of no elements has no address on a device.
        self.layout = type(layout)(*(_to_device(array if len(array) else np.zeros(1, array.dtype)) for array in layout))
        self.is_rest = isinstance(layout, layout_cuda.ReferenceLayout) and len(layout.rest) > 0
        self._codes: dict[int, Any] = {}
        self._launches: dict[tuple[int, bool], Launch | None] = {}
        """By table and whether stores are whole; None where numba launches."""
        self._pairs, self._batch = _to_device(np.zeros(2, np.int64)), _to_device(np.zeros(1, np.uint8))
        self._bad = _Shared()
        self.is_staging = not SIMULATED
        """Whether a batch on the host is drawn on the device first."""

    def _count(self) -> layout_cuda.Sizes:
        """Return the numbers that a kernel needs."""
        tables, (_, width, channels) = self.tables, self.shape
        if isinstance(tables, (ChannelsTables, DiscsTables)):
            side, neighborhoods = self.steps, tables.groups
        else:
            side, neighborhoods = tables.stamp.shape[-1], self.neighborhoods
        size = tables.base.size
        runs = -(-size // layout_cuda.RUN_BYTES)
        numbers = (size, runs, tables.events, width * channels, side, neighborhoods, self._tiling.tile, channels)
        return layout_cuda.Sizes(*map(np.int32, numbers))

    def fill(self, pairs: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw window b of `pairs` into out[b], on `stream`.

        A batch on the host is complete when this returns; one on the device when the stream has come so far.

        Raises:
            ValueError: pairs of an earlier call, on the device, reached outside the tables.
        """
        self._raise_if_bad()
        if self.is_staging and not is_on_device(out):
            self._fill_host(pairs, values, out, stream)
        else:
            self._fill_device(pairs, values, out, stream)

    def check(self, stream: Any) -> None:
        """Wait for `stream`, or for all of the device, then raise if pairs there reached outside the tables."""
        if stream is not None:
            _wait(_handle(stream, None))
        elif not SIMULATED:
            cuda.synchronize()
        self._raise_if_bad()

    def _raise_if_bad(self) -> None:
        window = self._bad.word.value - 1
        if window >= 0:
            self._bad.word.value = 0
            raise ValueError(
                f"pairs: window {window} of an earlier batch, given on the device, was drawn empty: must hold "
                f"0 <= first <= last <= {self.tables.events}"
            )

    def _fill_host(self, pairs: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw on the device and wait for a copy."""
        dims = (len(pairs), *self.shape)
        bits = host_target(out, dims, values.dtype)
        flat = bits.reshape(-1).view(np.uint8)
        assert np.shares_memory(flat, bits) or not flat.size
        self._batch = _grown(self._batch, flat.size)
        dtype = np.dtype("uint16" if values.dtype == "bfloat16" else values.dtype)
        self._fill_device(pairs, values, self._batch[: flat.size].view(dtype).reshape(dims), stream)
        if SIMULATED:
            flat[:] = self._batch[: flat.size]
        elif flat.size:
            handle = _handle(stream, None)
            self._batch[: flat.size].copy_to_host(flat, stream=_numba_stream(handle))
            _wait(handle)
        self._raise_if_bad()

    def _fill_device(self, pairs: Any, values: Values, out: Any, stream: Any) -> None:
        batch, size, item = len(pairs), self._size, values.codes.itemsize
        address = target_address(out, (batch, *self.shape), values.dtype)
        if batch == 0:
            return
        is_whole = size % (16 // item) == 0 and address % 16 == 0
        unit, handle = 8 if is_whole else item, _handle(stream, out)
        numbers, count = 2 * batch * max(self.steps, 1), batch * size * item // unit
        pairs, pairs_address = self._pairs_on_device(pairs, handle)
        launch = self._launches.get((id(values), is_whole))
        if launch is None:
            flat, words = _words(pairs, pairs_address, numbers, 8, "i"), _words(out, address, count, unit)
            self._launch_first(batch, flat, values, words, is_whole, handle)
        else:
            launch((batch, self._tiling.tiles), handle, (pairs_address, numbers), (address, count))

    def _launch_first(self, batch: int, pairs: Any, values: Values, words: Any, is_whole: bool, handle: int) -> None:
        """Compile and launch with numba, and keep what launches next time."""
        made = self.kernel(raster_cuda.Output(values.codes.itemsize, not values.is_plain, is_whole))
        arguments = (self.layout, pairs, self._table(values), words, self._sizes, self._bad.device)
        made[(batch, self._tiling.tiles), self._tiling.threads, _numba_stream(handle)](*arguments)
        if (id(values), is_whole) not in self._launches:
            self._launches[id(values), is_whole] = packed(made, arguments, self._tiling.threads, changing=(1, 3))

    def _pairs_on_device(self, pairs: Any, handle: int) -> tuple[Any, int]:
        """Return pairs on the device, the given ones or a buffer with a copy of them, and their address."""
        if is_on_device(pairs) and not SIMULATED:
            return pairs, address_of(pairs)
        size = int(np.prod(pairs.shape))
        self._pairs = _grown(self._pairs, size)
        flat = np.ascontiguousarray(pairs).reshape(-1)
        if SIMULATED:
            self._pairs[:size] = flat
            return self._pairs, 0
        self._pairs[:size].copy_to_device(flat, stream=_numba_stream(handle))
        return self._pairs, address_of(self._pairs)

    def kernel(self, output: raster_cuda.Output) -> Any:
        """Return the kernel that writes `output`."""
        how = (self._tiling.threads, self._tiling.room, self._is_bulk and has_bulk_copies())
        if isinstance(self.tables, ChannelsTables):
            return raster_cuda.channels_kernel(output, *how)
        if isinstance(self.tables, DiscsTables):
            return raster_cuda.discs_kernel(output, self.tables.stamp.shape[-1], *how)
        lit_bytes = -(-max(self.neighborhoods, 1) // 512) * 512
        return raster_cuda.reference_kernel(output, lit_bytes, self.is_rest, *how)

    def _table(self, values: Values) -> Any:
        """Return the table on the device; kept as long as this, as a run writes one or two kinds."""
        key = id(values)
        if key not in self._codes:
            codes = values.codes[:1] if values.is_plain else values.codes
            self._codes[key] = (values, _to_device(codes))  # with its owner, so that the id stays taken
        return self._codes[key][1]


class _Shared:
    """One int32 that a kernel writes and the host reads without asking the device: memory of the host, mapped."""

    def __init__(self) -> None:
        self.host: Any = np.zeros(1, np.int32) if SIMULATED else cuda.mapped_array(1, np.int32)
        self.word = ctypes.c_int32.from_address(self.host.ctypes.data)
        self.word.value = 0
        self.device: Any = self.host
        if not SIMULATED:
            mapped: Any = self.host
            address = mapped.device_ctypes_pointer
            self.device = _words(mapped, int(getattr(address, "value", address)), 1, 4, "i")


def _wait(handle: int) -> None:
    if not SIMULATED:
        (_numba_stream(handle) or cuda.default_stream()).synchronize()


def _to_device(array: NDArray[Any]) -> Any:
    return np.ascontiguousarray(array) if SIMULATED else cuda.to_device(np.ascontiguousarray(array))


def _grown(buffer: Any, size: int) -> Any:
    """Return a buffer of at least `size` elements: the given one, or a new one of twice the need."""
    if buffer.size >= size:
        return buffer
    if SIMULATED:
        return np.zeros(2 * size, buffer.dtype)
    return cuda.device_array(2 * size, buffer.dtype)


def _words(owner: Any, address: int, count: int, item: int, kind: str = "u") -> Any:
    """Return memory that somebody else owns as a flat array of whole numbers of `item` bytes."""
    if SIMULATED:
        return owner.reshape(-1).view(f"{kind}{item}")
    about = {
        "shape": (count,),
        "typestr": f"<{kind}{item}",
        "data": (address, False),
        "strides": None,
        "version": 3,
        "stream": None,
    }
    return cuda.from_cuda_array_interface(about, owner=owner, sync=False)


def _handle(stream: Any, out: Any) -> int:
    """Return the handle of the stream to launch on: that of numba's, CuPy's or torch's, or of torch's current one."""
    if stream is None:
        if SIMULATED or not hasattr(out, "is_cuda"):
            return 0
        import torch

        stream = torch.cuda.current_stream(out.device)
    if SIMULATED:
        return 0
    for name in ("cuda_stream", "ptr"):  # torch, CuPy
        stream = getattr(stream, name, stream)
    return int(stream)


def _numba_stream(handle: int) -> Any:
    return cuda.external_stream(handle) if handle else 0
