#!/usr/bin/env python3
"""What a process has learnt is known to the one that takes over from it (SIGUSR2)."""
import array
import fcntl
import json
import os
import pathlib
import signal
import socket
import tempfile
import threading
import unittest

from changeable import Changeable, ChangeTest
from kit import wait_until

# Rates that give nothing back while a test runs.
CONF = """
[admission]
rate = 0.001
burst = {burst}
workers = 8
shadow_conf = "{folder}/shadow"
[fairness]
identity = ["header:X-Api-Key"]
reserve = 0
rate = 0.001
burst = 3
[clients]
secret = "{folder}/secret"
"""
ROUTE = '[[route]]\npath = "/v1/classify"\npriority = 3\nrate = 0.001\nburst = 7\n'
INSERTED = '[[route]]\npath = "/inserted"\npriority = 2\nrate = 5\nburst = 50\n'


class Learnt(ChangeTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.conf = CONF.format(folder=self.folder, burst=20)
        pathlib.Path(self.folder, "shadow").write_text("[admission]\nrate = 0.001\nburst = 2\n")

    def ask(self, gateway, key, path="/v1/classify"):
        answer = gateway.request(path=path, headers={"X-Api-Key": key})
        return answer.reason or answer.status

    def upgrade(self, gateway, conf=None):
        if conf:
            gateway.write_conf(conf)
        count = gateway.err().count("the process before has ended")
        os.kill(gateway.pids()[-1], signal.SIGUSR2)
        wait_until(lambda: gateway.err().count("the process before has ended") == count + 1, "the old process to end")

    def known(self, gateway):
        """What is shown: how long requests of the route take, and what the shadow made of them."""
        said = json.loads(gateway.do("explain", "POST", "/v1/classify", "--json"))
        return round(said["estimate"]["most_work_ms"]), gateway.health()["shadow"]

    def test_after_an_upgrade_no_bucket_is_full_again_and_what_was_counted_goes_on(self):
        gateway = self.changeable(self.service("--service-time", "20ms").address, self.conf + ROUTE)
        self.assertEqual([self.ask(gateway, "a") for _ in range(4)], [200] * 3 + ["client_rate"])
        self.assertEqual([self.ask(gateway, "b") for _ in range(3)], [200] * 3)
        work, shadow = self.known(gateway)
        self.assertGreater(work, 10)
        self.assertEqual(shadow["alike"] + sum(shadow["would_refuse"].values()), 7)
        # Of the conf that the new one reads some is another: a route more, before the one that is known.
        self.upgrade(gateway, self.conf + INSERTED + ROUTE)
        self.assertEqual(self.known(gateway), (work, shadow))
        self.assertEqual([self.ask(gateway, key) for key in "ab"], ["client_rate"] * 2)
        self.assertEqual([self.ask(gateway, "c") for _ in range(2)], [200, "route_rate"])
        self.assertEqual(self.ask(gateway, "c", "/inserted"), 404)  # the service's
        self.upgrade(gateway, CONF.format(folder=self.folder, burst=1) + ROUTE)  # and a smaller burst
        self.assertEqual(self.ask(gateway, "d", "/other"), 404)
        self.assertEqual(self.ask(gateway, "e", "/other"), "rate_limited")
        # As many requests as the shadow has seen, of all three processes.
        shadow = gateway.health()["shadow"]
        self.assertEqual(shadow["alike"] + sum(shadow["would_refuse"].values()) + sum(shadow["would_accept"].values()), 14)
        self.assertEqual(gateway.err().count("goes on from what the process before has learnt"), 2)

    def test_a_shadow_whose_conf_says_something_else_begins_anew(self):
        gateway = self.changeable(self.service().address, self.conf)
        self.assertEqual(self.ask(gateway, "a"), 200)
        pathlib.Path(self.folder, "shadow").write_text("# The same.\n[admission]\nrate = 0.001\nburst = 2\n")
        self.upgrade(gateway)
        self.assertEqual(gateway.health()["shadow"]["alike"], 1)
        pathlib.Path(self.folder, "shadow").write_text("[admission]\nrate = 0.001\nburst = 3\n")
        self.upgrade(gateway)
        self.assertEqual(gateway.health()["shadow"]["alike"], 0)

    def test_with_another_secret_nobody_is_taken_for_another_client(self):
        gateway = self.changeable(self.service().address, self.conf)
        self.assertEqual([self.ask(gateway, "a") for _ in range(4)], [200] * 3 + ["client_rate"])
        pathlib.Path(self.folder, "secret").write_text("another secret of more than 32 characters\n")
        self.upgrade(gateway)
        gateway.wait_for_text(r"has learnt: routes: \d+, clients: 0", gateway.err)
        self.assertEqual(self.ask(gateway, "a"), 200)


class Strangers(ChangeTest):
    """The process before is of another version: here a test's, which says what it likes."""

    def taking_over(self, memo):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        os.set_inheritable(theirs.fileno(), True)
        wrapper = ["bash", "-c", f'exec 3<&{theirs.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES='
                   'classgate-handover.classgate-0123456789abcdef exec "$@"', "bash"]
        service = self.service()

        def answer():
            ours.settimeout(30)
            self.assertEqual(ours.recv(1), b"R")
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memo]))] if memo is not None else []
            ours.sendmsg([b"0\n"], rights)
        thread = threading.Thread(target=answer)
        thread.start()
        gateway = self.start(Changeable(service.address, wrapper=wrapper, pass_fds=[theirs.fileno()]))
        thread.join()
        self.assertEqual(gateway.request().status, 200)
        return [line for line in gateway.err().splitlines() if "has learnt" in line]

    def memory(self, content, seals=fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL):
        memo = os.memfd_create("memo", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.addCleanup(os.close, memo)
        os.write(memo, content)
        fcntl.fcntl(memo, fcntl.F_ADD_SEALS, seals)
        return memo

    def test_what_is_not_understood_is_one_line_in_the_log_and_all_else_as_ever(self):
        for memo, why in ((self.memory(b'{"version": 99}'), "it is of version 99, and 1 is known here"),
                          (self.memory(b"\0\xff" * 1000), "it is no JSON"),
                          (self.memory(b""), "it is no JSON"),
                          (self.memory(b" " * (5 << 20)), "it is larger than 4194304 bytes"),
                          (self.memory(b"{}", fcntl.F_SEAL_SEAL), "it is no sealed memory")):
            lines = self.taking_over(memo)
            self.assertEqual(len(lines), 1, lines)
            self.assertTrue(lines[0].endswith("what the process before has learnt is not taken: " + why), lines)

    def test_one_that_passes_nothing_on_is_taken_over_from_without_a_word(self):
        self.assertEqual(self.taking_over(None), [])


if __name__ == "__main__":
    unittest.main()
