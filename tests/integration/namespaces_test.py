"""TPM namespaces, end to end: tpm2-tools of two users who are in two namespaces of one daemon, and of others outside.

Each has its own keys under the same persistent handles, its own NV indices, its own quota, and its own saved sessions.
"""

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile

import harness
from users import Refused, RefusalTest, User

LEFT, RIGHT, OUTSIDE = 22001, 22002, 22003
KEY = "0x81000001"
AT_CHIP = {LEFT: "0x81200001", RIGHT: "0x81220001"}
# Both may make persistent keys and NV indices; no user outside may.
CONFIG = """
[[namespace]]
name = "left"
user = "22001"
profile = "provision"
sessions = 3
connections = 2
nv = "0x01500000-0x0150ffff"
persistent_base = "0x81200000"

[[namespace]]
name = "right"
user = "22002"
profile = "provision"
sessions = 3
nv = "0x01510000-0x0151ffff"
persistent_base = "0x81220000"
"""
POLICY_AND_NV = 0x149


class NamespacesTest(RefusalTest):
    @contextlib.contextmanager
    def both(self, config=CONFIG, *arguments):
        with harness.Daemon("embedded", "--socket-mode", "0666", *arguments, config=config) as daemon:
            with User(daemon, LEFT) as left, User(daemon, RIGHT) as right:
                yield daemon, left, right

    @staticmethod
    def client(daemon, uid):
        with harness.effective_user(uid):
            return daemon.connect()

    @staticmethod
    def persistent(user):
        """What the tool lists: lines "- 0x81000001"."""
        return user("getcap", "handles-persistent").decode().replace("- ", "").split()

    @staticmethod
    def make_key(user, name):
        user("createprimary", "-C", "o", "-G", "ecc", "-c", "p.ctx", "-Q")
        user("create", "-C", "p.ctx", "-G", "ecc", "-u", "k.pub", "-r", "k.priv", "-Q")
        user("load", "-C", "p.ctx", "-u", "k.pub", "-r", "k.priv", "-c", "k.ctx", "-Q")
        user("evictcontrol", "-C", "o", "-c", "k.ctx", name, "-Q")

    @staticmethod
    def public_of(user, handle):
        user("readpublic", "-c", handle, "-n", "name.bin", "-Q")
        return (user.directory / "name.bin").read_bytes()


class Keys(NamespacesTest):
    def test_the_same_handle_is_another_key_in_each(self):
        with self.both() as (daemon, left, right), User(daemon, OUTSIDE) as outside, User(daemon, 0) as root:
            self.make_key(left, KEY)
            self.assertEqual(self.persistent(right), [])
            self.refused(0x18B, right, "readpublic", "-c", AT_CHIP[LEFT])  # beyond its window
            self.make_key(right, KEY)
            for user in (left, right):
                self.assertEqual(self.persistent(user), [KEY])
            names = [self.public_of(user, KEY) for user in (left, right)]
            self.assertNotEqual(*names)

            # Used: each signs with its own, and only that one verifies it.
            for user in (left, right):
                (user.directory / "m").write_text("hello")
                user("sign", "-c", KEY, "-g", "sha256", "-o", "sig", "m")
                user("verifysignature", "-c", KEY, "-g", "sha256", "-m", "m", "-s", "sig")
            (right.directory / "theirs").write_bytes((left.directory / "sig").read_bytes())
            with self.assertRaises(Refused):
                right("verifysignature", "-c", KEY, "-g", "sha256", "-m", "m", "-s", "theirs")

            # Outside there is nothing, but for an administrator, who sees the chip as it is.
            self.assertEqual(self.persistent(outside), [])
            for handle in (KEY, AT_CHIP[LEFT]):
                with self.assertRaises(Refused):
                    outside("readpublic", "-c", handle)
            self.assertEqual(self.persistent(root), [AT_CHIP[LEFT], AT_CHIP[RIGHT]])
            self.assertEqual([self.public_of(root, AT_CHIP[uid]) for uid in (LEFT, RIGHT)], names)

            # One goes, the other stays.
            left("evictcontrol", "-C", "o", "-c", KEY, "-Q")
            self.assertEqual(self.persistent(left), [])
            self.assertEqual(self.persistent(right), [KEY])
            self.assertEqual(self.public_of(right, KEY), names[1])

    def test_indices_are_kept_apart(self):
        with self.both() as (_, left, right):
            ours, theirs = "0x01500001", "0x01510001"
            define = ("-C", "o", "-s", "4", "-a", "authread|authwrite|ownerread")
            left("nvdefine", ours, *define)
            right("nvdefine", theirs, *define)
            self.refused(POLICY_AND_NV, left, "nvdefine", "0x01510002", *define)
            (left.directory / "four").write_text("mine")
            left("nvwrite", ours, "-i", "four")
            self.assertEqual(left("nvread", ours, "-s", "4"), b"mine")
            for tool, arguments in (("nvreadpublic", ()), ("nvread", ("-s", "4")), ("nvundefine", ("-C", "o"))):
                self.refused(POLICY_AND_NV, right, tool, ours, *arguments)
            self.assertEqual(left("getcap", "handles-nv-index").decode().split(), ["-", "0x1500001"])
            self.assertEqual(right("getcap", "handles-nv-index").decode().split(), ["-", "0x1510001"])


