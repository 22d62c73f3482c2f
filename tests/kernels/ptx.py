"""An interpreter of compiled PTX: a launch in NumPy, where no GPU is, that counts what the machine would do.

All lanes of all blocks run at once. In every step those that stand at the lowest instruction of all execute it and what
follows, up to the next label, jump or barrier: so a warp whose lanes went different ways runs one way after the other,
and joins again where the compiler laid the ways together, as on a device. Registers have the width that their names
give them (%rs 16 bits, %r 32, %rd 64, %fd a double), so that sums wrap as they do on a device.

Memory is stricter than a device's: arrays lie apart, shared ones at multiples of the alignment that they were declared
with and of no larger one, and what touches anything else, or stores to what is read only, raises. Nothing is said about
time, and lanes take turns so regularly that a missing barrier may go unseen.
"""

import operator
import re
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from tests.kernels.ptx_bulk import Copies, Fault

__all__ = ["Fault", "Memory", "Program"]

WARP, BANKS = 32, 32
BASE = 0x7F0000000000
"""Where global memory begins: an index that is taken for an address misses it."""
APART = 256
DONE = np.iinfo(np.int64).max
KINDS = {"%p": "?", "%rs": "u2", "%r": "u4", "%rd": "u8", "%fd": "f8"}


@cache
def type_of(word):
    """The NumPy type of u32, s64, b16, f64 or pred."""
    return np.dtype("?" if word == "pred" else f"{({'b': 'u', 's': 'i'}).get(word[0], word[0])}{int(word[1:]) // 8}")


@cache
def kind_of(register):
    return np.dtype(KINDS.get(re.match(r"%[a-z]+", register)[0], "u4"))  # %tid.x and its like have 32 bits


