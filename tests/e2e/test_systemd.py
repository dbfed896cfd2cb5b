"""The systemd units: read by systemd itself, as hardened as they claim, and what the service tells a watchdog."""

import ctypes
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import pytest
from conftest import cannot, program

UNITS = pathlib.Path(__file__).parents[2] / "deploy" / "systemd"
HIGHEST_EXPOSURE = 2.0


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def root(tmp_path):
    """A root file system with the units, and something to execute where they expect the binary."""
    system = tmp_path / "etc/systemd/system"
    system.mkdir(parents=True)
    for unit in UNITS.iterdir():
        shutil.copy(unit, system)
    binary = tmp_path / "usr/bin/tokenferry"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    return tmp_path


def verify(root):
    names = [unit.name for unit in UNITS.iterdir()]
    return analyze("verify", "--man=no", "--recursive-errors=no", f"--root={root}", *names)


def test_systemd_has_nothing_to_say_against_the_units(root):
    assert verify(root) == (0, "")


def test_and_would_say_so(root):
    unit = root / "etc/systemd/system/tokenferry.service"
    unit.write_text(unit.read_text().replace("[Service]", "[Service]\nProtectSistem=strict"))
    assert "ProtectSistem" in verify(root)[1]


def test_the_service_is_exposed_to_little():
    status, told = analyze("security", "--offline=true", f"--threshold={HIGHEST_EXPOSURE * 10:.0f}", UNITS / "tokenferry.service")
    assert status == 0, told
    assert float(re.search(r"Overall exposure level .*: ([0-9.]+)", told)[1]) < HIGHEST_EXPOSURE


def unit_values(name):
    text = (UNITS / "tokenferry.service").read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_an_invalid_configuration_is_not_started_again_and_again(tmp_path):
    (tmp_path / "proxy.yaml").write_text("rutes: []\n")
    invalid = subprocess.run([program(), "run", "-c", tmp_path / "proxy.yaml"], capture_output=True, timeout=60)
    usage = subprocess.run([program(), "run", "--no-such-option"], capture_output=True, timeout=60)
    (preventing,) = unit_values("RestartPreventExitStatus")
    assert sorted(preventing.split()) == sorted([str(invalid.returncode), str(usage.returncode)])


def test_the_drain_fits_into_what_systemd_allows():
    (allowed,) = unit_values("TimeoutStopSec")
    assert int(allowed.removesuffix("s")) > 30 + 10, "shutdown_timeout, and what comes behind the drain"


# A worker that hangs. Nothing in the program makes one hang, so its thread is stopped from outside:
# ptrace stops one thread and lets the others run.

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


def ptrace(request, thread):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def worker_threads(process):
    """By name."""
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    return {(task / "comm").read_text().strip(): int(task.name) for task in tasks}


def pings(manager, seconds):
    """How many times the watchdog is told that all is well."""
    heard, deadline = 0, time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([manager], [], [], left)[0]:
            heard += manager.recv(4096).decode().count("WATCHDOG=1")
    return heard


def test_the_watchdog_hears_nothing_while_one_worker_hangs(tokenferry, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        config = "listeners: [{address: 127.0.0.1:0}]\nworkers: 2\nroutes: [{name: a, respond: 204}]\n"
        proxy = tokenferry(config, environment)
        assert pings(manager, 4) >= 2
        worker = worker_threads(proxy.process.pid)["worker-1"]
        try:
            ptrace(PTRACE_SEIZE, worker)
        except OSError as error:
            cannot(f"no thread can be stopped here: {error}")
        ptrace(PTRACE_INTERRUPT, worker)
        assert os.waitpid(worker, 0x40000000)[0] == worker  # __WALL: a thread is no child of ours
        # What was found well just before is told yet.
        pings(manager, 2.5)
        assert pings(manager, 5) == 0
        assert "hang" in proxy.said()
        ptrace(PTRACE_DETACH, worker)
        assert pings(manager, 5) >= 2, "well again"


def test_a_whole_process_that_hangs_tells_nothing(tokenferry, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000000"}
        proxy = tokenferry("listeners: [{address: 127.0.0.1:0}]\nroutes: [{name: a, respond: 204}]\n", environment)
        assert pings(manager, 3) >= 1
        proxy.process.send_signal(signal.SIGSTOP)
        pings(manager, 0.5)
        assert pings(manager, 3) == 0
        proxy.process.send_signal(signal.SIGCONT)