class Quotas(NamespacesTest):
    def test_a_full_namespace_hinders_no_other_user(self):
        with self.both() as (daemon, left, right):
            with self.client(daemon, LEFT) as full:
                for _ in range(3):
                    full.run(harness.start_auth_session())
                self.assert_code(full.command(harness.start_auth_session()), 0x905)  # SESSION_HANDLES, at once
                with self.client(daemon, LEFT) as second:
                    self.assert_code(second.command(harness.start_auth_session()), 0x905)
                    with self.client(daemon, LEFT) as third:
                        self.assert_code(third.command(harness.get_random()), harness.MEMORY)
                    daemon.wait_for_log("of the namespace \"left\" is 2")
                with self.client(daemon, RIGHT) as other:
                    for _ in range(3):
                        other.run(harness.start_auth_session())
                    self.assert_code(other.command(harness.start_auth_session()), 0x905)
                with self.client(daemon, OUTSIDE) as outside:
                    for _ in range(5):
                        outside.run(harness.start_auth_session())

    def left_behind(self, daemon):
        done = subprocess.run([harness.program("tpmspace"), "sessions", "--json", "--socket", daemon.path],
                              capture_output=True, check=True, timeout=harness.TIMEOUT)
        return [one["state"] for one in json.loads(done.stdout)["sessions"]].count("abandoned")

    def fill(self, daemon, user):
        """Three session files, of three processes that are gone."""
        for i in range(3):
            user("startauthsession", "--audit-session", "-S", f"{i}.ctx")
        daemon.wait_until(lambda: self.left_behind(daemon) == 3, "the tools' connections are gone")

    def test_files_that_tools_left_behind_are_promised_for_a_lease(self):
        with self.both(CONFIG + '[profile.default]\nlease = "1h"\n') as (daemon, left, right):
            self.fill(daemon, left)
            self.refused(0x905, left, "startauthsession", "--audit-session", "-S", "more.ctx")
            right("startauthsession", "--audit-session", "-S", "s.ctx")
            for kept in range(3):
                left("getrandom", "-S", f"{kept}.ctx", "4")

    def test_files_that_tools_left_behind_make_room_after_their_lease(self):
        with self.both(CONFIG + '[profile.default]\nlease = "1s"\n') as (daemon, left, _):
            self.fill(daemon, left)
            daemon.wait_until(lambda: left.run("tpm2_startauthsession", "--audit-session", "-S", "more.ctx")
                              .returncode == 0, "the oldest one's lease is over")
            daemon.wait_until(lambda: self.left_behind(daemon) == 3, "one has gone for the new one")
            daemon.wait_for_log("reclaimed")
            self.refused(0x1CB, left, "getrandom", "-S", "0.ctx", "4")
            for kept in ("1.ctx", "more.ctx"):
                left("getrandom", "-S", kept, "4")


# One user, in a namespace by the listener of the connection.
BY_LISTENER = """
[[listener]]
name = "in"
path = "{path}"
[[namespace]]
name = "inside"
listener = "in"
"""


