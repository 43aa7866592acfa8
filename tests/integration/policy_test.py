"""The examples of the mails that the project began with, with a configuration and real programs: who may migrate keys, who
extends PCRs, a door for a locality, a web server's unit and its TLS key; reload; audit; the lockout guard.
"""

import contextlib
import json
import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import harness
from users import ALICE, BOB, CAROL, Refused, RefusalTest, User

WEB = 21033
SIGN_IN_TLS = "?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes"


class Examples(RefusalTest):
    @contextlib.contextmanager
    def users(self, config, *uids, **options):
        """The daemon under that configuration, root and the users."""
        harness.need_root()
        with contextlib.ExitStack() as stack:
            daemon = stack.enter_context(harness.Daemon("embedded", config=config))
            yield daemon, *(stack.enter_context(User(daemon, uid, **options)) for uid in (0, *uids))

    def test_only_one_user_may_migrate_keys(self):
        config = f"""
            [profile.migration]
            base = "safe"
            allow = ["migrate"]
            [[rule]]
            user = {ALICE}
            profile = "migration"
        """
        with self.users(config, ALICE, BOB) as (_, _, alice, bob):
            for user in (alice, bob):
                user("startauthsession", "-S", "t")
                user("policycommandcode", "-S", "t", "-L", "dup", "TPM2_CC_Duplicate")
                user("flushcontext", "t")
                user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                user("create", "-C", "p.ctx", "-G", "ecc", "-L", "dup", "-u", "k.pub", "-r", "k.priv", "-a",
                     "sensitivedataorigin|userwithauth|sign|decrypt")
                user("load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
                user("startauthsession", "-S", "s", "--policy-session")
                user("policycommandcode", "-S", "s", "TPM2_CC_Duplicate")
            line = ("duplicate", "-C", "null", "-c", "k.ctx", "-G", "null", "-p", "session:s", "-r", "out", "-s", "seed")
            alice(*line)
            self.refused(harness.COMMAND_CODE, bob, *line)

    def test_orchestration_extends_pcrs_and_guests_do_not(self):
        config = f"""
            [profile.orchestration]
            base = "attest"
            allow = ["pcr-extend"]
            pcr.extend = [16]
            [[rule]]
            group = {BOB}
            profile = "orchestration"
        """
        with self.users(config, ALICE, BOB) as (_, _, guest, orchestrator):
            one = "=" + 64 * "1"
            orchestrator("pcrextend", "16:sha256" + one)
            self.refused(0x127, orchestrator, "pcrextend", "17:sha256" + one)
            self.refused(harness.COMMAND_CODE, guest, "pcrextend", "16:sha256" + one)
            self.assertIn(b"16: 0x", guest("pcrread", "sha256:16"))
            # GetCapability agrees with what is refused.
            self.assertIn(b"TPM2_CC_PCR_Extend", orchestrator("getcap", "commands"))
            self.assertNotIn(b"TPM2_CC_PCR_Extend", guest("getcap", "commands"))

    def test_a_locality_is_behind_a_door_of_its_group(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-door-") as directory:
            os.chmod(directory, 0o755)
            path = f"{directory}/two"
            config = f"""
                [profile.measured]
                base = "safe"
                localities = [2]
                [[door]]
                name = "locality-2"
                path = "{path}"
                group = {CAROL}
                profile = "measured"
                locality = 2
            """
            harness.need_root()
            with harness.Daemon("embedded", config=config) as daemon, User(daemon, ALICE) as outside, \
                    User(daemon, BOB, groups=[CAROL], path=path) as member, User(daemon, ALICE, path=path) as stranger:
                with self.assertRaisesRegex(Refused, "Permission denied"):
                    stranger("getrandom", "4")
                secret = {}
                for user in (outside, member):
                    user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                    user("startauthsession", "-S", "t")
                    user("policylocality", "-S", "t", "-L", "policy", "two")
                    user("flushcontext", "t")
                    (user.directory / "secret").write_text("secret")
                    user("create", "-C", "p.ctx", "-i", "secret", "-L", "policy", "-u", "d.pub", "-r", "d.priv")
                    user("load", "-C", "p.ctx", "-u", "d.pub", "-r", "d.priv", "-c", "d.ctx")
                    user("startauthsession", "-S", "s", "--policy-session")
                    user("policylocality", "-S", "s", "two")
                    with contextlib.suppress(Refused):
                        secret[user] = user("unseal", "-c", "d.ctx", "-p", "session:s")
                self.assertEqual(secret, {member: b"secret"})
                # Nobody chooses another one: neither the door's visitors, nor those outside.
                for where in (path, daemon.path):
                    with contextlib.ExitStack() as stack:
                        stack.enter_context(harness.effective_user(ALICE if where == daemon.path else 0))
                        client = stack.enter_context(harness.Client(where))
                        client.hello()
                        for locality in (1, 3, 4):
                            self.assertEqual(client.control(harness.LOCALITY_MESSAGE, bytes([locality]))[0],
                                             harness.MANAGER | harness.LOCALITY)

    @contextlib.contextmanager
    def unit(self, name):
        """A cgroup of that name in system.slice: "join" is a shell line by which a process goes there."""
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-cgroup-") as root:
            if subprocess.run(["mount", "-t", "cgroup2", "none", root], capture_output=True, check=False).returncode != 0:
                raise unittest.SkipTest("no cgroup v2 here")
            slice_, made = pathlib.Path(root, "system.slice"), False
            try:
                made = not slice_.exists()
                (slice_ / name).mkdir(parents=True)
                yield f"echo $$ > {slice_ / name}/cgroup.procs"
            finally:
                with contextlib.suppress(OSError):
                    (slice_ / name).rmdir()
                    if made:
                        slice_.rmdir()
                subprocess.run(["umount", root], check=True)

    def test_a_web_servers_unit_may_use_its_tls_key_and_nothing_else(self):
        harness.need("openssl")
        if not list(pathlib.Path("/usr/lib").glob("*/ossl-modules/tpm2.so")):
            raise unittest.SkipTest("tpm2-openssl is not installed")
        name = f"tpmspace-test-{os.getpid()}.service"
        config = f"""
            [profile.tls-key]
            allow = ["sessions", "TPM2_GetCapability", "TPM2_ReadPublic", "TPM2_GetRandom", "TPM2_FlushContext", "TPM2_Sign",
                     "TPM2_ECC_Parameters"]
            localities = [0]
            hierarchies = ["null"]
            persistent.read-public = 0x81000001
            persistent.salt-key = 0x81000001
            persistent.use = 0x81000001
            objects = 4
            [[rule]]
            unit = "{name}"
            profile = "tls-key"
        """
        with self.unit(name) as join, self.users(config, WEB) as (_, root, web):
            for number, handle in enumerate(("0x81000001", "0x81000002")):
                root("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                root("create", "-C", "p.ctx", "-G", "ecc", "-u", f"{number}.pub", "-r", f"{number}.priv", "-a",
                     "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
                root("load", "-C", "p.ctx", "-u", f"{number}.pub", "-r", f"{number}.priv", "-c", "k.ctx")
                root("evictcontrol", "-C", "o", "-c", "k.ctx", handle)
            for user in (root, web):
                user.environment["TPM2OPENSSL_TCTI"] = user.environment["TPM2TOOLS_TCTI"]
            certificate = web.directory / "cert.pem"
            tpm2 = ["-provider", "tpm2", "-provider", "default", "-propquery", SIGN_IN_TLS]
            done = root.run("openssl", "req", "-x509", *tpm2, "-key", "handle:0x81000001", "-subj", "/CN=localhost", "-days",
                            "9", "-out", str(certificate))
            self.assertEqual(done.returncode, 0, done.stderr)
            os.chmod(certificate, 0o644)

            in_unit = ["sh", "-c", join + '; exec "$@"', "sh", *web.prefix]
            socket_path = str(web.directory / "tls")
            server = subprocess.Popen([*in_unit, "openssl", "s_server", *tpm2, "-key", "handle:0x81000001", "-cert",
                                       str(certificate), "-unix", socket_path, "-naccept", "1", "-www"],
                                      cwd=web.directory, env=web.environment, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                for line in server.stdout:
                    if b"ACCEPT" in line:
                        break
                client = subprocess.run(["openssl", "s_client", "-unix", socket_path, "-CAfile", str(certificate),
                                         "-verify_return_error", "-servername", "localhost", "-ign_eof"],
                                        input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, timeout=harness.TIMEOUT,
                                        check=False)
                self.assertIn(b"Verify return code: 0 (ok)", client.stdout, client.stderr.decode())
                self.assertEqual(server.wait(harness.TIMEOUT), 0)
            finally:
                server.kill()
                server.communicate()

            # The same user, in his unit: nothing else. And outside of it he has `safe`, where the key is none of his.
            def tool(*line, where):
                done = subprocess.run([*where, *line], cwd=web.directory, env=web.environment, stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
                return done.returncode, done.stderr.lower()

            (web.directory / "digest").write_bytes(bytes(32))
            sign = ("tpm2_sign", "-c", "0x81000001", "-g", "sha256", "-o", "sig", "-d", "digest")
            self.assertEqual(tool(*sign, where=in_unit), (0, ""))
            for line, code in ((("tpm2_sign", "-c", "0x81000002", *sign[3:]), "0xb018b"),
                               (("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", "x.ctx"), "0xb0143"),
                               (("tpm2_nvread", "0x1500016"), "0xb0143"), (("tpm2_pcrread", "sha256:0"), "0xb0143")):
                returned, said = tool(*line, where=in_unit)
                self.assertNotEqual(returned, 0, line)
                self.assertIn(code, said, line)
            self.assertIn("0xb018b", tool(*sign, where=web.prefix)[1])


class Reload(RefusalTest):
    def test_the_next_command_is_judged_by_the_new_policy(self):
        harness.need_root()
        everybody = '[[rule]]\nprofile = "{}"\n'
        with harness.Daemon("embedded", config=everybody.format("safe")) as daemon:
            file = daemon.directory / "config.toml"
            self_test = harness.command(0x143, b"\x00")
            with daemon.connect() as client:
                self.assert_code(client.command(self_test), harness.COMMAND_CODE)
                file.write_text(everybody.format("admin"))
                daemon.signal(1)
                daemon.wait_for_log("was read again")
                client.run(self_test)
                kept = harness.handle_of(client.run(harness.create_primary()))

                # A broken file changes nothing, and says where it is broken.
                tool = [harness.program("tpmspace"), "policy", "reload", "--socket", daemon.path]
                for broken, sentence in (("[[rule]]\nprofil = 1\nprofile = \"safe\"\n", ":2:1: "), ("[[rule", "this is not TOML"),
                                         ('[[rule]]\nprofile = "x"\n', ":2:11: ")):
                    file.write_text(broken)
                    daemon.signal(1)
                    daemon.wait_for_log(sentence)
                    client.run(self_test)
                del tool

                file.write_text(everybody.format("safe") + f'[[door]]\npath = "{daemon.directory}/door"\n')
                daemon.signal(1)
                daemon.wait_until(lambda: os.path.exists(daemon.directory / "door"), "the new door is there")
                self.assert_code(client.command(self_test), harness.COMMAND_CODE)
                client.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", kept)))
                with harness.Client(str(daemon.directory / "door")) as visitor:
                    visitor.run(harness.get_random())
                    file.write_text(everybody.format("safe"))
                    daemon.signal(1)
                    daemon.wait_until(lambda: not os.path.exists(daemon.directory / "door"), "the door is gone")
                    visitor.run(harness.get_random())

    def test_audit_records_say_who_what_and_why(self):
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory:
            file = pathlib.Path(directory, "audit.jsonl")
            config = f'audit = "{file}"\n[[rule]]\nuser = {ALICE}\nprofile = "storage"\n'
            with harness.Daemon("embedded", config=config) as daemon:
                os.chmod(daemon.directory, 0o755)
                with harness.effective_user(ALICE), daemon.connect() as client:
                    self.assert_code(client.command(harness.command(0x145, b"\x00\x00")), harness.COMMAND_CODE)
                daemon.signal(1)
                daemon.wait_until(lambda: len(file.read_text().splitlines()) == 2, "two records")
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
            refused, policy = (json.loads(line) for line in file.read_text().splitlines())
            self.assertEqual((refused["event"], refused["uid"], refused["pid"], refused["command"], refused["code"]),
                             ("refused", ALICE, os.getpid(), "TPM2_Shutdown", "0x000b0143"))
            self.assertEqual((refused["profile"], refused["rule_line"], refused["door"]), ("storage", 2, "main"))
            self.assertEqual(policy["event"], "policy")


class Lockout(RefusalTest):
    def test_four_users_who_guess_passwords_lock_nobody_out(self):
        with contextlib.ExitStack() as stack:
            harness.need_root()
            daemon = stack.enter_context(harness.Daemon("embedded"))
            root = stack.enter_context(User(daemon, 0))
            guessers = [stack.enter_context(User(daemon, 21100 + i)) for i in range(4)]
            root("dictionarylockout", "--setup-parameters", "--max-tries", "32", "--recovery-time", "1000")
            for user in guessers:
                user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                (user.directory / "secret").write_text("secret")
                user("create", "-C", "p.ctx", "-i", "secret", "-p", "right", "-u", "d.pub", "-r", "d.priv")
                user("load", "-C", "p.ctx", "-u", "d.pub", "-r", "d.priv", "-c", "d.ctx")
            codes = set()
            for _ in range(12):
                for user in guessers:
                    with self.assertRaises(Refused) as raised:
                        user("unseal", "-c", "d.ctx", "-p", "wrong")
                    codes.add("0xb0921" in str(raised.exception).lower())
            self.assertEqual(codes, {False, True})  # first the TPM's own answer, then ours
            properties = root("getcap", "properties-variable").decode()
            counter = int(properties.split("TPM2_PT_LOCKOUT_COUNTER:")[1].split()[0], 16)
            self.assertLess(counter, 32)
            self.assertIn("inLockout:                 0", properties)
            # Whoever did not guess is not stopped; who did is stopped also with the right password, and told so.
            with User(daemon, ALICE) as alice:
                alice("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                (alice.directory / "secret").write_text("secret")
                alice("create", "-C", "p.ctx", "-i", "secret", "-p", "right", "-u", "d.pub", "-r", "d.priv")
                alice("load", "-C", "p.ctx", "-u", "d.pub", "-r", "d.priv", "-c", "d.ctx")
                self.assertEqual(alice("unseal", "-c", "d.ctx", "-p", "right"), b"secret")
            self.refused(0x921, guessers[0], "unseal", "-c", "d.ctx", "-p", "right")
            root("dictionarylockout", "-c")
            self.assertEqual(guessers[0]("unseal", "-c", "d.ctx", "-p", "right"), b"secret")
            daemon.wait_for_log("no wrong authorization is left for it")

    def test_a_pin_is_tried_by_its_users_alone(self):
        config = f"""
            [profile.door-lock]
            base = "safe"
            nv.pin = 0x01500020
            [[rule]]
            user = {ALICE}
            profile = "door-lock"
        """
        with contextlib.ExitStack() as stack:
            harness.need_root()
            daemon = stack.enter_context(harness.Daemon("embedded", config=config))
            root, alice = (stack.enter_context(User(daemon, uid)) for uid in (0, ALICE))
            others = [stack.enter_context(User(daemon, uid)) for uid in (BOB, CAROL, WEB)]
            root("dictionarylockout", "--setup-parameters", "--max-tries", "32", "--recovery-time", "1000")
            root("nvdefine", "0x1500020", "-C", "o", "-s", "8", "-p", "right", "-a",
                 "nt=pinfail|no_da|ownerread|ownerwrite|authread")
            (root.directory / "pin").write_bytes(struct.pack(">II", 0, 3))
            root("nvwrite", "0x1500020", "-C", "o", "-i", "pin")

            def read(user, value):
                return user("nvread", "0x1500020", "-C", "0x1500020", "-P", value, "-s", "8")

            for user in others:
                for value in ("wrong", "wrong", "right"):
                    with self.assertRaises(Refused) as raised:
                        read(user, value)
                    self.assertIn("0xb0149", str(raised.exception).lower())
            with self.assertRaises(Refused):
                read(alice, "wrong")
            self.assertEqual(root("nvread", "0x1500020", "-C", "o", "-s", "8"), struct.pack(">II", 1, 3))
            self.assertEqual(read(alice, "right"), struct.pack(">II", 0, 3))
            self.assertIn("does not list this PIN Fail index", daemon.log())


if __name__ == "__main__":
    harness.main()
