"""`tpmspace policy learn`: what a script used becomes a profile; under it the script passes and nothing else does."""

import os
import pathlib
import struct
import subprocess
import tempfile
import unittest

import harness
from users import ALICE, User

LEARN, NARROW = 11, 7
SIGNER = """set -e
tpm2_createprimary -C o -G ecc -c p.ctx -Q
tpm2_create -C p.ctx -G ecc -u k.pub -r k.priv -Q
tpm2_load -C p.ctx -u k.pub -r k.priv -c k.ctx -Q
echo message > m
tpm2_sign -c k.ctx -g sha256 -o sig m
tpm2_verifysignature -c k.ctx -g sha256 -m m -s sig
tpm2_pcrread sha256:0,7 -Q
"""


def learn(daemon, directory, *words, options=(), **more):
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    line = [harness.program("tpmspace"), "policy", "learn", "--socket", daemon.path, *options, "--", *words]
    return subprocess.run(line, cwd=directory, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=harness.TIMEOUT, check=False, **more)


def text_of(reply):
    code, body = reply
    assert code == 0, hex(code)
    (size,) = struct.unpack_from(">H", body)
    assert len(body) == 2 + size
    return body[2:].decode()


def name(text):
    return struct.pack(">H", len(text)) + text.encode()


class LearnTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="tpmspace-learn-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)

    def checked(self, text):
        """`tpmspace policy check` has nothing against it."""
        path = self.directory / "checked.toml"
        path.write_text(text)
        done = subprocess.run([harness.program("tpmspace"), "policy", "check", str(path)], capture_output=True, text=True,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr + text)

    def test_a_script_passes_under_its_learned_profile_and_no_other_command_does(self):
        harness.need("tpm2_createprimary")
        harness.need_root()
        with harness.Daemon("embedded") as daemon:
            # Not the library beside the tested program, if the program has sanitizers.
            done = learn(daemon, self.directory, "env", f"LD_LIBRARY_PATH={harness.LIBRARY}", "sh", "-c", SIGNER,
                         options=["--name", "signer"])
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            profile = done.stdout
        self.assertIn("\n[profile.signer]\n", profile)
        self.assertIn('"TPM2_Sign"', profile)
        self.assertNotIn("GetRandom", profile)
        self.assertNotIn("Refused", profile)
        self.assertIn('hierarchies = ["owner"', profile)
        self.assertRegex(profile, r"# At one time there were at most \d+ objects")
        self.assertRegex(profile, r"\nobjects = \d+\n")
        self.checked(profile)
        config = f"{profile}\n[[rule]]\nuser = {ALICE}\nprofile = \"signer\"\n"
        with harness.Daemon("embedded", config=config) as daemon, User(daemon, ALICE) as alice:
            done = alice.run("sh", "-c", SIGNER)
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            for tool in (["tpm2_getrandom", "8"], ["tpm2_clear"], ["tpm2_pcrread", "sha256:1"],
                         ["tpm2_createprimary", "-C", "e", "-c", "e.ctx"]):
                self.assertNotEqual(alice.run(*tool).returncode, 0, tool)
            self.assertIn(b"0xb0143", alice.run("tpm2_getrandom", "8").stderr.lower())

    def test_the_exit_code_and_the_output_are_the_commands(self):
        with harness.Daemon("embedded") as daemon:
            done = learn(daemon, self.directory, "sh", "-c", "echo out; echo err >&2; exit 7",
                         options=["--output", "learned.toml"])
            self.assertEqual((done.returncode, done.stdout), (7, "out\n"))
            self.assertTrue(done.stderr.startswith("err\ntpmspace: nothing was learned: \"sh\" sent no TPM command"),
                            done.stderr)
            self.assertFalse((self.directory / "learned.toml").exists(), "what was there would be lost")
            for words, options, code, sentence in ((["/nowhere"], (), 127, "cannot run /nowhere"),
                                                   (["/tmp"], (), 126, "cannot run /tmp"),
                                                   (["true"], ["--name", "safe"], 125, "no profile can have the name"),
                                                   (["true"], (), 125, "nothing was learned"),
                                                   (["sh", "-c", "kill -9 $$"], (), 137, "")):
                done = learn(daemon, self.directory, *words, options=options)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertIn(sentence, done.stderr)

    def test_a_profile_that_cannot_be_written_is_shown(self):
        with harness.Daemon("embedded") as daemon:
            done = learn(daemon, self.directory, "env", f"LD_LIBRARY_PATH={harness.LIBRARY}", "tpm2_getrandom", "--hex", "2",
                         options=["--output", "/nowhere/x"])
            self.assertEqual(done.returncode, 125)
            self.assertIn("cannot write to", done.stderr)
            self.assertIn("[profile.learned]", done.stdout)

    def test_without_the_daemon_there_is_nothing_to_show(self):
        with harness.Daemon("embedded") as daemon:
            done = learn(daemon, self.directory, "kill", "-KILL", str(daemon.pid))
            self.assertEqual(done.returncode, 125)
            self.assertIn("tpmspaced did not report the command's use of the TPM", done.stderr)
            daemon.exit_code = 0  # killed as intended
            daemon.process.wait(harness.TIMEOUT)

    def test_an_ordinary_user_learns_their_own_refused_commands(self):
        harness.need_root()
        with harness.Daemon("embedded") as daemon:
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                client = daemon.connect()
            with client:
                client.hello()
                for wrong in ("safe", "", "a b", "x" * 65):
                    self.assertEqual(client.control(LEARN, name(wrong))[0], harness.MANAGER | harness.VALUE, wrong)
                client.run(harness.get_random())  # not yet
                self.assertEqual(text_of(client.control(LEARN, name("p"))), "")
                clear = harness.command(0x126, struct.pack(">I", 0x4000000A) + harness.password(), tag=0x8002)
                self.assertEqual(harness.code_of(client.command(clear)), harness.MANAGER | harness.COMMAND_CODE)
                self.assertEqual(client.control(NARROW, name("safe"))[0], 0)
                client.run(harness.command(harness.GET_CAPABILITY, struct.pack(">III", 6, 0x100, 1)))
                text = text_of(client.control(LEARN, name("p")))
                self.assertEqual(text, "# Learned from 2 TPM commands.\n"
                                       "# Commands refused during the run, and allowed by this profile:\n"
                                       "#   TPM2_Clear (0x000b0143)\n"
                                       "[profile.p]\n"
                                       "allow = [\n  \"TPM2_Clear\",\n  \"TPM2_GetCapability\",\n]\n"
                                       "localities = [0]\n"
                                       "hierarchies = [\"lockout\"]\n")
                self.checked(text)
                # Another connection's object is not the user's.
                with daemon.connect() as other:
                    other.hello()
                    self.assertEqual(text_of(other.control(LEARN, name("p"))), "")

    def test_learning_has_an_end(self):
        with harness.Daemon("embedded") as daemon, daemon.connect() as client:
            client.hello()
            self.assertEqual(text_of(client.control(LEARN, name("p"))), "")
            for i in range(300):
                client.command(harness.command(harness.READ_PUBLIC, struct.pack(">I", 0x81000000 + 2 * i)))
            text = text_of(client.control(LEARN, name("p")))
            self.assertIn("NOT COMPLETE", text)
            self.checked(text)

    def test_reload_is_a_subcommand(self):
        with harness.Daemon("embedded", config="") as daemon:
            line = [harness.program("tpmspace"), "policy", "reload", "--socket", daemon.path]
            done = subprocess.run(line, capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn("was read again", done.stdout)
            (daemon.directory / "config.toml").write_text("[[rule]]\nprofile = \"saef\"\n")
            done = subprocess.run(line, capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("nothing was changed", done.stderr)


if __name__ == "__main__":
    harness.main()