class Sessions(NamespacesTest):
    @contextlib.contextmanager
    def one_user_outside_and_inside(self):
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-listener-") as directory:
            os.chmod(directory, 0o755)
            path = f"{directory}/in"
            config = BY_LISTENER.format(path=path)
            with harness.Daemon("embedded", "--socket-mode", "0666", config=config) as daemon:
                with User(daemon, LEFT) as outside, User(daemon, LEFT, path=path) as inside:
                    yield daemon, outside, inside

    def test_a_saved_session_is_for_its_namespace_alone(self):
        """Whoever is in a namespace is another owner there: a user carries no session across."""
        with self.one_user_outside_and_inside() as (_, outside, inside):
            for ours, theirs in ((outside, inside), (inside, outside)):
                self.keeps_its_saved_session(ours, theirs)

    def test_flushing_a_users_sessions_means_him_in_every_namespace(self):
        with self.one_user_outside_and_inside() as (daemon, outside, inside):
            for user in (outside, inside):
                user("startauthsession", "--policy-session", "-S", "s.ctx")
            with User(daemon, 0) as root:
                done = root.run(harness.program("tpmspace"), "flush", "--owner", str(LEFT), "--socket", daemon.path)
                self.assertEqual(done.returncode, 0, done.stderr)
            for user in (outside, inside):
                with self.assertRaises(Refused):
                    user("policypassword", "-S", "s.ctx")

    def test_an_administrator_sees_which_namespace_a_session_is_of(self):
        with self.one_user_outside_and_inside() as (daemon, outside, inside):
            for user in (outside, inside):
                user("startauthsession", "--policy-session", "-S", "s.ctx")
            with User(daemon, 0) as root:
                done = root.run(harness.program("tpmspace"), "sessions", "--json", "--socket", daemon.path)
            listed = json.loads(done.stdout)["sessions"]
            self.assertCountEqual([(one["uid"], one["namespace"], one["listener"]) for one in listed],
                                  [(LEFT, None, None), (LEFT, "inside", None)])
            own = inside.run(harness.program("tpmspace"), "sessions", "--json", "--socket",
                             inside.environment["TPM2TOOLS_TCTI"][11:])
            self.assertEqual([one["namespace"] for one in json.loads(own.stdout)["sessions"]], [None])

    def test_a_listener_without_a_name_is_shown_by_its_path(self):
        """Which may be longer than any name, and have in it what no name has."""
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-listener-") as directory:
            path = f"{directory}/{'d' * 50} \u00e4"
            self.assertGreater(len(path), 64)
            config = f'[[listener]]\npath = "{path}"\nprofile = "safe"\n'
            with harness.Daemon("embedded", config=config) as daemon, User(daemon, 0) as root:
                with harness.Client(path) as client:
                    client.run(harness.start_auth_session())
                    done = root.run(harness.program("tpmspace"), "sessions", "--json", "--socket", daemon.path)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([one["listener"] for one in json.loads(done.stdout)["sessions"]],
                                 [path.replace(" \u00e4", "???")])

    def test_an_ordinary_member_lists_the_sessions_of_the_namespace(self):
        with self.one_user_outside_and_inside() as (daemon, outside, inside):
            outside("startauthsession", "--policy-session", "-S", "s.ctx")
            listed = []
            for user, path in ((outside, daemon.path), (inside, inside.environment["TPM2TOOLS_TCTI"][11:])):
                done = user.run(harness.program("tpmspace"), "sessions", "--json", "--socket", path)
                listed.append(len(json.loads(done.stdout)["sessions"]))
            self.assertEqual(listed, [1, 0])


# All users are administrators now, and the window is another namespace's.
CHANGED = """
[[rule]]
profile = "admin"
[[namespace]]
name = "other"
user = "22001"
persistent_base = "0x81200000"
"""
SELF_TEST = harness.self_test()


class Reload(NamespacesTest):
    def test_members_of_a_removed_namespace_get_at_most_safe(self):
        with self.both() as (daemon, left, _):
            self.make_key(left, KEY)
            read, read_at_chip = (harness.command(harness.READ_PUBLIC, struct.pack(">I", int(handle, 16)))
                                  for handle in (KEY, AT_CHIP[LEFT]))
            with self.client(daemon, LEFT) as client:
                client.run(read)
                (daemon.directory / "config.toml").write_text(CHANGED)
                daemon.signal(signal.SIGHUP)
                daemon.wait_for_log("read again")
                self.assert_code(client.command(SELF_TEST), harness.COMMAND_CODE)
                self.assertEqual(harness.code_of(client.command(read)), 0x18B)  # the chip has none of this number
                self.assert_code(client.command(read_at_chip), 0x18B)
                with self.client(daemon, LEFT) as later:  # is in the other
                    later.run(read)
                    later.run(SELF_TEST)
                # The namespace is there again, and so are its keys.
                (daemon.directory / "config.toml").write_text(CONFIG)
                daemon.signal(signal.SIGHUP)
                daemon.wait_until(lambda: daemon.log().count("read again") == 2, "the policy is read again")
                client.run(read)

    def test_a_record_names_the_namespace(self):
        with self.both() as (daemon, left, _):
            with self.assertRaises(Refused):
                left("clear")
            daemon.wait_for_log(", namespace left: refused TPM2_Clear")


if __name__ == "__main__":
    harness.main()
