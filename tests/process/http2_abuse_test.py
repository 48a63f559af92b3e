#!/usr/bin/env python3
"""HTTP/2 clients that do what helps nobody: each costs itself its connection, and nobody else anything."""
import json
import os
import signal
import threading
import unittest

import http2_kit as h2
from http2_kit import DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, SETTINGS, frame, get, headers
from http2_test import Http2Test
from kit import TEXT, scrape


class Abuse(Http2Test):
    BURST = 50

    def attacked(self, **settings):
        return self.before(**{"client_misuse_burst": self.BURST, "client_misuse_rate": 0.1, **settings})

    def flood(self, gateway, frames, most=20_000, begin=()):
        """Sends frames(i) until the connection ends: how many it took. First it is told to go, then it ends."""
        with h2.Peer(gateway.port, is_kind=False) as peer:
            peer.send(*begin)
            reader = threading.Thread(target=peer.ends, daemon=True)
            reader.start()
            for i in range(most):
                if peer.has_ended or not peer.send(frames(i)):
                    break
            reader.join(20)
            self.assertTrue(peer.has_ended, "it goes on")
            errors = {read.error for read in peer.frames if read.kind == GOAWAY}
            # A reset of the connection may have destroyed what was said.
            self.assertLessEqual(errors, {h2.ENHANCE_YOUR_CALM}, errors)
            return peer

    def assert_well(self, gateway):
        self.assertEqual(gateway.request().status, 200)
        health = gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "nobody at work")
        self.assertEqual(health["status"], "ok")
        self.assertRegex(scrape(gateway)[1], r'classgate_limits_reached_total\{limit="client.misuse_burst"\} [1-9]')

    def test_rapid_reset(self):
        gateway = self.attacked(upstream_on_client_abort="cancel")
        self.flood(gateway, lambda i: get(2 * i + 1) + h2.reset(2 * i + 1))
        self.assert_well(gateway)

    def test_made_you_reset(self):
        """Resets that the gateway is made to send cost the same (CVE-2025-8671)."""
        gateway = self.attacked(upstream_on_client_abort="cancel")
        self.flood(gateway, lambda i: headers(2 * i + 1, h2.request_fields(method="POST"), END_HEADERS) +
                   h2.window_update(2 * i + 1, 2**31 - 1))
        self.assert_well(gateway)

    def test_floods_of_frames(self):
        gateway = self.attacked()
        upload = headers(1, h2.request_fields(method="POST"), END_HEADERS)
        for what, frames, begin in (
                ("PING", lambda i: h2.ping(), ()),
                ("SETTINGS", lambda i: h2.settings(), ()),
                ("PRIORITY", lambda i: frame(PRIORITY, 0, 2 * i + 1, b"\0\0\0\0\5"), ()),
                ("empty DATA", lambda i: frame(DATA, 0, 1), (upload,)),
                ("DATA of one byte", lambda i: frame(DATA, 0, 1, b"x"), (upload,)),
                ("WINDOW_UPDATE by one", lambda i: h2.window_update(0, 1), ()),
                ("WINDOW_UPDATE without a cause", lambda i: h2.window_update(0, 1000), ()),
                ("PING with ACK", lambda i: h2.ping(flags=h2.ACK), ()),
                ("frames that nobody knows", lambda i: frame(0x50, 0, 0, b"whatever"), ()),
                ("heads that are too large", lambda i: headers(2 * i + 1, h2.request_fields(extra=[("x", "")] * 200)), ()),
                ("heads that are malformed", lambda i: headers(2 * i + 1, h2.request_fields(extra=[("X", "y")])), ())):
            with self.subTest(what):
                self.flood(gateway, frames, begin=begin)
        self.assert_well(gateway)

    def test_a_client_that_is_told_to_go_has_the_answers_to_what_was_taken(self):
        held = self.held()
        gateway = self.attacked(upstream=held.address)
        peer = self.peer(gateway)
        peer.send(get(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a request on its way")
        peer.send(*(h2.ping() for _ in range(self.BURST + 2)))
        goaway = peer.goaway()
        self.assertEqual((goaway.last_stream, goaway.error), (1, h2.ENHANCE_YOUR_CALM))
        held.release.set()
        self.assertEqual(peer.answer(1).status, 204)
        self.assertTrue(peer.ends())

    def test_a_client_at_work_may_change_its_mind_as_often_as_it_is_answered(self):
        gateway = self.attacked(upstream_on_client_abort="cancel")
        peer = self.peer(gateway)
        for stream in range(1, 8 * self.BURST, 4):
            peer.send(get(stream), h2.reset(stream))
            self.assertEqual(peer.ask(stream + 2, "/queue/health").status, 200)
        self.assertTrue(peer.is_well())

    def test_a_head_without_end_and_an_hpack_bomb_end_the_connection(self):
        gateway = self.attacked()
        bomb = h2.literal(h2.request_fields())
        # A field of 4,000 bytes that goes to the table, then said again with one byte, 16,000 times.
        entry = b"\x40\x01x\x7f" + h2._rest(4000 - 127) + b"a" * 4000
        with h2.Peer(gateway.port) as peer:
            peer.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, bomb + entry + b"\xbe" * 12000))
            self.assertTrue(peer.ends())
            self.assertIn(h2.ENHANCE_YOUR_CALM, [read.error for read in peer.frames if read.kind == GOAWAY])
        with h2.Peer(gateway.port) as peer:
            peer.send(frame(HEADERS, END_STREAM, 1, bomb))
            while peer.send(frame(9, 0, 1, b"")) and not peer.next(0.001) and not peer.has_ended:
                pass
        self.assertEqual(gateway.request().status, 200)

    def test_who_has_only_just_come_is_not_behind_all_that_others_have_sent(self):
        """Sixty connections with a hundred requests each in one piece, all there before the gateway looks, and one with
        one: that one has its answer when few of the 6,000 have begun. It used to have it behind all of them."""
        gateway = self.before(admission_queue_size=0, admission_workers=1)
        strangers = [h2.socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(60)]
        for stranger in strangers:
            self.addCleanup(stranger.close)
        self.assertEqual(gateway.request(path="/queue/health", method="GET").status, 200)  # all are accepted
        os.kill(gateway.process.pid, signal.SIGSTOP)
        many = h2.PREFACE + h2.settings() + b"".join(get(2 * i + 1) for i in range(100))
        for stranger in strangers:
            stranger.sendall(many)
        good = gateway.connect()
        good.request("GET", "/queue/health")
        os.kill(gateway.process.pid, signal.SIGCONT)
        answer = json.loads(good.getresponse().read())
        good.close()
        self.assertLess(answer["total_requests"], 3000)
        gateway.wait_for_health(lambda h: h["total_requests"] == 6000, "all of them in the end")

    def test_what_one_read_brings_is_served_in_turns_and_whole(self):
        """Over as many turns as it takes, nothing of it is lost or heard twice: heads, bodies, trailers."""
        gateway = self.before(client_streams_per_connection=1000, admission_workers=50)
        body = TEXT.encode()
        half = len(body) // 2
        with h2.Peer(gateway.port) as peer:
            peer.send(b"".join(
                headers(2 * i + 1, h2.request_fields(method="POST", extra=[("x-number", str(i))]), END_HEADERS) +
                frame(DATA, 0, 2 * i + 1, body[:half]) + frame(DATA, 0, 2 * i + 1, body[half:]) +
                headers(2 * i + 1, [("x-sum", "1")]) for i in range(200)))
            self.assertEqual({peer.answer(2 * i + 1).status for i in range(200)}, {200})
            self.assertTrue(peer.is_well())
        self.assertEqual(gateway.wait_for_health(lambda h: h["active_workers"] == 0, "nobody")["processed_requests"], 200)

    def test_of_a_client_that_has_left_only_what_has_begun_is_asked(self):
        gateway = self.before(client_streams_per_connection=1000, admission_rate=0)
        many = h2.PREFACE + h2.settings() + b"".join(get(2 * i + 1) + h2.reset(2 * i + 1) for i in range(100))
        os.kill(gateway.process.pid, signal.SIGSTOP)
        for _ in range(20):
            with h2.socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as stranger:
                stranger.sendall(many)
        os.kill(gateway.process.pid, signal.SIGCONT)
        self.assertEqual(gateway.request().status, 200)
        health = gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "nobody at work")
        self.assertLess(health["total_requests"], 400)
        self.assert_balanced(health)

    def test_what_is_not_read_is_bounded(self):
        """PING without an end from a client that reads nothing."""
        gateway = self.before(client_misuse_burst=1_000_000, client_send_timeout="500ms")
        with h2.Peer(gateway.port, is_kind=False) as peer:
            peer.socket.settimeout(0.2)
            many = h2.ping() * 1000
            for _ in range(20_000):
                if not peer.send(many):
                    break
            self.assertTrue(peer.ends())
        self.assertEqual(gateway.request().status, 200)


if __name__ == "__main__":
    unittest.main()
