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
SESSION_GONE = GONE + 8


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


def save(handle):
    return command(harness.CONTEXT_SAVE, struct.pack(">I", handle))


def read_public(key):
    return command(harness.READ_PUBLIC, struct.pack(">I", key))


def get_digest(policy):
    return command(POLICY_GET_DIGEST, struct.pack(">I", policy))


def audited_get_random(session):
    """In an HMAC session for audit, which has no secret."""
    area = struct.pack(">IHBH", session, 0, 0x81, 0)
    return command(harness.GET_RANDOM, struct.pack(">I", len(area)) + area + struct.pack(">H", 8), tag=0x8002)


# The client's entities from before the start-up.
NOTHING, CONTEXT, KEY, HMAC, POLICY = "nothing", "context", "key", "hmac", "policy"


# The expected response code. `saved`: everything was saved before the start-up.
def success(is_reset, saved):
    return 0


def success_unless_dead(is_reset, saved):
    return DEAD_CONTEXT if is_reset else 0


def success_if_kept(is_reset, saved):
    return 0 if saved and not is_reset else GONE


def success_if_session_kept(is_reset, saved):
    return 0 if saved and not is_reset else SESSION_GONE


def success_if_saved(is_reset, saved):
    """A context that the manager holds is given out without the TPM, so a start-up is not noticed."""
    return 0 if saved else GONE


def success_unless_reset(is_reset, saved):
    """A policy session is made again from its log."""
    return GONE if is_reset else 0


def success_unless_reset_of_unsaved(is_reset, saved):
    return GONE if is_reset and not saved else 0


# By name: the client's entity, the command about it, and the expected response.
FIRST_COMMANDS = {
    # It makes or asks for something new.
    "CreatePrimary": (NOTHING, lambda had: harness.create_primary(), success),
    "LoadExternal": (NOTHING, lambda had: load_external(), success),
    "HashSequenceStart": (NOTHING, lambda had: command(HASH_SEQUENCE_START, struct.pack(">HH", 0, 0x000B)), success),
    "StartAuthSession": (NOTHING, lambda had: harness.start_auth_session(), success),
    "GetRandom": (NOTHING, lambda had: harness.get_random(), success),
    "a list of handles": (NOTHING, lambda had: command(harness.GET_CAPABILITY, struct.pack(">III", 1, 0x80000000, 8)),
                          success),
    # It loads, or saves.
    "a client's own ContextLoad": (CONTEXT, lambda had: command(harness.CONTEXT_LOAD, had), success_unless_dead),
    "ContextSave of a key": (KEY, save, success_if_saved),
    "ContextSave of a session": (HMAC, save, success_if_saved),
    "ContextSave of a policy session": (POLICY, save, success_unless_reset_of_unsaved),
    # It names an object, or a session.
    "ReadPublic": (KEY, read_public, success_if_kept),
    "GetRandom in an audit session": (HMAC, audited_get_random, success_if_session_kept),
    "PolicyGetDigest": (POLICY, get_digest, success_unless_reset),
    # It lets go of something.
    "FlushContext of a key": (KEY, harness.flush_context, success),
    "FlushContext of a session": (HMAC, harness.flush_context, success),
    "FlushContext of a policy session": (POLICY, harness.flush_context, success),
}


class PowerCycle(unittest.TestCase):
    def serve(self, config):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        self.device = self.stack.enter_context(Device())
        self.daemon = self.stack.enter_context(
            harness.Daemon(f"device:fd={self.device.fd}", pass_fds=(self.device.fd,), config=config))

    def policy_session_of(self, client):
        session = handle_of(client.run(policy_session()))
        client.run(command(POLICY_COMMAND_CODE, struct.pack(">II", session, 0x15D)))
        return session

    def key_and_sessions_of(self, client):
        key = handle_of(client.run(harness.create_primary()))
        return key, self.policy_session_of(client), handle_of(client.run(harness.start_auth_session()))

    def had_by(self, client, what):
        """The handle of such a thing; or the context of a key that the client has no more."""
        if what == KEY:
            return handle_of(client.run(harness.create_primary()))
        if what == HMAC:
            return handle_of(client.run(harness.start_auth_session()))
        if what == POLICY:
            return self.policy_session_of(client)
        if what == CONTEXT:
            key = handle_of(client.run(harness.create_primary()))
            context = client.run(save(key))[10:]
            client.run(harness.flush_context(key))
            return context
        return None

    def wait_until_empty(self):
        self.daemon.wait_until(lambda: not self.device.everything(), "the TPM is empty")

    def wait_until_all_is_saved(self):
        self.daemon.wait_until(
            lambda: not self.device.handles(0x80000000) and not self.device.handles(0x02000000),
            "everything is put away")

    def expect_others_unharmed(self, client, things, kind, saved):
        key, policy, hmac = things
        expected = success_if_kept(kind.startswith("reset"), saved)
        self.assertEqual(code_of(client.command(read_public(key))), expected)
        self.assertEqual(code_of(client.command(save(hmac))), expected)
        self.assertEqual(code_of(client.command(get_digest(policy))),
                         success_unless_reset(kind.startswith("reset"), saved))
        client.command(harness.flush_context(0x02000000 | hmac & 0xFFFFFF))

    def expect_after_effects(self, client, first, had, answer, kind):
        """A context that was given out loads if it would with a TPM; what was let go of is not there."""
        code = code_of(first)
        if code == harness.CONTEXT_SAVE and code_of(answer) == 0:
            loaded = client.command(command(harness.CONTEXT_LOAD, answer[10:]))
            self.assertEqual(code_of(loaded) == 0, not kind.startswith("reset"))
            if code_of(loaded) == 0:
                client.run(harness.flush_context(handle_of(loaded)))
        if code == harness.FLUSH_CONTEXT:
            self.assertNotEqual(code_of(client.command(harness.flush_context(had))), 0)

    def run_matrix(self, first_commands, saved):
        """`saved`: there was time to save everything."""
        for kind in KINDS:
            for name, (what, say, hears) in first_commands.items():
                with self.subTest(kind=kind, first=name), self.daemon.connect() as a, self.daemon.connect() as b:
                    # Of three sessions the oldest is saved at once, so that a device has a place free for others.
                    things = self.key_and_sessions_of(a)
                    had = self.had_by(b, what)
                    if saved:
                        self.wait_until_all_is_saved()
                    self.device.start_up(kind)
                    first = say(had)
                    answer = b.command(first)
                    self.assertEqual(code_of(answer), hears(kind.startswith("reset"), saved))
                    self.expect_others_unharmed(a, things, kind, saved)
                    self.expect_after_effects(b, first, had, answer, kind)
                self.wait_until_empty()

    def test_after_it_everything_that_was_saved_in_time_is_usable(self):
        self.serve(None)
        self.run_matrix(FIRST_COMMANDS, saved=True)
        self.daemon.stop()
        self.assertEqual(self.device.everything(), [])

    def test_after_it_only_unsaved_entities_are_gone(self):
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
