"""Clients that make work without end while one long command is at the TPM: what they cost has a limit, and the others
are answered afterwards."""

import os
import pathlib
import select
import struct
import unittest

import harness
from harness import MANAGER, get_random

# Orders that may wait for the TPM's thread (base/limits.h). A client that connects, submits and leaves causes two orders.
ORDERS = 20_000
TAKEN_AT_MOST = ORDERS // 2 + 1
CHURNED = TAKEN_AT_MOST + 700


class WhileACommandRuns(unittest.TestCase):
    """The answer to one CreatePrimary is held back; everything happens before it is there."""

    def start(self, *arguments, **options):
        self.tpm = self.enterContext(harness.HeldTpm())
        self.daemon = self.enterContext(
            harness.Daemon(self.tpm.spec, *arguments, pass_fds=self.tpm.pass_fds, **options))
        self.observer = self.enterContext(self.daemon.connect())
        self.observer.hello()
        self.client = self.enterContext(self.daemon.connect())
        self.tpm.hold_answers_to(harness.CREATE_PRIMARY)
        self.client.send(harness.create_primary())
        self.assertTrue(self.tpm.held.wait(harness.TIMEOUT))

    def submit(self, client):
        """True: its command waits for the TPM; False: it was refused at once."""
        # Control frames are read while a command waits, so the second one's reply comes behind a refusal of the first.
        client.send(get_random() + struct.pack(">HIIH", harness.CONTROL_TAG, 12, harness.HELLO, 1))
        first = client.frame()
        if struct.unpack(">H", first[:2])[0] == harness.CONTROL_TAG:
            return True
        self.assertEqual(harness.code_of(first), MANAGER | harness.MEMORY)
        client.control_reply(harness.HELLO)
        return False

    def churn(self):
        """How many commands of clients that left at once were taken."""
        taken = 0
        for _ in range(CHURNED):
            with self.daemon.connect() as client:
                taken += self.submit(client)
        return taken

    def release(self):
        self.tpm.release()
        self.assertEqual(harness.code_of(self.client.frame()), 0)

    def test_a_user_that_submits_and_leaves_is_refused_in_the_end(self):
        self.start()
        waiting = self.enterContext(self.daemon.connect())
        self.assertTrue(self.submit(waiting))
        taken = self.churn()
        self.assertGreater(taken, 0)
        self.assertLessEqual(taken, TAKEN_AT_MOST)
        self.assertFalse(waiting.ready())
        self.assertEqual(self.observer.status()["current_command"], harness.CREATE_PRIMARY)
        self.release()
        self.assertEqual(harness.code_of(waiting.frame()), 0)
        with self.daemon.connect() as newcomer:
            newcomer.run(get_random())
        self.daemon.wait_until(lambda: self.observer.status()["connections_now"] == 3, "who left is gone")
        status = self.observer.status()
        self.assertEqual(status["queue_now"], 0)
        self.assertEqual(status["tpm_commands_by_code"][harness.GET_RANDOM], 2, "commands of nobody reached the TPM")

    def test_another_owner_is_not_refused_for_commands_of_closed_connections(self):
        harness.need_root()
        self.start("--socket-mode", "0666")
        early = self.connect_as(65534)
        self.assertTrue(self.submit(early))
        self.assertLess(self.churn(), CHURNED)
        late = self.connect_as(65534)
        self.assertTrue(self.submit(late), "refused for what somebody else does")
        self.release()
        for client in (early, late):
            self.assertEqual(harness.code_of(client.frame()), 0)

    def test_another_owner_is_not_refused_for_waiting_commands(self):
        harness.need_root()
        queue = 20
        self.start("--socket-mode", "0666", config=f"[limits]\nqueue = {queue}\n")
        waiting = [self.enterContext(self.daemon.connect()) for _ in range(queue + 10)]
        taken = [client for client in waiting if self.submit(client)]
        self.assertLess(len(taken), queue)
        late = self.connect_as(65534)
        self.assertTrue(self.submit(late), "refused for what somebody else does")
        self.release()
        for client in (late, *taken):
            self.assertEqual(harness.code_of(client.frame()), 0)

    def connect_as(self, uid):
        os.chmod(self.daemon.directory, 0o711)
        with harness.effective_user(uid):
            return self.enterContext(self.daemon.connect())

    def test_cancels_without_end_cost_nothing(self):
        # Freed memory that the sanitizer keeps would look like a leak.
        self.start(environment={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"})
        waiting = self.enterContext(self.daemon.connect())
        self.assertTrue(self.submit(waiting))
        other = self.enterContext(self.daemon.connect())
        self.assertTrue(self.submit(other))
        answers = self.cancel(waiting, 1000)
        self.assertEqual(self.cancel(self.client, 1000), [])
        before = self.memory()
        answers += self.cancel(waiting, 75_000)
        self.assertEqual(self.cancel(self.client, 75_000), [])
        self.assertLess(self.memory() - before, 8 << 20)
        self.assertEqual(self.observer.status()["current_command"], harness.CREATE_PRIMARY)
        self.assertFalse(other.ready())
        self.release()
        if not answers:
            answers = [waiting.frame()]
        self.assertEqual([harness.code_of(answer) for answer in answers], [MANAGER | harness.CANCELED])
        self.assertEqual(harness.code_of(other.frame()), 0)
        waiting.run(get_random())

    @staticmethod
    def cancel(client, times):
        """That many cancels, until each has its reply. The answers to commands that came between."""
        unsent = struct.pack(">HII", harness.CONTROL_TAG, 10, harness.CANCEL) * times
        client.socket.setblocking(False)
        received, at, answers = bytearray(), 0, []
        while times:
            readable, writable, _ = select.select([client.socket], [client.socket] if unsent else [], [],
                                                  harness.TIMEOUT)
            assert readable or writable, f"{times} replies are missing"
            if writable:
                unsent = unsent[client.socket.send(unsent[:65536]):]
            if readable:
                received += client.socket.recv(1 << 20)
            while len(received) - at >= 10:
                tag, size = struct.unpack_from(">HI", received, at)
                if len(received) - at < size:
                    break
                if tag == harness.CONTROL_TAG:
                    times -= 1
                else:
                    answers.append(bytes(received[at : at + size]))
                at += size
        assert at == len(received)
        client.socket.settimeout(harness.TIMEOUT)
        return answers

    def memory(self):
        """The memory of the daemon, in bytes."""
        pages = pathlib.Path(f"/proc/{self.daemon.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    harness.main()
