#!/usr/bin/env bash
# Adds to fuzz/corpus what the last runs of fuzz/run.sh found, as few and as small inputs as have the
# same coverage; what is larger than 2 KiB stays out.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(cd "${CARGO_TARGET_DIR:-target}/fuzz" && pwd)
for folder in fuzz/corpus/*; do
    target=$(basename "$folder")
    rm -rf "$build/few" && mkdir "$build/few"
    "$build/debug/$target" -merge=1 -max_len=2048 "$build/few" "$folder" "$build/found/$target" >/dev/null 2>&1
    # What was written by hand has a name, and stays.
    for input in "$build/few"/*; do
        cmp -s "$input" <(cat "$folder/$(basename "$input")" 2>/dev/null) || cp "$input" "$folder/"
    done
    echo "$target: $(ls "$folder" | wc -l) inputs"
done
