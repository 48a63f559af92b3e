#!/usr/bin/env python3
"""Who is asking: one id for each client, for good."""
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, ProcessTest, clean_environment

KEY = "alpha-of-a-customer-0123456789"
CONF = """
[fairness]
identity = ["header:X-Api-Key", "address"]
"""


class IdentityTest(ProcessTest):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.upstream = self.service()

    def classgate(self, *words, conf="", **settings):
        """One that ends by itself: what it said."""
        file = self.folder / "one.conf"
        file.write_text(conf)
        environment = {"CLASSGATE_" + key.upper(): str(value) for key, value in settings.items()}
        return subprocess.run([CLASSGATE, "--conf", file, *words], capture_output=True, text=True, timeout=60,
                              env=clean_environment(environment))

    def id_of(self, gateway, key=KEY):
        code, out, err = gateway.command("explain", "GET", "/x", "-H", "X-Api-Key: " + key, "--json")
        self.assertEqual(code, 0, err)
        return json.loads(out)["client"]["id"]


class Pseudonyms(IdentityTest):
    def test_a_client_has_one_id_over_restarts_upgrades_and_gateways_with_the_same_key(self):
        secret = self.folder / "secret"
        first = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        known = self.id_of(first)
        self.assertRegex(known, r"^c_[0-9a-f]{8}$")
        self.assertNotEqual(known, self.id_of(first, "another"))
        self.assertEqual(stat.S_IMODE(os.stat(secret).st_mode), 0o600)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["secret"])
        successor = re.match(r"process (\d+) took over", first.command("upgrade")[1])
        self.addCleanup(os.kill, int(successor.group(1)), signal.SIGKILL)
        self.assertEqual(self.id_of(first), known)
        beside = self.gateway(self.upstream.address, conf=CONF, clients_secret=secret)
        self.assertEqual(self.id_of(beside), known)
        other = self.gateway(self.upstream.address, conf=CONF, clients_secret=self.folder / "other")
        self.assertNotEqual(self.id_of(other), known)

    def test_where_no_key_can_be_kept_one_line_says_that_the_ids_change(self):
        nowhere = self.folder / "nowhere" / "secret"
        done = self.classgate("--check", clients_secret=nowhere)
        self.assertEqual(done.returncode, 0, done.stderr)  # a check makes nothing
        done = self.classgate(clients_secret=nowhere, listen="127.0.0.1:0", ops_listen="", ops_control="off")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"clients.secret: {nowhere}: cannot be made: No such file or directory", done.stderr)
        off = self.gateway(self.upstream.address, conf=CONF, clients_secret="off")
        again = self.gateway(self.upstream.address, conf=CONF, clients_secret="off")
        self.assertNotEqual(self.id_of(off), self.id_of(again))
        self.assertNotIn("clients.secret", off.err())

    def test_a_key_that_is_none_is_a_mistake_of_the_check_and_of_the_start(self):
        secret = self.folder / "secret"
        secret.write_text("too short\n")
        for words in (("--check",), ()):
            done = self.classgate(*words, clients_secret=secret, listen="127.0.0.1:0", ops_listen="", ops_control="off")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"clients.secret: {secret}: holds 9 characters, and must hold 32", done.stderr)

    def test_another_key_needs_a_restart_and_a_reload_says_so(self):
        gateway = self.gateway(self.upstream.address, conf=CONF + f'[clients]\nsecret = "{self.folder}/a"\n')
        known = self.id_of(gateway)
        pathlib.Path(gateway.conf.name).write_text(CONF + f'[clients]\nsecret = "{self.folder}/b"\n')
        code, out, err = gateway.command("reload")
        self.assertEqual(code, 0, err)
        self.assertIn("clients.secret needs a restart", out + err)
        self.assertEqual(self.id_of(gateway), known)


class Secrets(IdentityTest):
    def test_what_a_client_names_itself_by_is_in_no_page_and_no_log(self):
        log = self.folder / "access.log"
        gateway = self.gateway(self.upstream.address, conf=CONF, clients_secret=self.folder / "secret",
                               log_access=log, fairness_rate=0.001, fairness_burst=1)
        for _ in range(3):
            gateway.request(headers={"X-Api-Key": KEY})
        shown = [gateway.command(*words)[1] for words in
                 (("status", "--clients"), ("status", "--clients", "--json"), ("queue",))]
        gateway.command("drain")
        gateway.wait()
        shown += [gateway.out(), gateway.err(), log.read_text(), (self.folder / "secret").read_text()]
        self.assertIn("c_", shown[0])
        for text in shown:
            self.assertIsNone(re.search(re.escape(KEY), text))


if __name__ == "__main__":
    unittest.main()
