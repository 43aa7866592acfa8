"""What one client does wrong costs the others nothing: stalls, not reading, pipelining, dying."""

import select
import socket
import struct
import unittest

import harness
from harness import get_random

SLOW = "embedded,latency=slb9670"


class Isolation(unittest.TestCase):
    def start(self, tpm="embedded"):
        self.daemon = self.enterContext(harness.Daemon(tpm))
        return self.enterContext(self.daemon.connect())

    def test_five_bytes_then_silence(self):
        good = self.start()
        stalled = [self.enterContext(self.daemon.connect()) for _ in range(20)]
        for n, client in enumerate(stalled):
            client.send(get_random()[: 1 + n % 11])
        for _ in range(100):
            good.run(get_random())
        for n, client in enumerate(stalled):
            self.assertEqual(len(client.command(get_random()[1 + n % 11 :])), 20)

    def test_a_client_that_never_reads(self):
        good = self.start()
        self.assertLess(self.flood(get_random(32)), 32 << 20)
        self.assertLess(self.flood(struct.pack(">HII", 0x8001, 9, 0)), 32 << 20)
        for _ in range(100):
            good.run(get_random())

    def test_a_client_that_never_reads_status(self):
        good = self.start()
        bad = self.enterContext(self.daemon.connect())
        bad.hello()
        status = struct.pack(">HII", harness.CONTROL_TAG, 10, harness.STATUS)
        self.assertLess(self.flood(status, bad), 32 << 20)
        for _ in range(100):
            good.run(get_random())

    def flood(self, data, client=None):
        """Sends and never reads until the daemon takes no more; how much it took."""
        client = client or self.enterContext(self.daemon.connect())
        client.socket.setblocking(False)
        taken, chunk = 0, data * 64
        while select.select([], [client.socket], [], 1.0)[1]:
            try:
                taken += client.socket.send(chunk)
            except BlockingIOError:
                continue
            if taken > 64 << 20:
                break
        return taken

    def test_one_thousand_commands_in_flight(self):
        good = self.start()
        bad = self.enterContext(self.daemon.connect())
        bad.socket.setblocking(False)
        sizes = [1 + n % 32 for n in range(1000)]
        out = b"".join(get_random(n) for n in sizes)
        while out:
            select.select([], [bad.socket], [], harness.TIMEOUT)
            out = out[bad.socket.send(out) :]
            good.run(get_random())
        for _ in range(100):
            good.run(get_random())
        bad.socket.setblocking(True)
        for n in sizes:
            self.assertEqual(len(bad.frame()), 12 + n)

    def test_a_pipeliner_does_not_get_in_front(self):
        good = self.start(SLOW)
        bad = self.enterContext(self.daemon.connect())
        bad.send(get_random() * 1000)
        for _ in range(10):
            good.run(get_random())
        good.hello()
        # Each of the ten waited for a command or two of the pipeliner, not for a thousand.
        self.assertLess(good.status()["client_commands_answered"], 200)

    def test_death_in_the_middle_of_a_command(self):
        good = self.start(SLOW)
        good.hello()
        bad = self.daemon.connect()
        bad.send(harness.create_primary(rsa=True))
        self.daemon.wait_until(lambda: good.status()["current_command"] == harness.CREATE_PRIMARY, "it runs")
        bad.close()
        good.run(get_random())
        self.daemon.wait_until(lambda: good.status()["spaces_objects_loaded"] == 0, "its key is gone")
        self.assertEqual(good.status()["connections_now"], 1)

    def test_death_while_waiting_for_a_turn(self):
        good = self.start(SLOW)
        good.hello()
        runner = self.enterContext(self.daemon.connect())
        runner.send(harness.create_primary(rsa=True))
        self.daemon.wait_until(lambda: good.status()["current_command"] == harness.CREATE_PRIMARY, "it runs")
        for _ in range(50):
            with self.daemon.connect() as waiting:
                waiting.send(harness.create_primary())
        self.assertEqual(harness.code_of(runner.frame()), 0)
        good.run(get_random())
        self.assertEqual(good.status()["tpm_commands_by_code"][harness.CREATE_PRIMARY], 1)

    def test_a_client_that_stops_sending_still_gets_its_responses(self):
        self.start()
        client = self.enterContext(self.daemon.connect())
        client.send(get_random(4) + get_random(5) + get_random(6))
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual([len(client.frame()) for _ in range(3)], [16, 17, 18])
        self.assertTrue(client.is_closed())

    def test_many_clients_come_and_go(self):
        good = self.start()
        for _ in range(20):
            clients = [self.daemon.connect() for _ in range(50)]
            for client in clients:
                client.send(get_random())
            for client in clients[::2]:
                client.frame()
            for client in clients:
                client.close()
            good.run(get_random())
        self.daemon.wait_until(lambda: self.daemon.status()["connections_now"] == 2, "all are gone")


if __name__ == "__main__":
    harness.main()
