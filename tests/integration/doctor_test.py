"""`tpmspace doctor` beside a daemon: one cause is one problem, and what a user cannot see is not said to be none."""

import json
import subprocess
import unittest

import harness
from harness import get_random
from users import ALICE, User


def findings(daemon, user=None):
    line = [harness.program("tpmspace"), "doctor", "--json", "--socket", daemon.path]
    done = user.run(*line) if user else subprocess.run(line, capture_output=True, timeout=harness.TIMEOUT, check=False)
    report = json.loads(done.stdout)
    assert report["ok"] == (done.returncode == 0), done
    return report["findings"]


class Doctor(unittest.TestCase):
    def test_a_tpm_that_has_just_been_lost_is_one_problem(self):
        with harness.Swtpm() as swtpm, harness.Daemon(swtpm.spec) as daemon:
            with daemon.connect() as client:
                client.run(get_random())
            self.assertIn("persistent objects: none", [one["text"] for one in findings(daemon)])
            swtpm.kill()  # not noticed yet
            problems = [one["text"] for one in findings(daemon) if one["level"] == "problem" and "TPM" in one["text"]]
            about_it = [text for text in problems if "libtss2" not in text and "TPM2TOOLS_TCTI" not in text]
            self.assertEqual(len(about_it), 1, problems)
            self.assertIn("no longer answers; if swtpm has ended, start it again", about_it[0])

    def test_an_ordinary_user_is_not_told_that_there_are_no_sessions(self):
        with harness.Daemon("embedded") as daemon, daemon.connect() as root, User(daemon, ALICE) as alice:
            root.run(harness.start_auth_session())
            self.assertIn("1 session (", " ".join(one["text"] for one in findings(daemon)))
            texts = [one["text"] for one in findings(daemon, alice)]
            self.assertIn("objects and sessions of other users are not shown to you; run doctor as root to see them",
                          texts)
            self.assertFalse([text for text in texts if "all spaces of this TPM" in text], texts)


if __name__ == "__main__":
    harness.main()
