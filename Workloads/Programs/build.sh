#!/bin/sh
# Compiles user programs to static ELF files: build.sh OUTDIR [PROGRAM…] writes OUTDIR/PROGRAM.elf for each
# PROGRAM.swift in this folder (all of them when none is named).
#
# Embedded Swift, so that a program is a small, self-contained file; glibc's static start-up code and libc.a, so that it is
# an ordinary Linux program that runs natively as well. Tools come from PATH; the Swift toolchain's own clang and ld.lld are
# taken where they stand beside swiftc.
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
out=${1:?usage: build.sh OUTDIR [PROGRAM…]}
shift
mkdir -p "$out"
out=$(CDPATH='' cd "$out" && pwd)

swiftc=$(command -v swiftc) || { echo "build.sh: no swiftc in PATH: install Swift 6.3 or newer" >&2; exit 1; }
toolchain=$(dirname "$(readlink -f "$swiftc")")
clang=$toolchain/clang
objcopy=$toolchain/llvm-objcopy
[ -x "$clang" ] || clang=$(command -v clang) || { echo "build.sh: no clang: apt-get install clang" >&2; exit 1; }
[ -x "$objcopy" ] || objcopy=$(command -v llvm-objcopy || command -v objcopy) || {
    echo "build.sh: no objcopy: apt-get install binutils" >&2
    exit 1
}

# The static library of Debian that a program is linked with, and the package that holds it; Libraries/ has its headers.
library() {
    case $1 in
    gmp) echo libgmp.a libgmp-dev ;;
    lua) echo liblua5.4.a liblua5.4-dev ;;
    lz4) echo liblz4.a liblz4-dev ;;
    openssl) echo libcrypto.a libssl-dev ;;
    sqlite) echo libsqlite3.a libsqlite3-dev ;;
    tcc) echo libtcc.a libtcc-dev ;;
    zstd) echo libzstd.a libzstd-dev ;;
    esac
}

# The library's file, by the search path of the compiler that links.
find_library() {
    [ $# -gt 0 ] || return 0
    file=$("$clang" --target=x86_64-unknown-linux-gnu -print-file-name="$1")
    [ -f "$file" ] || {
        echo "build.sh: $name needs the static library $1, which is not installed: apt-get install $2" \
            "(Scripts/install-packages build installs all that is missing)" >&2
        exit 1
    }
    echo "$file"
}

# compile OBJECT MODULE FLAGS-AND-SOURCES…
compile() {
    object=$1
    module=$2
    shift 2
    "$swiftc" -target x86_64-unknown-linux-gnu -enable-experimental-feature Embedded -swift-version 6 \
        -wmo -parse-as-library -O -warnings-as-errors \
        -module-name "$module" -module-cache-path "$out/.modules" -I "$here/Support" -I "$here/Libraries" \
        -Xcc -fno-stack-protector -c -o "$object" "$@"
}

build() {
    name=$1
    source=$here/$name.swift
    [ -f "$source" ] || { echo "build.sh: no such program: $source" >&2; exit 1; }
    # shellcheck disable=SC2046 # a list of words
    archive=$(find_library $(library "$name"))
    # A work folder of its own: builds of several programs (or of two configurations) may run at once.
    work=$(mktemp -d "$out/.$name.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    objects=$work/program.o
    compile "$work/program.o" "$(printf %s "$name" | tr - _)" "$source" "$here"/Harness/*.swift \
        "$here"/../../Sources/GuestInterface/Nanobenchmark.swift \
        "$here"/../../Sources/GuestInterface/RoundMark.swift
    # A program's vector kernels: one source, compiled for each instruction set. Only the entry points stay global, so
    # that no helper compiled for the larger set can stand in for the baseline's.
    kernel=$here/Kernels/$name.swift
    if [ -f "$kernel" ]; then
        compile "$work/sse2.o" kernel_sse2 -D SSE2 "$kernel"
        compile "$work/avx2.o" kernel_avx2 -D AVX2 -Xcc -mavx2 "$kernel"
        for set in sse2 avx2; do
            "$objcopy" --wildcard --keep-global-symbol="vb_kernel_*" "$work/$set.o"
            objects="$objects $work/$set.o"
        done
    fi
    # shellcheck disable=SC2086 # a list of objects, and an archive that may be none
    "$clang" --target=x86_64-unknown-linux-gnu -static -fuse-ld=lld \
        -Wl,--gc-sections -Wl,--build-id=none -o "$work/$name.elf" $objects $archive -lm
    mv -f "$work/$name.elf" "$out/$name.elf"
    rm -rf "$work"
    trap - EXIT
}

[ $# -gt 0 ] || set -- $(cd "$here" && ls ./*.swift | sed 's|^\./||; s|\.swift$||')
for program in "$@"; do
    build "$program"
done
