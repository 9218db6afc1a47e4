#!/usr/bin/python3
"""A broker for one test, on a free port of 127.0.0.1, ended with the test.

    PULSE_BIN=build/pulse tests/interop/broker.py COMMAND ARGUMENT...

runs a command with PULSE_PORT set, and with PULSE_CA where PULSE_TRANSPORT is tls or wss (or ws; it is tcp
where it isn't set): the port is then one for that. It ends with 0 when the command did, and the broker was alive until
then, and took SIGTERM as it should. PULSE_WORKERS is the number of the broker's workers. Python tests
import this file instead and use Broker() in a `with`.
"""

import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

from certificates import Certificates

START_SECONDS = 20
STOP_SECONDS = 20
LOG_LINES_SHOWN = 15
REPORT_LINES_SHOWN = 150
PR_SET_PDEATHSIG = 1


def free_port():
    """A port that was free a moment ago, and that the system doesn't give to outgoing connections."""
    while True:
        port = random.randrange(20000, 32768)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def end_with_parent():
    """In a child: it is ended when the test is, however that happens."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Broker:
    """Use it in a `with`: the end of the block fails when the broker did not end well. Clients come by
    `port`, over `transport`; `yaml` is its configuration file, and `certificates` serve TLS."""

    def __init__(self, *flags, transport="tcp", yaml="", certificates=None):
        self.port = self.plain_port = free_port()
        self.transport = transport
        self.certificates = certificates
        if transport != "tcp":
            self.port = free_port()
            yaml = f"listeners:\n{self.listener()}{yaml}"
        self.config = tempfile.NamedTemporaryFile(mode="w", suffix=".yaml")
        self.config.write(yaml)
        self.config.flush()
        self.flags = (*flags, "--config", self.config.name) if yaml else flags
        self.process = None
        self.log = tempfile.TemporaryFile(mode="w+")

    def listener(self):
        protocol = "ws" if self.transport in ("ws", "wss") else "mqtt"
        if self.transport == "ws":
            return f"- bind: 127.0.0.1:{self.port}\n  protocol: ws\n"
        self.certificates = self.certificates or Certificates()
        return self.certificates.listener(self.port, protocol)

    def start(self):
        workers = os.environ.get("PULSE_WORKERS", "1")
        command = [os.environ["PULSE_BIN"], "--server-bind", f"127.0.0.1:{self.plain_port}",
                   "--server-worker-threads", workers, *self.flags]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log, preexec_fn=end_with_parent)
        deadline = time.monotonic() + START_SECONDS
        while not self.accepts():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the broker does not accept connections\n{self.last_lines()}")
            time.sleep(0.005)

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self):
        """Asks it to end. Anything but an end with status 0 in time is a failure."""
        died = self.process.poll() is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        if died or status != 0:
            when = "during the test" if died else "when asked to stop"
            raise AssertionError(f"the broker ended with status {status} {when}\n{self.last_lines()}")

    def last_lines(self):
        """The end of its log, or all of it from where a sanitizer begins to speak."""
        self.log.seek(0)
        lines = self.log.read().splitlines()
        report = [number for number, line in enumerate(lines)
                  if "Sanitizer: " in line or "runtime error: " in line]
        start = report[0] if report else max(len(lines) - LOG_LINES_SHOWN, 0)
        return "\n".join(["--- the broker's log ---", *lines[start:start + REPORT_LINES_SHOWN], "---"])

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            print(self.last_lines(), file=sys.stderr)
        self.stop()
        self.log.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with Broker(transport=os.environ.get("PULSE_TRANSPORT", "tcp")) as broker:
        program = pathlib.Path(sys.argv[1]).name
        environment = {**os.environ, "PULSE_PORT": str(broker.port)}
        if broker.certificates is not None:
            environment["PULSE_CA"] = broker.certificates.path("ca.pem")
        status = subprocess.call(sys.argv[1:], env=environment, preexec_fn=end_with_parent)
        if status != 0:
            print(f"{program} ended with status {status}\n{broker.last_lines()}", file=sys.stderr)
    sys.exit(1 if status != 0 else 0)


if __name__ == "__main__":
    main()
