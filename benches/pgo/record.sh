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
LLVM_PROFILE_FILE=$counts/at-rest-%p.profraw drive --scenario idle --idle 1 --give-back 0.1

"$merge" merge --sparse -o "$target/rest" "$counts"/at-rest-*.profraw
# What never ran is left out: it is most of it, and is then built as it is without a profile.
"$merge" merge --sparse -o "$target/merged" "$counts"/*.profraw
# The functions that ran, those first that ran most.
ran() {
	"$merge" show --all-functions --counts "$1" | awk '
		/^  [^ ].*:$/ { name = $1; sub(/:$/, "", name); sub(/^.*;/, "", name) }
		/^    Block counts:/ {
			most = 0
			gsub(/[^0-9 ]/, "")
			for (i = 1; i <= NF; i++) if ($i + 0 > most) most = $i + 0
			if (most > 0) printf "%.0f %s\n", most, name
		}' | sort -k 1,1nr -k 2 | cut -d ' ' -f 2
}

# The order that a linker puts them in: what a proxy has run that is at rest, and then the others.
ran "$target/rest" >"$target/at-rest"
ran "$target/merged" >"$target/ran"
{
	grep -Fx -f "$target/at-rest" "$target/ran"
	grep -Fxv -f "$target/at-rest" "$target/ran"
} >"$target/order"
rm -f benches/pgo/*-"$host"-*.profdata benches/pgo/*-"$host"-*.order
mv "$target/order" "benches/pgo/$name.order"
mv "$target/merged" "benches/pgo/$name.profdata"
ls -l "benches/pgo/$name".*
