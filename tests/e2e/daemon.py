"""Foreign servers, in the foreground and as children of the test."""

import socket
import subprocess
import time


class Daemon:
    """A program that listens on a port that was free a moment ago: if somebody else takes it, it is tried again."""

    def __init__(self):
        for _ in range(5):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self.port = free.getsockname()[1]
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL)
            if self._listens():
                return
            self.stop()
        raise AssertionError(f"{type(self).__name__} does not start")

    def command(self):
        """Writes what it needs to listen on `port`; the command that starts it."""
        raise NotImplementedError

    def _listens(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.02)
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
