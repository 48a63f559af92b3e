#!/usr/bin/env python3
"""fairness.rate = "pattern": what is usual for each client is known to the process that comes after, over a restart and
over an upgrade."""
import hashlib
import json
import os
import re
import signal
import struct
import unittest

from changeable import Changeable
from kit import FolderTest, wait_until

CONF = """
[fairness]
identity = ["header:X-Api-Key"]
rate = "pattern"
pattern_learning = "0s"
[clients]
secret = "{folder}/secret"
"""


def with_days(text, each_hour):
    """The file of patterns, as if each client had been served so many requests in each of the last 48 hours."""
    head, rest = text[:-64].split(b"\n", 1)
    clients = b""
    while rest:
        identity, tokens, used, hours = struct.unpack_from("<QffB", rest)
        marks = rest[17:17 + (hours + 7) // 8]
        rest = rest[17 + len(marks) + 2 * sum(mark.bit_count() for mark in marks):]
        hour = struct.unpack("<I", struct.pack("<f", each_hour))[0] >> 16
        clients += struct.pack("<QffB", identity, tokens, used, 48) + b"\xff" * 6 + struct.pack("<H", hour) * 48
    text = head + b"\n" + clients
    return text + hashlib.sha256(text).hexdigest().encode()


class Patterns(FolderTest):
    def setUp(self):
        super().setUp()
        self.upstream = self.service().address
        self.path = self.folder / "patterns"

    def open(self, conf=CONF, **settings):
        return self.start(Changeable(self.upstream, conf=conf.format(folder=self.folder),
                                     **{"state_dir": self.folder, **settings}))

    def end(self, gateway):
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)

    def pattern(self, gateway, key):
        return json.loads(gateway.do("explain", "POST", "/v1/classify", "-H", f"X-Api-Key: {key}", "--json"))["pattern"]

    def served(self, gateway, *keys):
        for key in keys:
            self.assertEqual(gateway.request(headers={"X-Api-Key": key}).status, 200)

    def taught(self):
        """Of two clients 7200 requests an hour are usual, as the file says that the first process leaves."""
        first = self.open()
        self.served(first, "a", "b")
        self.end(first)
        self.path.write_bytes(with_days(self.path.read_bytes(), 7200))

    def test_what_is_usual_is_known_after_a_restart(self):
        self.taught()
        gateway = self.open()
        gateway.wait_for_text(r"patterns: what is usual for 2 clients is taken from .*/patterns", gateway.err)
        for key in "ab":
            self.assertEqual(self.pattern(gateway, key),
                             {"ground": "usual", "usual": 2, "allowed": 3, "service_is_short": False})
        self.assertEqual(self.pattern(gateway, "c")["ground"], "newcomer")
        self.assertEqual(gateway.health()["patterns"]["clients"], 2)
        self.served(gateway, "a", "c")
        self.end(gateway)
        again = self.open()
        self.assertEqual(again.health()["patterns"]["clients"], 3)
        self.assertEqual(self.pattern(again, "b")["allowed"], 3)

    def test_what_is_usual_goes_with_an_upgrade(self):
        self.taught()
        gateway = self.open()
        self.served(gateway, "c")
        self.path.unlink()
        for count in (1, 2):
            os.kill(gateway.pids()[-1], signal.SIGUSR2)
            wait_until(lambda n=count: gateway.err().count("the process before has ended") == n, "the old one to end")
            self.assertEqual([self.pattern(gateway, key)["ground"] for key in "abc"], ["usual", "usual", "newcomer"],
                             gateway.err())
            self.assertEqual(gateway.health()["patterns"]["clients"], 3)
        self.assertRegex(gateway.err(), r"has learnt: routes: \d+, clients: \d+, patterns: 3")
        self.assertFalse(self.path.exists())  # an old process leaves none

    def test_a_reload_that_puts_the_rule_in_force_finds_what_was_usual(self):
        self.taught()
        gateway = self.open(CONF.replace('rate = "pattern"', "rate = 0"))
        self.assertIsNone(self.pattern(gateway, "a"))
        gateway.do("set", "fairness.rate", "pattern")
        self.assertEqual(self.pattern(gateway, "a")["ground"], "usual")

    def test_who_is_forgotten_is_forgotten_here_too(self):
        self.taught()
        gateway = self.open()
        size = self.path.stat().st_size
        client = json.loads(gateway.do("explain", "POST", "/v1/classify", "-H", "X-Api-Key: a", "--json"))["client"]
        name = client["id"] if isinstance(client, dict) else client
        gateway.command("forget", name)  # the history knows nothing of it
        self.assertEqual(self.pattern(gateway, "a")["ground"], "newcomer")
        self.assertEqual(self.pattern(gateway, "b")["ground"], "usual")
        wait_until(lambda: self.path.stat().st_size < size, "the file to be written anew")

    def test_what_cannot_be_used_is_set_aside_and_said(self):
        self.taught()
        for what, change, why in (
                ("damaged", lambda text: text[:-70] + b"x" * 6 + text[-64:], "its checksum is another"),
                ("newer", lambda text: text.replace(b"patterns 1", b"patterns 9", 1), "of version 9, and 1 is known"),
                ("another's", lambda text: with_days(re.sub(rb"patterns 1 \d+", b"patterns 1 1", text), 1),
                 "ids by another key")):
            with self.subTest(what=what):
                good = self.path.read_bytes()
                self.path.write_bytes(change(good))
                gateway = self.open()
                gateway.wait_for_text(why + ".* is learnt anew, and the file is .*/patterns.broken now", gateway.err)
                self.assertEqual(gateway.health()["patterns"]["clients"], 0)
                self.end(gateway)
                self.path.write_bytes(good)

    def test_where_nothing_can_be_written_it_is_said_and_nothing_else_happens(self):
        gateway = self.open(state_dir="/proc/nowhere")
        self.served(gateway, "a")
        self.end(gateway)
        self.assertRegex(gateway.err(), r"patterns: /proc/nowhere/patterns: .*not kept over a restart")


if __name__ == "__main__":
    unittest.main()
