#!/bin/sh
# Compiles test kernels with clang and ld.lld, which the build of the guest code needs as well:
#
#     build.sh NAME OUTPUT
#     build.sh all FOLDER
set -eu

folder=$(cd "$(dirname "$0")" && pwd)

compile() { # NAME OUTPUT
    script=kernel.lds
    target="-target i386-unknown-none-elf -march=i586"
    case "$1" in
    boot-information) sources="start.S boot-information.c" ;;
    modes) sources="start.S modes.c faults.S mode-switches.S" ;;
    segments) sources="start.S segments.c faults.S" ;;
    interrupts) sources="start.S interrupts.c interrupt-handlers.S" ;;
    compatibility-user) sources="start.S compatibility-user.S" ;;
    device-memory) # 64-bit, for the vbench protocol
        sources=device-memory.c
        script=kernel64.lds
        target="-target x86_64-unknown-none-elf -mno-red-zone"
        ;;
    *)
        echo "build.sh: no test kernel is called $1" >&2
        exit 64
        ;;
    esac
    objects=
    for source in $sources; do
        # shellcheck disable=SC2086 # lists of words, here and below
        clang $target -ffreestanding -O1 -Wall -Werror -mno-sse -mno-mmx -fno-pic -c -o "$scratch/$source.o" \
            "$folder/$source"
        objects="$objects $scratch/$source.o"
    done
    # shellcheck disable=SC2086
    ld.lld -T "$folder/$script" -o "$2" $objects
}

[ $# = 2 ] || {
    echo "usage: build.sh NAME OUTPUT | all FOLDER" >&2
    exit 64
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "$1" = all ]; then
    for name in boot-information modes segments interrupts compatibility-user device-memory; do
        compile "$name" "$2/$name"
    done
else
    compile "$1" "$2"
fi
