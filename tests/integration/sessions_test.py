"""`tpmspace sessions` and `tpmspace flush`: what an administrator sees and does, and what others do not."""

import contextlib
import json
import os
import shutil
import struct
import subprocess
import unittest

import harness
from harness import MANAGER, code_of, command, flush_context, get_random, handle_of, start_auth_session
from tools_test import Tools

SESSIONS, FLUSH = 5, 6
REFERENCE_H0, REFERENCE_S0, DISABLED, SIZE = 0x910, 0x918, 0x120, 0x095
ABANDONED, OF_OWNER = b"\2", b"\3"
OTHER_UID = 65534


def these(*handles):
    return struct.pack(">BH", 1, len(handles)) + b"".join(struct.pack(">I", h) for h in handles)


def context_save(handle):
    return command(harness.CONTEXT_SAVE, struct.pack(">I", handle))


def use(session):
    """GetRandom with an audit session: it is named in the authorization area."""
    area = struct.pack(">IHBH", session, 0, 0x81, 0)
    return command(harness.GET_RANDOM, struct.pack(">I", len(area)) + area + struct.pack(">H", 8), tag=0x8002)


class SessionsTest(unittest.TestCase):
    def start(self, *arguments, **options):
        self.daemon = self.enterContext(harness.Daemon(*arguments, **options))

    def run_tool(self, *arguments):
        return subprocess.run([harness.program("tpmspace"), *arguments, "--socket", self.daemon.path],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.TIMEOUT,
                              check=False)

    def tool(self, *arguments):
        done = self.run_tool(*arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def sessions(self):
        return json.loads(self.tool("sessions", "--json"))

    def only_session(self):
        told = self.sessions()["sessions"]
        self.assertEqual(len(told), 1, told)
        return told[0]

    @contextlib.contextmanager
    def as_other_user(self):
        """Whoever connects in here is another user."""
        harness.need_root()
        self.daemon.directory.chmod(0o755)
        os.seteuid(OTHER_UID)
        try:
            yield
        finally:
            os.seteuid(0)

    def connect_as_other(self):
        with self.as_other_user():
            return self.enterContext(self.daemon.connect())

    # --- the list

    def test_a_session_of_each_kind_and_state(self):
        self.start()
        self.assertEqual(self.tool("sessions"), "no sessions\n")
        with self.daemon.connect() as client:
            handle = handle_of(client.run(start_auth_session()))
            one = self.only_session()
            self.assertEqual((one["handle"], one["kind"], one["state"], one["uid"]),
                             (f"0x{handle:08x}", "hmac", "loaded", os.getuid()))
            self.assertEqual(one["lease_ns"], 10 * 10**9)
            self.assertGreaterEqual(one["age_ns"], one["idle_ns"])
            self.daemon.wait_for_log(f"client {one['connection']}: uid")
            client.run(context_save(handle))
            self.assertEqual(self.only_session()["state"], "client-saved")
            self.assertRegex(self.tool("sessions"), rf"0x{handle:08x} +{os.getuid()} +hmac +client-saved ")
        self.daemon.wait_until(lambda: self.only_session()["state"] == "abandoned", "its connection is gone")
        self.assertIsNone(self.only_session()["connection"])

    def test_sessions_saved_by_the_manager(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        for _ in range(5):
            client.run(start_auth_session())
        states = [one["state"] for one in self.sessions()["sessions"]]
        self.assertEqual((states.count("loaded"), states.count("saved")), (3, 2))

    def test_a_policy_session_of_the_tools(self):
        self.start()
        tools = self.enterContext(Tools(self.daemon))
        tools("startauthsession", "--policy-session", "-S", "s.ctx")
        self.daemon.wait_until(lambda: [(one["kind"], one["state"]) for one in self.sessions()["sessions"]] ==
                               [("policy", "abandoned")], "it is listed as abandoned")
        tools("flushcontext", "s.ctx")
        self.daemon.wait_until(lambda: self.sessions()["sessions"] == [], "it is gone")

    def test_an_endless_lease(self):
        self.start(config='[profile.default]\nlease = "endless"\n')
        client = self.enterContext(self.daemon.connect())
        client.run(start_auth_session())
        self.assertIsNone(self.only_session()["lease_ns"])
        self.assertIn(" endless ", self.tool("sessions"))

    def test_waiting_clients_are_listed(self):
        self.start(config='[profile.default]\nexhaustion = "wait"\n')
        hoarder, waiter = (self.enterContext(self.daemon.connect()) for _ in range(2))
        for _ in range(harness.SESSIONS_TO_GIVE):
            hoarder.run(start_auth_session())
        waiter.send(start_auth_session())
        self.daemon.wait_until(lambda: self.sessions()["waiting"], "it waits")
        told = self.sessions()
        self.assertEqual(len(told["sessions"]), harness.SESSIONS_TO_GIVE)
        (one,) = told["waiting"]
        self.assertEqual(one["uid"], os.getuid())
        self.assertNotEqual(one["connection"], told["sessions"][0]["connection"])
        self.assertIn("waiting for a session:\n", self.tool("sessions"))
        self.tool("flush", told["sessions"][0]["handle"])
        self.assertEqual(code_of(waiter.frame()), 0)
        self.assertEqual(self.sessions()["waiting"], [])

    def test_the_list_is_there_and_flush_waits_while_a_command_is_at_the_tpm(self):
        tpm = self.enterContext(harness.HeldTpm())
        self.start(tpm.spec, pass_fds=tpm.pass_fds)
        client, busy, admin = (self.enterContext(self.daemon.connect()) for _ in range(3))
        handle = handle_of(client.run(start_auth_session()))
        tpm.hold_answers_to(harness.CREATE_PRIMARY)
        busy.send(harness.create_primary())
        self.assertTrue(tpm.held.wait(harness.TIMEOUT))
        admin.hello()
        body = these(handle)
        admin.send(struct.pack(">HII", harness.CONTROL_TAG, 10 + len(body), FLUSH) + body)
        admin.send(struct.pack(">HII", harness.CONTROL_TAG, 10, SESSIONS))  # is answered after it
        self.assertEqual(self.only_session()["handle"], f"0x{handle:08x}")
        self.daemon.status()
        self.assertFalse(admin.ready())
        tpm.release()
        self.assertEqual(code_of(busy.frame()), 0)
        self.assertEqual(admin.control_reply(FLUSH)[0], 0)
        rc, listed = admin.control_reply(SESSIONS)
        self.assertEqual((rc, struct.unpack(">H", listed[14:16])[0]), (0, 0))

    def test_a_user_does_not_see_other_users_sessions(self):
        self.start("embedded", "--socket-mode", "0666")
        mine = self.enterContext(self.daemon.connect())
        mine.run(start_auth_session())
        other = self.connect_as_other()
        other.run(start_auth_session())
        self.assertEqual(sorted(one["uid"] for one in self.sessions()["sessions"]), [0, OTHER_UID])
        other.hello()
        rc, body = other.control(SESSIONS)
        version, hidden, _, _, _, shown, _, _, _, _, uid = struct.unpack(">HIIIIHHIBBI", body[:32])
        self.assertEqual((rc, version, hidden, shown, uid), (0, 1, 1, 1, OTHER_UID))

    # --- flush

    def test_flush_takes_it_and_its_client_is_told(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        taken, kept = (handle_of(client.run(start_auth_session())) for _ in range(2))
        out = self.tool("flush", f"0x{taken:08x}")
        self.assertRegex(out, rf"^flushed 0x{taken:08x}: hmac, loaded, of uid {os.getuid()}, idle for [0-9.]+ s\n$")
        self.assertEqual(self.only_session()["handle"], f"0x{kept:08x}")
        self.assertEqual(code_of(client.command(use(taken))), MANAGER | REFERENCE_S0)
        self.assertEqual(code_of(client.command(context_save(taken))), MANAGER | REFERENCE_H0)
        self.assertNotEqual(handle_of(client.run(start_auth_session())), taken)
        client.run(flush_context(taken))
        client.run(use(kept))

    def test_flush_of_an_unknown_session(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        there = handle_of(client.run(start_auth_session()))
        done = self.run_tool("flush", "0x03000042")
        self.assertEqual((done.returncode, done.stdout, done.stderr),
                         (1, "", "tpmspace: there is no session 0x03000042\n"))
        done = self.run_tool("flush", "0x03000042", f"0x{there:08x}")
        self.assertEqual((done.returncode, done.stdout.count("flushed"), done.stderr.count("0x03000042")), (1, 1, 1))
        self.assertEqual(self.tool("flush", "--abandoned"), "flushed nothing: no such session exists\n")

    def test_flush_of_the_abandoned_sessions(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        client.run(start_auth_session())
        with self.daemon.connect() as gone:
            for _ in range(3):
                gone.run(context_save(handle_of(gone.run(start_auth_session()))))
        self.daemon.wait_until(
            lambda: [one["state"] for one in self.sessions()["sessions"]].count("abandoned") == 3, "it is gone")
        self.assertEqual(self.tool("flush", "--abandoned").count("abandoned, of uid"), 3)
        self.assertEqual(self.only_session()["state"], "loaded")

    def test_flush_of_an_owner(self):
        self.start("embedded", "--socket-mode", "0666")
        mine = self.enterContext(self.daemon.connect())
        kept = handle_of(mine.run(start_auth_session()))
        other = self.connect_as_other()
        taken = [handle_of(other.run(start_auth_session())) for _ in range(5)]
        self.assertEqual(self.tool("flush", "--owner", str(OTHER_UID)).count(f"of uid {OTHER_UID}"), 5)
        self.assertEqual(self.only_session()["handle"], f"0x{kept:08x}")
        for handle in taken:
            self.assertEqual(code_of(other.command(use(handle))), MANAGER | REFERENCE_S0)
        self.daemon.wait_for_log(f"uid {OTHER_UID}: 5 sessions")

    def test_another_user_may_not_flush(self):
        self.start("embedded", "--socket-mode", "0666")
        mine = self.enterContext(self.daemon.connect())
        handle = handle_of(mine.run(start_auth_session()))
        other = self.connect_as_other()
        other.hello()
        for body in (these(handle), ABANDONED, OF_OWNER + bytes(4), OF_OWNER + struct.pack(">I", OTHER_UID)):
            self.assertEqual(other.control(FLUSH, body)[0], MANAGER | DISABLED)
        mine.run(use(handle))
        # Where the other user may execute it, wherever it was built.
        program = shutil.copy(harness.program("tpmspace"), self.daemon.directory)
        done = subprocess.run([program, "flush", "--abandoned", "--socket", self.daemon.path],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.TIMEOUT,
                               check=False, preexec_fn=self.become_other)
        self.assertEqual(done.returncode, 1)
        self.assertIn("only administrators may do this", done.stderr)

    # --- reserved ones

    def test_a_session_is_kept_for_the_system(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        kept, *others = (handle_of(client.run(start_auth_session())) for _ in range(6))
        self.assertIn("stays loaded", self.tool("reserve", f"0x{kept:08x}"))
        for handle in others:
            client.run(use(handle))
        told = {one["handle"]: one for one in self.sessions()["sessions"]}[f"0x{kept:08x}"]
        self.assertEqual((told["state"], told["rebuildable"]), ("loaded", "no: reserved"))
        self.tool("reserve", f"0x{others[0]:08x}")
        full = self.run_tool("reserve", f"0x{others[1]:08x}")
        self.assertEqual(full.returncode, 1)
        self.assertIn("no more sessions can be reserved", full.stderr)
        none = self.run_tool("reserve", "0x0200003f")
        self.assertEqual(none.returncode, 1)
        self.assertIn("no program has this session", none.stderr)
        self.assertIn("may be moved", self.tool("reserve", "--release", f"0x{kept:08x}"))
        for handle in others:
            client.run(use(handle))
        self.assertEqual(code_of(client.command(use(kept))), 0)

    @staticmethod
    def become_other():
        os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)

    def test_bodies_that_say_nothing(self):
        self.start()
        admin = self.enterContext(self.daemon.connect())
        admin.hello()
        for body in (b"", b"\0", b"\4", b"\1", b"\1\0\1\2\0\0", these(1)[:-1], these(1) + b"x", ABANDONED + b"x",
                     OF_OWNER, these(*range(257))):
            self.assertEqual(admin.control(FLUSH, body)[0], MANAGER | SIZE)
        self.assertEqual(admin.control(SESSIONS, b"x")[0], MANAGER | SIZE)
        admin.run(get_random())

    def test_a_disconnect_during_a_flush_harms_no_other_client(self):
        tpm = self.enterContext(harness.HeldTpm())
        self.start(tpm.spec, pass_fds=tpm.pass_fds)
        client, busy = (self.enterContext(self.daemon.connect()) for _ in range(2))
        client.run(start_auth_session())
        tpm.hold_answers_to(harness.CREATE_PRIMARY)
        busy.send(harness.create_primary())
        self.assertTrue(tpm.held.wait(harness.TIMEOUT))
        body = OF_OWNER + struct.pack(">I", os.getuid())
        order = struct.pack(">HII", harness.CONTROL_TAG, 10 + len(body), FLUSH) + body
        admins = [self.enterContext(self.daemon.connect()) for _ in range(17)]
        for admin in admins:
            admin.hello()
            admin.send(order)
        # One too many: the others are under way.
        self.assertEqual(admins[-1].control_reply(FLUSH)[0], MANAGER | harness.MEMORY)
        for admin in admins[:-1]:
            admin.close()
        tpm.release()
        self.assertEqual(code_of(busy.frame()), 0)
        self.daemon.wait_until(lambda: self.sessions()["sessions"] == [], "it was done all the same")
        self.tool("flush", "--abandoned")


if __name__ == "__main__":
    harness.main()
