#!/usr/bin/env python3
"""A client's certificate on a connection that stays open: a reload, or time, may take away what it proved."""
import http.client
import pathlib
import shutil
import socket
import ssl
import threading
import time
import unittest

from authority import Authority
from kit import raw_request, serve_each, stop_listening, wait_until
from tls_kit import TlsTest, TlsUpstream

KNOWN_BY_CERTIFICATE = ('[fairness]\nidentity = ["tls"]\n[clients]\nunknown = "shared"\nsecret = "off"\n'
                        '[[plan]]\nname = "of alice"\nclients = ["tls:CN=alice"]\n')
REFUSED = (401, "unknown_client", True)


class Trust(TlsTest):
    def setUp(self):
        self.upstream = TlsUpstream(None)
        self.addCleanup(self.upstream.end)
        self.file = self.authority.path / "trusted.pem"
        shutil.copy(self.authority.ca, self.file)
        self.log = self.authority.path / f"{self.id()}.log"

    def another(self):
        other = Authority()
        self.addCleanup(other.folder.cleanup)
        return other

    def mutual(self, mode="optional", more=KNOWN_BY_CERTIFICATE):
        return self.conf(extra=f'client_certificate = "{mode}"\nclient_ca = "{self.file}"\n{more}')

    def start_one(self, conf, upstream=None):
        return self.tls_gateway(conf, upstream=upstream or self.upstream.address, threads=1, log_access=self.log)

    def contexts(self, pair=None):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(minimum_version=version, maximum_version=version)
            if pair:
                context.load_cert_chain(*pair)
            yield context

    def rewrite(self, gateway, conf, is_in_force):
        pathlib.Path(gateway.conf.name).write_text(conf)
        gateway.do("reload")
        wait_until(is_in_force, "the new conf in force")

    def once(self, client):
        """The status, why, and whether the connection ends with it."""
        client.sendall(raw_request())
        response = http.client.HTTPResponse(client)
        response.begin()
        response.read()
        return response.status, response.headers.get("X-Classgate-Reason"), \
            (response.headers.get("Connection") or "").lower() == "close"

    def is_turned_away(self, gateway, context):
        try:
            return self.once(self.connect(gateway, context=context))[0] == 401
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            return True

    def subjects(self):
        return [head.get("x-client-cert-subject") for head in self.upstream.heads]

    def last_line(self, count):
        return wait_until(lambda: self.log.exists() and self.log.read_text().splitlines()[count - 1:], "its line")[-1]

    def test_an_authority_that_a_reload_takes_out_is_believed_no_more_on_open_connections(self):
        for context in self.contexts(self.authority.issue("alice")):
            for mode in ("optional", "required"):
                self.setUp()
                gateway = self.start_one(self.mutual(mode))
                client = self.connect(gateway, context=context)
                self.assertEqual(self.once(client), (200, None, False))
                self.assertIn('plan="of alice"', self.last_line(1))
                shutil.copy(self.another().ca, self.file)
                self.rewrite(gateway, self.mutual(mode), lambda: self.is_turned_away(gateway, context))
                self.assertEqual(self.once(client), REFUSED)
                self.assertEqual(client.recv(1), b"")
                self.assertEqual(self.subjects(), ["CN=alice"])
                line = wait_until(lambda: [one for one in self.log.read_text().splitlines()
                                           if "reason=unknown_client" in one], "its line")[-1]
                self.assertIn(" plan=- ", line)
                gateway.end()
                self.log.unlink()

    def test_so_with_what_was_pipelined_behind_the_reload(self):
        gateway = self.start_one(self.mutual())
        context = next(self.contexts(self.authority.issue("alice")))
        client = self.connect(gateway, context=context)
        half = raw_request()
        client.sendall(half[:20])
        wait_until(lambda: gateway.health()["connections"] >= 1, "half a head")
        shutil.copy(self.another().ca, self.file)
        self.rewrite(gateway, self.mutual(), lambda: self.is_turned_away(gateway, context))
        client.sendall(half[20:])
        response = http.client.HTTPResponse(client)
        response.begin()
        self.assertEqual((response.status, self.subjects()), (401, []))

    def test_an_authority_that_stays_or_joins_ends_no_connection(self):
        other = self.another()
        for context in self.contexts(self.authority.issue("alice")):
            self.file.write_bytes(self.authority.ca.read_bytes() + other.ca.read_bytes())
            bob = self.context()
            bob.load_cert_chain(*other.issue("bob"))
            gateway = self.start_one(self.mutual())
            client = self.connect(gateway, context=context)
            self.assertEqual(self.once(client), (200, None, False))
            shutil.copy(self.authority.ca, self.file)
            self.rewrite(gateway, self.mutual(), lambda: self.is_turned_away(gateway, bob))
            self.assertEqual([self.once(client) for _ in range(3)], [(200, None, False)] * 3)
            self.file.write_bytes(self.authority.ca.read_bytes() + other.ca.read_bytes())
            self.rewrite(gateway, self.mutual(), lambda: not self.is_turned_away(gateway, bob))
            self.assertEqual(self.once(client), (200, None, False))
            self.assertEqual(self.subjects().count("CN=alice"), 5)
            gateway.end()
            self.upstream.heads.clear()

    def test_a_certificate_that_nobody_asks_for_any_more_says_nothing(self):
        for context in self.contexts(self.authority.issue("alice")):
            gateway = self.start_one(self.mutual())
            client = self.connect(gateway, context=context)
            self.assertEqual(self.once(client), (200, None, False))
            off = self.conf(extra='[clients]\nsecret = "off"\n')
            before = len(self.upstream.heads)

            def is_in_force():
                self.once(self.connect(gateway, context=context))
                return self.subjects()[-1] is None

            self.rewrite(gateway, off, is_in_force)
            self.assertEqual(self.once(client), (200, None, True))
            self.assertIsNone(self.subjects()[-1])
            self.assertGreater(len(self.upstream.heads), before)
            gateway.end()

    def test_who_has_shown_none_is_refused_once_one_is_required(self):
        for context in self.contexts():
            gateway = self.start_one(self.mutual(more=""))
            client = self.connect(gateway, context=context)
            self.assertEqual(self.once(client), (200, None, False))
            self.rewrite(gateway, self.mutual("required", more=""), lambda: self.is_turned_away(gateway, context))
            self.assertEqual(self.once(client), REFUSED)
            self.assertEqual(client.recv(1), b"")
            gateway.end()

    def test_it_is_believed_no_longer_than_it_is_valid(self):
        """Also when the session was taken up again, which has no chain any more."""
        for number, context in enumerate(self.contexts()):
            ends = int(time.time()) + 6
            context.load_cert_chain(*self.authority.issue(f"brief{number}", ends=ends))
            gateway = self.start_one(self.mutual())
            first = self.connect(gateway, context=context)
            self.assertEqual(self.once(first), (200, None, False))
            again = self.connect(gateway, context=context, session=first.session)
            self.assertTrue(again.session_reused)
            self.assertEqual(self.once(again), (200, None, False))
            wait_until(lambda: time.time() > ends + 1, "the end of the certificate")
            self.assertEqual([self.once(client) for client in (first, again)], [REFUSED] * 2)
            gateway.end()

    def test_an_answer_under_way_is_the_last_of_its_connection(self):
        came, may_go = threading.Event(), threading.Event()
        self.addCleanup(may_go.set)
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(stop_listening, listener)

        def serve(client):
            if not client.recv(65536):
                return
            came.set()
            may_go.wait(60)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        serve_each(listener, serve)
        gateway = self.start_one(self.mutual(), upstream=f"127.0.0.1:{listener.getsockname()[1]}")
        context = next(self.contexts(self.authority.issue("alice")))
        client = self.connect(gateway, context=context)
        client.sendall(raw_request())
        self.assertTrue(came.wait(20))
        shutil.copy(self.another().ca, self.file)
        self.rewrite(gateway, self.mutual(), lambda: self.is_turned_away(gateway, context))
        may_go.set()
        response = http.client.HTTPResponse(client)
        response.begin()
        self.assertEqual((response.status, response.read(), response.headers["Connection"]), (200, b"ok", "close"))
        self.assertEqual(client.recv(1), b"")


if __name__ == "__main__":
    unittest.main()
