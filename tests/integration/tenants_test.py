"""Who pays: all users of a namespace, or of a listener with a profile, are one owner together, unless they are people.

A container's root is here who he would be there: somebody who can connect as any of its users.
"""

import contextlib
import json
import os
import struct
import tempfile

import harness
from users import RefusalTest, User

BOX = range(23001, 23013)
PEOPLE = range(23101, 23113)
OTHERS = range(23201, 23213)  # of no namespace
CONFIG = """
[limits]
bytes = 400000

[[namespace]]
name = "box"
user = "23001-23099"
connections = 40

[[namespace]]
name = "people"
user = "23101-23199"
separate_users = true

[[listener]]
name = "box"
path = "{directory}/box"
profile = "safe"

[[listener]]
name = "people"
path = "{directory}/people"
profile = "safe"
separate_users = true
"""
INDEX = 0x01500001
TRIES, SHARE, OF_ALL = 32, 8, 24  # docs/lockout.md
NO_TRY_LEFT = harness.MANAGER | 0x921
OBJECT_MEMORY = harness.MANAGER | 0x902


def read_with(password):
    """NV_Read of eight bytes by the index's own authorization."""
    area = struct.pack(">IHBH", 0x40000009, 0, 1, len(password)) + password
    return harness.command(0x14E, struct.pack(">III", INDEX, INDEX, len(area)) + area + struct.pack(">HH", 8, 0), 0x8002)


class Tenants(RefusalTest):
    @contextlib.contextmanager
    def daemon(self):
        harness.need_root()
        with tempfile.TemporaryDirectory(prefix="tpmspace-listeners-") as directory:
            os.chmod(directory, 0o755)
            config = CONFIG.format(directory=directory)
            with harness.Daemon("embedded", "--socket-mode", "0666", config=config) as daemon:
                os.chmod(daemon.directory, 0o755)
                yield daemon, directory

    @staticmethod
    def client(uid, path):
        with harness.effective_user(uid):
            return harness.Client(path)

    def tries_of(self, users, path):
        """How many wrong values they bring to the TPM, one user after the other."""
        tries = 0
        for uid in users:
            with self.client(uid, path) as client:
                for _ in range(SHARE + 2):
                    code = harness.code_of(client.command(read_with(b"wrong")))
                    if code == NO_TRY_LEFT:
                        break
                    self.assertEqual(code, 0x98E)
                    tries += 1
        return tries

    def test_a_tenant_with_several_uids_has_the_tries_of_one_user(self):
        with self.daemon() as (daemon, directory), User(daemon, 0) as root:
            root("dictionarylockout", "-s", "-n", str(TRIES), "-t", "100000", "-l", "100000")
            root("nvdefine", hex(INDEX), "-C", "o", "-s", "8", "-p", "right", "-a", "authread|authwrite|ownerwrite")
            root("nvwrite", hex(INDEX), "-C", "o", "-i", self.eight_bytes(root))
            for users, path, tries in ((BOX, daemon.path, SHARE), (OTHERS, f"{directory}/box", SHARE),
                                       (PEOPLE, daemon.path, OF_ALL), (OTHERS, f"{directory}/people", OF_ALL)):
                with self.subTest(users=users, path=path):
                    root("dictionarylockout", "-c")
                    self.assertEqual(self.tries_of(users, path), tries)
            root("dictionarylockout", "-c")
            self.assertEqual(self.tries_of(BOX, daemon.path), SHARE)
            with self.client(OTHERS[0], daemon.path) as other:
                self.assertEqual(harness.code_of(other.command(read_with(b"right"))), 0)

    @staticmethod
    def eight_bytes(user):
        (user.directory / "eight").write_bytes(bytes(8))
        return "eight"

    def keys_of(self, users, path, keep):
        """How many keys they can have at a time; their connections stay open."""
        keys = 0
        for uid in users:
            client = keep.enter_context(self.client(uid, path))
            while (code := harness.code_of(client.command(harness.create_primary()))) == 0:
                keys += 1
            self.assertEqual(code, OBJECT_MEMORY)
        return keys

    def test_and_the_room_of_one(self):
        """Of what is saved, which all share: one user has at most half, twelve have nearly everything."""
        with self.daemon() as (daemon, _):
            keys = []
            for users in (BOX[:1], BOX, PEOPLE):
                with contextlib.ExitStack() as keep:
                    keys.append(self.keys_of(users, daemon.path, keep))
                daemon.wait_until(lambda: daemon.status()["spaces_objects"] == 0, "they are gone")
            alone, box, people = keys
            self.assertEqual(box, alone)
            self.assertGreater(people, alone * 3 // 2)

    def test_sessions_saved_by_one_user_of_a_namespace_are_not_the_others(self):
        with self.daemon() as (daemon, _):
            with User(daemon, BOX[0]) as one, User(daemon, BOX[1]) as other:
                self.keeps_its_saved_session(one, other)

    def test_lists_name_the_user_and_show_their_own_sessions(self):
        with self.daemon() as (daemon, _), contextlib.ExitStack() as keep:
            users = [keep.enter_context(User(daemon, uid)) for uid in BOX[:2]]
            for user in users:
                user("startauthsession", "--policy-session", "-S", "s.ctx")
            root = keep.enter_context(User(daemon, 0))

            def sessions(user):
                done = user.run(harness.program("tpmspace"), "sessions", "--json", "--socket", daemon.path)
                self.assertEqual(done.returncode, 0, done.stderr)
                return sorted(one["uid"] for one in json.loads(done.stdout)["sessions"])

            self.assertEqual([sessions(user) for user in (*users, root)],
                             [[BOX[0]], [BOX[1]], [BOX[0], BOX[1]]])
            done = root.run(harness.program("tpmspace"), "flush", "--owner", str(BOX[0]), "--socket", daemon.path)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(sessions(root), [BOX[1]])


if __name__ == "__main__":
    harness.main()
