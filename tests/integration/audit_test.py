"""Audit records, end to end: orders, sessions that are taken, choices of a TPM, what is held back, log rotation."""

import contextlib
import json
import os
import pathlib
import signal
import struct
import subprocess
import tempfile
import unittest

import harness
from users import ALICE

ORDER, USE_CHIP = 6, 12
DISABLED = 0x120
LINES_PER_PERIOD = 5


class AuditTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-audit-")
        self.addCleanup(temporary.cleanup)
        self.file = pathlib.Path(temporary.name, "audit.jsonl")

    @contextlib.contextmanager
    def daemon(self, more=""):
        harness.need_root()
        with harness.Daemon("embedded", config=f'audit = "{self.file}"\n{more}') as daemon:
            os.chmod(daemon.directory, 0o755)
            yield daemon

    def records(self, event=None, file=None):
        lines = (file or self.file).read_text().splitlines()
        all_there = [json.loads(line) for line in lines]
        return [record for record in all_there if event in (None, record["event"])]

    def wait_for(self, daemon, event, count=1):
        daemon.wait_until(lambda: len(self.records(event)) >= count, f"{count} of {event}")
        return self.records(event)

    def tool(self, daemon, *words):
        line = [harness.program("tpmspace"), *words, "--socket", daemon.path]
        return subprocess.run(line, capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)

    def test_an_order_says_which_and_on_what(self):
        with self.daemon() as daemon, daemon.connect() as client:
            handles = [harness.handle_of(client.run(harness.start_auth_session())) for _ in range(3)]
            named = [f"0x{handle:08x}" for handle in handles]
            for words in (("reserve", named[2]), ("reserve", "--release", named[2]), ("flush", *named[:2]),
                          ("flush", "--owner", "root"), ("flush", "--abandoned"), ("reserve", named[0])):
                self.tool(daemon, *words)
            orders = self.wait_for(daemon, "order", 6)
            self.assertEqual([order["reason"] for order in orders[:5]],
                             [f"reservation of {named[2]}: it concerned 1 session",
                              f"release of {named[2]}: it concerned 1 session",
                              f"flush of {named[0]}, {named[1]}: it concerned 2 sessions",
                              "flush of the sessions of uid 0: it concerned 1 session",
                              "flush of the abandoned sessions: there was no such session"])
            self.assertTrue(orders[5]["reason"].startswith(f"reservation of {named[0]}: it could not be done: "))
            self.assertEqual(orders[5]["handle"], named[0])
            self.assertIn("code", orders[5])
            self.assertEqual({order["uid"] for order in orders}, {0})
            taken = self.wait_for(daemon, "reclaimed", 3)
            self.assertEqual({record["reason"] for record in taken}, {"an administrator said so"})
            self.assertEqual({record["handle"] for record in taken}, set(named))

    def test_who_may_not_order_is_recorded(self):
        with self.daemon() as daemon:
            with harness.effective_user(ALICE), daemon.connect() as client:
                client.hello()
                self.assertEqual(client.control(ORDER, b"\x02")[0], harness.MANAGER | DISABLED)
            (refused,) = self.wait_for(daemon, "refused")
            self.assertEqual((refused["uid"], refused["code"]), (ALICE, f"0x{harness.MANAGER | DISABLED:08x}"))
            self.assertEqual(refused["reason"], "only an administrator orders a flush of the abandoned sessions")

    def test_a_session_that_is_taken_says_why_and_for_whom(self):
        with self.daemon('[profile.default]\nlease = "1ms"\n') as daemon, daemon.connect() as hoarder:
            for _ in range(harness.SESSIONS_TO_GIVE):
                hoarder.run(harness.start_auth_session())
            with harness.effective_user(ALICE), daemon.connect() as client:
                client.run(harness.start_auth_session())
            taken = self.wait_for(daemon, "reclaimed")[0]
            self.assertEqual((taken["uid"], taken["reason"]),
                             (0, f"it was idle for longer than its lease, and uid {ALICE} waits for one"))

    def test_what_was_left_behind_and_goes_is_recorded(self):
        with self.daemon("[limits]\nclient_saved_sessions = 1\n") as daemon:
            with daemon.connect() as client:
                handles = [harness.handle_of(client.run(harness.start_auth_session())) for _ in range(2)]
                for handle in handles:
                    client.run(harness.command(harness.CONTEXT_SAVE, struct.pack(">I", handle)))
            (gone,) = self.wait_for(daemon, "reclaimed")
            self.assertEqual((gone["uid"], gone["handle"]), (0, f"0x{handles[0]:08x}"))
            self.assertEqual(gone["reason"],
                             "the connection that had it is gone, and its owner left more sessions behind than he may")

    def test_a_choice_of_a_tpm_is_recorded(self):
        with harness.Swtpm() as swtpm:
            chip = f'[[chip]]\nname = "other"\ntpm = "{swtpm.spec}"\n'
            with self.daemon(chip) as daemon:
                for uid, name in ((0, "other"), (0, "main"), (0, "nowhere\n"), (ALICE, "other")):
                    with harness.effective_user(uid), daemon.connect() as client:
                        client.hello()
                        client.control(USE_CHIP, struct.pack(">H", len(name)) + name.encode())
                (refused,) = self.wait_for(daemon, "refused")
                granted, none = self.records("chip")
                self.assertEqual((granted["uid"], granted["chip"], granted["reason"]),
                                 (0, "other", 'from now on it uses the chip "other"'))
                self.assertEqual((none["chip"], none["reason"]), ("main", 'there is no chip "nowhere\\n"'))
                self.assertEqual((refused["uid"], refused["reason"]),
                                 (ALICE, 'only an administrator chooses a chip, and it asked for "other"'))

    def flood(self, daemon, count):
        with harness.effective_user(ALICE), daemon.connect() as client:
            for _ in range(count):
                client.command(harness.self_test())

    def test_what_is_held_back_is_said_though_nothing_follows(self):
        with self.daemon() as daemon:
            self.flood(daemon, LINES_PER_PERIOD + 4)
            (held_back,) = self.wait_for(daemon, "held_back")
            self.assertEqual((held_back["uid"], held_back["held_back"]), (ALICE, 4))
            self.assertEqual(len(self.records("refused")), LINES_PER_PERIOD)

    def test_what_is_held_back_is_said_at_the_end(self):
        with self.daemon() as daemon:
            self.flood(daemon, LINES_PER_PERIOD + 4)
        said = len(self.records("refused")) + sum(record.get("held_back", 0) for record in self.records())
        self.assertEqual(said, LINES_PER_PERIOD + 4)

    def test_after_a_rotation_and_sighup_the_next_record_is_in_a_new_file(self):
        old = self.file.with_suffix(".1")
        with self.daemon() as daemon:
            self.flood(daemon, 1)
            self.wait_for(daemon, "refused")
            self.file.rename(old)
            daemon.signal(signal.SIGHUP)
            daemon.wait_until(self.file.exists, "the file is there again")
            self.wait_for(daemon, "policy")
            self.assertEqual(self.file.stat().st_mode & 0o777, 0o600)
            self.flood(daemon, 1)
            self.wait_for(daemon, "refused")
            self.assertEqual([record["event"] for record in self.records(file=old)], ["refused"])
            # A file that cannot be had: the one that is there goes on.
            new = self.file.with_suffix(".2")
            self.file.rename(new)
            self.file.mkdir()
            daemon.signal(signal.SIGHUP)
            daemon.wait_for_log("cannot be opened anew, so the old one goes on: Is a directory")
            daemon.wait_until(lambda: len(self.records("policy", new)) == 2, "the second reading")


if __name__ == "__main__":
    harness.main()
