"""Control messages: hello, status, locality, cancel."""

import struct
import unittest

import harness
from harness import MANAGER, command, get_random


class Control(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(harness.Daemon())
        self.client = self.enterContext(self.daemon.connect())

    def test_hello_names_the_server(self):
        rc, body = self.client.hello()
        version, length = struct.unpack(">HH", body[:4])
        self.assertEqual((rc, version), (0, 1))
        self.assertRegex(body[4 : 4 + length].decode(), r"^tpmspaced \d+\.\d+\.\d+$")
        self.assertEqual(struct.unpack(">I", body[4 + length :])[0], self.daemon.pid)

    def test_an_unknown_version_is_told_ours(self):
        rc, body = self.client.hello(version=999)
        self.assertEqual((rc, body), (MANAGER | harness.VALUE, b"\0\1"))
        self.assertEqual(self.client.control(harness.STATUS)[0], MANAGER | harness.SEQUENCE)
        self.assertEqual(self.client.hello()[0], 0)

    def test_without_a_hello_only_tpm_commands_are_served(self):
        for kind in (harness.CANCEL, harness.LOCALITY_MESSAGE, harness.STATUS, 99):
            self.assertEqual(self.client.control(kind)[0], MANAGER | harness.SEQUENCE)
        self.client.run(get_random())

    def test_an_unknown_message_is_refused(self):
        self.client.hello()
        self.assertEqual(self.client.control(99)[0], MANAGER | harness.COMMAND_CODE)
        self.client.run(get_random())

    def test_status_counts(self):
        self.client.hello()
        before = self.client.status()
        for _ in range(5):
            self.client.run(get_random())
        self.client.command(command(0x1FF))
        self.client.run(harness.create_primary())
        after = self.client.status()

        def grown(name):
            return after[name] - before.get(name, 0)

        self.assertEqual(grown("client_commands_answered"), 7)
        self.assertEqual(grown("client_commands_by_manager"), 1)
        self.assertEqual(grown("client_commands_failed"), 1)
        self.assertEqual(after["tpm_commands_by_code"][harness.GET_RANDOM], 5)
        self.assertEqual(after["connections_now"], 1)
        self.assertEqual(after["server_pid"], self.daemon.pid)
        self.assertEqual(after["tpm_backend"], "embedded")
        self.assertEqual(after["chip_object_slots"], 3)
        self.assertEqual(after["tpm_lost"], 0)
        self.daemon.wait_until(lambda: self.daemon.status()["spaces_objects"] == 1, "one object is counted")

    def test_a_closed_connection_is_counted_out(self):
        with self.daemon.connect() as other:
            other.run(harness.create_primary())
        self.daemon.wait_until(
            lambda: (lambda s: (s["connections_now"], s["spaces_objects"], s["spaces_objects_loaded"]))(
                self.daemon.status()) == (2, 0, 0), "the other's space is empty")

    def test_an_invalid_locality_is_refused(self):
        self.client.hello()
        for locality in (5, 31):
            rc, _ = self.client.control(harness.LOCALITY_MESSAGE, bytes([locality]))
            self.assertEqual(rc, MANAGER | harness.LOCALITY)
        for locality in (4, 0):
            self.assertEqual(self.client.control(harness.LOCALITY_MESSAGE, bytes([locality]))[0], 0)
        self.client.run(get_random())

    def test_the_locality_reaches_the_tpm(self):
        self.client.hello()
        reset_pcr_20 = command(0x13D, struct.pack(">I", 20) + harness.password(), tag=0x8002)
        self.assertEqual(harness.code_of(self.client.command(reset_pcr_20)), harness.LOCALITY)
        self.client.control(harness.LOCALITY_MESSAGE, b"\2")
        self.client.run(reset_pcr_20)

    def test_cancel_with_nothing_in_flight_is_harmless(self):
        self.client.hello()
        self.assertEqual(self.client.control(harness.CANCEL)[0], 0)
        self.client.run(get_random())


if __name__ == "__main__":
    harness.main()
