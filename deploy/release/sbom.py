#!/usr/bin/env python3
"""Prints the bill of materials of the binary: CycloneDX 1.5, as JSON.

Nothing in it changes unless Cargo.lock does: the serial number is made of the components, and the
time is SOURCE_DATE_EPOCH where it is set, else left out.
"""

import datetime
import json
import os
import pathlib
import re
import sys
import tomllib
import uuid

sys.dont_write_bytecode = True

import crates  # noqa: E402


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def checksums():
    """SHA-256 of each crate's package, as Cargo.lock has it."""
    lock = tomllib.loads((crates.ROOT / "Cargo.lock").read_text(encoding="utf-8"))
    return {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}


def component(package, digest):
    described = {
        "type": "application" if digest is None else "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "scope": "required",
        "licenses": [{"expression": expression(package)}],
        "purl": purl(package),
    }
    if package["description"]:
        described["description"] = " ".join(package["description"].split())
    if digest is not None:
        described["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if re.match(r"https?://", package["repository"] or ""):
        described["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return described


def expression(package):
    """SPDX; before 2018 crates wrote a slash for OR."""
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "NOASSERTION")


def bill():
    digests, by_id, uses = checksums(), crates.packages(), crates.edges()
    root, *others = uses
    components = [component(p, digests[p["name"], p["version"]]) for p in crates.compiled_in()]
    metadata = {
        "tools": {"components": [{"type": "application", "name": pathlib.Path(__file__).name}]},
        "component": component(by_id[root], None),
        "properties": [{"name": "cdx:rustc:target", "value": crates.target()}],
    }
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        moment = datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc)
        metadata["timestamp"] = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([metadata["component"], components])).urn,
        "version": 1,
        "metadata": metadata,
        "components": components,
        "dependencies": [
            {"ref": purl(by_id[package]), "dependsOn": sorted(purl(by_id[used]) for used in used_by)}
            for package, used_by in sorted(uses.items(), key=lambda entry: purl(by_id[entry[0]]))
        ],
    }


if __name__ == "__main__":
    json.dump(bill(), sys.stdout, indent=2, ensure_ascii=False)
    print()
