"""The socket's place, readiness, signals, exit codes."""

import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import tempfile
import time
import unittest

import harness
from harness import get_random, program, run_daemon


class Socket(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory(prefix="tpmspace-")))
        self.path = str(self.directory / "s")

    def refused(self, path):
        code, said = run_daemon("--tpm", "embedded", "--socket", path)
        self.assertEqual(code, 1, said)
        self.assertRegex(said, harness.LOG_PREFIX + "error: ")
        return said

    def test_it_appears_complete_and_goes_with_the_daemon(self):
        with harness.Daemon("embedded", "--socket-mode", "0640", socket_path=self.path) as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)
            with daemon.connect() as client:
                client.run(get_random())
            self.assertEqual(daemon.stop(), 0)
            self.assertEqual(os.listdir(self.directory), [])

    def test_it_is_open_to_all_users_by_default(self):
        with harness.Daemon(socket_path=self.path):
            self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o666)

    def test_it_does_not_appear_before_the_daemon_is_ready(self):
        with harness.HeldTpm() as tpm:
            tpm.hold_answers_to(harness.GET_CAPABILITY)
            daemon = harness.Daemon(tpm.spec, socket_path=self.path, pass_fds=tpm.pass_fds, wait=False)
            with daemon:
                self.assertTrue(tpm.held.wait(harness.TIMEOUT))
                self.assertFalse(os.path.exists(self.path))
                tpm.release()
                daemon.wait_until_ready()
                self.assertTrue(os.path.exists(self.path))

    def test_a_daemon_that_is_not_ready_stops_when_told(self):
        with harness.HeldTpm() as tpm:
            tpm.hold_answers_to(harness.GET_CAPABILITY)
            with harness.Daemon(tpm.spec, socket_path=self.path, pass_fds=tpm.pass_fds, wait=False) as daemon:
                self.assertTrue(tpm.held.wait(harness.TIMEOUT))
                self.assertEqual(daemon.stop(), 0)
                self.assertNotIn("takes too long", daemon.log())  # no client waits: it gets no grace
                self.assertEqual(os.listdir(self.directory), [])

    def test_a_live_socket_is_left_alone(self):
        with harness.Daemon(socket_path=self.path) as daemon:
            said = self.refused(self.path)
            self.assertIn(f"another tpmspaced (pid {daemon.pid}) serves {self.path}", said)
            with daemon.connect() as client:
                client.run(get_random())

    def test_a_stale_socket_is_replaced(self):
        with harness.Daemon(socket_path=self.path) as daemon:
            daemon.process.kill()
            daemon.process.wait()
            daemon.exit_code = 0
        self.assertTrue(os.path.exists(self.path))
        with harness.Daemon(socket_path=self.path) as daemon, daemon.connect() as client:
            client.run(get_random())

    def test_a_file_that_is_no_socket_is_refused(self):
        pathlib.Path(self.path).write_text("precious")
        self.assertIn("is not a socket", self.refused(self.path))
        self.assertEqual(pathlib.Path(self.path).read_text(), "precious")

    def test_a_path_that_is_too_long_is_said(self):
        self.assertIn("at most 103 are possible", self.refused("/tmp/" + "a" * 120))

    def test_a_missing_directory_is_said(self):
        self.assertIn("does not exist", self.refused(str(self.directory / "no" / "s")))

    def test_the_default_place_is_made(self):
        # Root's default is outside of this test's reach, so root runs it as the user nobody.
        user = {"user": 65534} if os.geteuid() == 0 else {}
        if user:
            os.chown(self.directory, 65534, -1)
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.directory)}
        try:
            process = subprocess.Popen([program("tpmspaced"), "--tpm", "embedded", "--log-level", "error"],
                                       env=environment, **user)
        except PermissionError:
            self.skipTest("nobody may not run the program")
        try:
            while not (self.directory / "tpmspace" / "tpm.sock").exists():
                self.assertIsNone(process.poll())
                time.sleep(0.01)
        finally:
            process.terminate()
            self.assertEqual(process.wait(harness.TIMEOUT), 0)

    def test_of_many_that_start_together_one_serves(self):
        daemons = [harness.Daemon(socket_path=self.path, wait=False) for _ in range(6)]
        try:
            ended = []
            while len(ended) < 5:
                ended = [d for d in daemons if d.process.poll() is not None]
            for daemon in ended:
                self.assertEqual(daemon.process.returncode, 1)
                self.assertIn("another tpmspaced (pid ", daemon.log())
            (winner,) = [d for d in daemons if d not in ended]
            winner.wait_until_ready()
            with winner.connect() as client:
                client.run(get_random())
        finally:
            codes = sorted(d.stop() for d in daemons)
            for daemon in daemons:
                daemon.clean_up()
        self.assertEqual(codes, [0, 1, 1, 1, 1, 1])

    def test_another_programs_socket_is_not_removed(self):
        with harness.Daemon(socket_path=self.path) as daemon:
            os.unlink(self.path)
            other = self.enterContext(socket.socket(socket.AF_UNIX))
            other.bind(self.path)
            self.assertEqual(daemon.stop(), 0)
            self.assertTrue(os.path.exists(self.path))

    def test_a_socket_from_systemd_is_used_and_left(self):
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(self.path)
        listener.listen()
        shell = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        with harness.Daemon(socket_path=self.path, prefix=("sh", "-c", shell, "sh"),
                            pass_fds=(listener.fileno(),)) as daemon:
            with daemon.connect() as client:
                client.run(get_random())
            self.assertEqual(daemon.stop(), 0)
            self.assertTrue(os.path.exists(self.path))


    def test_a_socket_from_systemd_elsewhere_opens_no_listener_for_administrators(self):
        listener = self.enterContext(socket.socket(socket.AF_UNIX))
        listener.bind(self.path)
        listener.listen()
        shell = 'exec 3<&$0; LISTEN_FDS=1 LISTEN_PID=$$ exec "$1" --tpm embedded'  # no --socket
        with harness.Daemon(socket_path=self.path, prefix=("sh", "-c", shell, str(listener.fileno())),
                            pass_fds=(listener.fileno(),)) as daemon:
            listed = subprocess.run([harness.program("tpmspace"), "listener", "list", "--json", "--socket", self.path],
                                    capture_output=True, text=True)
            self.assertEqual(listed.returncode, 0, listed.stderr)
            self.assertEqual([listener["name"] for listener in json.loads(listed.stdout)], ["main"])


