"""Limits: descriptors, connections in all and of one owner, the queue."""

import contextlib
import os
import pathlib
import resource
import select
import struct
import subprocess
import time
import unittest

import harness
from harness import MANAGER, get_random


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ALICE = 21001
# Beyond every limit, for root and the daemon's own user at the main listener (base/limits.h).
ADMINISTRATORS = 8


def connect_as(daemon, uid):
    os.chmod(daemon.directory, 0o755)
    with harness.effective_user(uid):
        return daemon.connect()


class Descriptors(unittest.TestCase):
    def look_once(self, daemon):
        """UBSan's first look at a class needs a pipe, for which there will be no descriptors: let it look now."""
        with daemon.connect() as client:
            client.hello()
            client.status()
            client.run(get_random())

    def test_with_few_descriptors_administrators_still_come_in(self):
        harness.need_root()
        limit = 80

        def set_limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with harness.Daemon(preexec=set_limit) as daemon:
            self.look_once(daemon)
            flood = [self.enterContext(connect_as(daemon, ALICE)) for _ in range(2 * limit)]
            self.administrate(daemon)
            served = 0
            for client in flood:
                try:
                    client.send(get_random())
                    served += harness.code_of(client.frame()) == 0
                except (harness.Closed, BrokenPipeError):
                    pass
            self.assertGreater(served, 5)
            self.assertLess(served, limit)
            self.administrate(daemon)
            self.assertNotIn("cannot accept new clients", daemon.log())

    def test_above_the_limit_of_connections_too(self):
        harness.need_root()
        with harness.Daemon(config="[limits]\nconnections = 3\n") as daemon:
            for _ in range(200):
                self.enterContext(connect_as(daemon, ALICE))
            self.administrate(daemon)

    def administrate(self, daemon):
        if not os.path.exists(harness.program("tpmspace")):
            self.skipTest("this build has no tpmspace")
        for line in (("status",), ("flush", "--abandoned"), ("policy", "reload")):
            done = subprocess.run([harness.program("tpmspace"), *line, "--socket", daemon.path], capture_output=True,
                                  text=True, timeout=harness.TIMEOUT, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""), line)

    def test_the_kept_places_are_no_containers_roots(self):
        """Whose number is root's and who does not administer has the places of his namespace and no others."""
        harness.need_root()
        config = '[[namespace]]\nname = "box"\nuser = 0\nprofile = "safe"\nconnections = 2\n'
        with harness.Daemon(config=config) as daemon, contextlib.ExitStack() as clients:
            for _ in range(2):
                clients.enter_context(daemon.connect()).run(harness.get_random())
            with daemon.connect() as refused:
                response = refused.command(harness.get_random())
                self.assertEqual(harness.code_of(response), harness.MANAGER | harness.MEMORY)

    def test_without_descriptors_accepting_pauses(self):
        limit = 40
        with harness.Daemon() as daemon:
            self.look_once(daemon)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, limit))
            clients = [self.enterContext(daemon.connect()) for _ in range(limit)]
            daemon.wait_for_log("tpmspaced cannot accept new clients for now")
            for client in clients:
                client.send(get_random())
            served = self.answered(clients)
            self.assertGreater(len(served), 5)
            self.assertLess(len(served), limit)

            before = cpu_seconds(daemon.pid)
            time.sleep(2)
            self.assertLess(cpu_seconds(daemon.pid) - before, 1.0, "it spins")
            self.assertLessEqual(daemon.log().count("cannot accept new clients"), 2)

            # A client that leaves makes room for a waiting client.
            while served:
                for client in served:
                    client.frame()
                    client.close()
                    clients.remove(client)
                served = self.answered(clients)
            self.assertEqual(clients, [])
            daemon.status()

    @staticmethod
    def answered(clients):
        """Those who have an answer, once the first one has and nothing more comes for a while."""
        found = []
        while True:
            ready = select.select([c.socket for c in clients], [], [], 1.5 if found or not clients else harness.TIMEOUT)[0]
            now = [c for c in clients if c.socket in ready]
            if len(now) == len(found):
                return now
            found = now
            time.sleep(0.2)


# HashSequenceStart with an empty authorization, SHA-256.
HASH_START = struct.pack(">HIIHH", 0x8001, 14, 0x186, 0, 0x000B)


