"""The examples of the documentation with real programs; reload; audit; the lockout guard."""

import contextlib
import grp
import json
import os
import pathlib
import pwd
import struct
import subprocess
import tempfile
import unittest

import harness
from examples import example, examples
from users import ALICE, BOB, CAROL, Refused, RefusalTest, User

WEB = 21033
# tpm2-openssl only signs with the TPM; handshakes are hashed and encrypted outside.
OPENSSL_CONF = """
openssl_conf = all
[all]
providers = providers
alg_section = algorithms
[algorithms]
default_properties = ?provider=tpm2,tpm2.digest!=yes,tpm2.cipher!=yes
[providers]
default = software
tpm2 = hardware
[software]
activate = 1
[hardware]
activate = 1
"""
NGINX_CONF = """
daemon off;
user {1} {2};
worker_processes 1;
env TPM2OPENSSL_TCTI;
env OPENSSL_CONF;
pid {0}/pid;
error_log {0}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  server {{
    listen unix:{0}/tls ssl;
    ssl_certificate {0}/cert.pem;
    ssl_certificate_key {0}/key.pem;
    location / {{ return 200 "served"; }}
  }}
}}
"""


class Examples(RefusalTest):
    """Every example of the documentation, as it stands there, with the program that it is meant for. What stands for
    something else: a user's number for their name, a unit of the test's for nginx.service, a temporary directory for
    /run, a process in a pod's cgroup for a pod, and a client at the socket for a container that has it."""

    TESTS = {
        ("policy.md", "A laptop's single user"): "test_a_laptops_single_user_may_do_everything",
        ("policy.md", "A web server may use its key and nothing else"):
            "test_a_web_servers_unit_may_use_its_tls_key_and_nothing_else",
        ("policy.md", "nginx with its key in a file"): "test_nginx_serves_with_a_key_that_the_tpm_wrapped_for_it",
        ("policy.md", "One user may migrate keys"): "test_only_one_user_may_migrate_keys",
        ("policy.md", "Orchestration extends PCRs, guests do not"):
            "test_orchestration_extends_pcrs_and_guests_do_not",
        ("policy.md", "Locality 2 for a group"): "test_a_locality_is_behind_a_listener_of_its_group",
        ("policy.md", "Two pods, each with its own keys"): "test_two_pods_have_their_own_keys",
        ("policy.md", "A container with a TPM of its own"): "test_a_container_has_a_tpm_of_its_own",
        ("sessions.md", "Tuning"): "test_the_terms_of_sessions_can_be_tuned",
    }

    def test_every_example_is_run(self):
        self.assertEqual(set(examples()), set(self.TESTS))
        for method in self.TESTS.values():
            self.assertTrue(callable(getattr(self, method)), method)

    @contextlib.contextmanager
    def users(self, config, *uids, **options):
        """The daemon under that configuration, root and the users."""
        harness.need_root()
        with contextlib.ExitStack() as stack:
            daemon = stack.enter_context(harness.Daemon("embedded", config=config))
            yield daemon, *(stack.enter_context(User(daemon, uid, **options)) for uid in (0, *uids))

    @staticmethod
    def listener(daemon, name):
        return str(daemon.listeners / name / "tpm.sock")

    @contextlib.contextmanager
    def cgroup(self, path):
        """A cgroup: how a line begins that is run in it."""
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-cgroup-") as root:
            if subprocess.run(["mount", "-t", "cgroup2", "none", root], capture_output=True, check=False).returncode != 0:
                raise unittest.SkipTest("no cgroup v2 here")
            made, there = [], pathlib.Path(root)
            try:
                for part in path.split("/"):
                    there = there / part
                    if not there.exists():
                        there.mkdir()
                        made.append(there)
                yield ["sh", "-c", f'echo $$ > "{there}/cgroup.procs"; exec "$@"', "sh"]
            finally:
                for one in reversed(made):
                    with contextlib.suppress(OSError):
                        one.rmdir()
                subprocess.run(["umount", root], check=True)

    def unit(self, name):
        return self.cgroup(f"system.slice/{name}")

    def test_a_laptops_single_user_may_do_everything(self):
        config = example("A laptop's single user").replace('owner = "alice"', f"owner = {ALICE}")
        with contextlib.ExitStack() as stack:
            daemon, _ = stack.enter_context(self.users(config))
            listener = self.listener(daemon, "alice")
            alice, bob = (stack.enter_context(User(daemon, uid, path=listener)) for uid in (ALICE, BOB))
            alice("dictionarylockout", "--clear-lockout")
            alice("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
            alice("evictcontrol", "-C", "o", "-c", "p.ctx", "0x81000001")
            alice("clear")
            done = alice.run(harness.program("tpmspace"), "policy", "reload", "--socket", listener)
            self.assertEqual(done.returncode, 0, done.stderr)
            with self.assertRaisesRegex(Refused, "Permission denied"):
                bob("getrandom", "4")

    def test_only_one_user_may_migrate_keys(self):
        config = example("One user may migrate keys", keeper=ALICE)
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
        name = f"tpmspace-test-{os.getpid()}.service"
        config = example("Orchestration extends PCRs, guests do not", **{"orchestrator.service": f'"{name}"'})
        with self.unit(name) as in_unit, self.users(config, ALICE, BOB) as (_, _, guest, orchestrator):
            orchestrator.prefix = [*in_unit, *orchestrator.prefix]
            one = "=" + 64 * "1"
            orchestrator("pcrextend", "16:sha256" + one)
            self.refused(0x127, orchestrator, "pcrextend", "17:sha256" + one)
            self.refused(harness.COMMAND_CODE, guest, "pcrextend", "16:sha256" + one)
            self.assertIn(b"16: 0x", guest("pcrread", "sha256:16"))
            # GetCapability agrees with the refusals.
            self.assertIn(b"TPM2_CC_PCR_Extend", orchestrator("getcap", "commands"))
            self.assertNotIn(b"TPM2_CC_PCR_Extend", guest("getcap", "commands"))

    def test_a_locality_is_behind_a_listener_of_its_group(self):
        harness.need_root()
        config = example("Locality 2 for a group").replace('group = "measured"', f"group = {CAROL}")
        with harness.Daemon("embedded", config=config) as daemon:
            path = self.listener(daemon, "locality-2")
            with User(daemon, ALICE) as outside, User(daemon, BOB, groups=[CAROL], path=path) as member, \
                    User(daemon, ALICE, path=path) as stranger:
                with self.assertRaisesRegex(Refused, "Permission denied"):
                    stranger("getrandom", "4")
                member("pcrextend", "20:sha256=" + 64 * "1")
                self.refused(harness.COMMAND_CODE, outside, "pcrextend", "20:sha256=" + 64 * "1")
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
                # No client chooses another chip: neither at the listener, nor outside.
                for where in (path, daemon.path):
                    with contextlib.ExitStack() as stack:
                        stack.enter_context(harness.effective_user(ALICE if where == daemon.path else 0))
                        client = stack.enter_context(harness.Client(where))
                        client.hello()
                        for locality in (1, 3, 4):
                            self.assertEqual(client.control(harness.LOCALITY_MESSAGE, bytes([locality]))[0],
                                             harness.MANAGER | harness.LOCALITY)

    def test_two_pods_have_their_own_keys(self):
        slices = "kubepods.slice/kubepods-burstable.slice"
        pods = ("1f5b0a4e_0000_4000_8000_000000000001", "77aa31c0_0000_4000_8000_000000000002")
        config = example("Two pods, each with its own keys")
        with contextlib.ExitStack() as stack:
            inside = [stack.enter_context(self.cgroup(f"{slices}/kubepods-burstable-pod{pod}.slice/cri-containerd-"
                                                      f"{64 * digit}.scope")) for pod, digit in zip(pods, "ab")]
            daemon, root, shop, bank = stack.enter_context(self.users(config, 0, 0))
            for pod, enter, index in ((shop, inside[0], "0x1600000"), (bank, inside[1], "0x1600100")):
                pod.prefix = [*enter, *pod.prefix]
                pod("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                pod("create", "-C", "p.ctx", "-G", "ecc", "-u", "k.pub", "-r", "k.priv")
                pod("load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
                pod("evictcontrol", "-C", "o", "-c", "k.ctx", "0x81000001")
                pod("nvdefine", index, "-C", "o", "-s", "8", "-p", "word", "-a", "authread|authwrite|ownerwrite")
                (pod.directory / "message").write_text("message")
                pod("sign", "-c", "0x81000001", "-g", "sha256", "-o", "signature", "message")
                self.assertEqual(pod("getcap", "handles-persistent").split(), [b"-", b"0x81000001"])
                self.assertEqual(pod("getcap", "handles-nv-index").split(), [b"-", b"0x" + index[2:].encode().upper()])
                self.refused(harness.COMMAND_CODE, pod, "clear")
            names = {pod("readpublic", "-c", "0x81000001") for pod in (shop, bank)}
            self.assertEqual(len(names), 2, "one handle, two keys")
            self.assertEqual(root("getcap", "handles-persistent").split()[1::2], [b"0x81200001", b"0x81220001"])

    def test_a_container_has_a_tpm_of_its_own(self):
        with harness.Swtpm() as tpm:
            os.symlink(tpm.path, f"{tpm.directory}/tpm")
            config = example("A container with a TPM of its own", dir__build=tpm.directory)
            with self.users(config) as (daemon, root), \
                    User(daemon, 0, path=self.listener(daemon, "build")) as container:
                for user, handle in ((root, "0x81000001"), (container, "0x81000002")):
                    user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                    user("evictcontrol", "-C", "o", "-c", "p.ctx", handle)
                container("clear")
                self.assertEqual(container("getcap", "handles-persistent"), b"")
                self.assertIn(b"0x81000001", root("getcap", "handles-persistent"))

    def test_the_terms_of_sessions_can_be_tuned(self):
        with self.users(example("Tuning", page="sessions.md"), ALICE) as (_, _, alice):
            alice("startauthsession", "--policy-session", "-S", "s.ctx")
            alice("policypassword", "-S", "s.ctx")
            alice("flushcontext", "s.ctx")

    # --- web servers

    def openssl_of(self, *users):
        """They sign through tpm2-openssl, which finds the TPM by the TCTI of the tools."""
        harness.need("openssl")
        if not list(pathlib.Path("/usr/lib").glob("*/ossl-modules/tpm2.so")):
            raise unittest.SkipTest("tpm2-openssl is not installed")
        for user in users:
            (user.directory / "openssl.cnf").write_text(OPENSSL_CONF)
            user.environment.update(OPENSSL_CONF=str(user.directory / "openssl.cnf"),
                                    TPM2OPENSSL_TCTI=user.environment["TPM2TOOLS_TCTI"])

    def openssl(self, user, *line):
        done = user.run("openssl", *line)
        self.assertEqual(done.returncode, 0, done.stderr.decode())

    def assert_served(self, directory, what):
        """An ordinary TLS client gets a page from the server at `directory`/tls, and the certificate fits."""
        plain = {key: value for key, value in os.environ.items() if key != "OPENSSL_CONF"}
        client = subprocess.run(["openssl", "s_client", "-unix", str(directory / "tls"), "-CAfile",
                                 str(directory / "cert.pem"), "-verify_return_error", "-servername", "localhost",
                                 "-ign_eof"], input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, env=plain,
                                timeout=harness.TIMEOUT, check=False)
        self.assertIn(b"Verify return code: 0 (ok)", client.stdout, client.stderr.decode())
        self.assertIn(what, client.stdout)

    def test_a_web_servers_unit_may_use_its_tls_key_and_nothing_else(self):
        """With s_server, which names the key by its handle, as nginx does since 1.29; Debian's older one cannot."""
        name = f"tpmspace-test-{os.getpid()}.service"
        config = example("A web server may use its key and nothing else", **{"nginx.service": f'"{name}"'})
        with self.unit(name) as in_unit, self.users(config, WEB) as (_, root, web):
            for number, handle in enumerate(("0x81000001", "0x81000002")):
                root("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                root("create", "-C", "p.ctx", "-G", "ecc", "-u", f"{number}.pub", "-r", f"{number}.priv", "-a",
                     "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign")
                root("load", "-C", "p.ctx", "-u", f"{number}.pub", "-r", f"{number}.priv", "-c", "k.ctx")
                root("evictcontrol", "-C", "o", "-c", "k.ctx", handle)
            self.openssl_of(root, web)
            certificate = web.directory / "cert.pem"
            self.openssl(root, "req", "-x509", "-key", "handle:0x81000001", "-subj", "/CN=localhost", "-days", "9", "-out",
                         str(certificate))
            os.chmod(certificate, 0o644)
            outside, web.prefix = web.prefix, [*in_unit, *web.prefix]
            server = subprocess.Popen([*web.prefix, "openssl", "s_server", "-key", "handle:0x81000001", "-cert",
                                       str(certificate), "-unix", "tls", "-naccept", "1", "-www"], cwd=web.directory,
                                      env=web.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
            try:
                for line in server.stdout:
                    if b"ACCEPT" in line:
                        break
                self.assert_served(web.directory, b"s_server")
                self.assertEqual(server.wait(harness.TIMEOUT), 0)
            finally:
                server.kill()
                server.communicate()

            # The same user, in the unit: nothing else. And outside of it they have `safe`, where the key is not theirs.
            (web.directory / "digest").write_bytes(bytes(32))
            sign = ("-g", "sha256", "-o", "sig", "-d", "digest")
            web("sign", "-c", "0x81000001", *sign)
            self.refused(0x18B, web, "sign", "-c", "0x81000002", *sign)
            for line in (("createprimary", "-C", "o", "-G", "ecc", "-c", "x.ctx"), ("nvread", "0x1500016"),
                         ("pcrread", "sha256:0")):
                self.refused(harness.COMMAND_CODE, web, *line)
            web.prefix = outside
            self.refused(0x18B, web, "sign", "-c", "0x81000001", *sign)

    def test_nginx_serves_with_a_key_that_the_tpm_wrapped_for_it(self):
        harness.need("nginx")
        name = f"tpmspace-test-{os.getpid()}.service"
        config = example("nginx with its key in a file", **{"nginx.service": f'"{name}"'})
        with self.unit(name) as in_unit, self.users(config, 0) as (daemon, root, web):
            root("createprimary", "-C", "o", "-G", "ecc", "-c", "srk.ctx")
            root("evictcontrol", "-C", "o", "-c", "srk.ctx", "0x81000001")
            self.openssl_of(root, web)
            at = web.directory
            os.chmod(at, 0o755)
            self.openssl(root, "genpkey", "-algorithm", "RSA", "-pkeyopt", "bits:2048", "-pkeyopt", "parent:0x81000001",
                         "-out", f"{at}/key.pem")
            self.assertIn("TSS2 PRIVATE KEY", (at / "key.pem").read_text())
            self.openssl(root, "req", "-x509", "-key", f"{at}/key.pem", "-subj", "/CN=localhost", "-days", "9", "-out",
                         f"{at}/cert.pem")
            (at / "nginx.conf").write_text(NGINX_CONF.format(at, "nobody", grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name))
            web.prefix = [*in_unit, *web.prefix]
            with open(at / "output", "wb") as output:
                server = subprocess.Popen([*web.prefix, "nginx", "-p", str(at), "-c", str(at / "nginx.conf")], cwd=at,
                                          env=web.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            try:
                daemon.wait_until(lambda: (at / "tls").exists() or server.poll() is not None, "nginx listens")
                self.assertIsNone(server.poll(), (at / "output").read_text())
                for _ in range(5):
                    self.assert_served(at, b"served")
            finally:
                server.terminate()
                server.wait(harness.TIMEOUT)
            for line in (("createprimary", "-C", "o", "-G", "ecc", "-c", "x.ctx"), ("nvread", "0x1500016"),
                         ("create", "-C", "0x81000001", "-G", "ecc", "-u", "x.pub", "-r", "x.priv"), ("clear",)):
                self.refused(harness.COMMAND_CODE, web, *line)


class Reload(RefusalTest):
    def test_the_next_command_is_judged_by_the_new_policy(self):
        harness.need_root()
        everybody = '[[rule]]\nprofile = "{}"\n'
        with harness.Daemon("embedded", config=everybody.format("safe")) as daemon:
            file = daemon.directory / "config.toml"
            self_test = harness.self_test()
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

                file.write_text(everybody.format("safe") + f'[[listener]]\npath = "{daemon.directory}/listener"\n')
                daemon.signal(1)
                daemon.wait_until(lambda: os.path.exists(daemon.directory / "listener"), "the new listener is there")
                self.assert_code(client.command(self_test), harness.COMMAND_CODE)
                client.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", kept)))
                with harness.Client(str(daemon.directory / "listener")) as visitor:
                    visitor.run(harness.get_random())
                    file.write_text(everybody.format("safe"))
                    daemon.signal(1)
                    daemon.wait_until(lambda: not os.path.exists(daemon.directory / "listener"), "the listener is gone")
                    visitor.run(harness.get_random())

    def test_audit_records_name_client_command_and_reason(self):
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-audit-") as directory:
            file = pathlib.Path(directory, "audit.jsonl")
            config = f'audit = "{file}"\n[[rule]]\nuser = {ALICE}\nprofile = "storage"\n'
            with harness.Daemon("embedded", config=config) as daemon:
                os.chmod(daemon.directory, 0o755)
                with harness.effective_user(ALICE), daemon.connect() as client:
                    self.assert_code(client.command(harness.self_test()), harness.COMMAND_CODE)
                daemon.signal(1)
                daemon.wait_until(lambda: len(file.read_text().splitlines()) == 2, "two records")
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)
            refused, policy = (json.loads(line) for line in file.read_text().splitlines())
            self.assertEqual((refused["event"], refused["uid"], refused["pid"], refused["command"], refused["code"]),
                             ("refused", ALICE, os.getpid(), "TPM2_IncrementalSelfTest", "0x000b0143"))
            self.assertEqual((refused["profile"], refused["rule_line"], refused["listener"]), ("storage", 2, "main"))
            self.assertEqual(policy["event"], "policy")


class Lockout(RefusalTest):
    def test_four_users_that_guess_passwords_lock_no_other_user_out(self):
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
            # A user without wrong guesses is not stopped; a guessing user is stopped also with the right password, and
            # told so.
            with User(daemon, ALICE) as alice:
                alice("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx")
                (alice.directory / "secret").write_text("secret")
                alice("create", "-C", "p.ctx", "-i", "secret", "-p", "right", "-u", "d.pub", "-r", "d.priv")
                alice("load", "-C", "p.ctx", "-u", "d.pub", "-r", "d.priv", "-c", "d.ctx")
                self.assertEqual(alice("unseal", "-c", "d.ctx", "-p", "right"), b"secret")
            self.refused(0x921, guessers[0], "unseal", "-c", "d.ctx", "-p", "right")
            root("dictionarylockout", "-c")
            self.assertEqual(guessers[0]("unseal", "-c", "d.ctx", "-p", "right"), b"secret")
            daemon.wait_for_log("this client has no try of an authorization left: its owner's share is used up; one try "
                                "comes back after each")

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
