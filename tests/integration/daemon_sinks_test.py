"""Log, audit records and what the service manager is told go where nobody takes them: the daemon waits for nobody, and
forgets nothing for as long as it can keep it."""

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import tempfile
import unittest

import harness
from harness import get_random

RELOAD = 8


def fill(descriptor):
    """Until nothing more goes in."""
    os.set_blocking(descriptor, False)
    for size in (65536, 1):
        try:
            while True:
                os.write(descriptor, b"\n" * size)
        except BlockingIOError:
            pass
    os.set_blocking(descriptor, True)


def drain(descriptor):
    """What is in there."""
    os.set_blocking(descriptor, False)
    out = b""
    try:
        while data := os.read(descriptor, 65536):
            out += data
    except BlockingIOError:
        pass
    return out.strip().decode()


def read_until(daemon, reader, text, what):
    """What comes out of the pipe, up to that text and perhaps a little more."""
    said = ""

    def is_said():
        nonlocal said
        said += drain(reader)
        return text in said

    daemon.wait_until(is_said, what)
    return said


class Sinks(unittest.TestCase):
    def serve(self, daemon, count):
        """Everybody is served, and each says something for the log; a reload is something for the audit."""
        for _ in range(count):
            with daemon.connect() as client:
                client.run(get_random())
        with daemon.connect() as client:
            client.hello()
            rc, _ = client.control(RELOAD)
            self.assertEqual(rc, 0)
            return client.status()

    def test_an_unread_log_keeps_no_client_waiting(self):
        reader, writer = os.pipe()
        fill(writer)
        with harness.Daemon("embedded", preexec=lambda: os.dup2(writer, 2)) as daemon:
            os.close(writer)
            self.assertEqual(self.serve(daemon, 50)["log_lost"], 0)
            said = read_until(daemon, reader, "the configuration was read again", "the log catches up")
            self.assertIn("serving embedded", said)
            self.assertLess(said.index("client 1:"), said.index("client 50:"))
        os.close(reader)

    def test_lost_lines_are_counted_while_clients_go_on(self):
        """A stopped journald, for long: each reload that fails says a long line."""
        reader, writer = os.pipe()
        fill(writer)
        with harness.Daemon("embedded", config="", preexec=lambda: os.dup2(writer, 2)) as daemon:
            os.close(writer)
            (daemon.directory / "config.toml").write_text(f"{'x' * 1900} = 1\n")
            with daemon.connect() as client, daemon.connect() as other:
                client.hello()
                lost = 0
                while lost < 50:
                    self.assertEqual(client.control(RELOAD)[0], 0)
                    other.run(get_random())
                    lost = client.status()["log_lost"]
            said = read_until(daemon, reader, "log lines dropped here: output blocked", "the log says what is missing")
            self.assertGreater(said.count("nothing was changed: "), 100)
        os.close(reader)

    def test_a_log_that_is_never_read_does_not_keep_it_from_ending(self):
        reader, writer = os.pipe()
        fill(writer)
        with harness.Daemon("embedded", preexec=lambda: os.dup2(writer, 2)) as daemon:
            os.close(writer)
            self.serve(daemon, 5)
        os.close(reader)

    @contextlib.contextmanager
    def stopped_manager(self):
        """A service manager's socket that takes nothing more."""
        with tempfile.TemporaryDirectory(prefix="tpmspace-manager-") as directory, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            manager.bind(f"{directory}/notify")
            manager.setblocking(False)
            other.setblocking(False)
            other.connect(f"{directory}/notify")
            with contextlib.suppress(BlockingIOError):
                while True:
                    other.send(b"")
            yield manager, {"NOTIFY_SOCKET": f"{directory}/notify"}

    def test_a_stopped_service_manager_keeps_no_client_waiting(self):
        with self.stopped_manager() as (manager, environment), \
                harness.Daemon("embedded", wait=False, environment=environment) as daemon:
            daemon.wait_until(lambda: os.path.exists(daemon.path), "it serves")
            self.serve(daemon, 5)
            told = ""

            def all_told():
                nonlocal told
                with contextlib.suppress(BlockingIOError):
                    while True:
                        told += manager.recv(4096).decode() + "\n"
                return "STATUS=Serving" in told

            daemon.wait_until(all_told, "the manager is told when it goes on")
            self.assertEqual([line.split(" ")[0] for line in told.split("\n") if line],
                             ["STATUS=Starting", "READY=1", "STATUS=Serving"])

    def test_a_service_manager_that_is_stopped_does_not_keep_it_from_ending(self):
        with self.stopped_manager() as (_, environment), \
                harness.Daemon("embedded", wait=False, environment=environment) as daemon:
            daemon.wait_until(lambda: os.path.exists(daemon.path), "it serves")
            self.assertEqual(daemon.stop(), 0)

    def test_the_last_words_are_said(self):
        with harness.Daemon("embedded") as daemon:
            self.serve(daemon, 5)
            self.assertEqual(daemon.stop(), 0)
            self.assertTrue(daemon.log().strip().endswith("tpmspaced: info: stopped"), daemon.log()[-300:])

    def test_an_unread_audit_pipe_keeps_no_client_waiting(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory:
            path = pathlib.Path(directory) / "audit"
            os.mkfifo(path, 0o600)
            with harness.Daemon("embedded", config=f'audit = "{path}"\n') as daemon:
                self.serve(daemon, 5)
                pipe = os.open(path, os.O_RDWR)
                before = ""

                def first_said():
                    nonlocal before
                    before += drain(pipe)
                    return before.endswith("}")

                daemon.wait_until(first_said, "the first record is there")
                self.assertEqual(json.loads(before)["event"], "policy")
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
                fill(pipe)
                for _ in range(5):
                    status = self.serve(daemon, 5)
                self.assertEqual(status["audit_lost"], 0)
                after = ""

                def all_said():
                    nonlocal after
                    after += drain(pipe)
                    return after.count('"event": "policy"') == 5

                daemon.wait_until(all_said, "the audit catches up")
                os.close(pipe)


if __name__ == "__main__":
    harness.main()