class Contexts(unittest.TestCase):
    def test_users_that_fill_their_shares_leave_room_for_newcomers_and_root(self):
        harness.need_root()
        with harness.Daemon(config="[limits]\nbytes = 262144\n") as daemon:
            for uid in range(ALICE, ALICE + 12):
                client = self.enterContext(connect_as(daemon, uid))
                filled = 0
                while (code := harness.code_of(client.command(HASH_START))) == 0:
                    filled += 1
                self.assertEqual(code, MANAGER | 0x902)
                self.assertGreater(filled, 3)
            for uid in (ALICE + 50, 0):
                with connect_as(daemon, uid) as client:
                    client.run(harness.create_primary())


class Connections(unittest.TestCase):
    def refused(self, daemon):
        with daemon.connect() as client:
            self.assertEqual(harness.code_of(client.command(get_random())), MANAGER | harness.MEMORY)
            self.assertTrue(client.is_closed())

    def test_above_the_limit_a_client_gets_an_answer(self):
        with harness.Daemon(config="[limits]\nconnections = 3\n") as daemon:
            # Two of the three are for one owner; the third would be another's.
            clients = [self.enterContext(daemon.connect()) for _ in range(2 + ADMINISTRATORS)]
            for client in clients:
                client.run(get_random())
            for _ in range(20):
                self.refused(daemon)
            with daemon.connect() as client:
                self.assertEqual(client.hello()[0], MANAGER | harness.MEMORY)
                self.assertTrue(client.is_closed())
            for client in clients:
                client.run(get_random())
            self.assertLess(daemon.log().count("is refused"), 12)
            daemon.wait_for_log("the limit of connections in all is 3, of which one owner may have no more than")
            clients.pop().close()
            clients[0].hello()
            daemon.wait_until(lambda: clients[0].status()["connections_now"] == 1 + ADMINISTRATORS, "one has left")
            self.assertEqual(clients[0].status()["connections_refused"], 21)
            with daemon.connect() as client:
                client.run(get_random())
            for client in clients:
                client.close()

    def test_our_own_client_names_the_limit_that_refused_it(self):
        if not os.path.exists(harness.program("tpmspace")):
            self.skipTest("this build has no tpmspace")
        with harness.Daemon(config="[limits]\nconnections = 1\n") as daemon:
            for _ in range(1 + ADMINISTRATORS):
                self.enterContext(daemon.connect()).run(get_random())
            for name in ("status", "doctor", "connect"):
                with self.subTest(name=name):
                    done = subprocess.run([harness.program("tpmspace"), name, "--socket", daemon.path],
                                          input=get_random(), capture_output=True, timeout=harness.TIMEOUT, check=False)
                    said = (done.stdout + done.stderr).decode(errors="replace")
                    self.assertEqual(done.returncode, 1)
                    self.assertIn("refuses further connections: limits.connections", said)
                    self.assertNotIn("version 1", said)

    def test_the_limit_of_one_owner(self):
        with harness.Daemon(config="[limits]\nconnections_per_owner = 2\n") as daemon:
            for _ in range(2 + ADMINISTRATORS):
                self.enterContext(daemon.connect()).run(get_random())
            self.refused(daemon)
            daemon.wait_for_log("the limit of connections of one owner is 2")

    def test_silent_connections_above_the_limit_do_not_stay(self):
        with harness.Daemon(config="[limits]\nconnections = 1\n") as daemon, daemon.connect() as client:
            client.run(get_random())
            for _ in range(ADMINISTRATORS):
                self.enterContext(daemon.connect()).run(get_random())
            silent = [self.enterContext(daemon.connect()) for _ in range(100)]
            for one in silent:
                self.assertTrue(one.is_closed())
                one.close()
            client.run(get_random())

    def test_an_owner_fills_only_its_share_of_the_queue(self):
        with harness.Daemon("embedded,latency=slb9670", config="[limits]\nqueue = 4\n") as daemon:
            clients = [self.enterContext(daemon.connect()) for _ in range(3)]
            with daemon.connect() as observer:
                observer.hello()
                clients[0].send(harness.create_primary(rsa=True))
                daemon.wait_until(lambda: observer.status()["current_command"] != 0, "it runs")
                clients[1].send(get_random())
                daemon.wait_until(lambda: observer.status()["queue_now"] == 1, "one waits")
                self.assertEqual(harness.code_of(clients[2].command(get_random())), MANAGER | harness.MEMORY)
                self.assertFalse(clients[0].ready())
                self.assertEqual(harness.code_of(clients[1].frame()), 0)


if __name__ == "__main__":
    harness.main()
