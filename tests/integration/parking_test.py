"""More policy sessions than the chip has room for: those that can be rebuilt are held by a thousand clients at a time,
and each opens what is its own; those that cannot are never answered wrongly, and nothing that a TPM would count as a
wrong password reaches it.

The clients are ESYS programs (`policy_storm`), tpm2-tools, and raw ones; the daemon is that of TPMSPACE_BUILD.
TPMSPACE_STORM_LIMIT caps the number of clients, for a quick look.
"""

import contextlib
import hashlib
import json
import os
import select
import struct
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

import harness
from harness import command, effective_user, handle_of
from tools_test import Tools

LIMIT = int(os.environ.get("TPMSPACE_STORM_LIMIT", "1000000"))
CHIP = 64  # active sessions of the embedded TPM
OTHER_USER = 65534
POLICY_COMMAND_CODE, POLICY_GET_DIGEST, UNSEAL = 0x16C, 0x189, 0x15E
PCR_CHANGED, POLICY_FAIL = 0x128, 0x99D
LOCKOUT_COUNTER = 0x20E


def many(wanted):
    return min(wanted, LIMIT)


def layer(code):
    return int(code, 16) & 0xFFFF0000


def start_policy_session():
    """Unsalted, unbound, with AES-128-CFB."""
    body = struct.pack(">II", 0x40000007, 0x40000007) + struct.pack(">H", 16) + bytes(16)
    return command(harness.START_AUTH_SESSION, body + struct.pack(">HBHHHH", 0, 1, 0x0006, 128, 0x0043, 0x000B))


def encrypted_random(session):
    """GetRandom, its answer encrypted by that policy session, without an HMAC, as newer programs than ESYS 3.2.1 do."""
    area = struct.pack(">IH16sBH", session, 16, bytes(16), 0x41, 0)
    return command(harness.GET_RANDOM, struct.pack(">I", len(area)) + area + struct.pack(">H", 8), tag=0x8002)


class Held:
    """Policy sessions of somebody else (as `user`, if that is given), each for Unseal only."""

    PER_CONNECTION = 20
    DIGEST = hashlib.sha256(bytes(32) + struct.pack(">II", POLICY_COMMAND_CODE, UNSEAL)).digest()

    def __init__(self, daemon, count, user=None):
        self._sessions = []
        self._connections = contextlib.ExitStack()
        for i in range(count):
            if i % self.PER_CONNECTION == 0:
                with effective_user(user) if user is not None else contextlib.nullcontext():
                    client = self._connections.enter_context(daemon.connect())
            handle = handle_of(client.run(start_policy_session()))
            self._fulfil(client, handle)
            self._sessions.append((client, handle))

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._connections.close()

    @staticmethod
    def _fulfil(client, handle):
        client.run(command(POLICY_COMMAND_CODE, struct.pack(">II", handle, UNSEAL)))

    def use(self):
        """Each must be as it was, is used, and has its policy again: all others are idler now."""
        for client, handle in self._sessions:
            digest = client.run(command(POLICY_GET_DIGEST, struct.pack(">I", handle)))[12:]
            assert digest == self.DIGEST, f"0x{handle:08x}: {digest.hex()}"
            client.run(encrypted_random(handle))
            digest = client.run(command(POLICY_GET_DIGEST, struct.pack(">I", handle)))[12:]
            assert digest == bytes(32), "the use took its policy"
            self._fulfil(client, handle)


class Storm:
    """A running policy_storm; its `result` is what it says in the end."""

    def __init__(self, daemon, mode, **settings):
        words = [f"{name}={value}" for name, value in settings.items()]
        # ESYS's lines about a failure are in the result.
        environment = {**os.environ, "LD_LIBRARY_PATH": str(harness.LIBRARY), "TSS2_LOG": "all+none"}
        environment.pop("LD_PRELOAD", None)
        self.process = subprocess.Popen(
            [harness.program("policy_storm"), mode, f"tcti=space:path={daemon.path}", *words], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_until_held(self):
        """With pause=1: until all its sessions are there."""
        said, end = b"", time.monotonic() + harness.TIMEOUT
        while not said.endswith(b"\n"):
            readable = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]
            assert readable, "the sessions are not held in time"
            more = os.read(self.process.stdout.fileno(), 1)
            assert more, f"policy_storm ended: {self.process.stderr.read().decode()}"
            said += more
        assert said == b"held\n", said

    def result(self):
        out, err = self.process.communicate(b"\n", timeout=2 * harness.TIMEOUT)
        lines = out.decode().splitlines()
        assert lines and lines[-1].startswith("{"), f"exit code {self.process.returncode}: {err.decode()}"
        return json.loads(lines[-1])


