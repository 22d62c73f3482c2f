"""Instructions that the compilers make of no Python, as texts of PTX: inline assembly, the same for both.

In a text `$0`, `$1`, .. are operands, of the kinds that the constraints beside it name.
"""

from __future__ import annotations

__all__ = [
    "CODES_OPERANDS",
    "FENCE",
    "HAS_ARRIVED",
    "HAS_ARRIVED_OPERANDS",
    "READ",
    "READ_OPERANDS",
    "SEND",
    "SEND_OPERANDS",
    "codes_writer",
]

CODES_OPERANDS = "r,r,l,~{memory}"
"""Of `codes_writer`: where its bytes and its table are in shared memory, and where in global memory it writes."""


def codes_writer(item: int) -> str:
    """Return what looks up `16 // item` bytes in a table of codes of `item` bytes, and stores the codes at once.

    `dp4a` adds up products of four bytes each, and a third number. With factors that are 0 but for one, that is
    `item`, it takes a byte out of a word and makes of it the address of its code.
    """
    words, codes = [f"%word{k}" for k in range(4 // item)], [f"%code{k}" for k in range(16 // item)]
    lines = [f".reg .b32 {name};" for name in words + codes]
    if item == 4:
        lines.append("ld.shared.b32 %word0, [$0];")
    else:
        lines += [f"ld.shared.v2.b32 {{%word{k}, %word{k + 1}}}, [$0+{4 * k}];" for k in range(0, len(words), 2)]
    for k, code in enumerate(codes):
        lines.append(f"dp4a.u32.u32 {code}, {words[k // 4]}, {item << 8 * (k % 4)}, $1;")
        lines.append(f"ld.shared.u{8 * item} {code}, [{code}];")
    for selector in ("0x1140", "0x5410")[{1: 0, 2: 1, 4: 2}[item] :]:
        lines += [f"prmt.b32 {a}, {a}, {b}, {selector};" for a, b in zip(codes[::2], codes[1::2], strict=True)]
        codes = codes[::2]
    lines.append(f"st.global.v4.b32 [$2], {{{', '.join(codes)}}};")
    return "{\n" + "\n".join(lines) + "\n}"


# Bulk copies, from sm_90 on: the copy engine moves whole tiles. Addresses and sizes are multiples of 16 bytes.

READ = """{
mbarrier.init.shared::cta.b64 [$1], 1;
fence.proxy.async.shared::cta;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [$1], $3;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$2], $3, [$1];
}"""
"""One thread makes a barrier that waits for so many bytes, lets the engine see it, and starts a copy from memory."""
READ_OPERANDS = "r,r,l,r,~{memory}"
"""Where in shared memory bytes go and the barrier is, where in global memory they are, how many."""

HAS_ARRIVED = """{
.reg .pred %p;
mbarrier.try_wait.parity.shared::cta.b64 %p, [$1], 0;
selp.b32 $0, 1, 0, %p;
}"""
"""Wait a while; 1 if the bytes have arrived, which this thread then sees. A barrier waits for copies once."""
HAS_ARRIVED_OPERANDS = "=r,r,~{memory}"

FENCE = "fence.proxy.async.shared::cta;"
"""What this thread wrote into shared memory is what the copy engine reads, once other threads have met this one."""

SEND = """{
cp.async.bulk.global.shared::cta.bulk_group [$0], [$1], $2;
cp.async.bulk.commit_group;
cp.async.bulk.wait_group.read 0;
}"""
"""Start a copy to memory, and wait until it has read the tile: a block's shared memory ends with its last thread."""
SEND_OPERANDS = "l,r,r,~{memory}"
"""Where in global memory bytes go, where in shared memory they are, how many."""
