"""The crates that are in the binary, from `cargo metadata`: what is compiled in, not what tests or build scripts use."""

import functools
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Files of a crate that hold its terms, wherever its author put the word.
LICENCE = re.compile(r"(?i)^(licen[cs]e|copying|copyright|notice|unlicense|authors)([-_.].*)?$")


@functools.cache
def target():
    """The triple of this machine's compiler."""
    told = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (.+)$", told, re.MULTILINE)[1]


@functools.cache
def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target()]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def edges():
    """Every compiled-in package's id, with the ids of what it uses; the first is tokenferry."""
    nodes = {node["id"]: node for node in metadata()["resolve"]["nodes"]}
    found = {}
    waiting = [metadata()["resolve"]["root"]]
    while waiting:
        package = waiting.pop(0)
        if package not in found:
            uses = [dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            found[package] = sorted(uses)
            waiting.extend(uses)
    return found


def packages():
    """By id."""
    return {package["id"]: package for package in metadata()["packages"]}


def compiled_in():
    """All but tokenferry itself, by name and version."""
    by_id = packages()
    root, *others = edges()
    return sorted((by_id[other] for other in others), key=lambda package: (package["name"], package["version"]))


def licence_files(package):
    """What of a crate's files are its terms."""
    folder = pathlib.Path(package["manifest_path"]).parent
    named = [folder / package["license_file"]] if package["license_file"] else []
    found = {file.resolve() for file in [*named, *folder.iterdir()] if file.is_file() and (file in named or LICENCE.match(file.name))}
    found |= {file.resolve() for sub in ("LICENSES", "licenses") for file in sorted((folder / sub).glob("*")) if file.is_file()}
    return sorted(found)
