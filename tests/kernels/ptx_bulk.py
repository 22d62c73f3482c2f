"""Bulk copies (`cp.async.bulk`) on the interpreter of PTX: each as late as it may be, and faults where a device errs.

A copy into shared memory is there once a thread has asked its barrier twice, and nobody touches its place before. One
out of shared memory happens when its thread waits for it, and nobody writes there before. What threads wrote is seen by
the copy engine after a fence of the thread that wrote, and by another thread's copy after both have met, too.
"""

from dataclasses import dataclass, field

import numpy as np

WHOLE = 16
"""Addresses and sizes are multiples of so many bytes."""


class Fault(Exception):
    """What a device would refuse, or should have."""


@dataclass
class Barrier:
    """One that waits for copies once."""

    expected: int = 0
    polls: int = 0
    copies: list = field(default_factory=list)
    """(place in shared memory, bytes) of each."""


class Copies:
    """Those of a launch. Places in shared memory are those of all blocks, behind each other."""

    def __init__(self, launch):
        self.launch, size = launch, len(launch.shared)
        self.arriving, self.leaving = np.zeros(size, bool), np.zeros(size, bool)
        self.writer = np.zeros(size, np.int64)
        """1 + the lane that wrote a byte; negative after its fence, 0 after it met others."""
        self.barriers, self.sent, self.is_barrier = {}, [], np.zeros(size, bool)

    def touch(self, at, size, is_written):
        """Note an access of the active lanes, each of `size` bytes from `at` on."""
        places = at[:, None] + np.arange(size)
        if self.arriving[places].any():
            raise Fault("shared memory is touched before a copy has arrived there")
        if is_written:
            if self.leaving[places].any():
                raise Fault("shared memory is changed while a copy reads it")
            if self.is_barrier[places].any():
                raise Fault("a barrier is overwritten")
            self.writer[places] = self.launch.active[:, None] + 1

    def fence(self, operation):
        if operation != ("fence", "proxy", "async", "shared::cta"):
            raise KeyError(operation)
        fenced = np.isin(self.writer, self.launch.active + 1)
        self.writer[fenced] *= -1

    def meet(self, blocks):
        """Note that all threads of some blocks have met."""
        writer = self.writer.reshape(len(blocks), -1)
        writer[(writer < 0) & blocks[:, None]] = 0

    def end(self):
        if self.sent or self.arriving.any():
            raise Fault("a block ends before a copy has read its shared memory, or has arrived there")

    def barrier(self, operation, operands):
        """Make a barrier, expect bytes at it, or ask it."""
        launch, place = self.launch, operands[operation[1] != "init"]
        at = launch.address(place) + launch.block[launch.active] * launch.program.shared_bytes
        if operation[1:] == ("init", "shared::cta", "b64"):
            self._check((at % 8 == 0) & (launch.get(operands[1], "u32") == 1), "a barrier that is not aligned")
            self.touch(at, 8, True)
            self.barriers |= {int(one): Barrier() for one in at}
            self.is_barrier[at[:, None] + np.arange(8)] = True
        elif operation[1:] == ("arrive", "expect_tx", "shared::cta", "b64"):
            for one, size in zip(at, np.broadcast_to(launch.get(operands[2], "u32"), len(at)), strict=True):
                self.barriers[int(one)].expected += int(size)
        elif operation[1:] == ("try_wait", "parity", "shared::cta", "b64") and int(operands[2]) == 0:
            for one in np.unique(at):
                self._check(one in self.barriers, "asking a barrier that nobody made")
                self._check(self._is_shown(one, 8, launch.active[at == one], is_engine=False), "a barrier not shown")
                self._poll(self.barriers[one])
            launch.put(operands[0], np.array([self.barriers[one].polls > 1 for one in at]))
        else:
            raise KeyError(operation)

    def _poll(self, barrier):
        self._check(barrier.expected == sum(len(data) for _, data in barrier.copies), "expecting other bytes")
        barrier.polls += 1
        if barrier.polls == 2:
            for at, data in barrier.copies:
                self.launch.shared[at : at + len(data)] = data
                self.arriving[at : at + len(data)] = False

    def copy(self, operation, operands):
        """Start a copy, commit those started, or wait until those committed have read."""
        lanes = set(self.launch.active.tolist())
        if operation[3:] == ("commit_group",):
            self.sent = [(lane, is_committed or lane in lanes, *one) for lane, is_committed, *one in self.sent]
        elif operation[3:] == ("wait_group", "read") and int(operands[0]) == 0:
            for lane, is_committed, at, to, size in self.sent:
                if lane in lanes and is_committed:
                    self.launch.memory.bytes[to : to + size] = self.launch.shared[at : at + size]
                    self.leaving[at : at + size] = False
            self.sent = [one for one in self.sent if not (one[0] in lanes and one[1])]
        elif operation[3:] == ("global", "shared::cta", "bulk_group"):
            for lane, to, at, size in self._each(operands[0], operands[1], operands[2], is_written=True):
                self.leaving[at : at + size] = True
                self.sent.append((lane, False, at, to, size))
        elif operation[3:] == ("shared::cluster", "global", "mbarrier::complete_tx::bytes"):
            barriers = self.launch.address(operands[3])
            each = self._each(operands[1], operands[0], operands[2], is_written=False)
            for (lane, source, at, size), one in zip(each, barriers, strict=True):
                place = int(one) + int(self.launch.block[lane]) * self.launch.program.shared_bytes
                self._check(place in self.barriers and self._is_shown(place, 8, lane), "a barrier not shown")
                self._check(not self.is_barrier[at : at + size].any(), "a barrier is overwritten by a copy")
                self.arriving[at : at + size] = True
                self.barriers[place].copies.append((at, self.launch.memory.bytes[source : source + size].copy()))
        else:
            raise KeyError(operation)

    def _each(self, in_global, in_shared, size, *, is_written):
        """Return lane, place in global memory, place in shared memory and size of each copy that starts."""
        launch, memory = self.launch, self.launch.memory
        places, ats = launch.address(in_global), launch.address(in_shared)
        sizes = np.broadcast_to(launch.get(size, "u32"), len(places))
        may = memory.may_write if is_written else memory.may_read
        found = []
        for lane, place, at, count in zip(launch.active, places, ats, sizes, strict=True):
            self._check(not (place % WHOLE or at % WHOLE or count % WHOLE), "a copy that is not aligned")
            begin, count = int(place) - memory.base, int(count)
            self._check(begin >= 0 and may[begin : begin + count].all(), "a copy outside of global memory")
            touched = launch.program.may_touch[at : at + count]
            self._check(len(touched) == count and touched.all(), "a copy outside of shared memory")
            at = int(at) + int(launch.block[lane]) * launch.program.shared_bytes
            self._check(self._is_shown(at, count, lane), "a copy of what is not shown to the engine")
            self._check(not self.arriving[at : at + count].any(), "a copy of what has not arrived")
            found.append((int(lane), begin, at, count))
        return found

    def _is_shown(self, at, size, lanes, *, is_engine=True):
        """Whether what was written into shared memory is seen by lanes, or by a copy of a lane."""
        writer = self.writer[at : at + size][:, None]
        mine = writer == -(np.atleast_1d(lanes) + 1)
        return bool((mine | (writer == 0) | (not is_engine) & (writer == np.atleast_1d(lanes) + 1)).all())

    @staticmethod
    def _check(is_right, what):
        if not np.all(is_right):
            raise Fault(what)
