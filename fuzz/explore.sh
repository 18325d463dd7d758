#!/usr/bin/env bash
# Explores one fuzz target for so many seconds, without a sanitizer, on the stable toolchain, and keeps what it finds.
#
#   fuzz/explore.sh TARGET [SECONDS]     findings go to fuzz/findings/TARGET, shortened; exits with 1 if there are any
#
# The committed corpus is read, never written: what is new goes to fuzz/explored/TARGET, and the next run begins there.
# Needs cargo-fuzz (cargo install cargo-fuzz --locked).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="${1:-}"
seconds="${2:-60}"
[[ -n "$target" && -f "fuzz/fuzz_targets/$target.rs" ]] || {
  echo "explore: no target is named '$target'; there are: $(basename -s .rs fuzz/fuzz_targets/*.rs | xargs)" >&2
  exit 2
}
[[ "$seconds" =~ ^[0-9]+$ ]] || {
  echo "explore: '$seconds' is no number of seconds" >&2
  exit 2
}
cargo fuzz --version >/dev/null 2>&1 || {
  echo "explore: cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
  exit 2
}

explored="fuzz/explored/$target"
findings="fuzz/findings/$target"
artifacts="$(mktemp -d)"
trap 'rm -rf "$artifacts"' EXIT
mkdir -p "$explored" "$findings" "fuzz/corpus/$target"

status=0
cargo +stable fuzz run -s none "$target" "$explored" "fuzz/corpus/$target" -- \
  -max_total_time="$seconds" -max_len=2048 -artifact_prefix="$artifacts/" || status=$?

shopt -s nullglob
found=("$artifacts"/*)
for case in "${found[@]}"; do
  cargo +stable fuzz tmin -s none -r 2000 "$target" "$case" >/dev/null 2>&1 || true
  name="$(basename "$case")"
  cp "$case" "$findings/$name"
  for smaller in fuzz/artifacts/"$target"/minimized-from-*; do mv "$smaller" "$findings/"; done
  echo "explore: found $findings/$name; see it fail: cargo +stable fuzz run -s none $target $findings/$name"
done
((status == 0 && ${#found[@]} == 0)) || exit 1
echo "explore: nothing found in $seconds s; $(find "$explored" -type f | wc -l) inputs explored are in $explored"
