#!/bin/sh
# Records the profile that use.sh uses, in place of the one that is there: builds the proxy so that it counts what runs
# in it, drives it by the load harness, and merges what was counted. `make pgo` is this; half an hour on two cores,
# most of it the build.
set -eu
cd "$(dirname "$0")/../.."

name=$(benches/pgo/key.sh)
host=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
merge=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
if [ ! -x "$merge" ]; then
	command -v rustup >/dev/null || {
		echo "missing: llvm-profdata. It comes with the llvm-tools of your Rust toolchain" >&2
		exit 1
	}
	rustup component add llvm-tools
fi
target=$PWD/target/pgo
counts=$target/counts
# A proxy adds to what is counted there already.
rm -rf "$counts"
mkdir -p "$counts"

# By the same settings as a release, or its functions would have other names.
CARGO_BUILD_TARGET=$host CARGO_ENCODED_RUSTFLAGS="-Cprofile-generate=$counts" \
	cargo build --locked --release --bin tokenferry --target-dir "$target"

# Each way in and out, as long as the other, and the access log. A proxy writes what it counted when it ends.
drive() {
	touch "$target/began"
	cargo bench --locked --profile soak --bench load -- --proxy "$target/$host/release/tokenferry" \
		--rounds 1 --report-only "$@"
	[ -n "$(find "$counts" -newer "$target/began" -name '*.profraw')" ] || {
		echo "the proxy counted nothing" >&2
		exit 1
	}
}
drive --seconds 2 --scenario get-1k --scenario get-64k --scenario get-1m --scenario post-64k --scenario tls-in \
	--scenario tls-out --scenario tls-handshake --scenario connect --scenario h2-in --scenario half-load \
	--scenario routes-1000 --scenario reloads --scenario rotation --rotation 6
drive --seconds 2 --access-log all --scenario get-1k --scenario h2-in
drive --scenario idle --idle 1000 --give-back 2
drive --scenario cold-start --waiting 1000

# What never ran is left out: it is most of it, and is then built as it is without a profile.
"$merge" merge --sparse -o "$target/merged" "$counts"/*.profraw
rm -f benches/pgo/*-"$host"-*.profdata
mv "$target/merged" "benches/pgo/$name.profdata"
ls -l "benches/pgo/$name.profdata"
