"""What draws on a GPU: tables laid out once and kept there, one launch per batch on the caller's stream.

Nothing is allocated per call: pairs and variants given as NumPy arrays go through a buffer that grows to the largest
batch seen (one stream at a time), and so does a batch on the host, which is drawn on the device and copied; device
arrays are taken as they are. What pairs and variants on the device hold cannot be looked into without waiting for it:
the kernel does, draws nothing for a window that reaches outside the tables, and leaves the window's number in memory
that the host sees, too. The next call raises, or `check`. In the simulator the same code runs on NumPy arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hews_gpu.kernels import discs_cuda, plan_cuda, raster_cuda
from hews_gpu.kernels._shim_cuda import SIMULATED, cuda
from hews_gpu.kernels.tables import ChannelsTables, DiscsTables
from hews_gpu.raster.engines import Bank
from hews_gpu.raster.targets import address_of, host_target, is_on_device, memory
from hews_gpu.raster.values import Values

__all__ = ["CudaEngine", "Tiling"]

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
    def of(cls, size: int, channels: int, is_planes: bool, threads: int, room: int) -> Tiling:
        """Tiles of one size, as few as fit: whole stores, and for planes whole stores of each channel.

        Raises:
            ValueError: planes of so many channels that a tile cannot hold 16 pixels of all.
        """
        unit = 16 * channels if is_planes else 16
        if unit > room:
            raise ValueError(f"out: planes of {channels} channels, at most {room // 16} can be; use channels-last")
        units = (size + unit - 1) // unit
        most = room // unit  # units in a tile
        tiles = (units + most - 1) // most
        each = (units + tiles - 1) // tiles
        return cls(threads, room, each * unit, (units + each - 1) // each)


class CudaEngine:
    """The CUDA kernels, on the current device."""

    def __init__(
        self,
        bank: Bank,
        neighborhoods: int,
        *,
        steps: int,
        threads: int = raster_cuda.THREADS,
        room: int = raster_cuda.TILE_BYTES,
    ) -> None:
        tables = bank[0]
        self.shape = tables.base.shape
        self.neighborhoods = neighborhoods
        self.threads, self.room = threads, room
        self.variants = len(bank)
        if neighborhoods > MOST_NEIGHBORHOODS:
            raise ValueError(f"basemap: has {neighborhoods} areas, must have at most {MOST_NEIGHBORHOODS} on a GPU")
        if tables.base.size > MOST_BYTES:
            raise ValueError(f"map: takes {tables.base.size} bytes, must be at most {MOST_BYTES} on a GPU")
        plan: plan_cuda.ReferencePlan | plan_cuda.ChannelsPlan | plan_cuda.DiscsPlan
        if isinstance(tables, ChannelsTables):
            self.numbers = (len(tables.cell), steps, tables.groups)
            plan = plan_cuda.plan_channels(bank)  # type: ignore[arg-type]
        elif isinstance(tables, DiscsTables):
            self.numbers = (len(tables.x), steps, tables.groups)
            plan = plan_cuda.plan_discs(bank)  # type: ignore[arg-type]
        else:
            self.numbers = (len(tables.x), tables.stamp.shape[-1], neighborhoods)
            plan = plan_cuda.plan_reference(bank)  # type: ignore[arg-type]
            self.is_rest = len(plan.rest) > 0
        self.tables = tables
        # An array of no elements has no address on a device.
        self.plan = type(plan)(*(_to_device(array if len(array) else np.zeros(1, array.dtype)) for array in plan))
        self._codes: dict[int, Any] = {}
        self._pairs, self._variants = _to_device(np.zeros(2, np.int64)), _to_device(np.zeros(1, np.int32))
        self._zeros = _to_device(np.zeros(1, np.int32))
        self._batch = _to_device(np.zeros(1, np.uint8))
        self._bad = _Shared()
        self.is_staging = not SIMULATED
        """Whether a batch on the host is drawn on the device first."""

    def fill(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw window b of `pairs` as variant variants[b] (all as variant 0 if None) into out[b], on `stream`.

        A batch on the host is complete when this returns; one on the device when the stream has come so far.

        Raises:
            ValueError: pairs or variants of an earlier call, on the device, reached outside the tables.
        """
        self._raise_if_bad()
        if self.is_staging and not is_on_device(out):
            self._fill_host(pairs, variants, values, out, stream)
        else:
            self._fill_device(pairs, variants, values, out, stream)

    def check(self, stream: Any) -> None:
        """Wait for `stream`, or for all of the device, then raise what pairs and variants there were guilty of."""
        if stream is not None:
            _wait(_stream(stream, None))
        elif not SIMULATED:
            cuda.synchronize()
        self._raise_if_bad()

    def _raise_if_bad(self) -> None:
        window, self._bad.host[0] = int(self._bad.host[0]) - 1, 0
        if window >= 0:
            raise ValueError(
                f"pairs: window {window} of an earlier batch, given on the device, was drawn empty: must hold "
                f"0 <= first <= last <= {self.numbers[0]}, and variants 0..{self.variants - 1}"
            )

    def _fill_host(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        """Draw on the device, in the layout of `out`, and wait for a copy."""
        bits, is_planes = host_target(out, (len(pairs), *self.shape), values.dtype)
        flat = bits.reshape(-1).view(np.uint8)
        assert np.shares_memory(flat, bits) or not flat.size
        self._batch = _grown(self._batch, flat.size)
        height, width, channels = self.shape
        dims = (len(pairs), channels, height, width) if is_planes else (len(pairs), *self.shape)
        self._fill_device(pairs, variants, values, _typed(self._batch, dims, values), stream)
        launch = _stream(stream, None)
        if SIMULATED:
            flat[:] = self._batch[: flat.size]
        elif flat.size:
            self._batch[: flat.size].copy_to_host(flat, stream=launch)
            _wait(launch)
        self._raise_if_bad()

    def _fill_device(self, pairs: Any, variants: Any, values: Values, out: Any, stream: Any) -> None:
        batch = len(pairs)
        target = memory(out, (batch, *self.shape), values.dtype)
        if batch == 0:
            return
        tiling = Tiling.of(self._size, self.shape[2], target.is_planes, self.threads, self.room)
        output = self._output(values, target.item, target.is_planes, target.address)
        launch = _stream(stream, out)
        sizes = self._sizes(tiling)
        codes = self._table(values)
        if variants is None:
            self._zeros = _grown(self._zeros, batch, zero=True)
            variants = self._zeros
        else:
            self._variants = _grown(self._variants, batch)
            variants = _on_device(variants, self._variants, launch)
        self._pairs = _grown(self._pairs, int(np.prod(pairs.shape)))
        pairs = _on_device(pairs, self._pairs, launch)
        words = _words(out, target.address, batch * self._size * target.item, 8 if output.is_whole else target.item)
        made = self.kernel(output)
        made[(batch, tiling.tiles), tiling.threads, launch](
            self.plan, pairs, variants, codes, words, sizes, self._bad.device
        )

    def kernel(self, output: raster_cuda.Output) -> Any:
        """The kernel that writes `output`."""
        if isinstance(self.tables, ChannelsTables):
            return raster_cuda.channels_kernel(output, self.threads, self.room)
        if isinstance(self.tables, DiscsTables):
            return discs_cuda.discs_kernel(output, self.tables.stamp.shape[-1], self.threads, self.room)
        lit_bytes = -(-max(self.neighborhoods, 1) // 512) * 512
        return raster_cuda.reference_kernel(output, lit_bytes, self.is_rest, self.threads, self.room)

    @property
    def _size(self) -> int:
        return int(np.prod(self.shape))

    def _output(self, values: Values, item: int, is_planes: bool, address: int) -> raster_cuda.Output:
        run = 16 // item
        values_of_line = self.shape[0] * self.shape[1] if is_planes else self._size
        is_whole = values_of_line % run == 0 and address % 16 == 0
        return raster_cuda.Output(item, not values.is_plain, is_planes, is_whole)

    def _sizes(self, tiling: Tiling) -> plan_cuda.Sizes:
        height, width, channels = self.shape
        events, side, neighborhoods = self.numbers
        runs = -(-self._size // plan_cuda.RUN_BYTES)
        numbers = (self._size, runs, events, width * channels, side, neighborhoods)
        return plan_cuda.Sizes(*map(np.int32, (*numbers, tiling.tile, height * width, channels, self.variants)))

    def _table(self, values: Values) -> Any:
        """The table on the device; kept as long as the engine, as a run writes one or two kinds."""
        key = id(values)
        if key not in self._codes:
            codes = values.codes[:1] if values.is_plain else values.codes
            self._codes[key] = (values, _to_device(codes))  # with its owner, so that the id stays taken
        return self._codes[key][1]


class _Shared:
    """One int32 that a kernel writes and the host reads without asking the device: memory of the host, mapped."""

    def __init__(self) -> None:
        self.host: Any = np.zeros(1, np.int32) if SIMULATED else cuda.mapped_array(1, np.int32)
        self.host[0] = 0
        self.device: Any = self.host
        if not SIMULATED:
            mapped: Any = self.host
            address = mapped.device_ctypes_pointer
            self.device = _words(mapped, int(getattr(address, "value", address)), 4, 4, kind="i")


def _typed(buffer: Any, dims: tuple[int, ...], values: Values) -> Any:
    """The beginning of a device buffer of bytes as a batch of bit patterns."""
    size = int(np.prod(dims)) * values.codes.itemsize
    dtype = np.dtype("uint16" if values.dtype == "bfloat16" else values.dtype)
    return buffer[:size].view(dtype).reshape(dims)


def _wait(stream: Any) -> None:
    if SIMULATED:
        return
    (cuda.default_stream() if isinstance(stream, int) else stream).synchronize()


def _to_device(array: NDArray[Any]) -> Any:
    return np.ascontiguousarray(array) if SIMULATED else cuda.to_device(np.ascontiguousarray(array))


def _grown(buffer: Any, size: int, *, zero: bool = False) -> Any:
    """A buffer of at least `size` elements: the given one, or a new one of twice the need."""
    if buffer.size >= size:
        return buffer
    if SIMULATED or zero:
        return _to_device(np.zeros(2 * size, buffer.dtype))
    return cuda.device_array(2 * size, buffer.dtype)


def _on_device(array: Any, buffer: Any, stream: Any) -> Any:
    """A flat device array: the given one, or the buffer with a copy of it."""
    size = int(np.prod(array.shape))
    if SIMULATED:
        buffer[:size] = np.asarray(array).reshape(-1)
        return buffer
    if is_on_device(array):
        item = np.dtype(buffer.dtype).itemsize
        return _words(array, address_of(array), size * item, item, kind="i")
    buffer[:size].copy_to_device(np.ascontiguousarray(array).reshape(-1), stream=stream)
    return buffer


def _words(owner: Any, address: int, size: int, item: int, kind: str = "u") -> Any:
    """Memory that somebody else owns, as a flat array of whole numbers of `item` bytes."""
    if SIMULATED:
        flat = owner if owner.flags.c_contiguous else owner.transpose(0, 2, 3, 1)
        return flat.reshape(-1).view(f"{kind}{item}")
    about = {
        "shape": (size // item,),
        "typestr": f"<{kind}{item}",
        "data": (address, False),
        "strides": None,
        "version": 3,
        "stream": None,
    }
    return cuda.from_cuda_array_interface(about, owner=owner, sync=False)


def _stream(stream: Any, out: Any) -> Any:
    """The stream to launch on: the given one (numba's, CuPy's, torch's or a handle), or torch's current one."""
    if SIMULATED:
        return 0
    if stream is None and hasattr(out, "is_cuda"):
        import torch

        stream = torch.cuda.current_stream(out.device)
    if stream is None:
        return 0
    for name in ("cuda_stream", "ptr"):  # torch, CuPy
        stream = getattr(stream, name, stream)
    return cuda.external_stream(stream) if isinstance(stream, int) and stream != 0 else stream
