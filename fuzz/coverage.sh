#!/usr/bin/env bash
# Says how much of a module the corpus of a fuzz target reaches: regions, functions and lines, by file.
#
#   fuzz/coverage.sh [TARGET [MODULE]]     peer_manager and src/peer unless said otherwise
#
# Needs cargo-fuzz, and LLVM's tools of the toolchain: rustup component add llvm-tools.
set -euo pipefail

target=${1:-peer_manager}
module=${2:-src/peer}
cd "$(dirname "$0")"

tools=$(rustc --print target-libdir)/../bin
for tool in llvm-profdata llvm-cov; do
    [ -x "$tools/$tool" ] || { echo "$tool is missing: rustup component add llvm-tools" >&2; exit 1; }
done
host=$(rustc -vV | sed -n 's/^host: //p')
cargo fuzz coverage -s none "$target" >&2
"$tools/llvm-cov" report "target/$host/coverage/$host/release/$target" \
    -instr-profile="coverage/$target/coverage.profdata" \
    --ignore-filename-regex='/(tests|model)/' --sources "../$module"
