"""What goes with the binary: the licences of everything in it, and its bill of materials."""

import json
import pathlib
import subprocess
import sys

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

RELEASE = pathlib.Path(__file__).parents[2] / "deploy" / "release"


def script(name):
    done = subprocess.run([sys.executable, RELEASE / name], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bill():
    return script("sbom.py")


def test_the_bill_of_materials_is_cyclonedx(bill):
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill) is None
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(bill.replace('"type": "library"', '"type": "book"')) is not None


def test_the_bill_holds_what_is_compiled_in_and_nothing_else(bill):
    told = json.loads(bill)
    names = {component["name"] for component in told["components"]}
    assert {"hyper", "rustls", "aws-lc-sys", "tokio", "serde"} <= names
    assert not names & {"criterion", "proptest", "rcgen", "tempfile", "tokio-tungstenite", "cc", "tokenferry"}
    assert all(len(component["hashes"][0]["content"]) == 64 for component in told["components"])
    references = {component["bom-ref"] for component in [*told["components"], told["metadata"]["component"]]}
    assert {dependency["ref"] for dependency in told["dependencies"]} == references


def test_the_bill_is_the_same_each_time(bill):
    assert script("sbom.py") == bill


def test_every_crate_of_the_bill_has_its_licence_text(bill):
    texts = script("licences.py")
    for component in json.loads(bill)["components"]:
        assert f"{component['name']} {component['version']} (" in texts.replace("\n", " "), component["name"]
    for term in ("Apache License", "Permission is hereby granted, free of charge", "UNICODE LICENSE V3", "Boost Software License"):
        assert term in texts


def test_a_licence_text_that_is_missing_is_the_end_of_a_release(tmp_path):
    """A crate without any text, under terms that are not the same for everybody."""
    program = f"""
import sys
sys.path.insert(0, {str(RELEASE)!r})
import crates, licences
crate = dict(name="bare", version="1.0.0", license="MIT", license_file=None, repository=None,
             manifest_path={str(tmp_path / "Cargo.toml")!r})
crates.compiled_in = lambda: [crate]
sys.exit(licences.main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "bare 1.0.0 (MIT)" in done.stderr and done.stdout == ""
