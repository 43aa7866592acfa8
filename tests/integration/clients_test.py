"""Who uses the TPM, end to end: `tpmspace clients`, `tpmspace whoami`, `policy explain --as pid=N`."""

import contextlib
import json
import os
import signal
import subprocess

import harness
from harness import get_random
from users import ALICE, BOB, RefusalTest, User

CONFIG = f"""
[profile.reader]
base = "safe"
deny = ["attest"]
[[rule]]
user = {ALICE}
profile = "reader"
[[listener]]
name = "shop"
profile = "safe"
"""


class ClientsTest(RefusalTest):
    def setUp(self):
        harness.need_root()
        self.daemon = self.enterContext(harness.Daemon("embedded", config=CONFIG))

    def tell(self, *line, socket=None):
        return subprocess.run([harness.program("tpmspace"), *line, "--socket", socket or self.daemon.path],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=harness.TIMEOUT,
                              check=False)

    def clients(self, user=None, socket=None):
        line = [harness.program("tpmspace"), "clients", "--json", "--socket", socket or self.daemon.path]
        done = user.run(*line) if user else self.tell(*line[1:3], socket=socket)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def whoami(self, user, *more):
        done = user.run(harness.program("tpmspace"), "whoami", "--json", "--socket", self.daemon.path, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def connected_as(self, uid):
        """A process of that user with a connection; its pid."""
        os.chmod(self.daemon.directory, 0o755)
        script = ("import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                  "s.sendall(bytes.fromhex('80010000000c0000017b0008'))\ns.recv(100)\nprint('ready', flush=True)\n"
                  "sys.stdin.read()")
        with subprocess.Popen(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "python3", "-c", script,
                               self.daemon.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            self.assertEqual(process.stdout.readline(), b"ready\n")
            yield process.pid
            process.stdin.close()

    def test_an_administrator_sees_all_clients_and_a_user_their_own(self):
        with self.connected_as(ALICE) as alices, self.connected_as(BOB) as bobs, User(self.daemon, ALICE) as alice:
            everybody = self.clients()
            by_pid = {client["pid"]: client for client in everybody["clients"]}
            self.assertLessEqual({alices, bobs}, set(by_pid))
            self.assertEqual(everybody["total"], len(everybody["clients"]))
            one = by_pid[alices]
            self.assertEqual((one["uid"], one["profile"], one["listener"], one["commands"], one["waits_for"]),
                             (ALICE, "reader", "main", 1, None))
            self.assertIn("python3", one["program"])
            self.assertGreater(one["tpm_time_ns"], 0)
            self.assertGreater(one["age_ns"], 0)
            own = self.clients(alice)
            self.assertEqual({client["uid"] for client in own["clients"]}, {ALICE})
            self.assertIn(alices, {client["pid"] for client in own["clients"]})
            self.assertEqual(own["total"], 2, "Alice's process, and her tpmspace itself")

    def test_one_user_at_another_listener_is_another_user(self):
        shop = next(listener["path"] for listener in json.loads(self.tell("listener", "list", "--json").stdout)
                    if listener["name"] == "shop")
        os.chmod(self.daemon.directory, 0o755)
        with self.connected_as(ALICE) as alices, User(self.daemon, ALICE, path=shop) as inside:
            there = self.clients(inside, shop)["clients"]
            self.assertEqual([client["listener"] for client in there], ["shop"])
            self.assertNotIn(alices, [client["pid"] for client in there])

    def test_more_than_a_page_of_clients_are_all_shown(self):
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                stack.enter_context(self.daemon.connect())
            self.daemon.wait_until(lambda: self.daemon.status()["connections_now"] > 300, "all are connected")
            shown = self.clients()
            self.assertGreater(len(shown["clients"]), 300)
            numbers = [client["connection"] for client in shown["clients"]]
            self.assertEqual(numbers, sorted(set(numbers)))

    def test_objects_and_sessions_are_the_current_numbers(self):
        with self.daemon.connect() as client:
            primary = client.run(harness.create_primary())
            handle = harness.handle_of(primary)
            client.run(harness.start_auth_session())
            mine = lambda: next(one for one in self.clients()["clients"] if one["pid"] == os.getpid())
            self.assertEqual((mine()["objects"], mine()["sessions"]), (1, 1))
            client.run(harness.flush_context(handle))
            self.assertEqual((mine()["objects"], mine()["sessions"]), (0, 1))

    def test_whoami_explains_the_last_refusal_of_an_ended_program(self):
        with User(self.daemon, ALICE) as alice, User(self.daemon, BOB) as bob:
            self.assertIsNone(self.whoami(alice)["last_refusal"])
            self.refused(0x143, alice, "clear")
            report = self.whoami(alice)
            refusal = report["last_refusal"]
            self.assertEqual((refusal["command"], refusal["code"]), ("TPM2_Clear", "0x000b0143"))
            self.assertEqual(refusal["reason"], "the profile does not list this command, which is of the class hierarchy")
            self.assertEqual((report["profile"], report["administers"], report["listener"]), ("reader", False, "main"))
            self.assertRegex(report["reasons"][0], r'config\.toml:5: gives "reader"')
            bobs = self.whoami(bob)
            self.assertIsNone(bobs["last_refusal"])
            self.assertEqual(bobs["reasons"], ['no rule matches: the standard profile "safe" holds (docs/profiles.md)'])
            alice("getrandom", "4")
            self.assertEqual(self.whoami(alice)["last_refusal"]["command"], "TPM2_Clear", "the last refused command")

    def test_an_order_that_was_refused_is_the_last_refusal(self):
        with User(self.daemon, BOB) as bob:
            done = bob.run(harness.program("tpmspace"), "policy", "reload", "--socket", self.daemon.path)
            self.assertEqual(done.returncode, 1)
            refusal = self.whoami(bob)["last_refusal"]
            self.assertEqual((refusal["command"], refusal["code"]), ("a request to tpmspaced", "0x000b0120"))
            self.assertIn("only an administrator", refusal["reason"])

    def test_a_handle_of_another_connection_is_explained(self):
        with User(self.daemon, BOB) as bob:
            with self.assertRaises(Exception):
                bob("readpublic", "-c", "0x80ffffff")
            self.assertIn("the connection has no object or session of this handle", self.whoami(bob)["last_refusal"]["reason"])

    def test_the_running_daemon_explains_a_connected_process(self):
        with self.connected_as(ALICE) as alices, User(self.daemon, BOB) as bob:
            what = self.tell("policy", "explain", "--as", f"pid={alices}")
            self.assertEqual(what.returncode, 0, what.stderr)
            self.assertIn("profile       reader\n", what.stdout)
            refused = self.tell("policy", "explain", "--as", f"pid={alices}", "tpm2_quote", "0x81000001", "pcr=none")
            self.assertEqual(refused.returncode, 3, refused.stderr)
            self.assertIn("TPM2_Quote 0x81000001 pcr=none: refused\n", refused.stdout)
            allowed = self.tell("policy", "explain", "--as", f"pid={alices}", "getrandom")
            self.assertEqual(allowed.returncode, 0, allowed.stderr)
            wrong = self.tell("policy", "explain", "--as", f"pid={alices}", "frobnicate")
            self.assertEqual(wrong.returncode, 1)
            self.assertIn('tpmspace: "frobnicate" is not a command', wrong.stderr)
            done = bob.run(harness.program("tpmspace"), "policy", "explain", "--as", f"pid={alices}", "--socket",
                           self.daemon.path)
            self.assertEqual(done.returncode, 1, "Bob is not told of Alice's process")
            self.assertIn(b"is not connected to tpmspaced, or belongs to another user", done.stderr)


class WhileTheTpmWorks(RefusalTest):
    def test_clients_are_told_of_while_the_tpm_works(self):
        harness.need("swtpm")
        with harness.Swtpm() as swtpm, harness.Daemon(swtpm.spec) as daemon, daemon.connect() as busy:
            busy.run(get_random())
            swtpm.process.send_signal(signal.SIGSTOP)
            try:
                busy.send(get_random())

                def waits():
                    done = subprocess.run([harness.program("tpmspace"), "clients", "--json", "--socket", daemon.path],
                                          capture_output=True, timeout=harness.TIMEOUT, check=True)
                    return any(client["waits_for"] == "TPM2_GetRandom" and client["waiting_ns"] > 0
                               for client in json.loads(done.stdout)["clients"])

                daemon.wait_until(waits, "a client waits")
            finally:
                swtpm.process.send_signal(signal.SIGCONT)
            self.assertEqual(harness.code_of(busy.frame()), 0)
            self.assertFalse(waits())


if __name__ == "__main__":
    harness.main()
