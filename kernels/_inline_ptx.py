"""Instructions that the compilers make of no Python, as texts of PTX: inline assembly, the same for both.

In a text `$0`, `$1`, .. are operands, of the kinds that the constraints beside it name.
"""

from __future__ import annotations

__all__ = ["CODES_OPERANDS", "codes_writer"]

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
