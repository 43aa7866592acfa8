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

SESSIONS, ORDER, NARROW, LISTENERS, USE_CHIP, SHARE, CLIENTS = 5, 6, 7, 9, 12, 13, 15
DISABLED = 0x120
LINES_PER_PERIOD = 5


class AuditTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-audit-")
        self.addCleanup(temporary.cleanup)
        self.file = pathlib.Path(temporary.name, "audit.jsonl")

    @contextlib.contextmanager
    def daemon(self, more=""):
        with self.daemon_on("embedded", more) as daemon:
            yield daemon

    @contextlib.contextmanager
    def daemon_on(self, tpm, more="", **others):
        harness.need_root()
        with harness.Daemon(tpm, config=f'audit = "{self.file}"\n{more}', **others) as daemon:
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

    def test_the_record_of_an_order_names_order_and_target(self):
        with self.daemon() as daemon, daemon.connect() as client:
            handles = [harness.handle_of(client.run(harness.start_auth_session())) for _ in range(3)]
            named = [f"0x{handle:08x}" for handle in handles]
            for words in (("reserve", named[2]), ("reserve", "--release", named[2]), ("flush", *named[:2]),
                          ("flush", "--owner", "root"), ("flush", "--abandoned"), ("reserve", named[0])):
                self.tool(daemon, *words)
            orders = self.wait_for(daemon, "order", 6)
            self.assertEqual([order["reason"] for order in orders[:5]],
                             [f"reservation of {named[2]}: 1 session",
                              f"release of {named[2]}: 1 session",
                              f"flush of {named[0]}, {named[1]}: 2 sessions",
                              "flush of the sessions of uid 0: 1 session",
                              "flush of the abandoned sessions: no such session existed"])
            self.assertTrue(orders[5]["reason"].startswith(f"reservation of {named[0]}: the order failed: "))
            self.assertEqual(orders[5]["handle"], named[0])
            self.assertIn("code", orders[5])
            self.assertEqual({order["uid"] for order in orders}, {0})
            taken = self.wait_for(daemon, "reclaimed", 3)
            self.assertEqual({record["reason"] for record in taken}, {"by order of an administrator"})
            self.assertEqual({record["handle"] for record in taken}, set(named))

    def test_a_refused_order_is_recorded(self):
        with self.daemon() as daemon:
            with harness.effective_user(ALICE), daemon.connect() as client:
                client.hello()
                self.assertEqual(client.control(ORDER, b"\x02")[0], harness.MANAGER | DISABLED)
            (refused,) = self.wait_for(daemon, "refused")
            self.assertEqual((refused["uid"], refused["code"]), (ALICE, f"0x{harness.MANAGER | DISABLED:08x}"))
            self.assertEqual(refused["reason"], "only an administrator orders a flush of the abandoned sessions")

    def test_a_list_that_a_client_may_not_have_is_recorded(self):
        with self.daemon() as daemon:
            with harness.effective_user(ALICE), daemon.connect() as client:
                client.hello()
                self.assertEqual(client.control(LISTENERS)[0], harness.MANAGER | DISABLED)
                self.assertEqual(client.control(NARROW, struct.pack(">H", 4) + b"safe")[0], 0)
                for request, body in ((SESSIONS, b""), (CLIENTS, bytes(8)), (SHARE, bytes(32))):
                    self.assertEqual(client.control(request, body)[0], harness.MANAGER | DISABLED)
            refused = self.wait_for(daemon, "refused", 4)
            self.assertEqual([(record["uid"], record["reason"]) for record in refused],
                             [(ALICE, reason) for reason in (
                                 "only an administrator lists the listeners",
                                 "Sessions is not for a connection that gave up rights, or that joined another connection",
                                 "Clients is not for a connection that gave up rights, or that joined another connection",
                                 "Share is not for a connection that gave up rights")])

    def test_the_record_of_a_reclaimed_session_gives_cause_and_waiter(self):
        with self.daemon('[profile.default]\nlease = "1ms"\n') as daemon, daemon.connect() as hoarder:
            for _ in range(harness.SESSIONS_TO_GIVE):
                hoarder.run(harness.start_auth_session())
            with harness.effective_user(ALICE), daemon.connect() as client:
                client.run(harness.start_auth_session())
            taken = self.wait_for(daemon, "reclaimed")[0]
            self.assertEqual((taken["uid"], taken["reason"]),
                             (0, f"the session was idle for longer than its lease, and uid {ALICE} waits for a session"))

    def test_the_flush_of_an_abandoned_session_is_recorded(self):
        with self.daemon("[limits]\nclient_saved_sessions = 1\n") as daemon:
            with daemon.connect() as client:
                handles = [harness.handle_of(client.run(harness.start_auth_session())) for _ in range(2)]
                for handle in handles:
                    client.run(harness.command(harness.CONTEXT_SAVE, struct.pack(">I", handle)))
            (gone,) = self.wait_for(daemon, "reclaimed")
            self.assertEqual((gone["uid"], gone["handle"]), (0, f"0x{handles[0]:08x}"))
            self.assertEqual(gone["reason"],
                             "the session's connection is closed, and its owner left too many sessions behind")

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

    def test_the_count_of_held_back_records_needs_no_further_record(self):
        with self.daemon() as daemon:
            self.flood(daemon, LINES_PER_PERIOD + 4)
            (held_back,) = self.wait_for(daemon, "held_back")
            self.assertEqual((held_back["uid"], held_back["held_back"]), (ALICE, 4))
            self.assertEqual(len(self.records("refused")), LINES_PER_PERIOD)

    def test_held_back_records_are_counted_for_their_owner(self):
        with self.daemon() as daemon:
            self.flood(daemon, LINES_PER_PERIOD + 4)
            status = daemon.status()
            self.assertEqual((status["audit_held_back"], status["audit_most_held_back"]), (4, f"uid {ALICE}: 4"))
            for uid, count in ((ALICE, 4), (ALICE + 1, 0)):
                with harness.effective_user(uid), daemon.connect() as client:
                    client.hello()
                    status = client.status()
                    self.assertEqual((status["audit_held_back"], status["audit_most_held_back"]), (count, ""))

    def test_a_command_that_affects_all_users_is_recorded(self):
        owner, lockout, index = 0x40000001, 0x4000000A, 0x01500001
        public = struct.pack(">IHIHH", index, 0x000B, 0x00040004, 0, 8)  # authRead, authWrite
        define = struct.pack(">HH", 0, len(public)) + public
        with self.daemon() as daemon, daemon.connect() as client:
            for code, handles, parameters in ((0x12A, (owner,), define), (0x122, (owner, index), b""),
                                              (0x122, (owner, index), b""), (0x139, (lockout,), b""),
                                              (0x126, (lockout,), b"")):
                body = b"".join(struct.pack(">I", handle) for handle in handles) + harness.password() + parameters
                client.command(harness.command(code, body, tag=0x8002))
            changed = self.wait_for(daemon, "changed", 5)
            self.assertEqual([(record["command"], record["handle"], record["code"]) for record in changed],
                             [("TPM2_NV_DefineSpace", f"0x{index:08x}", "0x00000000"),
                              ("TPM2_NV_UndefineSpace", f"0x{index:08x}", "0x00000000"),
                              ("TPM2_NV_UndefineSpace", f"0x{index:08x}", "0x0000028b"),
                              ("TPM2_DictionaryAttackLockReset", f"0x{lockout:08x}", "0x00000000"),
                              ("TPM2_Clear", f"0x{lockout:08x}", "0x00000000")])
            self.assertEqual({(record["uid"], record["profile"]) for record in changed}, {(0, "admin")})
            self.assertIn("it was not done", changed[2]["reason"])
            self.assertNotIn("reason", changed[4])

    def test_a_client_that_leaves_does_not_escape_the_record(self):
        with harness.HeldTpm() as tpm, self.daemon_on(tpm.spec, pass_fds=tpm.pass_fds) as daemon:
            tpm.hold_answers_to(0x126)
            with daemon.connect() as client:
                body = struct.pack(">I", 0x4000000A) + harness.password()
                client.send(harness.command(0x126, body, tag=0x8002))
                daemon.wait_until(lambda: daemon.status()["current_command"] == 0x126, "the command is at the TPM")
            (record,) = self.wait_for(daemon, "changed")
            self.assertEqual((record["command"], record["uid"]), ("TPM2_Clear", 0))
            self.assertNotIn("code", record)
            self.assertIn("may have done it", record["reason"])
            tpm.release()

    def test_the_count_of_held_back_records_is_written_at_the_end(self):
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
            daemon.wait_for_log("cannot be opened anew, so the old file gets further records: Is a directory")
            daemon.wait_until(lambda: len(self.records("policy", new)) == 2, "the second reading")


if __name__ == "__main__":
    harness.main()
