"""Several TPMs behind one daemon, end to end: who gets which by listener and namespace, who may choose, and one that is slow
or gone costs nobody who uses another.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile

import harness
from users import ALICE, BOB, CAROL, Refused, RefusalTest, User

CONFIG = """
[[chip]]
name = "other"
tpm = "{spec}"

[[listener]]
name = "to-other"
path = "{directory}/other.sock"
chip = "other"

[[namespace]]
name = "theirs"
user = "{bob}"
chip = "other"

[profile.random-only]
allow = ["random"]

[[rule]]
user = "{bob}"
chip = "main"
profile = "random-only"
"""
OWN_TPM = """
[[listener]]
name = "own"
path = "{home}/own.sock"
chip = "other"
profile = "admin"
"""
USE_CHIP = 12
KEY = "0x81000001"


def use_chip(client, name):
    client.hello()
    return client.control(USE_CHIP, struct.pack(">H", len(name)) + name.encode())[0]


class ChipsTest(RefusalTest):
    @contextlib.contextmanager
    def two(self, spec=None, main="embedded", more="", **options):
        """An embedded TPM, and an swtpm as the chip "other"."""
        with harness.Swtpm() as swtpm, tempfile.TemporaryDirectory(prefix="tpmspace-chips-") as directory:
            os.chmod(directory, 0o755)
            config = CONFIG.format(spec=spec or swtpm.spec, directory=directory, bob=BOB)
            config += more.format(home=directory)
            with harness.Daemon(main, "--socket-mode", "0666", config=config, **options) as daemon:
                yield daemon, f"{directory}/other.sock", swtpm

    def tool(self, daemon, *words, code=0):
        done = subprocess.run([harness.program("tpmspace"), *words, "--socket", daemon.path], capture_output=True,
                              text=True, timeout=harness.TIMEOUT, check=False)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout if code == 0 else done.stderr

    def doctor(self, daemon):
        """Whatever else it finds on this machine."""
        return subprocess.run([harness.program("tpmspace"), "doctor", "--socket", daemon.path], capture_output=True,
                              text=True, timeout=harness.TIMEOUT, check=False).stdout

    def test_a_listener_leads_to_its_chip(self):
        """The same template gives another key in another TPM, and a persistent key of one is not in the other."""
        with self.two() as (daemon, other, _), User(daemon, 0) as here, User(daemon, 0, path=other) as there:
            names = []
            for user in (here, there):
                user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-Q")
                user("readpublic", "-c", "p.ctx", "-n", "name.bin", "-Q")
                names.append((user.directory / "name.bin").read_bytes())
            self.assertNotEqual(*names)
            here("evictcontrol", "-C", "o", "-c", "p.ctx", KEY, "-Q")
            self.assertIn(KEY, here("getcap", "handles-persistent").decode())
            self.assertNotIn(KEY, there("getcap", "handles-persistent").decode())
            # A context saved here cannot be loaded there.
            with self.assertRaises(Refused):
                there("flushcontext", str(here.directory / "p.ctx"))

    def test_a_namespace_has_a_chip_and_a_rule_can_be_about_one(self):
        with self.two() as (daemon, _, _), User(daemon, ALICE) as alice, User(daemon, BOB) as bob:
            for user in (alice, bob):
                user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-Q")
            status = json.loads(bob.run(harness.program("tpmspace"), "status", "--json", "--socket", daemon.path).stdout)
            self.assertEqual(status["tpm"]["chip"], "other")
            self.assertEqual(status["tpm"]["all_chips"], "")
            self.assertTrue(status["tpm"]["backend"].startswith("swtpm:"), status["tpm"])

    def test_only_an_administrator_chooses_a_chip(self):
        with self.two() as (daemon, _, _):
            root = daemon.connect()
            self.assertEqual(use_chip(root, "other"), 0)
            self.assertEqual(harness.code_of(root.command(harness.get_random())), 0)
            # Not after the first command; and by name alone.
            self.assertEqual(use_chip(root, "main"), harness.MANAGER | harness.SEQUENCE)
            self.assertEqual(use_chip(daemon.connect(), "nowhere"), harness.MANAGER | harness.VALUE)
            os.chmod(daemon.directory, 0o755)
            with harness.effective_user(ALICE):
                alice = daemon.connect()
            self.assertEqual(use_chip(alice, "other"), harness.MANAGER | 0x120)
            self.assertEqual(use_chip(alice, "main"), 0)
            self.assertEqual(harness.code_of(alice.command(harness.get_random())), 0)

    def test_all_permissions_on_one_chip_give_no_other_chip(self):
        """A container's own TPM: `admin` by its listener is not an administrator of tpmspaced."""
        with self.two(more=OWN_TPM) as (daemon, other, _), User(daemon, CAROL) as carol:
            own = str(pathlib.Path(other).parent / "own.sock")
            carol.environment["TPM2TOOLS_TCTI"] = f"space:path={own}"
            carol("pcrreset", "16")
            carol("clear", "-c", "l")
            carol.environment["TPM2TOOLS_TCTI"] = f"space:path={own},chip=other"
            carol("pcrread", "sha256:0")
            carol.environment["TPM2TOOLS_TCTI"] = f"space:path={own},chip=main"
            with self.assertRaisesRegex(Refused, "only administrators can choose"):
                carol("pcrread", "sha256:0")
            for words in (("listener", "list"), ("policy", "reload"), ("status", "--chip", "main")):
                done = carol.run(harness.program("tpmspace"), *words, "--socket", own)
                self.assertEqual(done.returncode, 1, done.stdout)

    def test_the_tools_and_the_library_name_a_chip(self):
        with self.two() as (daemon, _, _), User(daemon, 0) as root, User(daemon, ALICE) as alice:
            status = json.loads(self.tool(daemon, "status", "--json", "--chip", "other"))
            self.assertEqual((status["tpm"]["chip"], status["tpm"]["all_chips"]), ("other", "main other"))
            root.environment["TPM2TOOLS_TCTI"] = f"space:path={daemon.path},chip=other"
            root("startauthsession", "--policy-session", "-S", "s.ctx")
            self.assertIn("policy", self.tool(daemon, "sessions", "--chip", "other"))
            self.assertIn("no sessions", self.tool(daemon, "sessions"))
            self.tool(daemon, "flush", "--abandoned", "--chip", "other")
            self.assertIn("no sessions", self.tool(daemon, "sessions", "--chip", "other"))
            self.assertIn("is not in its configuration",
                          self.tool(daemon, "status", "--chip", "nowhere", code=1))
            alice.environment["TPM2TOOLS_TCTI"] = f"space:path={daemon.path},chip=other"
            with self.assertRaisesRegex(Refused, "only administrators can choose"):
                alice("getrandom", "8")
            connected = f"cmd:{harness.program('tpmspace')} connect --socket {daemon.path} --chip other"
            root.environment["TPM2TOOLS_TCTI"] = connected
            root("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-Q")

    def test_listeners_are_made_for_a_chip_at_run_time(self):
        with self.two() as (daemon, _, _):
            path = f"{daemon.directory}/late.sock"
            self.tool(daemon, "listener", "add", "late", path, "--chip", "other")
            listeners = {listener["name"]: listener for listener in json.loads(self.tool(daemon, "listener", "list", "--json"))}
            self.assertEqual([listeners[name]["chip"] for name in ("main", "to-other", "late")], [None, "other", "other"])
            self.assertIn(", chip other", self.tool(daemon, "listener", "list"))
            status = subprocess.run([harness.program("tpmspace"), "status", "--json", "--socket", path],
                                    capture_output=True, check=True, timeout=harness.TIMEOUT)
            self.assertEqual(json.loads(status.stdout)["tpm"]["chip"], "other")
            self.assertIn('there is no chip "x"; there are: main, other',
                          self.tool(daemon, "listener", "add", "x", path + "x", "--chip", "x", code=1))

    def test_a_chip_that_hangs_or_is_gone_costs_the_others_nothing(self):
        """An swtpm that is stopped while it has a command, and then killed: who uses the other TPM sees nothing."""
        with self.two() as (daemon, other, swtpm):
            here, there = daemon.connect(), harness.Client(other)
            self.assertEqual(harness.code_of(there.command(harness.get_random())), 0)
            swtpm.process.send_signal(signal.SIGSTOP)
            try:
                there.send(harness.get_random())
                for _ in range(50):
                    self.assertEqual(harness.code_of(here.command(harness.get_random())), 0)
                self.assertFalse(there.ready())
            finally:
                swtpm.process.send_signal(signal.SIGCONT)
            self.assertEqual(harness.code_of(there.frame()), 0)
            swtpm.kill()
            self.assertEqual(harness.code_of(there.command(harness.get_random())), harness.MANAGER | harness.FAILURE)
            self.assertEqual(harness.code_of(here.command(harness.get_random())), 0)
            self.assertTrue(json.loads(self.tool(daemon, "status", "--json", "--chip", "other"))["tpm"]["lost"])
            status = json.loads(self.tool(daemon, "status", "--json"))
            self.assertEqual((status["tpm"]["lost"], status["tpm"]["lost_chips"]), (False, "other"))
            self.assertIn(", chip other, which does not answer", self.tool(daemon, "listener", "list"))
            listeners = {listener["name"]: listener for listener in json.loads(self.tool(daemon, "listener", "list", "--json"))}
            self.assertEqual([listeners[name]["chip_lost"] for name in ("main", "to-other")], [False, True])
            self.assertIn('problem  the chip "other" does not answer', self.doctor(daemon))

    def wait_until_served(self, daemon, path):
        """Somebody else asks, so that who was there before is asked nothing."""

        def served():
            with harness.Client(path) as client:
                return harness.code_of(client.command(harness.get_random())) == 0

        daemon.wait_until(served, "it is served")

    def test_one_that_is_gone_comes_back_by_itself(self):
        """Who was connected goes on with an empty space: what was in the former TPM is answered as after a reset."""
        with self.two() as (daemon, other, swtpm):
            here, there = daemon.connect(), harness.Client(other)
            kept = here.run(harness.create_primary())
            lost = there.run(harness.create_primary())
            session = there.run(harness.start_auth_session())
            swtpm.kill()
            for _ in range(3):
                self.assertEqual(harness.code_of(there.command(harness.get_random())),
                                 harness.MANAGER | harness.FAILURE)
            swtpm.start()
            self.wait_until_served(daemon, other)
            there.run(harness.get_random())
            read_public = harness.command(harness.READ_PUBLIC, struct.pack(">I", harness.handle_of(lost)))
            self.assertEqual(harness.code_of(there.command(read_public)), harness.MANAGER | harness.REFERENCE_H0)
            save = harness.command(harness.CONTEXT_SAVE, struct.pack(">I", harness.handle_of(session)))
            self.assertEqual(harness.code_of(there.command(save)), harness.MANAGER | harness.REFERENCE_H0)
            there.run(harness.create_primary())
            there.run(harness.start_auth_session())
            here.run(harness.command(harness.READ_PUBLIC, struct.pack(">I", harness.handle_of(kept))))
            tpm = json.loads(self.tool(daemon, "status", "--json", "--chip", "other"))["tpm"]
            self.assertEqual((tpm["lost"], tpm["lost_chips"]), (False, ""))
            self.assertNotIn("does not answer", self.tool(daemon, "listener", "list"))
            self.assertNotIn("does not answer", self.doctor(daemon))
            daemon.wait_for_log('the chip "other", is there again')

    def test_the_main_chip_comes_back_by_itself(self):
        with harness.Swtpm() as swtpm, harness.Daemon(swtpm.spec) as daemon:
            client = daemon.connect()
            client.run(harness.create_primary())
            swtpm.kill()
            self.assertEqual(harness.code_of(client.command(harness.get_random())), harness.MANAGER | harness.FAILURE)
            swtpm.start()
            self.wait_until_served(daemon, daemon.path)
            client.run(harness.create_primary())

    def test_a_chip_that_goes_while_it_hangs_comes_back(self):
        """Commands that wait in it are answered, and so are their clients later."""
        with self.two() as (daemon, other, swtpm):
            waiting = [harness.Client(other) for _ in range(5)]
            swtpm.process.send_signal(signal.SIGSTOP)
            for client in waiting:
                client.send(harness.get_random())
            daemon.wait_until(lambda: self.busy(daemon) == 5, "they wait")
            swtpm.kill()
            for client in waiting:
                self.assertEqual(harness.code_of(client.frame()), harness.MANAGER | harness.FAILURE)
            swtpm.start()
            self.wait_until_served(daemon, other)
            for client in waiting:
                client.run(harness.get_random())

    def busy(self, daemon):
        status = json.loads(self.tool(daemon, "status", "--json", "--chip", "other"))
        return status["queue"]["now"] + (status["current"]["command"] != 0)

    def test_it_ends_while_a_chip_is_gone(self):
        with self.two() as (daemon, other, swtpm):
            there = harness.Client(other)
            swtpm.kill()
            self.assertEqual(harness.code_of(there.command(harness.get_random())), harness.MANAGER | harness.FAILURE)
            self.assertEqual(daemon.stop(), 0)
            self.assertTrue(there.is_closed())

    def test_it_ends_while_a_chip_is_being_opened(self):
        """An swtpm that takes the connection, or does not, and says nothing."""
        with tempfile.TemporaryDirectory(prefix="tpmspace-mute-") as directory, socket.socket(socket.AF_UNIX) as mute:
            mute.bind(f"{directory}/data")
            mute.listen(0)
            spec = f"swtpm:path={directory}/data,ctrl={directory}/data"
            for channel in ("control", "data"):  # it takes one, and the next time none
                config = CONFIG.format(spec=spec, directory=directory, bob=BOB)
                with harness.Daemon(config=config, wait=False) as daemon:
                    daemon.wait_for_log(f"waiting for swtpm's {channel} channel at {directory}/data")
                    self.assertEqual(daemon.stop(), 0)
                    self.assertNotIn("nobody accepts", daemon.log())

    def test_one_that_is_not_there_at_the_start_is_refused_by_name(self):
        with tempfile.TemporaryDirectory(prefix="tpmspace-late-") as directory:
            swtpm = harness.Swtpm(start=False)
            with self.two(spec=swtpm.spec) as (daemon, other, _), swtpm:
                self.assertEqual(harness.code_of(daemon.connect().command(harness.get_random())), 0)
                there = harness.Client(other)
                self.assertEqual(harness.code_of(there.command(harness.get_random())),
                                 harness.MANAGER | harness.FAILURE)
                self.assertTrue(there.is_closed())
                self.assertIn("is missing; the log of tpmspaced says why",
                              self.tool(daemon, "status", "--chip", "other", code=1))
                self.assertIn('clients of the chip "other" are refused', daemon.log())
                swtpm.start()
                self.wait_until_served(daemon, other)

    def test_a_chip_of_a_new_configuration_is_told_to_need_a_restart(self):
        with self.two() as (daemon, _, swtpm):
            more = '\n[[chip]]\nname = "third"\ntpm = "device:/dev/tpm9"\n'
            with open(daemon.directory / "config.toml", "a", encoding="ascii") as file:
                file.write(more)
            self.assertIn("; these keys take effect when tpmspaced is restarted: ",
                          self.tool(daemon, "policy", "reload"))
            with open(daemon.directory / "config.toml", "a", encoding="ascii") as file:
                file.write('\n[[namespace]]\nname = "n"\nuser = 5\nchip = "third"\n')
            self.assertIn('the namespace "n" has the chip "third", which is served as the configuration says from the next start',
                          self.tool(daemon, "policy", "reload", code=1))

    def test_a_client_of_another_chip_has_its_own_turns_and_tries(self):
        """Wrong authorizations at one TPM cost nothing at the other."""
        with self.two() as (daemon, other, _), User(daemon, ALICE) as here, User(daemon, ALICE, path=other) as there:
            for user in (here, there):
                user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-Q")
                user("create", "-C", "p.ctx", "-G", "ecc", "-u", "k.pub", "-r", "k.priv", "-p", "right", "-Q")
                user("load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx", "-Q")
            (here.directory / "m").write_bytes(b"m")
            (there.directory / "m").write_bytes(b"m")
            code = ""
            for _ in range(12):
                with self.assertRaises(Refused) as raised:
                    there("sign", "-c", "k.ctx", "-g", "sha256", "-o", "s", "-p", "wrong", "m")
                code = str(raised.exception)
            self.assertIn("0xB0921", code)
            here("sign", "-c", "k.ctx", "-g", "sha256", "-o", "s", "-p", "right", "m")


if __name__ == "__main__":
    harness.main()
