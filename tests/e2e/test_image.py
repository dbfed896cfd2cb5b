"""The image, without an engine to build and run it.

The Dockerfile is read by a parser, and what its stages do is done by hand: the context holds what
.dockerignore lets through and is enough to build from; and the last stage's root, which is empty but
for the binary, the certificates and the configuration, is really entered, read-only, as uid 65532.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import threading
import urllib.request

import pytest
from conftest import START_DEADLINE, cannot, program
from dockerfile_parse import DockerfileParser
from standins import Partner

TOP = pathlib.Path(__file__).parents[2]
UID = 65532
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")


def instructions(stage):
    """Of the stage at this place, in order: name and value."""
    stages = []
    for step in DockerfileParser(path=str(TOP / "Dockerfile"), cache_content=True).structure:
        if step["instruction"] == "FROM":
            stages.append([])
        elif stages and step["instruction"] != "COMMENT":
            stages[-1].append((step["instruction"], step["value"]))
    return stages[stage]


def values(instruction, stage=-1):
    return [value for name, value in instructions(stage) if name == instruction]


def test_the_image_says_what_an_engine_needs_to_know():
    assert values("USER") == [f"{UID}:{UID}"]
    assert values("STOPSIGNAL") == ["SIGTERM"]
    assert sorted(" ".join(values("EXPOSE")).split()) == ["8080", "9901"]
    entry, command = json.loads(values("ENTRYPOINT")[0]), json.loads(values("CMD")[0])
    (health,) = values("HEALTHCHECK")
    asked = json.loads(health[health.index("CMD") + 3 :])
    assert (entry, command, asked) == (["/usr/local/bin/tokenferry"], ["run"], [*entry, "healthcheck"])
    assert values("RUN") == [], "there is no shell in the last stage"
    assert not any("http" in value.lower() for value in values("ADD")), "nothing is fetched but by cargo"
    (labels,) = values("LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels


def context(place):
    """What the engine is sent: .dockerignore names what is not left out."""
    listed = [line.strip() for line in (TOP / ".dockerignore").read_text().splitlines()]
    assert listed[listed.index("*")] == "*" and not any(line.startswith("#!") for line in listed)
    for name in (line[1:] for line in listed if line.startswith("!")):
        source, target = TOP / name, place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target)


def test_the_context_is_enough_to_build_from_and_holds_no_secret(tmp_path):
    context(tmp_path)
    assert not any((tmp_path / name).exists() for name in (".git", "target", ".venv", "deploy/compose"))
    told = subprocess.run(
        ["cargo", "metadata", "--locked", "--offline", "--format-version", "1", "--no-deps"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    embedded = re.compile(r'include_(?:str|bytes)!\("([^"]+)"\)')
    for file in (tmp_path / "src").rglob("*.rs"):
        for name in embedded.findall(file.read_text()):
            assert (file.parent / name).exists(), f"{file} embeds {name}, which .dockerignore leaves out"
    # What else the build stage runs, and copies.
    (run,) = values("RUN", 0)
    for script in re.findall(r"[\w/]+\.(?:py|sh)", run):
        assert (tmp_path / script).is_file()
    profiles = {path.name for path in (TOP / "benches/pgo").glob("*.profdata")}
    assert profiles == {path.name for path in (tmp_path / "benches/pgo").glob("*.profdata")}


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    """The binary linked as in the image: without a library of the system."""
    if os.environ.get("TOKENFERRY_STATIC_BIN"):
        return os.environ["TOKENFERRY_STATIC_BIN"]
    cannot("TOKENFERRY_STATIC_BIN names no statically linked program: run `make e2e`")


def test_the_binary_asks_for_no_library(static):
    told = subprocess.run(["readelf", "-ld", static], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in told and "NEEDED" not in told


class Container:
    """The binary in a root of its own, as an engine would run it with --read-only."""

    def __init__(self, root, binary, config, files=()):
        self.root = root
        for path, content in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        (root / "etc/ssl/certs").mkdir(parents=True, exist_ok=True)
        (root / "usr/local/bin").mkdir(parents=True)
        (root / "etc/tokenferry").mkdir(parents=True)
        shutil.copy(AUTHORITIES, root / "etc/ssl/certs/")
        shutil.copy(binary, root / "usr/local/bin/tokenferry")
        (root / "etc/tokenferry/proxy.yaml").write_text(config)
        for path in [root, *root.rglob("*")]:
            path.chmod(0o755 if path.is_dir() or path.name == "tokenferry" else 0o444)

    def command(self, *arguments):
        # A mount namespace of its own, so that the root can be read-only and is gone with the process.
        script = (
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec chroot '
            f'--userspec={UID}:{UID} --groups= "$0" /usr/local/bin/tokenferry "$@"'
        )
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(self.root), *arguments]

    def run(self, *arguments):
        variables = {"TOKENFERRY_CONFIG": "/etc/tokenferry/proxy.yaml", "PATH": os.environ["PATH"]}
        return subprocess.Popen(
            self.command(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=variables,
        )  # fmt: skip


def may_enter_roots():
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def answer_names(server, names):
    """A name server: A records of 127.0.0.1 for these, nothing for others."""
    while True:
        try:
            query, client = server.recvfrom(512)
        except OSError:
            return
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        found = ".".join(labels) in names and question[-4:-2] == b"\x00\x01"
        answers = b"\x00\x01" if found else b"\x00\x00"
        record = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x7f\x00\x00\x01" if found else b""
        server.sendto(query[:2] + b"\x81\x80\x00\x01" + answers + b"\x00\x00\x00\x00" + question + record, client)


@pytest.fixture
def name_server():
    if not may_enter_roots():
        cannot("entering another root, and a port below 1024, need root")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.83.0.53", 53))
        threading.Thread(target=answer_names, args=(server, {"partner.test"}), daemon=True).start()
        yield "127.83.0.53"


def test_it_serves_from_an_empty_read_only_root_as_nobody(static, tmp_path, name_server):
    root = tmp_path / "root"
    root.mkdir()
    with reserved_port() as admin_port, Partner() as partner:
        # By name: the C library in the binary must find hosts by itself, in files and by DNS.
        credential = partner.credential().replace("127.0.0.1", "partner.test")
        config = f"""
