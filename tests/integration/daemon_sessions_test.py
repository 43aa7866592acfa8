"""The chip's sessions run short: who waits, who is served, who loses one, through the daemon."""

import ctypes
import os
import select
import socket
import struct
import unittest

import harness
from harness import MANAGER, command, effective_user, flush_context, get_random, handle_of, start_auth_session

OTHER_USER = 65534
SHORT = '[profile.default]\nlease = "200ms"\ntenure = "200ms"\n'
NO_SESSION, GONE = MANAGER | 0x905, MANAGER | 0x918


def with_session(handle):
    """GetRandom with that session as an audit session, without its HMAC."""
    area = struct.pack(">IHBH", handle, 0, 0x81, 0)
    return command(harness.GET_RANDOM, struct.pack(">I", len(area)) + area + struct.pack(">H", 8), tag=0x8002)


def socket_from_new_namespace(path, uid):
    """Connected by a process of that user that is alone in a user namespace of its own. None: not allowed here."""
    clone_newuser = 0x10000000
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(uid, uid, uid)
            if ctypes.CDLL(None, use_errno=True).unshare(clone_newuser) == 0:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connected:
                    connected.connect(path)
                    socket.send_fds(there, [b"x"], [connected.fileno()])
        finally:
            os._exit(0)
    there.close()
    with here:
        _, fds, _, _ = socket.recv_fds(here, 1, 1)
    os.waitpid(child, 0)
    return socket.socket(fileno=fds[0]) if fds else None


class Short(unittest.TestCase):
    def start(self, config=SHORT):
        self.daemon = self.enterContext(
            harness.Daemon("embedded", "--socket-mode", "0666", config=config))
        os.chmod(self.daemon.directory, 0o711)
        self.observer = self.enterContext(self.daemon.connect())
        self.observer.hello()

    def hoard(self, count=harness.SESSIONS_TO_GIVE):
        hoarder = self.enterContext(self.daemon.connect())
        return hoarder, [handle_of(hoarder.run(start_auth_session())) for _ in range(count)]

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be two users")
    def test_a_hoarder_loses_a_session_to_another_user(self):
        self.start()
        hoarder, hoard = self.hoard()
        with effective_user(OTHER_USER):
            victim = self.enterContext(self.daemon.connect())
        mine = handle_of(victim.run(start_auth_session()))
        self.assertEqual(mine, hoard[0], "the hoarder's oldest")
        # The client hears of the loss from the manager, before the TPM, and can flush the session.
        self.assertEqual(harness.code_of(hoarder.command(with_session(hoard[0]))), GONE)
        hoarder.run(flush_context(hoard[0]))
        victim.run(flush_context(mine))
        status = self.observer.status()
        self.assertEqual((status["sessions_waits"], status["sessions_reclaims"]), (1, 1))

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be two users")
    def test_a_hundred_namespaces_are_one_user(self):
        self.start()
        with effective_user(OTHER_USER):
            victim, second = (self.enterContext(self.daemon.connect()) for _ in range(2))
        idle = handle_of(victim.run(start_auth_session()))
        hoarders = []
        for _ in range(100):
            connected = socket_from_new_namespace(self.daemon.path, OTHER_USER - 1)
            if connected is None:
                self.skipTest("no user namespaces here")
            hoarders.append(self.enterContext(harness.Client(connected)))
        for hoarder in hoarders:
            hoarder.send(start_auth_session())
        self.daemon.wait_until(lambda: self.observer.status()["sessions_waiting"] > 0, "they have all that can be had")
        served = handle_of(second.run(start_auth_session()))
        # The namespaces are many, and one user: the other user does not wait behind each of them, and keeps their
        # sessions.
        status = self.observer.status()
        self.assertGreater(status["sessions_waiting"], 0)
        for client, handle in ((victim, idle), (second, served)):
            client.run(with_session(handle))

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to be two users")
    def test_a_waiting_client_blocks_no_other(self):
        self.start('[profile.default]\nexhaustion = "wait"\n')
        hoarder, hoard = self.hoard()
        with effective_user(OTHER_USER):
            waiter = self.enterContext(self.daemon.connect())
            bystander = self.enterContext(self.daemon.connect())
        waiter.send(start_auth_session())
        self.daemon.wait_until(lambda: self.observer.status()["sessions_waiting"] == 1, "it waits")
        bystander.run(get_random())
        hoarder.run(get_random())
        self.assertFalse(waiter.ready())
        hoarder.run(flush_context(hoard[7]))
        self.assertEqual(handle_of(waiter.frame()), hoard[7])

    def test_refusing_answers_at_once(self):
        self.start('[profile.default]\nexhaustion = "refuse"\n')
        self.hoard()
        with self.daemon.connect() as client:
            self.assertEqual(harness.code_of(client.command(start_auth_session())), NO_SESSION)
            client.run(get_random())

    def test_the_wait_ends_with_its_deadline(self):
        self.start('[profile.default]\nexhaustion = "wait"\ndeadline = "100ms"\n')
        self.hoard()
        with self.daemon.connect() as client:
            self.assertEqual(harness.code_of(client.command(start_auth_session())), NO_SESSION)
            client.run(get_random())

    def test_cancel_and_disconnect_end_the_wait(self):
        self.start('[profile.default]\nexhaustion = "wait"\n')
        self.hoard()
        canceller, leaver = self.enterContext(self.daemon.connect()), self.daemon.connect()
        canceller.hello()
        for one in (canceller, leaver):
            one.send(start_auth_session())
        self.daemon.wait_until(lambda: self.observer.status()["sessions_waiting"] == 2, "both wait")
        leaver.close()
        self.assertEqual(canceller.control(harness.CANCEL)[0], 0)
        self.assertEqual(harness.code_of(canceller.frame()), MANAGER | harness.CANCELED)
        self.daemon.wait_until(lambda: self.observer.status()["sessions_waiting"] == 0, "nobody waits")

    def test_two_hundred_clients_all_finish(self):
        self.start()
        clients = [self.enterContext(self.daemon.connect()) for _ in range(200)]
        for client in clients:
            client.send(start_auth_session())
        left = list(clients)
        while left:
            # A client with its session works and leaves; no client may be left waiting.
            select.select([client.socket for client in left], [], [])
            served = [client for client in left if client.ready()]
            for client in served:
                response = client.frame()
                self.assertEqual(harness.code_of(response), 0)
                for _ in range(3):
                    client.run(get_random())
                client.run(flush_context(handle_of(response)))
                left.remove(client)
        self.assertEqual(self.observer.status()["client_commands_failed"], 0)


if __name__ == "__main__":
    harness.main()