class Memory:
    """Global memory: arrays in their places, with room between that nobody may touch."""

    base = BASE

    def __init__(self, size=1 << 23):
        self.bytes, self.end = np.full(size, 0xCD, np.uint8), APART
        self.may_read, self.may_write = np.zeros(size, bool), np.zeros(size, bool)

    def place(self, array, *, is_written=False, offset=0):
        """Copy an array in, `offset` bytes behind a multiple of `APART`, and return its address."""
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        begin = -(-self.end // APART) * APART + offset
        self.end = begin + flat.size + APART
        mine = slice(begin, begin + flat.size)
        self.bytes[mine], self.may_read[mine], self.may_write[mine] = flat, True, is_written
        return BASE + begin

    def read(self, address, like):
        """What lies at an address, of the shape and type of another array."""
        begin = address - BASE
        return self.bytes[begin : begin + like.nbytes].view(like.dtype).reshape(like.shape)


@dataclass
class Counts:
    """What a launch did, summed over its warps."""

    phases: list[int]
    """Instructions in the text before the first barrier, between the first and the second, .."""
    conflicts: int = 0
    """Times a shared access was repeated because lanes of a warp met in a bank; an atomic, also in a word."""
    divergent: int = 0
    """Jumps at which lanes of a warp went different ways."""

    @property
    def instructions(self):
        return sum(self.phases)


@dataclass
class Run:
    """Instructions that are executed one after the other."""

    phase: int
    steps: list = field(default_factory=list)
    kept: set = field(default_factory=set)
    """Registers that it writes and that are read elsewhere."""


class Program:
    """The one kernel of a PTX text; `parameters` has offset and bytes of each in the block of parameters."""

    def __init__(self, text):
        head, _, body = text[text.index(".visible .entry") :].partition("{")
        self.parameters, end = [], 0
        for size in (int(bits) // 8 for bits in re.findall(r"\.param \.[usbf](\d+) ", head)):
            self.parameters.append((-(-end // size) * size, size))
            end = sum(self.parameters[-1])
        self.shared = {}
        may_touch = np.zeros(0, bool)
        for align, name, size in re.findall(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\]", text):
            self.shared[name] = -(-len(may_touch) // (2 * int(align))) * 2 * int(align) + int(align)
            may_touch = np.pad(may_touch, (0, self.shared[name] - len(may_touch)))
            may_touch = np.pad(may_touch, (0, int(size)), constant_values=True)
        self.may_touch = np.pad(may_touch, (0, -len(may_touch) % APART))
        self.shared_bytes = len(self.may_touch)
        self.instructions, self.labels = [], {}
        self._parse(_without_scopes(body))
        self.runs = self._cut()

    def _parse(self, body):
        """Note each instruction as (predicate, is negated, operation, operands)."""
        for line in body.splitlines():
            words = line.split("//")[0].strip()
            if label := re.fullmatch(r"(\$\w+):", words):
                self.labels[label[1]] = len(self.instructions)
            elif match := re.fullmatch(r"(?:@(!?)(%p\w+)\s+)?([a-z][\w.:]*)\s*(.*);", words):
                operands = re.findall(r"\{[^}]*\}|\[[^\]]*\]|[^,\s]+", match[4])
                self.instructions.append((match[2], match[1] == "!", tuple(match[3].split(".")), operands))
            elif words and words[0] != "." and words not in ("{", "}", ")"):
                raise Fault(f"not an instruction: {words}")

    def _cut(self):
        """Cut the instructions into runs, by the number of the first."""
        runs, read_first, written, phase, name = {}, set(), {}, 0, ""
        for number, (predicate, _, operation, operands) in enumerate(self.instructions):
            if number == 0 or number in self.labels.values() or name in ("bra", "ret", "bar"):
                runs[number] = run = Run(phase)
                written[number] = mine = set()
            run.steps.append(number)
            name = operation[0]
            phase += name == "bar"
            if predicate and name != "bra":
                raise Fault(f"{name}: only jumps are expected to be conditional")
            is_store = name in ("st", "bra", "bar", "cp") or operation[:2] == ("mbarrier", "init")
            reads = [predicate or ""] + (operands if is_store else operands[1:])
            read_first |= {one for word in reads for one in re.findall(r"%\w+", word)} - mine
            mine |= set() if is_store else set(re.findall(r"%\w+", "".join(operands[:1])))
        for number, run in runs.items():
            run.kept = written[number] & read_first
        return runs

    def launch(self, block, memory, grid, threads):
        """Run grid[0] x grid[1] blocks of so many threads on the bytes of a block of parameters."""
        return Launch(self, bytes(block), memory, grid, threads).run()


def _without_scopes(body):
    """Give names that are declared in braces names that no others have; each instruction gets a line of its own."""
    body = re.sub(r"^\s*\{ (.*;) \}$", lambda scope: "{\n" + scope[1].replace("; ", ";\n") + "\n}", body, flags=re.M)
    scopes = 0

    def renamed(scope):
        nonlocal scopes
        scopes += 1
        inner = scope[0]
        for kind, name in re.findall(r"\.reg \.(\w+)\s+(%?\w+);", inner):
            new = f"{name if name[0] == '%' else '%rd' if kind[1:] == '64' else '%r'}_{scopes}"
            inner = re.sub(rf"(?<![%\w]){name}\b", new, inner)
        return inner

    return re.sub(r"\{[ \t]*\n.*?\n\s*\}", renamed, body, flags=re.DOTALL)


class Launch:
    """A launch that is under way."""

    def __init__(self, program, block, memory, grid, threads):
        self.program, self.parameters, self.memory = program, block, memory
        lane = np.arange(grid[0] * grid[1] * threads)
        self.lane, self.block = lane, lane // threads
        self.blocks, self.threads, self.count = grid[0] * grid[1], threads, len(lane)
        special = {
            "%tid.x": lane % threads,
            "%ntid.x": np.full(len(lane), threads),
            "%nctaid.y": np.full(len(lane), grid[1]),
            "%ctaid.x": self.block % grid[0],
            "%ctaid.y": self.block // grid[0],
        }
        self.registers = {name: value.astype(np.uint32) for name, value in special.items()}
        self.shared = np.full(self.blocks * program.shared_bytes, 0xCD, np.uint8)
        self.pc, self.after = np.zeros(len(lane), np.int64), np.full(len(lane), DONE)
        self.vote = np.zeros(len(lane), bool)
        self.copies = Copies(self) if any(one[2][0] == "cp" for one in program.instructions) else None
        self.counts = Counts([0] * (1 + sum(one[2][0] == "bar" for one in program.instructions)))

    def run(self):
        while True:
            number = self.pc.min()
            if number == DONE:
                if (self.after == DONE).all():
                    if self.copies:
                        self.copies.end()
                    return self.counts
                self._release()
                continue
            mask = self.pc == number
            self._execute(self.program.runs[int(number)], mask)

    def _execute(self, run, mask):
        self.active = self.lane[mask]
        self.at = slice(None) if len(self.active) == self.count else self.active
        warps = int(mask.reshape(-1, WARP).any(axis=1).sum())
        self.counts.phases[run.phase] += warps * len(run.steps)
        self.values, jumped = {}, False
        for number in run.steps:
            predicate, is_negated, operation, operands = self.program.instructions[number]
            if operation[0] in ("bra", "ret", "bar"):
                self._leave(number, predicate, is_negated, operation, operands)
                jumped = True
            else:
                try:
                    OPERATIONS[operation[0]](self, operation, operands)
                except KeyError as error:
                    raise Fault(f"the interpreter does not know {'.'.join(operation)}") from error
        for name in run.kept:
            self._register(name)[self.at] = self.values[name]
        if not jumped:
            self.pc[self.at] = run.steps[-1] + 1

    def _leave(self, number, predicate, is_negated, operation, operands):
        """Jump, end, or wait at a barrier."""
        if operation[0] == "bra":
            target = self.program.labels[operands[0]]
            taken = np.ones(len(self.active), bool)
            if predicate:
                taken = self.get(predicate, "pred") != is_negated
                warp = self.active // WARP
                ways = [np.bincount(warp[way], minlength=self.count // WARP) > 0 for way in (taken, ~taken)]
                self.counts.divergent += int((ways[0] & ways[1]).sum())
            self.pc[self.at] = np.where(taken, target, number + 1)
        else:
            self.pc[self.at] = DONE
            if operation[0] == "bar":
                self.after[self.at] = number + 1
                if operation[1] == "red":
                    self.vote[self.at] = self.get(operands[2], "pred")

    def _release(self):
        """Let the lanes of every block go on: all of those that have not ended stand at one barrier."""
        waits = (self.after != DONE).reshape(self.blocks, -1)
        places = self.after.reshape(self.blocks, -1)
        if (np.where(waits, places, DONE).min(1) != np.where(waits, places, -1).max(1))[waits.any(1)].any():
            raise Fault("threads of a block wait at different barriers")
        if self.copies:
            self.copies.meet(waits.any(1))
        for number in np.unique(places[waits]):
            operation, operands = self.program.instructions[number - 1][2:]
            if operation[1] == "red":
                here = np.flatnonzero(self.after == number)
                votes = np.bincount(self.block[here], self.vote[here], minlength=self.blocks) > 0
                self._register(operands[0])[here] = votes[self.block[here]]
        self.pc[:] = self.after
        self.after[:] = DONE

    def _register(self, name):
        if name not in self.registers:
            self.registers[name] = np.zeros(self.count, kind_of(name))
        return self.registers[name]

    def get(self, name, word):
        """The values of an operand in the active lanes, taken for a u32, s64, .."""
        kind = type_of(word)
        if name[0] != "%":
            return self._constant(name, kind)
        if name not in self.values:
            self.values[name] = self._register(name)[self.at]
        value = self.values[name]
        return value.view(kind) if value.itemsize == kind.itemsize else value.astype(kind)

    def _constant(self, name, kind):
        if name in self.program.shared:
            return np.full(len(self.active), self.program.shared[name], kind)
        if name.startswith("0d"):
            return np.array(int(name[2:], 16), "u8").view("f8")
        return np.array(int(name, 0) & ((1 << 8 * kind.itemsize) - 1), f"u{kind.itemsize}").view(kind)

    def put(self, name, value):
        """Set a register in the active lanes; a wider one is filled up with zeros or the sign."""
        kind = kind_of(name)
        self.values[name] = value.view(kind) if value.itemsize == kind.itemsize else value.astype(kind)

    def address(self, operand):
        base, _, offset = operand[1:-1].partition("+")
        return (self.get(base, "u64") + self._constant(offset or "0", np.dtype("u8"))).astype(np.int64)

    def place(self, space, operand, size, is_written, *, is_atomic=False):
        """The memory of an access, and where in it each lane begins, in bytes."""
        at = self.address(operand)
        if (at % size).any():
            raise Fault(f"{operand}: an access of {size} bytes is not aligned")
        is_shared = space == "shared"
        may = self.program.may_touch if is_shared else self.memory.may_write if is_written else self.memory.may_read
        at = at if is_shared else at - BASE
        if at.min() < 0 or at.max() + size > len(may) or not (may[at] & may[at + size - 1]).all():
            raise Fault(f"{operand}: an access of {space} memory outside what it holds, or what may be written")
        if not is_shared:
            return self.memory.bytes, at
        self._count_conflicts(at, size, is_atomic)
        at = at + self.block[self.active] * self.program.shared_bytes
        if self.copies:
            self.copies.touch(at, size, is_written)
        return self.shared, at

    def _count_conflicts(self, at, size, is_atomic):
        """Count how often an access is repeated: a bank gives one word at a time, and 8 bytes a lane are two turns."""
        turns = self.active // (WARP * 4 // max(size, 4))
        words = at[:, None] // 4 + np.arange(max(size // 4, 1))
        key = (turns[:, None] * (self.program.shared_bytes // 4) + words).ravel()
        key = key if is_atomic else np.unique(key)
        turn, word = np.divmod(key, self.program.shared_bytes // 4)
        met = np.bincount(turn * BANKS + word % BANKS, minlength=(int(turns[-1]) + 1) * BANKS)
        most = met.reshape(-1, BANKS).max(axis=1)
        self.counts.conflicts += int((most[most > 0] - 1).sum())


def _access(launch, operation, operands):
    """Load or store one to four numbers a lane."""
    space, word, is_store = operation[1], operation[-1], operation[0] == "st"
    kind = type_of(word)
    if space == "param":
        begin, size = launch.program.parameters[int(re.search(r"_param_(\d+)", operands[1])[1])]
        one = np.frombuffer(launch.parameters[begin : begin + size], kind)
        launch.put(operands[0], np.repeat(one, len(launch.active)))
        return
    place, values = operands if is_store else reversed(operands)
    names = re.findall(r"[-%\w.]+", values)
    memory, at = launch.place(space, place, kind.itemsize * len(names), is_store)
    memory = memory[: len(memory) // 8 * 8].view(kind)
    for k, name in enumerate(names):
        if is_store:
            memory[at // kind.itemsize + k] = launch.get(name, word)
        else:
            launch.put(name, memory[at // kind.itemsize + k])


ATOMIC = {
    **{"add": operator.add, "or": operator.or_, "xor": operator.xor},
    "cas": lambda old, expected, new: new if old == expected else old,
}


ORDERS = ("relaxed", "acq_rel", "sys")
"""Words for what other threads see when, of no effect where lanes take turns."""


def _atomic(launch, operation, operands):
    """Change a word of shared memory lane by lane; each gets what was there before."""
    operation = [word for word in operation if word not in ORDERS]
    target, place, *rest = operands
    values = [np.broadcast_to(launch.get(name, "u32"), len(launch.active)) for name in rest]
    memory, at = launch.place(operation[1], place, 4, True, is_atomic=True)
    memory, at, old = memory.view(np.uint32), at // 4, np.zeros(len(launch.active), np.uint32)
    for k, word in enumerate(at):
        old[k] = memory[word]
        memory[word] = ATOMIC[operation[2]](old[k], *(value[k] for value in values))
    launch.put(target, old)


def _by(function):
    """An operation whose operands and result have one type."""

    def apply(launch, operation, operands):
        values = [launch.get(name, operation[-1]) for name in operands[1:]]
        launch.put(operands[0], function(*values))

    return apply


def _multiply(launch, operation, operands):
    """Multiply, and add; `wide` keeps both halves of the product."""
    kind, half = operation[-1], operation[1]
    a, b = (launch.get(name, kind) for name in operands[1:3])
    if half == "wide":
        kind = f"{kind[0]}{2 * int(kind[1:])}"
        a, b = a.astype(type_of(kind)), b.astype(type_of(kind))
    elif half == "hi":
        raise KeyError(half)
    total = a * b + launch.get(operands[3], kind) if operation[0] == "mad" else a * b
    launch.put(operands[0], total)


def _divide(launch, operation, operands):
    """Divide, towards zero."""
    a, b = (launch.get(name, operation[-1]) for name in operands[1:])
    if not np.all(b):
        raise Fault("a division by zero")
    quotient = a // b
    launch.put(operands[0], quotient + ((quotient < 0) & (quotient * b != a)).astype(a.dtype))


def _convert(launch, operation, operands):
    """Convert; a double towards zero."""
    if operation[-1][0] == "f" and operation[1] != "rzi":
        raise KeyError(operation[1])
    launch.put(operands[0], launch.get(operands[1], operation[-1]).astype(type_of(operation[-2])))


COMPARE = {
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    "neu": operator.ne,  # or not a number
    "gtu": lambda a, b: ~(a <= b),
}


def _compare(launch, operation, operands):
    a, b = (launch.get(name, operation[-1]) for name in operands[1:])
    launch.put(operands[0], COMPARE[operation[1]](a, b))


def _select(launch, operation, operands):
    a, b = (launch.get(name, operation[-1]) for name in operands[1:3])
    launch.put(operands[0], np.where(launch.get(operands[3], "pred"), a, b))


def _insert(launch, operation, operands):
    """Put the lowest bits of the first operand into the second."""
    a, b = (launch.get(name, operation[-1]) for name in operands[1:3])
    begin, ones = b.dtype.type(int(operands[3])), b.dtype.type((1 << int(operands[4])) - 1)
    launch.put(operands[0], (b & ~(ones << begin)) | ((a & ones) << begin))


def _extract(launch, operation, operands):
    """Take some bits out of a number without a sign."""
    value = launch.get(operands[1], operation[-1])
    begin, ones = value.dtype.type(int(operands[2])), value.dtype.type((1 << int(operands[3])) - 1)
    launch.put(operands[0], (value >> begin) & ones)


def _sum_bytes(launch, operation, operands):
    """Add the products of four bytes each, without signs, to a number."""
    a, b, total = (np.atleast_1d(launch.get(name, "u32")) for name in operands[1:])
    products = a[:, None].view(np.uint8).astype(np.uint32) * b[:, None].view(np.uint8)
    launch.put(operands[0], total + products.sum(axis=1, dtype=np.uint32))


def _pick_bytes(launch, operation, operands):
    """Put a number together from four of the bytes of two, which a constant names."""
    a, b = (np.atleast_1d(launch.get(name, "u32")) for name in operands[1:3])
    picks = [int(operands[3], 0) >> 4 * k & 15 for k in range(4)]
    if max(picks) > 7:
        raise KeyError(operands[3])
    launch.put(operands[0], np.stack([a, b], axis=1).view(np.uint8)[:, picks].copy().view(np.uint32)[:, 0])


def _move(launch, operation, operands):
    """Copy a value, or take it apart into equal parts or put it together from them, the lowest first."""
    target, source = ([name.strip() for name in operand.strip("{}").split(",")] for operand in operands)
    if len(target) * len(source) > 1:
        part = f"b{int(operation[-1][1:]) // len(target) // len(source)}"
        values = np.stack([launch.get(name, operation[-1] if len(target) > 1 else part) for name in source], axis=1)
        for name, value in zip(target, values.view(type_of(part if len(target) > 1 else operation[-1])).T, strict=True):
            launch.put(name, value.copy())
        return
    value = launch.get(operands[1], "u64" if operation[0] == "cvta" else operation[-1])
    launch.put(operands[0], np.broadcast_to(value, len(launch.active)).copy())


def _shift(function):
    """A shift: by a u32, and by all of the width or more it leaves zeros or the sign, as NumPy's do."""

    def apply(launch, operation, operands):
        value = launch.get(operands[1], operation[-1])
        launch.put(operands[0], function(value, launch.get(operands[2], "u32").astype(value.dtype)))

    return apply


OPERATIONS = {
    **{name: _access for name in ("ld", "st")},
    **{name: _by(getattr(operator, name)) for name in ("add", "sub", "xor", "neg")},
    **{name: _by(getattr(operator, f"{name}_")) for name in ("and", "or")},
    **{"not": _by(operator.invert), "abs": _by(np.abs), "min": _by(np.fmin), "max": _by(np.fmax)},
    **{"popc": _by(np.bitwise_count), "shl": _shift(operator.lshift), "shr": _shift(operator.rshift)},
    **{"atom": _atomic, "mul": _multiply, "mad": _multiply, "div": _divide, "cvt": _convert, "setp": _compare},
    **{"selp": _select, "bfi": _insert, "bfe": _extract, "mov": _move, "cvta": _move},
    **{"dp4a": _sum_bytes, "prmt": _pick_bytes},
    "cp": lambda launch, operation, operands: launch.copies.copy(operation, operands),
    "mbarrier": lambda launch, operation, operands: launch.copies.barrier(operation, operands),
    "fence": lambda launch, operation, operands: launch.copies.fence(operation),
}
