"""A device that loses power while tpmspaced runs, and is started up by somebody else: firmware, or the kernel.

Reset, restart and resume, with a key or a session that was loaded before, for every kind of first command after it:
its client hears what a TPM would answer, what had been saved in time is usable after a restart or a resume, and nothing
stays in the TPM that nobody has.
"""

import contextlib
import os
import socket
import struct
import threading
import unittest

import harness
from harness import Client, code_of, command, handle_of

SHUTDOWN, STARTUP, POLICY_COMMAND_CODE, POLICY_GET_DIGEST = 0x145, 0x144, 0x16C, 0x189
HASH_SEQUENCE_START, LOAD_EXTERNAL = 0x186, 0x167
KINDS = ("reset", "reset after a shutdown", "restart", "resume")
GONE, DEAD_CONTEXT = harness.MANAGER | harness.REFERENCE_H0, 0x1DF


class Device:
    """An swtpm that tpmspaced uses as a device, and that the test can start up behind its back."""

    def __init__(self):
        harness.need("swtpm")
        self._swtpm = harness.Swtpm()
        self._chip = Client(self._swtpm.path)
        self._lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fd = theirs.detach()
        self.seen = {}  # commands, by code
        threading.Thread(target=self._relay, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        os.close(self.fd)
        self._ours.close()
        self._chip.close()
        self._swtpm.__exit__()

    def _relay(self):
        with contextlib.suppress(OSError, harness.Closed):
            while frame := self._ours.recv(8192):
                with self._lock:
                    code = struct.unpack(">I", frame[6:10])[0]
                    self.seen[code] = self.seen.get(code, 0) + 1
                    answer = self._chip.command(frame)
                self._ours.send(answer)

    def start_up(self, kind):
        with self._lock:
            if kind != "reset":
                self._chip.run(command(SHUTDOWN, struct.pack(">H", kind in ("restart", "resume"))))
            self._power_off_and_on()
            self._chip.run(command(STARTUP, struct.pack(">H", kind == "resume")))

    def _power_off_and_on(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(harness.TIMEOUT)
            control.connect(f"{self._swtpm.directory}/ctrl")
            control.sendall(struct.pack(">II", 2, 0))  # CMD_INIT, and no flags
            assert control.recv(4) == bytes(4)

    def handles(self, first):
        with self._lock:
            answer = self._chip.run(command(harness.GET_CAPABILITY, struct.pack(">III", 1, first, 64)))
        count = struct.unpack(">I", answer[15:19])[0]
        return list(struct.unpack(f">{count}I", answer[19 : 19 + 4 * count]))

    def everything(self):
        return [handle for first in (0x80000000, 0x02000000, 0x03000000) for handle in self.handles(first)]


def policy_session():
    body = struct.pack(">II", 0x40000007, 0x40000007) + struct.pack(">H", 16) + bytes(16)
    return command(harness.START_AUTH_SESSION, body + struct.pack(">HBHH", 0, 1, 0x0010, 0x000B))


def load_external():
    """The public part of a P-256 key: the curve's base point."""
    x = bytes.fromhex("6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    y = bytes.fromhex("4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")
    public = struct.pack(">HHIH", 0x0023, 0x000B, 0x00040040, 0)  # userWithAuth, sign
    public += struct.pack(">HHHHH", 0x0010, 0x0018, 0x000B, 0x0003, 0x0010)
    public += struct.pack(">H", len(x)) + x + struct.pack(">H", len(y)) + y
    return command(LOAD_EXTERNAL, struct.pack(">HH", 0, len(public)) + public + struct.pack(">I", 0x40000007))


FIRST_COMMANDS = {
    "CreatePrimary": lambda blob: harness.create_primary(),
    "LoadExternal": lambda blob: load_external(),
    "HashSequenceStart": lambda blob: command(HASH_SEQUENCE_START, struct.pack(">HH", 0, 0x000B)),
    "StartAuthSession": lambda blob: harness.start_auth_session(),
    "a client's own ContextLoad": lambda blob: command(harness.CONTEXT_LOAD, blob),
    "GetRandom": lambda blob: harness.get_random(),
    "a list of handles": lambda blob: command(harness.GET_CAPABILITY, struct.pack(">III", 1, 0x80000000, 8)),
}


class PowerCycle(unittest.TestCase):
    def serve(self, config):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.device = self.stack.enter_context(Device())
        self.daemon = self.stack.enter_context(
            harness.Daemon(f"device:fd={self.device.fd}", pass_fds=(self.device.fd,), config=config))

    def key_and_session_of(self, client):
        key = handle_of(client.run(harness.create_primary()))
        session = handle_of(client.run(policy_session()))
        client.run(command(POLICY_COMMAND_CODE, struct.pack(">II", session, 0x15D)))
        return key, session, handle_of(client.run(harness.start_auth_session()))

    def saved_by(self, client):
        """The context of a key that the client has no more."""
        key = handle_of(client.run(harness.create_primary()))
        blob = client.run(command(harness.CONTEXT_SAVE, struct.pack(">I", key)))[10:]
        client.run(harness.flush_context(key))
        return blob

    def wait_until_empty(self):
        self.daemon.wait_until(lambda: not self.device.everything(), "the TPM is empty")

    def run_matrix(self, first_commands, saved):
        """`saved`: there was time to save everything."""
        for kind in KINDS:
            for name, first in first_commands.items():
                with self.subTest(kind=kind, first=name), self.daemon.connect() as a, self.daemon.connect() as b:
                    blob = self.saved_by(b)
                    key, policy, hmac = self.key_and_session_of(a)
                    if saved:
                        self.daemon.wait_until(
                            lambda: not self.device.handles(0x80000000) and not self.device.handles(0x02000000),
                            "everything is put away")
                    self.device.start_up(kind)
                    is_reset = kind.startswith("reset")
                    answer = b.command(first(blob))
                    dead = is_reset and name == "a client's own ContextLoad"
                    self.assertEqual(code_of(answer), DEAD_CONTEXT if dead else 0)
                    expected = 0 if saved and not is_reset else GONE
                    self.assertEqual(code_of(a.command(command(harness.READ_PUBLIC, struct.pack(">I", key)))), expected)
                    self.assertEqual(code_of(a.command(command(harness.CONTEXT_SAVE, struct.pack(">I", hmac)))), expected)
                    # Policy sessions are made again from what was done with them.
                    self.assertEqual(code_of(a.command(command(POLICY_GET_DIGEST, struct.pack(">I", policy)))),
                                     GONE if is_reset else 0)
                    a.command(harness.flush_context(0x02000000 | hmac & 0xFFFFFF))
                self.wait_until_empty()

    def test_after_it_everything_that_was_saved_in_time_is_usable(self):
        self.serve(None)
        self.run_matrix(FIRST_COMMANDS, saved=True)
        self.daemon.stop()
        self.assertEqual(self.device.everything(), [])

    def test_after_it_what_was_never_saved_is_gone_and_nothing_else(self):
        self.serve('[idle]\nput_away = "endless"\nsave_objects = "endless"\nsave_sessions = "endless"\n')
        self.run_matrix(FIRST_COMMANDS, saved=False)
        self.daemon.stop()
        self.assertEqual(self.device.everything(), [])

    def test_a_key_and_a_session_stay_usable_while_they_stay_loaded(self):
        self.serve('[idle]\nput_away = "endless"\nsave_objects = "1ms"\nsave_sessions = "1ms"\n')
        with self.daemon.connect() as client:
            key = handle_of(client.run(harness.create_primary()))
            session = handle_of(client.run(harness.start_auth_session()))
            self.daemon.wait_until(lambda: self.device.seen.get(harness.CONTEXT_SAVE) == 2, "both are saved")
            self.assertEqual(len(self.device.handles(0x80000000)), 1)
            self.device.start_up("resume")
            client.run(command(harness.READ_PUBLIC, struct.pack(">I", key)))
            client.run(command(harness.CONTEXT_SAVE, struct.pack(">I", session)))
            client.run(harness.flush_context(session))
        self.daemon.wait_for_log("restarted, or resumed after a suspend")
        self.wait_until_empty()

    def test_nothing_is_left_when_tpmspaced_ends_right_after_it(self):
        for kind in KINDS:
            with self.subTest(kind=kind):
                self.serve(None)
                with self.daemon.connect() as a, self.daemon.connect() as b:
                    for _ in range(4):
                        a.run(harness.create_primary())
                    a.run(harness.start_auth_session())
                    self.device.start_up(kind)
                    b.run(harness.create_primary())
                    b.run(harness.start_auth_session())
                    self.daemon.stop()
                    self.assertEqual(self.device.everything(), [])
                self.stack.close()


if __name__ == "__main__":
    harness.main()
