# Recipes for daily work. Each is one command that can be typed by hand; `.ci/run` is what decides.

# Lists the recipes.
default:
    @just --list

# Runs everything that must hold before a change is taken.
ci:
    .ci/run

# Runs all tests.
test *args:
    cargo test --all-features {{args}}

# Installs the peer of the interop test, and tries it against itself.
interop:
    .ci/run interop
    npm --prefix tests/interop test

# Formats the source.
fmt:
    cargo fmt --all

# Runs the linter, with warnings denied.
clippy:
    .ci/run clippy

# Builds the documentation, with warnings denied.
docs:
    .ci/run docs

# Builds the cores alone, and checks that nothing that does I/O comes with them.
cores:
    .ci/run cores

# Explores one fuzz target for so many seconds, and keeps what it finds (needs cargo-fuzz).
fuzz target seconds="60":
    fuzz/explore.sh {{target}} {{seconds}}

# Breaks the peer manager in one place at a time, and has its tests find out; all mutants, or those with such names.
mutants *names:
    fuzz/mutants.sh {{names}}

# Runs the benchmarks, or those whose name contains the filter.
bench *filter:
    cargo bench --all-features -- {{filter}}

# Runs a whole network in one process.
devnet *args:
    cargo run --release --features cli -- devnet {{args}}
