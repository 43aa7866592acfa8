"""tpm2-tools, as users write them in scripts, through one daemon: keys, sealing, NV, quotes, policy sessions that go from
process to process in a file, hash and HMAC sequences, and several processes at a time.

The library is the release one (a sanitized library cannot be loaded into somebody else's program); the daemon is that of
TPMSPACE_BUILD.
"""

import hashlib
import hmac
import os
import pathlib
import subprocess
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import harness


class ToolFailed(Exception):
    """A tool ended with another exit code than 0."""


class Tools:
    """A directory to work in, and tpm2_* as functions of the daemon's TPM: tools("createprimary", "-c", "p.ctx")."""

    def __init__(self, daemon):
        harness.need("tpm2_createprimary")
        self._temporary = tempfile.TemporaryDirectory(prefix="tpmspace-tools-")
        self.directory = pathlib.Path(self._temporary.name)
        self.environment = {**os.environ, "TPM2TOOLS_TCTI": f"space:path={daemon.path}",
                            "LD_LIBRARY_PATH": str(harness.LIBRARY)}
        # A sanitizer's preload must not reach another project's program.
        self.environment.pop("LD_PRELOAD", None)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._temporary.cleanup()

    def __call__(self, tool, *arguments):
        done = subprocess.run([f"tpm2_{tool}", *arguments], cwd=self.directory, env=self.environment,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=harness.TIMEOUT, check=False)
        if done.returncode != 0:
            raise ToolFailed(f"tpm2_{tool} {' '.join(arguments)}: exit {done.returncode}\n{done.stderr.decode()}")
        return done.stdout

    def write(self, name, data):
        (self.directory / name).write_bytes(data)

    def read(self, name):
        return (self.directory / name).read_bytes()

    def primary(self, name="primary.ctx"):
        self("createprimary", "-C", "o", "-g", "sha256", "-G", "ecc", "-c", name)

    def signing_key(self, name, parent="primary.ctx"):
        self("create", "-C", parent, "-G", "ecc", "-u", f"{name}.pub", "-r", f"{name}.priv")
        self("load", "-C", parent, "-u", f"{name}.pub", "-r", f"{name}.priv", "-c", f"{name}.ctx")

    def sign_and_verify(self, name, message=b"message"):
        self.write(f"{name}.msg", message)
        self("sign", "-c", f"{name}.ctx", "-g", "sha256", "-o", f"{name}.sig", f"{name}.msg")
        self("verifysignature", "-c", f"{name}.ctx", "-g", "sha256", "-m", f"{name}.msg", "-s", f"{name}.sig")


class ToolsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(harness.Daemon())
        self.tools = self.enterContext(Tools(self.daemon))

    def assert_nothing_left(self):
        """The last tool is gone: what it held is flushed in idle time."""
        def empty():
            status = self.daemon.status()
            return status["spaces_objects_loaded"] == 0 and status["spaces_sessions"] == 0
        self.daemon.wait_until(empty, "the TPM is empty again")

    def test_ten_key_contexts(self):
        self.tools.primary()
        for i in range(10):
            self.tools.signing_key(f"k{i}")
        for i in range(10):
            self.tools.sign_and_verify(f"k{i}")
        self.assert_nothing_left()

    def test_sealing_with_a_pcr_policy(self):
        tools = self.tools
        tools.primary()
        tools("createpolicy", "--policy-pcr", "-l", "sha256:0,1", "-L", "policy")
        tools.write("secret", b"a secret")
        tools("create", "-C", "primary.ctx", "-i", "secret", "-L", "policy", "-u", "s.pub", "-r", "s.priv")
        tools("load", "-C", "primary.ctx", "-u", "s.pub", "-r", "s.priv", "-c", "s.ctx")
        self.assertEqual(tools("unseal", "-c", "s.ctx", "-p", "pcr:sha256:0,1"), b"a secret")
        tools("pcrextend", "1:sha256=" + "11" * 32)
        with self.assertRaises(ToolFailed):
            tools("unseal", "-c", "s.ctx", "-p", "pcr:sha256:0,1")

    def test_a_policy_session_goes_through_many_processes(self):
        tools = self.tools
        tools.primary()
        tools("startauthsession", "-S", "trial.ctx")
        tools("policycommandcode", "-S", "trial.ctx", "-L", "policy", "TPM2_CC_Unseal")
        tools("flushcontext", "trial.ctx")
        tools.write("secret", b"another secret")
        tools("create", "-C", "primary.ctx", "-i", "secret", "-L", "policy", "-u", "s.pub", "-r", "s.priv")
        tools("load", "-C", "primary.ctx", "-u", "s.pub", "-r", "s.priv", "-c", "s.ctx")
        tools("startauthsession", "--policy-session", "-S", "session.ctx")
        tools("policycommandcode", "-S", "session.ctx", "TPM2_CC_Unseal")
        for _ in range(3):  # continueSession: it stays, its policy is used up
            self.assertEqual(tools("unseal", "-c", "s.ctx", "-p", "session:session.ctx"), b"another secret")
            tools("policyrestart", "-S", "session.ctx")
            tools("policycommandcode", "-S", "session.ctx", "TPM2_CC_Unseal")
        tools("flushcontext", "session.ctx")
        self.assert_nothing_left()

    def test_policy_or_and_policy_secret_across_processes(self):
        tools = self.tools
        tools.primary()
        tools("startauthsession", "--policy-session", "-S", "session.ctx")
        tools("policysecret", "-S", "session.ctx", "-c", "o", "-L", "one")
        tools("policycommandcode", "-S", "session.ctx", "-L", "two", "TPM2_CC_Unseal")
        tools("policyor", "-S", "session.ctx", "-L", "either", "sha256:one,two")
        tools("flushcontext", "session.ctx")
        tools.write("secret", b"or")
        tools("create", "-C", "primary.ctx", "-i", "secret", "-L", "either", "-u", "s.pub", "-r", "s.priv")
        tools("load", "-C", "primary.ctx", "-u", "s.pub", "-r", "s.priv", "-c", "s.ctx")
        tools("startauthsession", "--policy-session", "-S", "session.ctx")
        tools("policysecret", "-S", "session.ctx", "-c", "o")
        tools("policyor", "-S", "session.ctx", "-L", "check", "sha256:one,two")
        self.assertEqual(tools("unseal", "-c", "s.ctx", "-p", "session:session.ctx"), b"or")
        tools("flushcontext", "session.ctx")

    def test_an_hmac_session_across_processes(self):
        tools = self.tools
        tools.primary()
        tools("create", "-C", "primary.ctx", "-G", "ecc", "-p", "word", "-u", "k.pub", "-r", "k.priv")
        tools("load", "-C", "primary.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx")
        tools("startauthsession", "--hmac-session", "-S", "h.ctx")
        tools.write("m", b"m")
        for _ in range(3):
            tools("sign", "-c", "k.ctx", "-p", "session:h.ctx+word", "-g", "sha256", "-o", "sig", "m")
        tools("flushcontext", "h.ctx")
        self.assert_nothing_left()

    def test_a_saved_session_survives_its_process_and_is_listed_and_flushed(self):
        tools = self.tools
        tools("startauthsession", "--policy-session", "-S", "s.ctx")
        self.assertIn(b"0x2000000", tools("getcap", "handles-saved-session"))
        self.assertEqual(tools("getcap", "handles-loaded-session"), b"")
        tools("flushcontext", "-s")
        self.assertEqual(tools("getcap", "handles-saved-session"), b"")
        with self.assertRaises(ToolFailed):
            tools("policyrestart", "-S", "s.ctx")

    def test_flushing_all_saved_sessions_leaves_no_file_that_works(self):
        def save(client):
            session = client.run(harness.start_auth_session(policy=True))
            return client.run(harness.command(harness.CONTEXT_SAVE, session[10:14]))[10:]

        def load(context):
            with self.daemon.connect() as client:
                return harness.code_of(client.command(harness.command(harness.CONTEXT_LOAD, context)))

        contexts = []
        for _ in range(70):  # more than a TPM has numbers
            with self.daemon.connect() as client:
                contexts.append(save(client))
        self.assertEqual(load(contexts.pop()), 0)
        self.tools("startauthsession", "--policy-session", "-S", "s.ctx")
        self.assertLessEqual(len(self.tools("getcap", "handles-saved-session").splitlines()), 64)
        self.tools("flushcontext", "-s")
        self.assertEqual(self.tools("getcap", "handles-saved-session"), b"")
        self.assertEqual({load(context) for context in contexts}, {0x000B01CB})
        with self.assertRaises(ToolFailed):
            self.tools("policyrestart", "-S", "s.ctx")
        self.assert_nothing_left()

    def test_nv_index(self):
        tools = self.tools
        tools("nvdefine", "0x1500016", "-C", "o", "-s", "32", "-a", "ownerread|ownerwrite|authread|authwrite", "-p", "nv")
        tools.write("data", b"n" * 32)
        tools("nvwrite", "0x1500016", "-P", "nv", "-i", "data")
        self.assertEqual(tools("nvread", "0x1500016", "-P", "nv", "-s", "32"), b"n" * 32)
        self.assertIn(b"0x1500016", tools("getcap", "handles-nv-index"))
        tools("nvundefine", "0x1500016", "-C", "o")

    def test_a_persistent_key(self):
        tools = self.tools
        tools.primary()
        tools("evictcontrol", "-C", "o", "-c", "primary.ctx", "0x81000100")
        tools.signing_key("child", parent="0x81000100")
        tools.sign_and_verify("child")
        tools("evictcontrol", "-C", "o", "-c", "0x81000100")
        self.assertNotIn(b"0x81000100", tools("getcap", "handles-persistent"))

    def test_a_quote_is_verified(self):
        tools = self.tools
        tools("createek", "-G", "ecc", "-c", "ek.ctx", "-u", "ek.pub")
        tools("createak", "-C", "ek.ctx", "-G", "ecc", "-g", "sha256", "-s", "ecdsa", "-c", "ak.ctx", "-u", "ak.pem", "-f",
              "pem")
        tools("quote", "-c", "ak.ctx", "-l", "sha256:0,1,2", "-q", "abcd", "-m", "q.msg", "-s", "q.sig", "-o", "q.pcr", "-g",
              "sha256")
        tools("checkquote", "-u", "ak.pem", "-m", "q.msg", "-s", "q.sig", "-f", "q.pcr", "-g", "sha256", "-q", "abcd")

    def test_sequences_of_several_processes_at_a_time(self):
        tools = self.tools
        big = bytes(range(256)) * 64  # larger than one command: a sequence
        tools.write("big", big)
        tools.primary()
        tools.write("key", b"k" * 32)
        tools("import", "-C", "primary.ctx", "-G", "hmac", "-i", "key", "-u", "h.pub", "-r", "h.priv")
        tools("load", "-C", "primary.ctx", "-u", "h.pub", "-r", "h.priv", "-c", "h.ctx")

        def hashed(i):
            tools("hash", "-C", "n", "-g", "sha256", "-o", f"digest{i}", "-t", f"ticket{i}", "big")
            self.assertEqual(tools.read(f"digest{i}"), hashlib.sha256(big).digest())

        def authenticated(i):
            tools("hmac", "-c", "h.ctx", "-o", f"mac{i}", "big")
            self.assertEqual(tools.read(f"mac{i}"), hmac.new(b"k" * 32, big, "sha256").digest())

        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(hashed if i % 2 else authenticated, i) for i in range(12)]:
                done.result()
        self.assert_nothing_left()

    def test_eight_users_with_a_policy_session_each_at_a_time(self):
        tools = self.tools
        tools.primary()
        tools("createpolicy", "--policy-pcr", "-l", "sha256:0", "-L", "policy")

        def user(i):
            tools.write(f"secret{i}", b"secret %d" % i)
            tools("create", "-C", "primary.ctx", "-i", f"secret{i}", "-L", "policy", "-u", f"s{i}.pub", "-r", f"s{i}.priv")
            tools("load", "-C", "primary.ctx", "-u", f"s{i}.pub", "-r", f"s{i}.priv", "-c", f"s{i}.ctx")
            tools("startauthsession", "--policy-session", "-S", f"session{i}.ctx")
            tools("policypcr", "-S", f"session{i}.ctx", "-l", "sha256:0")
            self.assertEqual(tools("unseal", "-c", f"s{i}.ctx", "-p", f"session:session{i}.ctx"), b"secret %d" % i)
            tools("flushcontext", f"session{i}.ctx")

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(user, i) for i in range(8)]:
                done.result()
        self.assert_nothing_left()

    def test_a_session_file_is_good_once(self):
        tools = self.tools
        tools("startauthsession", "--policy-session", "-S", "s.ctx")
        old = tools.read("s.ctx")
        tools("policyrestart", "-S", "s.ctx")
        tools.write("old.ctx", old)
        with self.assertRaises(ToolFailed):
            tools("policyrestart", "-S", "old.ctx")
        tools("policyrestart", "-S", "s.ctx")

    def test_a_tools_error_messages_read_sensibly(self):
        said = self.tools("rc_decode", "0xb0143")
        self.assertIn(b"command code not supported", said)
        with self.assertRaises(ToolFailed) as failure:
            self.tools("readpublic", "-c", "0x80000005")
        self.assertIn("0xb0910", str(failure.exception).lower().replace("0x000b0910", "0xb0910"))


if __name__ == "__main__":
    harness.main()
