"""Reads the machine code of the products' inner loops: none may keep a vector on the stack.

    .ci/spills.py FILE

The compiler has taken loops apart before where something around them changed, and they were a third
slower with the same results. Checked are the loops with the most products of each kernel in 8 bits and
of each instruction set in single precision. FILE is the crate `polyhead_compute` as the release build leaves it in
`target/release/deps` (an rlib), or a program with names of functions. Needs `objdump`.
"""

import platform
import re
import subprocess
import sys

#: A kernel's function, and the products that its largest loop has.
LOOPS = {
    r"Avx2Duos as .*::tile::apart": 24,
    r"AvxVnni as .*::tile::apart": 12,
    r"Avx512Vnni as .*::tile::apart": 24,
    r"simd::avx2::Avx2 as .*::enter::compiled": 12,
    r"simd::avx512::Avx512 as .*::enter::compiled": 24,
}
PRODUCT = re.compile(r"v(fmadd|pmaddubsw|pmaddwd|pdpbusd)")
ON_THE_STACK = re.compile(r"\(%rsp[,)].*%[yz]mm|%[yz]mm.*\(%rsp[,)]")
JUMP = re.compile(r"j\w+\s+([0-9a-f]+)\b")


def main() -> None:
    if platform.machine() != "x86_64":
        sys.exit("spills: SKIPPED, the loops of this processor are not known")
    found = {name: [] for name in LOOPS}
    for name, code in functions(sys.argv[1]):
        for pattern, products in LOOPS.items():
            if re.search(pattern, name):
                found[pattern] += [loop for loop in loops(code) if count(PRODUCT, loop) == products]
    faults = [f"{name}: expected a loop of {LOOPS[name]} products, found none" for name, loops in found.items() if not loops]
    for name, loops_found in found.items():
        spilling = [loop for loop in loops_found if count(ON_THE_STACK, loop)]
        faults += [f"{name}: a loop keeps vectors on the stack:\n  " + "\n  ".join(loop) for loop in spilling]
    if faults:
        sys.exit("\n".join(f"spills: {fault}" for fault in faults))
    print(f"spills: {sum(map(len, found.values()))} loops keep their sums in registers")


def functions(program: str):
    """Names and instructions, each with its address."""
    command = ["objdump", "--disassemble", "--demangle", "--no-show-raw-insn", program]
    name, code = "", []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if begin := re.match(r"[0-9a-f]+ <(.*)>:$", line):
                yield name, code
                name, code = begin[1], []
            elif "polyhead_compute" in name and (instruction := re.match(r"\s+([0-9a-f]+):\s+(.*)$", line)):
                code.append((int(instruction[1], 16), instruction[2]))
    yield name, code


def loops(code: list[tuple[int, str]]):
    """Runs of instructions that end with a jump to their beginning and have no such jump inside."""
    places = {address: place for place, (address, _) in enumerate(code)}
    last_begin = -1
    for place, (_, text) in enumerate(code):
        jump = JUMP.match(text)
        begin = places.get(int(jump[1], 16)) if jump else None
        if begin is not None and last_begin < begin <= place:
            last_begin = begin
            yield [text for _, text in code[begin : place + 1]]


def count(pattern: re.Pattern, loop: list[str]) -> int:
    return sum(bool(pattern.search(text)) for text in loop)


if __name__ == "__main__":
    main()