class ParkingTest(unittest.TestCase):
    def start(self, *arguments, **options):
        self.daemon = self.enterContext(harness.Daemon("embedded", *arguments, **options))

    def storm(self, mode, **settings):
        with Storm(self.daemon, mode, **settings) as storm:
            return storm.result()

    def sessions_status(self):
        done = subprocess.run([harness.program("tpmspace"), "status", "--json", "--socket", self.daemon.path],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.TIMEOUT,
                              check=True)
        return json.loads(done.stdout)["sessions"]

    def assert_rebuilt(self, held):
        """If more were held than the chip has, some were parked and rebuilt, and none was taken from anybody."""
        status = self.sessions_status()
        self.assertEqual(status["reclaims"], 0)
        if held > CHIP:
            self.assertGreater(status.get("parks", 0), 0)
            self.assertGreater(status.get("rebuilds", 0), 0)

    def assert_no_lockout_count(self):
        with self.daemon.connect() as client:
            answer = client.run(command(harness.GET_CAPABILITY, struct.pack(">III", 6, LOCKOUT_COUNTER, 1)))
        self.assertEqual(struct.unpack(">II", answer[19:27]), (LOCKOUT_COUNTER, 0))

    def assert_only_the_manager_refused(self, tally):
        """Every secret that was opened is right, and what failed was answered by the manager, before the TPM."""
        self.assertEqual(tally["wrong"], 0, tally)
        self.assertEqual([code for code in tally["failures"] if layer(code) != harness.MANAGER], [], tally)

    # --- ESYS

    def hold(self, mode, clients, **settings):
        self.start()
        result = self.storm(mode, clients=clients, **settings)
        self.assertEqual((result["successes"], result["wrong"], result["failures"]), (clients, 0, {}), result)
        self.assert_rebuilt(clients)
        self.assertEqual(self.daemon.status()["client_commands_failed"], 0)

    def test_a_thousand_clients_hold_a_policy_and_then_unseal(self):
        self.hold("hold", many(1000), rounds=1)

    def test_a_thousand_sessions_are_started_before_the_first_policy(self):
        self.hold("hold-early", many(1000), rounds=1)

    def test_sessions_that_are_kept_begin_anew_after_each_use(self):
        self.hold("hold", many(200), rounds=4)

    def test_every_response_is_right_in_a_storm(self):
        self.start()
        clients = many(100)
        result = self.storm("storm", clients=clients, others=many(26), hmac=4, rounds=6)
        self.assertEqual((result["successes"], result["held"]["failures"]), (clients, {}), result)
        self.assertEqual((result["hmac"]["right"], result["hmac"]["failures"]), (4, {}), result)
        self.assert_only_the_manager_refused(result["others"])
        self.assertGreater(result["others"]["right"], 0)
        self.assertEqual(result["lockout_counter"], 0)
        self.assert_rebuilt(clients + 4)

    def test_nor_when_sessions_are_taken_as_well(self):
        self.start(config='[profile.default]\nlease = "200ms"\ntenure = "200ms"\ndeadline = "1s"\n')
        result = self.storm("storm", clients=many(100), others=many(104), hmac=many(20), rounds=3, threads=16)
        for who in ("held", "hmac", "others"):
            self.assert_only_the_manager_refused(result[who])
        self.assertGreater(result["others"]["right"], 0)
        self.assertEqual(result["lockout_counter"], 0)

    # --- PCRs

    def pcr(self, **settings):
        self.start()
        clients = many(100)
        result = self.storm("pcr", clients=clients, **settings)
        if clients > CHIP:
            self.assertGreater(self.sessions_status().get("parks", 0), 0)
        return result

    def assert_pcr_changed(self, tally, count):
        self.assertEqual((tally["right"], sum(tally["failures"].values())), (0, count), tally)
        self.assertLessEqual(set(tally["failures"]), {f"0x{c | PCR_CHANGED:08x}" for c in (0, harness.MANAGER)})

    def test_a_pcr_was_extended_while_its_session_was_parked(self):
        result = self.pcr(select=10, extend=10)
        self.assertTrue(result["moved"])
        self.assert_pcr_changed(result["first"], 2)
        self.assertEqual(result["again"]["failures"], {f"0x{POLICY_FAIL:08x}": 2}, "as the chip: another digest")

    def test_any_pcr_that_moves_the_counter(self):
        result = self.pcr(select=10, extend=7)
        self.assertTrue(result["moved"])
        self.assert_pcr_changed(result["first"], 2)
        self.assertEqual(result["again"]["right"], 2, result)
        crowd = result["crowd"]  # only clients with a PCR in their policy
        self.assertEqual(crowd["wrong"], 0, result)
        self.assert_pcr_changed({**crowd, "right": 0}, sum(crowd["failures"].values()))
        self.assertLessEqual({where.split()[0] for where in crowd["where"]}, {"pcr", "authorize", "several"})

    def test_a_pcr_that_does_not_move_the_counter(self):
        result = self.pcr(select=10, extend=16)
        self.assertFalse(result["moved"])
        for tally in (result["first"], result["again"]):
            self.assertEqual((tally["right"], tally["failures"]), (2, {}), result)
        self.assertEqual(result["crowd"]["failures"], {}, result)

    # --- tpm2-tools

    def start_for_two_users(self):
        harness.need_root()
        self.start("--socket-mode", "0666")
        self.daemon.directory.chmod(0o711)
        self.tools = self.enterContext(Tools(self.daemon))
        return self.enterContext(Held(self.daemon, many(70), user=OTHER_USER))

    def sealed(self, name, *policy):
        """A sealed object that says its own name, loaded. `policy`: the tool that makes it, with its arguments."""
        tools = self.tools
        tools("startauthsession", "-S", "trial.ctx")
        for tool, *arguments in policy:
            tools(tool, "-S", "trial.ctx", "-L", f"{name}.policy", *arguments)
        tools("flushcontext", "trial.ctx")
        tools.write(f"{name}.secret", name.encode())
        tools("create", "-C", "primary.ctx", "-i", f"{name}.secret", "-L", f"{name}.policy", "-u", f"{name}.pub", "-r",
              f"{name}.priv")
        tools("load", "-C", "primary.ctx", "-u", f"{name}.pub", "-r", f"{name}.priv", "-c", f"{name}.ctx")

    def policysecret(self, entity, *value, hmac_session=False):
        """The policy goes from process to process, and whenever it is in its file the others push it out."""
        held, tools = self.start_for_two_users(), self.tools
        tools.primary()
        tools("create", "-C", "primary.ctx", "-g", "sha256", "-G", "ecc", "-p", "word", "-u", "e.pub", "-r", "e.priv")
        tools("load", "-C", "primary.ctx", "-u", "e.pub", "-r", "e.priv", "-c", "entity.ctx")
        self.sealed("a secret", ("policysecret", "-c", entity, *value[-1:]))
        if hmac_session:
            tools("startauthsession", "--hmac-session", "-S", "h.ctx")
            value = ("session:h.ctx" + "".join(f"+{v}" for v in value),)
        for _ in range(2):
            tools("startauthsession", "--policy-session", "-S", "s.ctx")
            held.use()
            tools("policysecret", "-S", "s.ctx", "-c", entity, *value)
            held.use()
            self.assertEqual(tools("unseal", "-c", "a secret.ctx", "-p", "session:s.ctx"), b"a secret")
            held.use()
            tools("flushcontext", "s.ctx")
        self.assert_no_lockout_count()
        self.assert_rebuilt(many(70))

    def test_policysecret_of_the_owner_across_processes(self):
        self.policysecret("o")

    def test_policysecret_of_the_owner_with_an_hmac_session(self):
        self.policysecret("o", hmac_session=True)

    def test_policysecret_of_a_protected_key_across_processes(self):
        self.policysecret("entity.ctx", "word")

    def test_policysecret_of_a_protected_key_with_an_hmac_session(self):
        self.policysecret("entity.ctx", "word", hmac_session=True)

    def test_a_policy_session_in_a_file_is_pushed_out_between_all_processes(self):
        held, tools = self.start_for_two_users(), self.tools
        tools.primary()
        self.sealed("either", ("policypcr", "-l", "sha256:0"), ("policycommandcode", "TPM2_CC_Unseal"))
        tools("startauthsession", "--policy-session", "-S", "s.ctx")
        for _ in range(3):  # continueSession: it stays, its policy is used up
            held.use()
            tools("policypcr", "-S", "s.ctx", "-l", "sha256:0")
            held.use()
            tools("policycommandcode", "-S", "s.ctx", "-L", "found", "TPM2_CC_Unseal")
            self.assertEqual(tools.read("found"), tools.read("either.policy"))
            held.use()
            self.assertEqual(tools("unseal", "-c", "either.ctx", "-p", "session:s.ctx"), b"either")
        tools("flushcontext", "s.ctx")
        held.use()
        self.assert_rebuilt(many(70))

    def test_tools_beside_a_program_that_holds_more_than_there_are(self):
        self.start()
        tools = self.tools = self.enterContext(Tools(self.daemon))
        clients = many(100)
        with Storm(self.daemon, "hold", clients=clients, pause=1) as storm:
            storm.wait_until_held()
            tools.primary()
            self.sealed("pcr", ("policypcr", "-l", "sha256:0"))

            def user(i):
                self.assertEqual(tools("unseal", "-c", "pcr.ctx", "-p", "pcr:sha256:0"), b"pcr")
                session = f"s{i}.ctx"
                tools("startauthsession", "--policy-session", "-S", session)
                tools("policypcr", "-S", session, "-l", "sha256:0")
                self.assertEqual(tools("unseal", "-c", "pcr.ctx", "-p", f"session:{session}"), b"pcr")
                tools("flushcontext", session)

            with ThreadPoolExecutor(4) as pool:
                for done in [pool.submit(user, i) for i in range(8)]:
                    done.result()
            result = storm.result()
        self.assertEqual((result["successes"], result["failures"]), (clients, {}), result)
        self.assert_rebuilt(clients)


if __name__ == "__main__":
    harness.main()
