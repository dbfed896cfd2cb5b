#!/bin/sh
# Cargo's RUSTC_WRAPPER: the compiler, with coverage counters for the crates that are looked into. That
# halves the build against counters everywhere, and libFuzzer is not led into what is not ours to try.
name=
previous=
for word in "$@"; do
    [ "$previous" = --crate-name ] && name=$word
    previous=$word
done
case $name in
tokenferry | tokenferry_fuzz | serde_json | yaml_serde | libyaml_rs | http | percent_encoding | form_urlencoded | httpdate | proxy_header)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