listeners:
  - address: 127.0.0.1:0
admin:
  address: 127.0.0.1:{admin_port}
credentials:{credential}
routes:
  - name: by-dns
    match: {{path: /dns}}
    upstream: {partner.url().replace("127.0.0.1", "partner.test")}
    credential: partner
  - name: by-file
    match: {{path: /file}}
    upstream: {partner.url().replace("127.0.0.1", "partner.hosts")}
    credential: partner
  # For this the certificates of the system are read, or it would not start.
  - name: over-tls
    match: {{path: /tls}}
    upstream: https://partner.test
    credential: none
"""
        files = [
            ("etc/resolv.conf", f"nameserver {name_server}\n"),
            ("etc/hosts", "127.0.0.1 localhost partner.hosts\n"),
            ("etc/nsswitch.conf", "hosts: files dns\n"),
        ]
        container = Container(root, static, config, files)
        process = container.run("run")
        try:
            url = f"http://{next_line(process).removeprefix('listening on ')}"
            for path in ("/dns/items", "/file/items"):
                with urllib.request.urlopen(url + path, timeout=20) as answer:
                    assert json.load(answer)["token"] == "partner-token-1", path
            status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            assert re.search(r"^Uid:\s+65532\s+65532", status, re.MULTILINE)
            mounts = pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text()
            (options,) = (line.split()[5] for line in mounts.splitlines() if line.split()[4] == "/")
            assert "ro" in options.split(",")
            # As the engine asks.
            health = container.run("healthcheck")
            told = health.communicate(timeout=40)
            assert health.returncode == 0, told
        finally:
            process.terminate()
            _, said = process.communicate(timeout=40)
        assert process.returncode == 0 and "panicked" not in said, said
        health = container.run("healthcheck")
        health.communicate(timeout=40)
        assert health.returncode == 1, "nobody is there to be well"


@contextlib.contextmanager
def reserved_port():
    """For the admin port, which another process is to find: 0 would not do. Nobody else is given it: it stays bound
    without listening, and the proxy, which reuses addresses as this socket does, may listen there all the same.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def next_line(process):
    lines = []
    reader = threading.Thread(target=lambda: lines.append(process.stdout.readline()), daemon=True)
    reader.start()
    reader.join(START_DEADLINE)
    if not lines or not lines[0]:
        process.kill()
        raise AssertionError(f"it says nothing\n{process.communicate()[1]}")
    return lines[0].strip()
