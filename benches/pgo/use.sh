#!/bin/sh
# Runs a command of cargo's so that the release that it builds is optimised by a recorded run: what is hot lies
# together and is inlined, what hardly ever runs is kept out of its way (profile-guided optimisation).
#
#   benches/pgo/use.sh cargo build --release --locked     # target/TRIPLE/release/tokenferry
#
# Where no profile fits (key.sh says what it has to fit) that is told, and the build is what it is without. A function
# that has changed since is built as without, too, and not told of: `make pgo` records anew.
#
# It is linked in the order that was recorded with the profile, and with packed relocations, where linker and C library
# know these; where they do not, that is told.
#
# RUSTFLAGS are kept; those of cargo's configuration are not, since cargo takes flags from one place only. The target is
# named, as for a release: functions have other names where it is not.
set -eu
[ $# -gt 0 ] || {
	echo "usage: $0 cargo build --release --locked" >&2
	exit 2
}
folder=$(cd "$(dirname "$0")" && pwd)
name=$("$folder/key.sh")
rustc=${RUSTC:-rustc}
CARGO_BUILD_TARGET=$("$rustc" -vV | sed -n 's/^host: //p')
export CARGO_BUILD_TARGET
profile=$folder/$name.profdata
if [ ! -f "$profile" ]; then
	echo "no profile fits ($name): built without one, and slower; \`make pgo\` records one" >&2
	exec "$@"
fi

# In cargo's own encoding, since the profile's path may have spaces in it.
separator=$(printf '\037')
flags=${CARGO_ENCODED_RUSTFLAGS-}
set -f
if [ -z "${CARGO_ENCODED_RUSTFLAGS+set}" ]; then
	for flag in ${RUSTFLAGS-}; do flags=${flags:+$flags$separator}$flag; done
fi

# Adds a flag.
with() {
	flags=${flags:+$flags$separator}$1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' INT TERM
# Adds a flag if a program that is linked with it runs: not every linker knows all, nor every C library.
with_if_known() {
	before=$flags
	with "$1"
	IFS=$separator
	# shellcheck disable=SC2086 # in words, at the separator
	if ! { echo 'fn main() {}' | "$rustc" --crate-name probe -o "$scratch/probe" $flags - && "$scratch/probe"; } \
		>/dev/null 2>&1; then
		flags=$before
		echo "left out, since no program that is linked with it runs here: $1" >&2
	fi
	unset IFS
}

# Fewer pages of the program are resident where what has run lies together, and fewer are written to at its start where
# its relocations are packed.
order=-Clink-arg=-Wl,--no-warn-symbol-ordering,--symbol-ordering-file
with_if_known "$order=$folder/$name.order"
with_if_known -Clink-arg=-Wl,-z,pack-relative-relocs
with "-Cprofile-use=$profile"
# Functions that have changed are many in a while, and each would be a warning.
with -Cllvm-args=-no-pgo-warn-mismatch
# What runs behind each other lies behind each other, as far as it goes: fewer misses of the cache for code.
with -Cllvm-args=-enable-ext-tsp-block-placement
CARGO_ENCODED_RUSTFLAGS=$flags
export CARGO_ENCODED_RUSTFLAGS
rm -rf "$scratch"
exec "$@"
