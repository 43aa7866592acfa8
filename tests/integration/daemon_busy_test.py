"""While the TPM is busy, or never answers: who is answered before it, by order."""

import struct
import unittest

import harness
from harness import MANAGER, command, get_random


class SlowChip(unittest.TestCase):
    """An RSA key on an SLB 9670 takes two seconds; everything else here happens before it is there."""

    def setUp(self):
        self.daemon = self.enterContext(harness.Daemon("embedded,latency=slb9670"))
        self.observer = self.enterContext(self.daemon.connect())
        self.observer.hello()
        self.client = self.enterContext(self.daemon.connect())
        self.client.hello()

    def start_keygen(self):
        self.client.send(harness.create_primary(rsa=True))
        self.daemon.wait_until(lambda: self.observer.status()["current_command"] == harness.CREATE_PRIMARY, "it runs")

    def test_cancel_ends_it(self):
        self.start_keygen()
        self.client.send(struct.pack(">HII", harness.CONTROL_TAG, 10, harness.CANCEL))
        self.assertEqual(self.client.control_reply(harness.CANCEL)[0], 0)
        self.assertEqual(harness.code_of(self.client.frame()) & 0xFFFF, harness.CANCELED)
        self.client.run(get_random())

    def test_other_clients_are_answered_before_it_ends(self):
        leaving = self.daemon.connect()
        leaving.run(get_random())
        self.start_keygen()
        waiting = self.enterContext(self.daemon.connect())
        waiting.hello()
        waiting.send(get_random())
        leaving.close()
        with self.daemon.connect() as newcomer:
            self.assertEqual(newcomer.hello()[0], 0)
            self.assertEqual(harness.code_of(newcomer.command(command(0x1FF))), MANAGER | harness.COMMAND_CODE)
            self.assertEqual(newcomer.status()["current_command"], harness.CREATE_PRIMARY)
        self.daemon.wait_until(lambda: self.observer.status()["connections_now"] == 3, "who left is gone")
        status = self.observer.status()
        self.assertEqual(status["queue_now"], 1)
        self.assertFalse(waiting.ready())
        self.assertFalse(self.client.ready(), "the key was there before the others were answered")
        self.assertEqual(harness.code_of(self.client.frame()), 0)
        self.assertEqual(harness.code_of(waiting.frame()), 0)

    def test_a_cancel_of_another_client_leaves_it_alone(self):
        self.start_keygen()
        waiting = self.enterContext(self.daemon.connect())
        waiting.hello()
        waiting.send(get_random())
        self.assertEqual(waiting.control(harness.CANCEL)[0], 0)
        self.assertEqual(harness.code_of(waiting.frame()), MANAGER | harness.CANCELED)
        self.assertFalse(self.client.ready(), "who waits and cancels is answered at once")
        # And goes on: the next command waits, and can be cancelled as well.
        waiting.send(get_random())
        self.assertEqual(waiting.control(harness.CANCEL)[0], 0)
        self.assertEqual(harness.code_of(waiting.frame()), MANAGER | harness.CANCELED)
        waiting.send(get_random())
        self.assertFalse(self.client.ready())
        self.assertEqual(harness.code_of(self.client.frame()), 0)
        self.assertEqual(harness.code_of(waiting.frame()), 0)


