"""Users of one daemon: tpm2-tools in the name of somebody else than root, and what is refused to them."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness

# Users without an account: only the number counts.
ALICE, BOB, CAROL = 21001, 21002, 21003


class Refused(Exception):
    """A tool ended with another exit code than 0; it says the code of the TPM or the manager."""


class User:
    """Somebody with a directory to work in, and tpm2_* as functions: user("createprimary", "-c", "p.ctx")."""

    def __init__(self, daemon, uid, groups=(), path=None):
        harness.need_root()
        harness.need("setpriv")
        harness.need("tpm2_createprimary")
        self._temporary = tempfile.TemporaryDirectory(prefix="tpmspace-user-")
        self.directory = pathlib.Path(self._temporary.name)
        os.chown(self.directory, uid, uid)
        listed = ",".join(str(group) for group in groups)
        self.prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}"]
        self.prefix += [f"--groups={listed}"] if groups else ["--clear-groups"]
        self.environment = {**os.environ, "TPM2TOOLS_TCTI": f"space:path={path or daemon.path}",
                            "LD_LIBRARY_PATH": str(harness.LIBRARY)}
        self.environment.pop("LD_PRELOAD", None)
        # The daemon's directory is closed to other users by default.
        os.chmod(daemon.directory, 0o755)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._temporary.cleanup()

    def run(self, *line, **options):
        return subprocess.run([*self.prefix, *line], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=harness.TIMEOUT, check=False, **options)

    def __call__(self, tool, *arguments):
        done = self.run(f"tpm2_{tool}", *arguments)
        if done.returncode != 0:
            raise Refused(f"tpm2_{tool} {' '.join(arguments)}: exit {done.returncode}\n{done.stderr.decode()}")
        return done.stdout


class RefusalTest(unittest.TestCase):
    def keeps_its_saved_session(self, one, other):
        """The other user cannot use the file of a session that this one saved, and that harms it not."""
        one("startauthsession", "--policy-session", "-S", "s.ctx")
        shutil.copyfile(one.directory / "s.ctx", other.directory / "theirs.ctx")
        with self.assertRaises(Refused):
            other("policypassword", "-S", "theirs.ctx")
        one("policypassword", "-S", "s.ctx")

    def refused(self, code, user, tool, *arguments):
        """The tool says that code, with our layer; `tpm2_rc_decode` reads it sensibly."""
        with self.assertRaises(Refused) as raised:
            user(tool, *arguments)
        self.assertIn(f"0x{harness.MANAGER | code:X}".lower(), str(raised.exception).lower())

    def assert_code(self, response, code):
        self.assertEqual(hex(harness.code_of(response)), hex(harness.MANAGER | code))
