"""What a device's machine code holds, read from the file that the assembler writes (ELF, 64 bits, little-endian).

NVIDIA's instructions from sm_70 on have 16 bytes, the lowest 9 bits of which name the operation; the next three bits
say where operands come from. The numbers below were read off code assembled for the purpose, which the tests repeat.
"""

import struct

DFMA, DMUL = 0x02B, 0x028


def operations(cubin: bytes) -> list[int]:
    """The 9-bit operation of every instruction in every section of code."""
    offset, size, count, names_at = (*struct.unpack_from("<Q", cubin, 0x28), *struct.unpack_from("<HHH", cubin, 0x3A))
    sections = [struct.unpack_from("<IIQQQQ", cubin, offset + k * size) for k in range(count)]
    names = sections[names_at][4]
    found = []
    for name, _, _, _, start, length in sections:
        label = cubin[names + name : cubin.index(b"\0", names + name)]
        if label.startswith(b".text"):
            found += [struct.unpack_from("<H", cubin, at)[0] & 0x1FF for at in range(start, start + length, 16)]
    return found
