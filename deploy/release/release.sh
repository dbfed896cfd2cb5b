#!/bin/sh
# What `make release` does: the archive that people download, from a clean checkout.
#
#   tokenferry-VERSION-TRIPLE.tar.gz, and beside it its SHA-256. In it: the binary, statically linked;
#   man page, completions, schema, the sample proxy.yaml and deploy/; licences of everything that is
#   compiled in; the bill of materials (CycloneDX 1.5).
#
# PROFILE=soak builds in a fraction of the time, and what runs slower. The archive's bytes depend on
# the sources and the tools only, not on when and by whom it was made.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1

profile=${PROFILE:-release}
triple=$(rustc -vV | sed -n 's/^host: //p')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
target=$(cargo metadata --format-version 1 --no-deps --locked | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
name=tokenferry-$version-$triple
out=$target/dist
# The last commit's time, for everything that has a time in it.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

rm -rf "$out/$name" "$out/$name.tar.gz" "$out/$name.tar.gz.sha256"
mkdir -p "$out/$name/completions" "$out/$name/man"

# Before the build, which takes longer: a licence text that is missing is the end of it.
python3 deploy/release/licences.py > "$out/$name/THIRD-PARTY-LICENSES"
python3 deploy/release/sbom.py > "$out/$name/tokenferry.cdx.json"

# Only a release's settings give functions the names that a recorded profile knows them by.
with=
[ "$profile" = release ] && with=benches/pgo/use.sh
RUSTFLAGS="-C target-feature=+crt-static" $with cargo build --locked --bin tokenferry --profile "$profile" --target "$triple"
folder=$profile
[ "$profile" = dev ] && folder=debug
binary=$target/$triple/$folder/tokenferry
install -m 755 "$binary" "$out/$name/tokenferry"

# Statically linked, or it would not run in an empty image.
if readelf -l "$binary" | grep -q INTERP; then
	echo "$binary asks for a dynamic linker: it is not static" >&2
	exit 1
fi

"$binary" schema > "$out/$name/proxy.schema.json"
"$binary" man --out "$out/$name/man"
for shell in bash fish zsh; do
	"$binary" completions "$shell" > "$out/$name/completions/tokenferry.$shell"
done
install -m 644 proxy.yaml README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$out/$name/"
# Only what is under version control: no secret of a trial lies in an archive.
git archive --format=tar HEAD deploy | tar -x -C "$out/$name"
rm -rf "$out/$name/deploy/release"

tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$out" -cf - "$name" | gzip -9n > "$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
echo "$out/$name.tar.gz"
cat "$out/$name.tar.gz.sha256"
