"""A reload while the name service hangs: whoever asked for it waits, and nobody else."""

import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import harness
from harness import get_random

RELOAD = 8
CONFIG = '[[rule]]\nuser = "daemon"\nprofile = "safe"\n'


def in_mounts_of(process, *line):
    subprocess.run(["nsenter", "--mount", "--target", str(process.pid), *line], check=True, timeout=harness.TIMEOUT)


class NameServiceThatHangs(unittest.TestCase):
    """/etc/passwd is a pipe that nobody writes into: who looks somebody up waits when it is opened."""

    def setUp(self):
        harness.need_root()
        for tool in ("unshare", "nsenter"):
            harness.need(tool)
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("no mount namespaces here")
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="tpmspace-names-"))
        self.pipe = pathlib.Path(directory) / "passwd"
        os.mkfifo(self.pipe, 0o644)
        self.daemon = self.enterContext(harness.Daemon("embedded", config=CONFIG, prefix=("unshare", "--mount")))
        in_mounts_of(self.daemon.process, "mount", "--bind", str(self.pipe), "/etc/passwd")

    def threads(self):
        return set(os.listdir(f"/proc/{self.daemon.pid}/task"))

    def ask_for_reload(self):
        before = self.threads()
        asking = self.enterContext(self.daemon.connect())
        asking.hello()
        asking.send(struct.pack(">HII", harness.CONTROL_TAG, 10, RELOAD))
        self.daemon.wait_until(lambda: self.threads() - before, "it is read again")
        return asking

    def test_other_clients_are_served_meanwhile(self):
        before = self.enterContext(self.daemon.connect())
        asking = self.ask_for_reload()
        for _ in range(20):
            before.run(get_random())
            with self.daemon.connect() as newcomer:
                newcomer.hello()
                newcomer.run(get_random())
                newcomer.status()
        self.assertFalse(asking.ready())
        # A pipe is no file for the name service, so it knows no user; the next lookup finds the file.
        in_mounts_of(self.daemon.process, "umount", "--lazy", "/etc/passwd")
        with open(self.pipe, "wb"):
            rc, body = asking.control_reply(RELOAD)
        self.assertEqual(rc, 0)
        self.assertIn(b"nothing was changed", body)
        rc, body = asking.control(RELOAD)
        self.assertEqual(rc, 0)
        self.assertIn(b"the configuration was read again", body)

    def test_it_can_be_stopped_meanwhile(self):
        asking = self.ask_for_reload()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertTrue(asking.is_closed())


if __name__ == "__main__":
    harness.main()
