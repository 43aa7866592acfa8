"""Who may do what, end to end: tpm2-tools under several users through one daemon, listeners, narrowing, reload, attacks.

The examples are those of the mails that the project began with.
"""

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile

import harness
from users import ALICE, BOB, CAROL, RefusalTest, User

# Control messages, and the codes of their refusals.
SESSIONS, ORDER, NARROW, RELOAD, LISTENERS, LISTENER = 5, 6, 7, 8, 9, 10
DISABLED, HIERARCHY, PCR, HANDLE = 0x120, 0x085, 0x127, 0x08B
OWNER, LOCKOUT, NULL = 0x40000001, 0x4000000A, 0x40000007


class AsInstalled(RefusalTest):
    @contextlib.contextmanager
    def everybody(self, config=None):
        with harness.Daemon("embedded", "--socket-mode", "0666", config=config) as daemon:
            with User(daemon, 0) as root, User(daemon, ALICE) as alice:
                yield daemon, root, alice

    def test_common_flows_pass_under_safe(self):
        with self.everybody() as (_, _, alice):
            alice("getrandom", "8")
            alice("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
            alice("create", "-C", "p.ctx", "-G", "ecc", "-u", "k.pub", "-r", "k.priv")
            alice("load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
            (alice.directory / "m").write_text("message")
            alice("sign", "-c", "k.ctx", "-g", "sha256", "-o", "sig", "m")
            alice("verifysignature", "-c", "k.ctx", "-g", "sha256", "-m", "m", "-s", "sig")
            alice("readpublic", "-c", "k.ctx")
            (alice.directory / "secret").write_text("secret")
            alice("startauthsession", "-S", "s", "--policy-session")
            alice("policypcr", "-S", "s", "-l", "sha256:0", "-L", "policy")
            alice("flushcontext", "s")
            alice("create", "-C", "p.ctx", "-i", "secret", "-L", "policy", "-u", "d.pub", "-r", "d.priv")
            alice("load", "-C", "p.ctx", "-u", "d.pub", "-r", "d.priv", "-c", "d.ctx")
            self.assertEqual(alice("unseal", "-c", "d.ctx", "-p", "pcr:sha256:0"), b"secret")
            alice("hash", "-g", "sha256", "m")
            alice("pcrread", "sha256:0,1,2")
            alice("createek", "-G", "ecc", "-c", "ek.ctx")
            alice("createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa")
            alice("quote", "-c", "ak.ctx", "-l", "sha256:0,1", "-q", "0011")
            alice("getcap", "properties-fixed")
            alice("getcap", "commands")
            alice("getcap", "handles-persistent")
            alice("createprimary", "-C", "n", "-G", "ecc", "-c", "n.ctx")
            alice("testparms", "ecc")

    def test_the_view_of_others_cannot_be_changed(self):
        with self.everybody() as (_, root, alice):
            root("nvdefine", "0x1500016", "-C", "o", "-s", "8", "-a", "ownerread|ownerwrite|authread|authwrite")
            root("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
            root("evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
            no_such = harness.COMMAND_CODE
            self.refused(no_such, alice, "clear")
            self.refused(no_such, alice, "dictionarylockout", "-c")
            self.refused(no_such, alice, "nvdefine", "0x1500017", "-C", "o", "-s", "8")
            self.refused(no_such, alice, "nvundefine", "0x1500016", "-C", "o")
            self.refused(no_such, alice, "pcrextend", "16:sha256=" + 64 * "1")
            self.refused(no_such, alice, "pcrreset", "16")
            self.refused(no_such, alice, "changeauth", "-c", "o", "secret")
            self.refused(no_such, alice, "evictcontrol", "-C", "o", "-c", "0x81000001")
            # By the owner's authorization, which is empty, with any user's index.
            self.refused(0x149, alice, "nvread", "0x1500016", "-C", "o", "-s", "1")
            # Another's key: it can be a parent, and no more.
            alice("create", "-C", "0x81000001", "-G", "ecc", "-u", "k.pub", "-r", "k.priv")
            self.refused(0x185, alice, "createprimary", "-C", "p", "-G", "ecc", "-c", "x.ctx")
            root("clear")

    def test_a_refused_code_reads_sensibly(self):
        harness.need("tpm2_rc_decode")
        for code, words in ((0xB0143, "command code not supported"), (0xB0120, "command is disabled"),
                            (0xB0149, "NV"), (0xB0185, "hierarchy"), (0xB0907, "locality"), (0xB0921, "lockout"),
                            (0xB018B, "handle")):
            text = subprocess.run(["tpm2_rc_decode", hex(code)], capture_output=True, text=True, check=True).stdout
            self.assertIn(words.lower(), text.lower())

    def test_an_ordinary_user_sees_only_their_own(self):
        with self.everybody() as (daemon, root, alice):
            with daemon.connect() as roots:
                roots.run(harness.start_auth_session())
                for user, own_only in ((root, False), (alice, True)):
                    status = json.loads(user.run(harness.program("tpmspace"), "status", "--socket", daemon.path,
                                                 "--json").stdout)
                    self.assertEqual(status["server"]["own_only"], own_only)
                    self.assertEqual(status["spaces"]["sessions"], 0 if own_only else 1)
                    self.assertEqual(status["connections"]["now"], 1 if own_only else 2)
                    self.assertEqual(status["client_commands"]["answered"] > 0, not own_only)
                done = alice.run(harness.program("tpmspace"), "listener", "list", "--socket", daemon.path)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"only administrators", done.stderr)


class StartAndExit(RefusalTest):
    """What programs send when they start and exit (docs/startup.md)."""

    STARTUP, SHUTDOWN, SELF_TEST, TEST_RESULT = 0x144, 0x145, 0x143, 0x17C
    INITIALIZE = struct.pack(">HII", 0x8001, 10, 0x00000100)  # the whole response: no layer

    def assert_started_already(self, client):
        for startup_type in (0, 1):
            startup = harness.command(self.STARTUP, struct.pack(">H", startup_type))
            self.assertEqual(client.command(startup), self.INITIALIZE)

    def test_a_startup_is_answered_as_by_a_running_tpm_under_every_profile(self):
        harness.need_root()
        config = f"""
            [profile.random]
            allow = ["random"]
            [profile.elsewhere]
            base = "admin"
            localities = 3
            [[rule]]
            user = {ALICE}
            profile = "random"
            [[rule]]
            user = {BOB}
            profile = "admin"
            disable = ["power"]
            [[rule]]
            user = {CAROL}
            profile = "elsewhere"
        """
        with harness.Daemon("embedded", config=config) as daemon:
            os.chmod(daemon.directory, 0o755)
            for uid in (0, ALICE, BOB, CAROL, CAROL + 1):
                with harness.effective_user(uid):
                    client = daemon.connect()
                with client:
                    self.assert_started_already(client)
                    client.hello()
                    self.assertEqual(client.control(NARROW, b"\x00\x07storage")[0], 0)
                    self.assert_started_already(client)
            self.assertNotIn("refused TPM2_Startup", daemon.log())

    def test_an_ordinary_user_ends_only_their_own_sessions(self):
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666") as daemon:
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                client = daemon.connect()
            with client, daemon.connect() as root:
                kept = root.run(harness.start_auth_session())
                before = daemon.status()["tpm_commands_client"]
                for kind in (0, 1):
                    client.run(harness.command(self.SHUTDOWN, struct.pack(">H", kind)))
                client.run(harness.command(self.SELF_TEST, b"\x00"))
                self.assert_code(client.command(harness.command(self.SHUTDOWN, b"\x00\x02")), 0x1C4)
                self.assert_code(client.command(harness.command(self.SELF_TEST, b"\x01")), harness.COMMAND_CODE)
                self.assert_code(client.command(harness.self_test()), harness.COMMAND_CODE)
                self.assertEqual(daemon.status()["tpm_commands_client"], before, "the TPM saw none of them")
                client.run(harness.command(self.TEST_RESULT))
                root.run(harness.flush_context(harness.handle_of(kept)))

    def test_every_group_of_capabilities_can_be_asked_for(self):
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666") as daemon:
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                client = daemon.connect()
            with client:
                # ALGS, HANDLES, COMMANDS, PP_COMMANDS, AUDIT_COMMANDS, PCRS, TPM_PROPERTIES, PCR_PROPERTIES, ECC_CURVES
                for group, first in ((0, 0), (1, 0x81000000), (1, 0x02000000), (1, 0x80000000), (1, 0x01000000),
                                     (2, 0x11F), (3, 0), (4, 0), (5, 0), (6, 0x100), (6, 0x200), (7, 0), (8, 0)):
                    client.run(harness.command(harness.GET_CAPABILITY, struct.pack(">III", group, first, 64)))
                commands = client.run(harness.command(harness.GET_CAPABILITY, struct.pack(">III", 2, self.STARTUP, 2)))
                self.assertEqual([word & 0xFFFF for (word,) in struct.iter_unpack(">I", commands[19:])],
                                 [self.STARTUP, self.SHUTDOWN])

    def test_an_administrators_startup_starts_a_tpm_that_has_lost_power(self):
        harness.need_root()
        with harness.HeldTpm() as tpm, harness.Daemon(tpm.spec, "--socket-mode", "0666",
                                                      pass_fds=tpm.pass_fds) as daemon:
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                alice = daemon.connect()
            with alice, daemon.connect() as root:
                startup = harness.command(self.STARTUP, b"\x00\x00")
                root.run(harness.create_primary())
                tpm.power_cycle()
                self.assert_started_already(alice)
                self.assertEqual(harness.code_of(root.command(startup)), 0, "the TPM performed it")
                self.assertEqual(root.command(startup), self.INITIALIZE)
                # What was loaded is gone, and tpmspaced knows it.
                self.assert_code(root.command(harness.command(harness.READ_PUBLIC, struct.pack(">I", 0x80000000))),
                                 harness.REFERENCE_H0)
                # An ordinary user's Startup leaves that to tpmspaced, which does it for their next command.
                tpm.power_cycle()
                self.assert_started_already(alice)
                alice.run(harness.get_random())
                alice.run(harness.create_primary())


class Attacks(RefusalTest):
    """As somebody who has `safe`."""

    @contextlib.contextmanager
    def somebody(self):
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666") as daemon:
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                client = daemon.connect()
            with client:
                yield daemon, client

    def test_lockouts_authorization_is_out_of_reach(self):
        with self.somebody() as (daemon, client):
            # bind: one wrong HMAC of this session would disable lockoutAuth (tpm-behaviour 34)
            body = struct.pack(">II", NULL, LOCKOUT) + struct.pack(">H", 16) + bytes(16)
            bound = harness.command(harness.START_AUTH_SESSION, body + struct.pack(">HBHH", 0, 0, 0x0010, 0x000B))
            self.assert_code(client.command(bound), 0x200 | HIERARCHY)
            # PolicySecret with a wrong password
            policy = struct.pack(">II", NULL, NULL) + struct.pack(">H", 16) + bytes(16)
            policy += struct.pack(">HBHH", 0, 1, 0x0010, 0x000B)
            session = harness.handle_of(client.run(harness.command(harness.START_AUTH_SESSION, policy)))
            wrong = struct.pack(">IIHBH", 9 + 5, 0x40000009, 0, 1, 5) + b"wrong"
            body = struct.pack(">II", LOCKOUT, session) + wrong + struct.pack(">HHHi", 0, 0, 0, 0)
            self.assert_code(client.command(harness.command(0x151, body, tag=0x8002)), 0x100 | HIERARCHY)
            # Root finds it as it was: nothing wrong ever got there.
            with daemon.connect() as root:
                root.run(harness.command(0x139, struct.pack(">I", LOCKOUT) + harness.password(), tag=0x8002))

    def test_an_event_sequence_extends_no_pcr(self):
        with self.somebody() as (_, client):
            start = harness.command(0x186, struct.pack(">HH", 0, 0x0010))  # HashSequenceStart, TPM_ALG_NULL: an event
            sequence = harness.handle_of(client.run(start))
            two = struct.pack(">I", 18) + 2 * struct.pack(">IHBH", 0x40000009, 0, 1, 0)
            complete = lambda pcr: harness.command(0x185, struct.pack(">II", pcr, sequence) + two + struct.pack(">H", 0),
                                                   tag=0x8002)
            self.assert_code(client.command(complete(16)), PCR)
            client.run(complete(NULL))

    def test_a_client_without_control_messages_gets_none(self):
        with self.somebody() as (_, client):
            client.hello()
            for kind, body in ((ORDER, b"\x02"), (RELOAD, b""), (LISTENERS, b""), (LISTENER, b"\x02\x00\x01x")):
                self.assertEqual(client.control(kind, body)[0], harness.MANAGER | DISABLED, kind)
            self.assertEqual(client.control(SESSIONS)[0], 0)
            self.assertEqual(client.control(harness.LOCALITY_MESSAGE, b"\x02")[0], harness.MANAGER | harness.LOCALITY)

    def test_roots_narrowed_descriptor_is_worth_no_more_than_its_profile(self):
        harness.need_root()
        with harness.Daemon("embedded") as daemon, daemon.connect() as client:
            client.hello()
            self.assertEqual(client.control(LISTENERS)[0], 0)
            kept = harness.handle_of(client.run(harness.create_primary()))
            self.assertEqual(client.control(NARROW, b"\x00\x05nobod")[0], harness.MANAGER | harness.VALUE)
            self.assertEqual(client.control(NARROW, b"\x00\x04safe")[0], 0)
            for kind, body in ((ORDER, b"\x02"), (RELOAD, b""), (LISTENERS, b""), (LISTENER, b"\x02\x00\x01x"), (SESSIONS, b"")):
                self.assertEqual(client.control(kind, body)[0], harness.MANAGER | DISABLED, kind)
            self.assertEqual(client.control(NARROW, b"\x00\x05admin")[0], 0)
            self.assertEqual(client.control(LISTENERS)[0], harness.MANAGER | DISABLED)
            self.assertEqual(client.control(harness.LOCALITY_MESSAGE, b"\x03")[0], harness.MANAGER | harness.LOCALITY)
            self.assertEqual(client.status()["server_own_only"], 1)
            self.assertEqual(client.control(harness.CANCEL)[0], 0)
            self.assert_code(client.command(harness.command(0x126, struct.pack(">I", LOCKOUT) + harness.password(),
                                                            tag=0x8002)), harness.COMMAND_CODE)  # Clear
            client.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", kept)))  # its loaded objects stay its own

    def test_a_daemon_of_the_user_nobody_is_administered_by_root_alone(self):
        """As uid 65534 the kernel shows everybody whom it cannot name."""
        harness.need_root()
        harness.need("setpriv")
        nobody = 65534
        with tempfile.TemporaryDirectory(prefix="tpmspace-nobody-") as directory:
            os.chown(directory, nobody, nobody)
            prefix = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups")
            with harness.Daemon("embedded", socket_path=f"{directory}/tpm.sock", prefix=prefix, wait=False) as daemon:
                os.chmod(daemon.directory, 0o755)
                os.chmod(daemon.directory / "notify", 0o777)
                daemon.wait_for_log("only root may administer")
                daemon.wait_until(lambda: os.path.exists(daemon.path), "it serves")
                for uid, rc in ((nobody, harness.MANAGER | DISABLED), (0, 0)):
                    with harness.effective_user(uid):
                        client = self.enterContext(daemon.connect())
                    client.hello()
                    self.assertEqual(client.control(RELOAD)[0], rc, uid)
                    client.run(harness.get_random())

    def test_an_identity_is_that_at_connect(self):
        """Root connects and hands the descriptor to a program of Alice's: it is root's, until it is narrowed."""
        harness.need_root()
        with harness.Daemon("embedded", "--socket-mode", "0666") as daemon, daemon.connect() as client:
            code = ("import os, socket, sys; os.setuid(21001); s = socket.socket(fileno=int(sys.argv[1])); s.setblocking(True);"
                    "s.sendall(bytes.fromhex('80010000000c0000017b0004')); print(s.recv(99)[6:10].hex())")
            os.set_inheritable(client.socket.fileno(), True)
            done = subprocess.run([sys.executable, "-c", code, str(client.socket.fileno())], close_fds=False,
                                  capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
            self.assertEqual((done.stdout, done.stderr), ("00000000\n", ""))
            daemon.wait_for_log("uid 0")


class Listeners(RefusalTest):
    def tell(self, daemon, *arguments, uid=0):
        harness.need("setpriv")
        return subprocess.run(["setpriv", f"--reuid={uid}", "--clear-groups", harness.program("tpmspace"), *arguments,
                               "--socket", daemon.path], capture_output=True, text=True, timeout=harness.TIMEOUT,
                              check=False)

    def test_reading_a_configuration_that_is_not_there_again_says_so(self):
        harness.need_root()
        if os.path.exists("/etc/tpmspace/tpmspace.toml"):
            self.skipTest("this machine has a configuration")
        with harness.Daemon("embedded") as daemon:
            os.chmod(daemon.directory, 0o755)
            done = self.tell(daemon, "policy", "reload")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("there is no file /etc/tpmspace/tpmspace.toml", done.stdout)

    def test_one_is_made_and_taken_away_at_run_time(self):
        harness.need_root()
        with harness.Daemon("embedded") as daemon:
            os.chmod(daemon.directory, 0o755)
            path = str(daemon.directory / "two")
            line = ("listener", "add", "two", path, "--mode", "0660", "--group", str(BOB), "--profile", "storage",
                    "--connections", "1")
            done = self.tell(daemon, *line)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(f"export TPMSPACE_SOCKET={path} TPM2TOOLS_TCTI=space:path={path}\n", done.stdout)
            info = os.stat(path)
            self.assertEqual((info.st_gid, info.st_mode & 0o777), (BOB, 0o660))
            listed = json.loads(self.tell(daemon, "listener", "list", "--json").stdout)
            self.assertEqual([(d["name"], d["profile"], d["gid"], d["at_run_time"]) for d in listed],
                             [("main", None, None, False), ("two", "storage", BOB, True)])
            for words, mode in ((("--owner", str(BOB)), 0o600), (("--group", str(BOB)), 0o660), ((), 0o666)):
                done = self.tell(daemon, "listener", "add", "for-whom", path + "3", "--profile", "admin", *words)
                self.assertEqual((done.returncode, os.stat(path + "3").st_mode & 0o777), (0, mode), done.stderr)
                self.assertEqual("everybody may open it" in done.stdout, mode == 0o666, done.stdout)
                self.assertEqual(self.tell(daemon, "listener", "remove", "for-whom").returncode, 0)
            for locality in ("5", "9", "31", "256"):
                done = self.tell(daemon, "listener", "add", "far", path + "4", "--locality", locality)
                self.assertEqual(done.returncode, 2, locality)
                self.assertIn("from 0 to 4 or from 32 to 255", done.stderr)
            done = self.tell(daemon, "listener", "add", "far", path + "4", "--locality", "2")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("warning: all commands of clients of this listener, except administrators, are refused: the "
                          "listener has locality 2, and no profile that applies there lists this locality", done.stdout)
            self.assertEqual(self.tell(daemon, "listener", "remove", "far").returncode, 0)
            for again, sentence in ((line, "there is a listener"), (("listener", "add", "main", path), "name of a listener of tpmspaced's own"),
                                    (("listener", "add", "x", path + "x", "--profile", "no"), "\"no\""),
                                    (("listener", "add", "x", "/nowhere/x"), "does not exist"),
                                    (("listener", "remove", "main"), "there is no listener"),
                                    (("listener", "remove", "x"), "there is no listener")):
                done = self.tell(daemon, *again)
                self.assertEqual(done.returncode, 1, again)
                self.assertIn(sentence, done.stderr)

            # Root has the listener's profile there: a container's root is root, too.
            with harness.Client(path) as client:
                self.assert_code(client.command(harness.self_test()), harness.COMMAND_CODE)
                with harness.Client(path) as second:  # the listener's limit
                    self.assert_code(second.command(harness.get_random()), harness.MEMORY)
                    self.assertTrue(second.is_closed())
                self.assertEqual(self.tell(daemon, "listener", "remove", "two").returncode, 0)
                self.assertFalse(os.path.exists(path))
                # Its clients stay connected with the same profile, also when the policy is looked at anew.
                daemon.signal(1)
                daemon.wait_for_log("read again")
                self.assert_code(client.command(harness.self_test()), harness.COMMAND_CODE)
                client.run(harness.get_random())

    def test_open_hands_a_narrowed_descriptor_to_a_command(self):
        harness.need_root()
        with harness.Daemon("embedded") as daemon, User(daemon, ALICE) as alice:
            environment = {k: v for k, v in alice.environment.items() if k != "TPM2TOOLS_TCTI"}
            environment["LD_LIBRARY_PATH"] = str(harness.LIBRARY)
            script = ("set -e; tpm2_createprimary -C o -G ecc -c p.ctx -Q; tpm2_readpublic -c p.ctx -Q;"
                      "tpm2_getcap handles-transient; ! tpm2_clear")
            line = [str(harness.LIBRARY.parent / "bin/tpmspace"), "open", "--profile", "safe", "--socket", daemon.path, "--",
                    *alice.prefix, "sh", "-c", script]
            done = subprocess.run(line, cwd=alice.directory, env=environment, capture_output=True, text=True,
                                  timeout=harness.TIMEOUT, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("0x000b0143", done.stderr.lower())


if __name__ == "__main__":
    harness.main()
