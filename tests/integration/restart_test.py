"""What a daemon leaves in its TPM when it ends, and what the next one finds: nothing that stands in anybody's way."""

import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import harness
from harness import Client, code_of, command


class Swtpm:
    """A software TPM in a process of its own, that outlives the daemons that use it."""

    def __init__(self):
        harness.need("swtpm")
        self._temporary = tempfile.TemporaryDirectory(prefix="tpmspace-swtpm-")
        directory = self._temporary.name
        self.path = f"{directory}/data"
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}", "--server", f"type=unixio,path={self.path}",
             "--ctrl", f"type=unixio,path={self.path}.ctrl", "--flags", "not-need-init"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + harness.TIMEOUT
        while not (pathlib.Path(self.path).exists() and pathlib.Path(f"{self.path}.ctrl").exists()):
            assert time.monotonic() < end and self.process.poll() is None, "swtpm does not start"
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        self.process.wait(harness.TIMEOUT)
        self._temporary.cleanup()

    def handles(self, first):
        """What the TPM itself lists, without any daemon."""
        end = time.monotonic() + harness.TIMEOUT
        while True:
            try:
                client = Client(self.path)
                break
            except OSError:
                assert time.monotonic() < end, "swtpm takes nobody"
                time.sleep(0.01)
        with client:
            answer = client.command(command(harness.GET_CAPABILITY, struct.pack(">III", 1, first, 64)))
            assert code_of(answer) == 0, hex(code_of(answer))
            count = struct.unpack(">I", answer[15:19])[0]
            return list(struct.unpack(f">{count}I", answer[19 : 19 + 4 * count]))


def fill(daemon):
    """A client that holds five keys and all sessions that can be had."""
    client = daemon.connect()
    for _ in range(5):
        client.run(harness.create_primary())
    for _ in range(harness.SESSIONS_TO_GIVE):
        client.run(harness.start_auth_session())
    return client


class RestartTest(unittest.TestCase):
    def setUp(self):
        self.tpm = self.enterContext(Swtpm())
        self.spec = f"swtpm:path={self.tpm.path}"

    def test_terminated_it_leaves_the_tpm_empty(self):
        with harness.Daemon(self.spec) as daemon:
            client = fill(daemon)
            self.assertEqual(daemon.stop(), 0)
            client.close()
        for first in (0x80000000, 0x02000000, 0x03000000):
            self.assertEqual(self.tpm.handles(first), [])

    def test_killed_its_successor_starts_sessions_again(self):
        daemon = harness.Daemon(self.spec)
        client = fill(daemon)
        daemon.signal(signal.SIGKILL)
        self.assertEqual(daemon.wait(), -signal.SIGKILL)
        client.close()
        self.assertTrue(self.tpm.handles(0x03000000), "sessions were left behind")
        with harness.Daemon(self.spec, socket_path=daemon.path) as successor:  # the stale socket is replaced
            with successor.connect() as newcomer:
                for _ in range(harness.SESSIONS_TO_GIVE):
                    newcomer.run(harness.start_auth_session())


class SharedDevice(unittest.TestCase):
    """On a device others have sessions too; a tpmspaced that was killed leaves its own."""

    def test_after_a_kill_the_next_daemon_flushes_only_our_sessions(self):
        with harness.HeldTpm() as tpm, tempfile.TemporaryDirectory() as directory:
            tpm.direct(command(0x144, struct.pack(">H", 0)))  # Startup(CLEAR)
            foreign = tpm.direct(harness.start_auth_session())
            self.assertEqual(code_of(foreign), 0)
            ledger = f'ledger = "{directory}/sessions"\n'
            killed = harness.Daemon(tpm.spec, config=ledger, pass_fds=tpm.pass_fds)
            client = killed.connect()
            ours = [harness.handle_of(client.run(harness.start_auth_session())) for _ in range(5)]
            client.run(command(harness.CONTEXT_SAVE, struct.pack(">I", ours[0])))
            killed.process.kill()
            killed.process.wait(harness.TIMEOUT)
            client.close()
            killed.clean_up()
            with harness.Daemon(tpm.spec, config=ledger, pass_fds=tpm.pass_fds) as daemon:
                daemon.wait_for_log("left in the TPM and are now flushed: 5")
                daemon.wait_for_log("sessions of other programs in the TPM")
                with daemon.connect() as client:
                    client.run(harness.start_auth_session())
            left = tpm.handles(0x02000000) + tpm.handles(0x03000000)
            self.assertEqual(left, [harness.handle_of(foreign)])


if __name__ == "__main__":
    harness.main()
