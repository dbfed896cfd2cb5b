#!/bin/sh
# Prints the name of the profile that fits: the compiler's version and host, and a checksum of all that the names of
# functions are made from. A profile knows functions by these names: of one that was recorded with another version of a
# dependency, of the compiler or of the proxy, or with other settings of a release, most would fit nothing.
set -eu
cd "$(dirname "$0")/../.."
told=$("${RUSTC:-rustc}" -vV)
host=$(echo "$told" | sed -n 's/^host: //p')
key=$({
	echo "$told"
	sed -n '/^\[profile\.release/,/^$/p' Cargo.toml | sed 's/ *#.*//'
	# The checkout's place is in no name.
	cargo tree --quiet --locked --edges no-dev --target "$host" --prefix none --format '{p} {f}' | sed 's/ (\/[^)]*)//' | sort -u
} | cksum | cut -d ' ' -f 1)
echo "$(echo "$told" | sed -n 's/^release: //p')-$host-$key"
