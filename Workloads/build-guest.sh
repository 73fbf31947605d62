#!/bin/sh
# Compiles all guest code by hand: build-guest.sh OUTDIR. `swift build` does the same through Plugins/GuestBuild.
set -eu
here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
out=${1:?usage: build-guest.sh OUTDIR}
sh "$here/Nub/build.sh" "$out"
sh "$here/Programs/build.sh" "$out"
