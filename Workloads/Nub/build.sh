#!/bin/sh
# Builds Nub: build.sh OUTDIR makes OUTDIR/nub.elf (with symbols).
# Tools: $SWIFTC (Swift 6.3 or later), $CLANG, $LLD; by default swiftc, clang and ld.lld from PATH.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: build.sh OUTDIR" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
objects=$out/nub-objects
mkdir -p "$objects"

for source in "$here"/Assembly/*.S; do
    "${CLANG:-clang}" --target=x86_64-unknown-none-elf -c "$source" -o "$objects/$(basename "$source" .S).o"
done

# No SSE and no red zone in ring 0; frame pointers for the panic's backtrace; exclusivity checks and stack
# protectors would need a runtime. Overflow and bounds checks stay: they end in a panic, not in a wrong answer.
"${SWIFTC:-swiftc}" -target x86_64-unknown-none-elf -swift-version 6 -enable-experimental-feature Embedded \
    -module-name Nub -module-cache-path "$objects/modules" -wmo -parse-as-library -O -g \
    -enforce-exclusivity=unchecked -warnings-as-errors \
    -Xfrontend -disable-stack-protector -Xfrontend -function-sections \
    -Xcc -ffreestanding -Xcc -mno-red-zone -Xcc -fno-omit-frame-pointer -Xcc -mno-omit-leaf-frame-pointer \
    -Xcc -mno-mmx -Xcc -mno-sse -Xcc -mno-sse2 -Xcc -msoft-float \
    -Xcc -fmodule-map-file="$here/CPU/module.modulemap" -I "$here/CPU" \
    -c "$here"/../../Sources/GuestInterface/*.swift "$here"/Sources/*.swift -o "$objects/nub.o"

"${LLD:-ld.lld}" -static --gc-sections -z max-page-size=4096 -z noexecstack --build-id=none \
    -T "$here/kernel.lds" "$objects"/*.o -o "$objects/nub.elf"
mv "$objects/nub.elf" "$out/nub.elf"
