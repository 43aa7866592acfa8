"""Where listeners are: each in a directory of its own, which a container can have; and the one for administrators."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import harness
from harness import get_random
from users import ALICE, User

LISTENERS = """
[[listener]]
name = "shop"
profile = "safe"
[[listener]]
name = "bank"
profile = "safe"
"""


def tell(*line, prefix=(), environment=None):
    return subprocess.run([*prefix, harness.program("tpmspace"), *line], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=harness.TIMEOUT, check=False, env={**os.environ, **(environment or {})})


def sockets_below(directory):
    return [name for name in os.listdir(directory) if stat.S_ISSOCK(os.stat(f"{directory}/{name}").st_mode)]


class Directories(unittest.TestCase):
    def setUp(self):
        # A directory of its own for the main socket: nothing of the harness lies in it.
        root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="tpmspace-")))
        self.main = root / "main"
        self.main.mkdir()
        self.listeners = root / "main-listeners"

    def daemon(self, config=LISTENERS, **more):
        return harness.Daemon("embedded", config=config, socket_path=self.main / "tpm.sock", **more)

    def test_each_listener_is_alone_in_its_directory(self):
        with self.daemon() as daemon:
            done = tell("listener", "add", "late", "--socket", daemon.path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"{self.listeners}/late/tpm.sock", done.stdout)
            for name in ("shop", "bank", "late"):
                directory = self.listeners / name
                self.assertEqual(sockets_below(directory), ["tpm.sock"])
                self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o755)
                with harness.Client(str(directory / "tpm.sock")) as client:
                    client.run(get_random())
            self.assertEqual(sockets_below(self.main), ["tpm.sock"], "mounting it exposes no other listener")

    def test_a_container_that_has_the_directory_is_served_after_a_restart(self):
        """A descriptor of the directory leads to what a mount of it shows."""
        with self.daemon():
            mounted = os.open(self.listeners / "shop", os.O_PATH)
        self.addCleanup(os.close, mounted)
        inside = f"/proc/self/fd/{mounted}/tpm.sock"
        self.assertFalse(os.path.exists(inside))
        with self.daemon(), harness.Client(inside) as client:
            client.run(get_random())

    def test_a_directory_that_others_may_write_in_is_refused(self):
        (self.listeners / "shop").mkdir(parents=True)
        os.chmod(self.listeners / "shop", 0o777)
        (self.main / "c.toml").write_text(LISTENERS)
        code, said = harness.run_daemon("--tpm", "embedded", "--socket", str(self.main / "tpm.sock"), "--config",
                                        str(self.main / "c.toml"))
        self.assertEqual(code, 1)
        self.assertIn(f"other users may write in {self.listeners}/shop", said)

    def test_a_relative_path_is_refused_in_the_file_and_at_run_time(self):
        with self.daemon() as daemon:
            done = tell("listener", "add", "late", "late.sock", "--socket", daemon.path)
            self.assertEqual((done.returncode, done.stderr), (1, "tpmspace: a listener's path begins with a slash\n"))
            for name in ("..", "admin", "main"):
                done = tell("listener", "add", name, "--socket", daemon.path)
                self.assertEqual(done.returncode, 1, name)
        done = subprocess.run([harness.program("tpmspaced"), "--check-config", "--config", "/dev/stdin"],
                              input='[[listener]]\nname = "late"\npath = "late.sock"\n', capture_output=True, text=True,
                              timeout=harness.TIMEOUT, check=False)
        self.assertEqual(done.returncode, 1)


class ForAdministrators(unittest.TestCase):
    def setUp(self):
        harness.need_root()

    def test_no_other_user_can_open_it(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-") as directory:
            os.chmod(directory, 0o755)
            path = f"{directory}/admin.sock"
            with harness.Daemon("embedded", config=f'admin_socket = "{path}"') as daemon:
                self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
                with harness.effective_user(ALICE), socket.socket(socket.AF_UNIX) as hers:
                    self.assertRaises(PermissionError, hers.connect, path)
                done = tell("status", "--socket", path)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("admin", tell("listener", "list", "--socket", daemon.path).stdout)

    def test_a_full_backlog_at_the_main_socket_keeps_no_administrator_out(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-") as directory, contextlib.ExitStack() as flood:
            path = f"{directory}/admin.sock"
            with harness.Daemon("embedded", config=f'admin_socket = "{path}"') as daemon:
                daemon.signal(signal.SIGSTOP)
                try:
                    while True:
                        one = flood.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                        one.setblocking(False)
                        try:
                            one.connect(daemon.path)
                        except BlockingIOError:
                            break
                    admin = flood.enter_context(harness.Client(path))  # does not wait
                finally:
                    daemon.signal(signal.SIGCONT)
                admin.hello()
                self.assertEqual(admin.status()["server_own_only"], 0)


class OfTheSystem(unittest.TestCase):
    """The defaults, in a /run of their own."""

    def setUp(self):
        harness.need_root()
        for tool in ("unshare", "nsenter", "setpriv"):
            harness.need(tool)
        if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("no mount namespaces here")

    @contextlib.contextmanager
    def daemon(self, start):
        """What it logs, as a function; and what a program begins with to see the same /run."""
        script = f"mount -t tmpfs -o mode=755 tmpfs /run && {start}"
        with tempfile.TemporaryDirectory(prefix="tpmspace-") as directory:
            path = pathlib.Path(directory) / "log"
            with path.open("w") as log, subprocess.Popen(
                    ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log) as process:
                try:
                    end = time.monotonic() + harness.TIMEOUT
                    while "serving embedded" not in path.read_text():
                        assert time.monotonic() < end and process.poll() is None, path.read_text()
                        time.sleep(0.01)
                    yield path.read_text, ("nsenter", "--mount", "--target", str(process.pid))
                finally:
                    process.terminate()
                    process.wait(harness.TIMEOUT)

    def listeners(self, prefix):
        done = tell("listener", "list", "--json", prefix=prefix, environment={"TPMSPACE_SOCKET": "", "XDG_RUNTIME_DIR": ""})
        self.assertEqual(done.returncode, 0, done.stderr)
        return {listener["name"]: listener for listener in json.loads(done.stdout)}

    def test_root_uses_the_listener_for_administrators_first(self):
        with self.daemon(f"exec {harness.program('tpmspaced')} --tpm embedded") as (_, prefix):
            listeners = self.listeners(prefix)
            self.assertEqual(listeners["main"]["path"], "/run/tpmspace/tpm.sock")
            self.assertEqual(listeners["admin"]["path"], "/run/tpmspace-listeners/admin/tpm.sock")
            self.assertEqual((listeners["main"]["connections"], listeners["admin"]["connections"]), (0, 1))
            who = tell("whoami", "--json", prefix=prefix, environment={"TPMSPACE_SOCKET": "", "XDG_RUNTIME_DIR": ""})
            self.assertEqual(json.loads(who.stdout)["listener"], "main", "as root's other programs have it")

    def test_a_service_that_runs_as_its_own_user_has_the_systems_defaults(self):
        """As the shipped unit starts it: RuntimeDirectory=, a user without XDG_RUNTIME_DIR."""
        directories = "/run/tpmspace /run/tpmspace-listeners"
        user = f"setpriv --reuid={ALICE} --regid={ALICE} --clear-groups"
        start = (f"mkdir {directories} && chown {ALICE} {directories} && unset XDG_RUNTIME_DIR && "
                 f"RUNTIME_DIRECTORY=/run/tpmspace:/run/tpmspace-listeners exec {user} "
                 f"{harness.program('tpmspaced')} --tpm embedded")
        with self.daemon(start) as (_, prefix):
            listeners = self.listeners(prefix)
            self.assertEqual(listeners["main"]["path"], "/run/tpmspace/tpm.sock")
            self.assertEqual(listeners["admin"]["connections"], 1)

    def test_it_goes_on_without_a_listener_whose_directory_cannot_be_made(self):
        start = (f"mkdir /run/tpmspace && chown {ALICE} /run/tpmspace && unset XDG_RUNTIME_DIR && "
                 f"RUNTIME_DIRECTORY=/run/tpmspace exec setpriv --reuid={ALICE} --regid={ALICE} --clear-groups "
                 f"{harness.program('tpmspaced')} --tpm embedded")
        with self.daemon(start) as (log, prefix):
            self.assertEqual(list(self.listeners(prefix)), ["main"])
            self.assertIn("tpmspaced goes on without it", log())


class OfAUser(unittest.TestCase):
    def test_a_users_own_daemon_has_its_listeners_beside_its_socket(self):
        harness.need_root()
        with harness.Daemon("embedded") as daemon, User(daemon, ALICE) as alice:
            runtime = alice.directory
            line = [harness.program("tpmspaced"), "--tpm", "embedded"]
            with subprocess.Popen([*alice.prefix, "env", f"XDG_RUNTIME_DIR={runtime}", *line], cwd=runtime,
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as own:
                try:
                    main = f"{runtime}/tpmspace/tpm.sock"
                    daemon.wait_until(lambda: os.path.exists(main), "Alice's daemon serves")
                    done = alice.run(harness.program("tpmspace"), "listener", "add", "box", "--socket", main)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertTrue(os.path.exists(f"{runtime}/tpmspace-listeners/box/tpm.sock"))
                    listed = alice.run(harness.program("tpmspace"), "listener", "list", "--json", "--socket", main)
                    self.assertEqual([listener["name"] for listener in json.loads(listed.stdout)], ["main", "box"])
                finally:
                    own.terminate()
                    own.wait(harness.TIMEOUT)


if __name__ == "__main__":
    harness.main()
