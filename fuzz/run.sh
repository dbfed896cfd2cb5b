#!/usr/bin/env bash
# Runs each fuzz target for some seconds, two at a time; ends at the first that does not hold.
#
#     fuzz/run.sh SECONDS [TARGET...]
#
# On the nightly toolchain if there is one, else on the one that is there: without a sanitizer both do,
# and one has nothing to find in a crate that forbids `unsafe`. (The folder is laid out as cargo-fuzz
# wants it: with one, `cargo +nightly fuzz run TARGET`.) What is new in coverage is kept below the
# build folder; `fuzz/keep.sh` puts the smallest set of it into `fuzz/corpus`.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1
shift
if [ $# -gt 0 ]; then targets=("$@"); else mapfile -t targets < <(ls fuzz/corpus); fi

if command -v rustup >/dev/null && rustup run nightly rustc --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=nightly
fi
build=${CARGO_TARGET_DIR:-target}/fuzz
mkdir -p "$build"
build=$(cd "$build" && pwd)
RUSTC_WRAPPER=$PWD/fuzz/rustc.sh cargo build --locked --manifest-path fuzz/Cargo.toml --bins --target-dir "$build"

run() {
    mkdir -p "$build/found/$1"
    log=$build/$1.log
    if "$build/debug/$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$build/$1-" $([ -f "fuzz/$1.dict" ] && echo "-dict=fuzz/$1.dict") \
        "$build/found/$1" "fuzz/corpus/$1" >"$log" 2>&1; then
        echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs," \
            "$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1) places covered"
    else
        tail -n 60 "$log"
        echo "$1: FAILED; the input is $build/$1-*" >&2
        return 255 # ends xargs
    fi
}
export -f run
export seconds build
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'run {}'
