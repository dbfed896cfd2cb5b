#!/bin/sh
# Runs a command of cargo's so that the release that it builds is optimised by a recorded run: what is hot lies
# together and is inlined, what hardly ever runs is kept out of its way (profile-guided optimisation).
#
#   benches/pgo/use.sh cargo build --release --locked     # target/TRIPLE/release/tokenferry
#
# Where no profile fits (key.sh says what it has to fit) that is told, and the build is what it is without. A function
# that has changed since is built as without, too, and not told of: `make pgo` records anew.
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
CARGO_BUILD_TARGET=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')
export CARGO_BUILD_TARGET
profile=$folder/$name.profdata
if [ ! -f "$profile" ]; then
	echo "no profile fits ($name): built without one, and slower; \`make pgo\` records one" >&2
	exec "$@"
fi

# In cargo's own encoding, since the profile's path may have spaces in it.
separator=$(printf '\037')
given=${CARGO_ENCODED_RUSTFLAGS-}
if [ -z "${CARGO_ENCODED_RUSTFLAGS+set}" ]; then
	set -f
	for flag in ${RUSTFLAGS-}; do given=${given:+$given$separator}$flag; done
	set +f
fi
# Functions that have changed are many in a while, and each would be a warning.
CARGO_ENCODED_RUSTFLAGS="${given:+$given$separator}-Cprofile-use=$profile$separator-Cllvm-args=-no-pgo-warn-mismatch"
export CARGO_ENCODED_RUSTFLAGS
exec "$@"