class HeldChip(unittest.TestCase):
    """A TPM behind a descriptor whose answers the test holds back."""

    def setUp(self):
        self.tpm = self.enterContext(harness.HeldTpm())
        self.daemon = self.enterContext(harness.Daemon(self.tpm.spec, pass_fds=self.tpm.pass_fds))
        self.client = self.enterContext(self.daemon.connect())
        self.client.hello()

    def hold(self, code, data):
        self.tpm.hold_answers_to(code)
        self.client.send(data)
        self.assertTrue(self.tpm.held.wait(harness.TIMEOUT))

    def test_other_clients_are_answered_while_it_works(self):
        self.hold(harness.CREATE_PRIMARY, harness.create_primary())
        leaving = self.daemon.connect()
        leaving.send(get_random())
        with self.daemon.connect() as newcomer:
            self.assertEqual(newcomer.hello()[0], 0)
            self.assertEqual(newcomer.status()["current_command"], harness.CREATE_PRIMARY)
            self.assertEqual(harness.code_of(newcomer.command(command(0x1FF))), MANAGER | harness.COMMAND_CODE)
            leaving.close()
            self.daemon.wait_until(lambda: newcomer.status()["connections_now"] == 2, "who left is gone")
        self.client.send(struct.pack(">HII", harness.CONTROL_TAG, 10, harness.CANCEL))
        self.assertEqual(self.client.control_reply(harness.CANCEL)[0], 0)
        self.assertFalse(self.client.ready())
        self.tpm.release()
        self.assertEqual(harness.code_of(self.client.frame()), 0)

    def test_it_never_answers_and_is_found_again(self):
        other = self.enterContext(self.daemon.connect())
        self.hold(harness.GET_RANDOM, get_random())
        other.send(get_random())
        for client in (self.client, other):
            self.assertEqual(harness.code_of(client.frame()), MANAGER | harness.FAILURE)
        # A new client is answered at once; status shows the reason.
        self.assertEqual(harness.code_of(other.command(get_random())), MANAGER | harness.FAILURE)
        self.assertEqual(self.client.status()["tpm_lost"], 1)
        self.daemon.wait_for_log("counts as lost")
        self.assertEqual(self.daemon.log().count("counts as lost"), 1)
        self.tpm.release()
        self.daemon.wait_for_log("answers again")
        self.client.run(get_random())
        other.run(get_random())
        self.assertEqual(self.client.status()["tpm_lost"], 0)

    def test_a_device_that_is_unplugged_is_said_once(self):
        self.client.run(get_random())
        self.tpm.unplug()
        for _ in range(3):
            self.assertEqual(harness.code_of(self.client.command(get_random())), MANAGER | harness.FAILURE)
        self.assertEqual(self.client.status()["tpm_lost"], 1)
        self.daemon.wait_for_log("the TPM is gone")
        self.assertEqual(self.daemon.log().count("the TPM is gone"), 1)

    def test_stopping_leaves_a_tpm_that_never_answers(self):
        self.hold(harness.GET_RANDOM, get_random())
        self.assertEqual(harness.code_of(self.client.frame()), MANAGER | harness.FAILURE)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertIn("stopping without it", self.daemon.log())


class Swtpm(unittest.TestCase):
    def test_a_dead_tpm_is_logged_once_and_no_client_hangs(self):
        with harness.Swtpm() as tpm, harness.Daemon(tpm.spec) as daemon:
            with daemon.connect() as client, daemon.connect() as other:
                client.run(harness.create_primary())
                tpm.kill()
                for _ in range(3):
                    for one in (client, other):
                        self.assertEqual(harness.code_of(one.command(get_random())), MANAGER | harness.FAILURE)
                other.hello()
                self.assertEqual(other.status()["tpm_lost"], 1)
                daemon.wait_for_log("the TPM is gone")
                self.assertEqual(daemon.log().count("the TPM is gone"), 1)
            self.assertEqual(daemon.stop(), 0)

    def test_after_a_kill_the_next_daemon_starts_with_an_empty_tpm(self):
        with harness.Swtpm() as tpm:
            with harness.Daemon(tpm.spec) as daemon, daemon.connect() as client:
                for _ in range(harness.SESSIONS_TO_GIVE):
                    client.run(harness.start_auth_session())
                client.run(harness.create_primary())
                daemon.process.kill()
                daemon.process.wait()
                daemon.exit_code = 0
            with harness.Daemon(tpm.spec) as daemon, daemon.connect() as client:
                daemon.wait_for_log("were left in the TPM and are now flushed")
                for _ in range(harness.SESSIONS_TO_GIVE):
                    client.run(harness.start_auth_session())


if __name__ == "__main__":
    harness.main()
