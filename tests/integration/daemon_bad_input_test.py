"""Every bad input gets a well-formed response from the manager, and the connection goes on where framing allows it."""

import random
import struct
import unittest

import harness
from harness import MANAGER, command, get_random, password


class BadInput(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(harness.Daemon())
        self.client = self.enterContext(self.daemon.connect())

    def refused(self, data):
        """Sent, answered by the manager with an error, and the connection goes on. The code without its layer."""
        response = self.client.command(data)
        self.assertEqual(response[:6], bytes.fromhex("80010000000a"))
        code = harness.code_of(response)
        self.assertEqual(code & ~0xFFFF, MANAGER, f"0x{code:08x}")
        self.goes_on()
        return code & 0xFFFF

    def failed(self, data):
        """Answered with an error, whoever spoke, and the connection goes on."""
        response = self.client.command(data)
        self.assertEqual(response[:6], bytes.fromhex("80010000000a"))
        self.assertNotEqual(harness.code_of(response), 0)
        self.goes_on()
        return harness.code_of(response)

    def goes_on(self):
        self.assertEqual(len(self.client.run(get_random(8))), 20)

    def test_sizes_below_a_header(self):
        for size in (0, 5, 9):
            with self.subTest(size=size):
                self.assertEqual(self.refused(struct.pack(">HII", 0x8001, size, 0x17B)), harness.COMMAND_SIZE)

    def test_sizes_above_the_chips_buffer(self):
        for size in (4097, 8192, 65536):
            with self.subTest(size=size):
                body = struct.pack(">HII", 0x8001, size, 0x17B) + bytes(size - 10)
                self.assertEqual(self.refused(body), harness.COMMAND_SIZE)

    def test_sizes_above_64_kib_end_the_connection(self):
        for size in (65537, 0xFFFFFFFF):
            with self.subTest(size=size), self.daemon.connect() as client:
                response = client.command(struct.pack(">HII", 0x8001, size, 0x17B))
                self.assertEqual(harness.code_of(response), MANAGER | harness.COMMAND_SIZE)
                self.assertTrue(client.is_closed())
            self.daemon.wait_for_log(f"closed, because it sent a frame that claims to be {size} bytes long")
        self.goes_on()

    def test_oversized_control_frame(self):
        self.client.hello()
        rc, _ = self.client.control(harness.STATUS, bytes(5000))
        self.assertEqual(rc, MANAGER | harness.COMMAND_SIZE)
        self.goes_on()

    def test_bad_tags(self):
        for tag in (0x0000, 0x00C1, 0x8000, 0x8003, 0xFFFF):
            with self.subTest(tag=hex(tag)):
                self.refused(command(harness.GET_RANDOM, b"\0\x08", tag=tag))

    def test_authorizations_of_every_wrong_kind(self):
        handle = struct.pack(">I", 0x40000001)
        one = password()[4:]
        areas = {
            "size 0": struct.pack(">I", 0),
            "size 8": struct.pack(">I", 8) + bytes(8),
            "too long": struct.pack(">I", 5000) + one,
            "missing": b"",
            "two bytes": b"\0\0",
            "truncated": struct.pack(">I", 9) + one[:5],
            "truncated inside": struct.pack(">I", 7) + one[:7],
            "four": struct.pack(">I", 36) + one * 4,
            "long nonce": struct.pack(">IIHBH", 9, 0x40000009, 0xFFFF, 1, 0),
            "reserved bits": struct.pack(">IIHBH", 9, 0x40000009, 0, 0x19, 0),
            "an object": struct.pack(">IIHBH", 9, 0x80000000, 0, 1, 0),
        }
        for name, area in areas.items():
            with self.subTest(name):
                self.failed(command(harness.CREATE_PRIMARY, handle + area, tag=0x8002))

    def test_one_to_three_authorizations_are_framed_well(self):
        one = password()[4:]
        for n in (1, 2, 3):
            area = struct.pack(">I", 9 * n) + one * n
            self.failed(command(harness.GET_RANDOM, area + b"\0\x08", tag=0x8002))

    def test_an_unknown_handle_is_refused(self):
        for handle in (0x80123456, 0x80FFFFFF, 0x80000000):
            code = self.refused(command(harness.READ_PUBLIC, struct.pack(">I", handle)))
            self.assertEqual(code, 0x910)
        self.refused(harness.flush_context(0x80123456))
        self.refused(harness.flush_context(0x02000000))

    def test_contexts_that_are_none(self):
        session = struct.pack(">QIIH", 1, 0x02000000, 0x40000007, 3000) + bytes(3000)
        self.assertEqual(self.refused(command(harness.CONTEXT_LOAD, session)), 0x1CB)
        long = struct.pack(">QIIH", 1, 0x02000000, 0x40000007, 8000) + bytes(8000)
        self.assertEqual(self.refused(command(harness.CONTEXT_LOAD, long)), harness.COMMAND_SIZE)
        self.failed(command(harness.CONTEXT_LOAD, struct.pack(">QIIH", 1, 0x80000000, 0x40000001, 100) + bytes(100)))
        self.failed(command(harness.CONTEXT_LOAD, struct.pack(">QIIH", 1, 0x80000005, 0x40000001, 100) + bytes(100)))
        self.failed(command(harness.CONTEXT_LOAD, b"\0\0"))

    def test_a_capability_that_the_tpm_rejects(self):
        self.failed(command(harness.GET_CAPABILITY, struct.pack(">III", 0x77, 0, 1)))
        self.failed(command(harness.GET_CAPABILITY, struct.pack(">II", 1, 0)))
        self.failed(command(harness.GET_CAPABILITY, struct.pack(">III", 1, 0x80000000, 0) + b"more"))

    def test_unknown_commands(self):
        for code in (0, 0x11E, 0x1FF, 0xFFFF, 0x20000001, 0xFFFFFFFF):
            with self.subTest(code=hex(code)):
                self.assertEqual(self.client.command(command(code)).hex(), "80010000000a000b0143")

    def test_garbage_hurts_no_other_client(self):
        dice = random.Random(1)
        for _ in range(200):
            with self.daemon.connect() as client:
                client.send(dice.randbytes(dice.randrange(1, 200)))
        for _ in range(200):
            data = bytearray(harness.create_primary())
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(10, len(data))] = dice.randrange(256)
            self.client.command(bytes(data))
        self.goes_on()


if __name__ == "__main__":
    harness.main()