class Signals(unittest.TestCase):
    def test_term_and_int_end_it_well(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with harness.Daemon() as daemon, daemon.connect() as client:
                client.run(harness.create_primary())
                daemon.signal(number)
                self.assertEqual(daemon.wait(), 0)
                self.assertTrue(client.is_closed())
                self.assertFalse(os.path.exists(daemon.path))

    def test_term_waits_for_the_command_in_flight(self):
        with harness.Daemon("embedded,latency=slb9670") as daemon:
            with daemon.connect() as client, daemon.connect() as observer:
                observer.hello()
                client.send(harness.create_primary(rsa=True))
                daemon.wait_until(lambda: observer.status()["current_command"] == harness.CREATE_PRIMARY, "it runs")
                daemon.signal(signal.SIGTERM)
                self.assertTrue(observer.is_closed())
                self.assertFalse(os.path.exists(daemon.path))
                self.assertEqual(harness.code_of(client.frame()), 0)
                self.assertTrue(client.is_closed())
                self.assertEqual(daemon.wait(), 0)

    def test_a_second_term_ends_it_at_once(self):
        with harness.HeldTpm() as tpm, harness.Daemon(tpm.spec, pass_fds=tpm.pass_fds) as daemon:
            with daemon.connect() as client:
                tpm.hold_answers_to(harness.GET_RANDOM)
                client.send(get_random())
                self.assertTrue(tpm.held.wait(harness.TIMEOUT))
                daemon.signal(signal.SIGTERM)
                daemon.wait_for_log("stopping")
                daemon.signal(signal.SIGTERM)
                self.assertEqual(daemon.wait(), 1)
                self.assertFalse(os.path.exists(daemon.path))
            daemon.exit_code = 0

    def test_hup_and_pipe_do_not_end_it(self):
        with harness.Daemon() as daemon:
            daemon.signal(signal.SIGHUP)
            daemon.signal(signal.SIGPIPE)
            daemon.wait_for_log("was read again")
            with daemon.connect() as client:
                client.run(get_random())

    def test_the_clients_objects_and_sessions_are_flushed_at_the_end(self):
        with harness.HeldTpm() as tpm:
            with harness.Daemon(tpm.spec, pass_fds=tpm.pass_fds) as daemon, daemon.connect() as client:
                for _ in range(5):
                    client.run(harness.create_primary())
                    client.run(harness.start_auth_session())
                self.assertEqual(daemon.stop(), 0)
                self.assertEqual(tpm.handles(0x80000000), [])
                self.assertEqual(tpm.handles(0x02000000), [])
                self.assertEqual(tpm.handles(0x03000000), [])


class CommandLine(unittest.TestCase):
    def test_help_and_version(self):
        code, said = run_daemon("--help")
        self.assertEqual(code, 0)
        for option in ("--tpm", "--socket", "--socket-mode", "--config", "--log-level", "--version"):
            self.assertIn(option, said)
        code, said = run_daemon("--version")
        self.assertEqual(code, 0)
        self.assertRegex(said, r"^tpmspaced \d+\.\d+\.\d+\n$")

    def test_every_option_is_documented(self):
        documentation = (harness.SOURCE / "docs/configuration.md").read_text()
        for option in set(re.findall(r"(?<![\w-])--[a-z-]+", run_daemon("--help")[1])):
            self.assertRegex(documentation, f"\\| .*`{option}[ `]", option)

    def test_usage_errors_are_2(self):
        for line in (["--nonsense"], ["--tpm"], ["--tpm", "nonsense"], ["--socket-mode", "888"], ["--log-level", "x"],
                     ["extra"]):
            self.assertEqual(run_daemon(*line)[0], 2, line)

    def test_usage_errors_are_our_sentences(self):
        for line, said in ((["-V"], "there is no option -V; `tpmspaced --help` tells more"),
                           (["extra"], '"extra" is an unexpected argument; `tpmspaced --help` tells more'),
                           (["--tpm"], "--tpm needs a value; `tpmspaced --help` tells more"),
                           (["--socket", "a", "--socket", "b"],
                            "--socket is given more than once: give it once; `tpmspaced --help` tells more")):
            self.assertEqual(run_daemon(*line), (2, f"tpmspaced: {said}\n"))
        code, said = run_daemon("--tpm", "foo")
        self.assertRegex(said, r"\Atpmspaced: --tpm: 'foo' is not a kind of TPM: .*\n\Z")
        self.assertNotIn("--help", said)

    def test_without_a_chip_the_embedded_tpm_is_named(self):
        if os.path.exists("/dev/tpm0"):
            self.skipTest("this machine has a TPM")
        code, said = run_daemon()
        self.assertEqual(code, 1)
        self.assertIn("--tpm embedded", said)

    def test_a_broken_configuration_is_said_with_its_place(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "c.toml"
            path.write_text('tpm = "embedded"\nsokcet = "x"\n')
            code, said = run_daemon("--config", str(path))
            self.assertEqual(code, 1)
            self.assertIn(f"{path}:2:1: the key \"sokcet\" is unknown", said)

    def test_a_broken_value_is_said_with_its_place_though_the_command_line_wins(self):
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "c.toml"
            for text, wrong in (('tpm = "foo"\n', "1:7: \"tpm\": 'foo' is not a kind of TPM"),
                                (f'\nsocket = "/{"x" * 200}"\n', '2:10: "socket" is too long: it has 201 bytes')):
                path.write_text(text)
                code, said = run_daemon("--config", str(path), "--tpm", "embedded", "--socket", f"{directory}/s")
                self.assertEqual(code, 1)
                self.assertIn(f"{path}:{wrong}", said)

    def test_the_configuration_is_used(self):
        with harness.Daemon(tpm=None, config='tpm = "embedded"\nsocket_mode = "0606"\n') as daemon:
            self.assertEqual(stat.S_IMODE(os.stat(daemon.path).st_mode), 0o606)

    def test_a_state_directory_has_one_user(self):
        with tempfile.TemporaryDirectory() as directory, harness.Daemon(f"embedded:{directory}/state") as daemon:
            code, said = run_daemon("--tpm", f"embedded:{directory}/state", "--socket", f"{directory}/other")
            self.assertEqual(code, 1)
            self.assertIn(f"{directory}/state", said)
            with daemon.connect() as client:
                client.run(get_random())


if __name__ == "__main__":
    harness.main()
