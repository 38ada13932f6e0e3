#!/bin/sh
# Every kernel against the reference, bit for bit: first those of this machine, then, cross-compiled
# and emulated, those of an ARM processor. Usage: run.sh NATIVE_PROGRAM CROSS_COMPILER EMULATOR
set -eu
native=$1 compiler=$2 emulator=$3
variant=build/neon
program=$variant/tests/neon/same_bits

echo "== neon/same_bits"
native_says=$("$native") || { echo "$native_says"; exit 1; }
echo "$("$native" names | tr '\n' ' '): $native_says" | tr '\n' ' '
echo
"$native" names | grep -qx neon && exit 0 # this is an ARM machine

skip()
{
    echo "NEON: skipped: $1 (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"
    exit 0
}
command -v "$emulator" >/dev/null 2>&1 || skip "no $emulator on this machine"
printf '#include <math.h>\nint main(void) { return 0; }\n' |
    "$compiler" -static -x c -o /dev/null - >/dev/null 2>&1 ||
    skip "no $compiler that links static programs on this machine"

MAKEFLAGS= $MAKE --no-print-directory CC="$compiler" VARIANT=$variant SANITIZE= LDFLAGS=-static $program
says=$(timeout 300 "$emulator" $program) || { echo "$says"; exit 1; }
names=$("$emulator" $program names | tr '\n' ' ')
echo "$names (emulated): $says" | tr '\n' ' '
echo
fail()
{
    echo "NEON: $1" >&2
    exit 1
}
[ "$names" = "neon reference " ] || fail "expected the kernels neon and reference, got $names"
# The reference is the one whose results are compared with golden models on the machine at hand.
[ "${says#*reference }" = "${native_says#*reference }" ] ||
    fail "the reference's results differ between ARM and this machine"
# A processor without dot products is not offered what it cannot run.
old=$("$emulator" -cpu cortex-a53 $program names)
[ "$old" = reference ] || fail "a processor without dot products is offered: $old"
