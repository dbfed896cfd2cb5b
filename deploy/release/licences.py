#!/usr/bin/env python3
"""Prints the licence texts of everything that is in the binary; fails where a text is missing.

A binary carries other people's work, and their terms ask that the text goes with it. Equal texts are
printed once.
"""

import pathlib
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True

import crates  # noqa: E402

RULE = "=" * 78
# These say who, not on what terms: they are printed, but are not enough.
NOT_TERMS = ("authors", "notice", "copyright")
# Whoever publishes under the Apache licence alone and forgets its text has published under this one:
# it is the same for everybody, no name is in it.
APACHE = crates.ROOT / "LICENSE-APACHE"

BESIDES = """\
The Rust standard library (https://github.com/rust-lang/rust, MIT OR Apache-2.0) is compiled in, and used
under the Apache License 2.0, whose text is below.

The static binary also holds parts of the GNU C Library (LGPL-2.1-or-later) and of GCC's runtime
library (GPL-3.0-or-later WITH GCC-exception-3.1), as Debian publishes them with their source. This
program's source and the recipe that links it are public, so anybody can link it anew with another
version of them.
"""


def terms(package):
    """The texts of one crate; an empty list where it has none."""
    files = crates.licence_files(package)
    if not any(not file.name.lower().startswith(NOT_TERMS) for file in files):
        if "Apache-2.0" not in (package["license"] or "").replace("/", " ").split():
            return []
        files.append(APACHE)
    return [(file, file.read_text(encoding="utf-8", errors="replace").strip()) for file in files]


def collect(packages):
    """The crates of each text, and the crates that have none."""
    by_text, missing = {}, []
    for package in packages:
        name = f"{package['name']} {package['version']} ({package['license'] or 'see the text'})"
        found = terms(package)
        if not found:
            missing.append(f"{name}: {pathlib.Path(package['manifest_path']).parent}")
        for _, text in found:
            by_text.setdefault(text, []).append(name)
    return by_text, missing


def main():
    packages = crates.compiled_in()
    by_text, missing = collect(packages)
    if missing:
        print("no licence text is in the package of:", *missing, sep="\n  ", file=sys.stderr)
        print("find it at the crate's repository, and let deploy/release/licences.py take it from a file", file=sys.stderr)
        return 1
    print("What the tokenferry binary holds besides tokenferry, and on which terms.\n")
    print(BESIDES)
    print(f"{len(packages)} crates:\n")
    for package in packages:
        print(f"  {package['name']} {package['version']}: {package['license']}, {package['repository'] or 'crates.io'}")
    for text, names in sorted(by_text.items(), key=lambda entry: entry[1][0]):
        listed = textwrap.fill(", ".join(sorted(set(names))), 78, break_long_words=False, break_on_hyphens=False)
        print(f"\n{RULE}\n{listed}\n{RULE}\n\n{text}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"cargo did not answer:\n{error.stderr}")
