#!/usr/bin/env python3
"""Session tickets: of how long they live, and who may use them; resets in a handshake."""
import contextlib
import http.client
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import time
import unittest

from authority import Authority
from kit import raw_request, scrape, serve_each, stop_listening, wait_until
from tls_kit import HALF_A_HELLO, TlsTest, TlsUpstream, read_answer


class Tickets(TlsTest):
    """A ticket is good only under what it was given under: it proves nothing that is asked for now."""

    def rewrite(self, gateway, conf):
        pathlib.Path(gateway.conf.name).write_text(conf)
        self.assertEqual(gateway.command("reload")[0], 0, gateway.err())

    def mutual(self, mode, authority=None):
        return self.conf(extra=f'client_certificate = "{mode}"\nclient_ca = "{(authority or self.authority).ca}"')

    def start_one(self, conf):
        upstream = TlsUpstream(None)
        self.addCleanup(upstream.end)
        gateway = self.tls_gateway(conf, upstream=upstream.address, threads=1)
        gateway.upstream = upstream
        return gateway

    def contexts(self, pair=None):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context(minimum_version=version, maximum_version=version)
            if pair:
                context.load_cert_chain(*pair)
            yield context

    def once(self, gateway, context, session=None):
        """The status (None: turned away), whether the session was resumed, and the session."""
        try:
            client = self.connect(gateway, context=context, session=session)
            client.sendall(raw_request())
            return read_answer(client)[0], client.session_reused, client.session
        except (ssl.SSLError, ConnectionError, http.client.HTTPException):
            return None, False, None

    def ticket(self, gateway, context):
        """A session that is resumed, also after a reload that changes nothing."""
        status, reused, session = self.once(gateway, context)
        self.assertEqual((status, reused), (200, False))
        self.assertEqual(self.once(gateway, context, session)[:2], (200, True))
        gateway.do("reload")
        self.assertEqual(self.once(gateway, context, session)[:2], (200, True))
        return session

    def subjects(self, gateway):
        return [head.get("x-client-cert-subject") for head in gateway.upstream.heads]

    def test_not_when_certificates_are_required_now(self):
        for context in self.contexts():
            gateway = self.start_one(self.conf())
            session = self.ticket(gateway, context)
            self.rewrite(gateway, self.mutual("required"))
            wait_until(lambda: self.once(gateway, context)[0] is None, "a client certificate is demanded")
            self.assertIsNone(self.once(gateway, context, session)[0])

    def test_not_under_another_authority_nor_another_one_in_the_same_file(self):
        other = Authority()
        self.addCleanup(other.folder.cleanup)
        alice = self.authority.issue("alice")
        for context in self.contexts(alice):
            for same_file in (False, True):
                file = self.authority.path / "clients.pem"
                shutil.copy(self.authority.ca, file)
                conf = self.conf(extra=f'client_certificate = "required"\nclient_ca = "{file}"')
                gateway = self.start_one(conf)
                session = self.ticket(gateway, context)
                self.assertEqual(set(self.subjects(gateway)), {"CN=alice"})
                if same_file:
                    shutil.copy(other.ca, file)
                self.rewrite(gateway, conf if same_file else self.mutual("required", other))
                wait_until(lambda: self.once(gateway, context)[0] is None, "the certificate is refused")
                self.assertIsNone(self.once(gateway, context, session)[0])

    def test_no_subject_out_of_a_ticket_when_certificates_are_off(self):
        for context in self.contexts(self.authority.issue("alice")):
            gateway = self.start_one(self.mutual("optional"))
            session = self.ticket(gateway, context)
            self.rewrite(gateway, self.conf())
            wait_until(lambda: self.once(gateway, context)[0] == 200 and self.subjects(gateway)[-1] is None,
                       "nobody is asked for a certificate")
            self.assertEqual(self.once(gateway, context, session)[:2], (200, False))
            self.assertIsNone(self.subjects(gateway)[-1])

    def test_not_after_the_clients_certificate_has_ended(self):
        for number, context in enumerate(self.contexts()):
            ends = int(time.time()) + 5
            context.load_cert_chain(*self.authority.issue(f"brief{number}", ends=ends))
            gateway = self.start_one(self.mutual("optional"))
            session = self.ticket(gateway, context)
            wait_until(lambda: time.time() > ends + 1, "the end of the certificate")
            status, reused, _ = self.once(gateway, context, session)
            self.assertEqual((status, reused), (None, False))

    def test_a_renewed_certificate_is_shown_to_who_has_a_ticket(self):
        certificate, key = self.authority.path / "turning.pem", self.authority.path / "turning.key"
        for context in self.contexts():
            shutil.copy(self.pair[0], certificate)
            shutil.copy(self.pair[1], key)
            gateway = self.start_one(self.conf((certificate, key)))
            session = self.ticket(gateway, context)
            renewed = self.authority.issue("again", names=("DNS:localhost",))
            shutil.copy(renewed[0], certificate)
            shutil.copy(renewed[1], key)
            gateway.do("reload")
            wait_until(lambda: self.connect(gateway, context=context).getpeercert()["subject"][0][0][1] == "again",
                       "the renewed certificate")
            self.assertEqual(self.once(gateway, context, session)[:2], (200, False))

    def test_with_openssl(self):
        """As above, with another client: s_client -sess_out, -sess_in."""
        for version in ("-tls1_2", "-tls1_3"):
            gateway = self.start_one(self.conf())
            file = self.authority.path / f"session{version}"

            def s_client(*options):
                done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.tls_port}", version,
                                       "-servername", "localhost", "-ign_eof", *options],
                                      input="GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                                      capture_output=True, text=True, timeout=20)
                return "HTTP/1.1 200 OK" in done.stdout, "Reused, " in done.stdout

            self.assertEqual(s_client("-sess_out", str(file)), (True, False))
            self.assertEqual(s_client("-sess_in", str(file)), (True, True))
            self.rewrite(gateway, self.mutual("required"))
            wait_until(lambda: not s_client()[0], "a client certificate is demanded")
            self.assertEqual(s_client("-sess_in", str(file)), (False, False))

    def test_a_servers_session_is_not_taken_up_under_another_authority(self):
        other = Authority()
        self.addCleanup(other.folder.cleanup)
        file = self.authority.path / "servers.pem"
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            shutil.copy(self.authority.ca, file)
            upstream = TlsUpstream(self.pair, versions=(version, version))
            self.addCleanup(upstream.end)
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=file, threads=1, upstream_idle_connections=0)
            self.assertEqual([gateway.request().status for _ in range(3)], [200] * 3)
            before = upstream.sessions_resumed
            self.assertGreaterEqual(before, 1)
            gateway.do("reload")
            self.assertEqual([gateway.request().status for _ in range(3)], [200] * 3)
            self.assertGreaterEqual(upstream.sessions_resumed, before + 3)
            shutil.copy(other.ca, file)
            gateway.do("reload")
            wait_until(lambda: gateway.request().status in (502, 503), "the server is believed no more")


class Resets(TlsTest):
    def test_a_reset_in_the_middle_of_a_handshake_is_noticed_at_once(self):
        """Half a hello and a reset, in one event: not at client.header_timeout."""
        gateway = self.tls_gateway(client_header_timeout="10m")
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", gateway.tls_port), timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(HALF_A_HELLO)
            client.close()
        wait_until(lambda: 'classgate_tls_handshakes_total{result="failed"} 50\n' in scrape(gateway)[1],
                   "fifty handshakes that have failed")

    def test_so_is_a_servers(self):
        """A server that resets in the middle of a handshake: not at upstream.connect_timeout."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(stop_listening, listener)

        def serve(client):
            with contextlib.suppress(OSError):
                client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"\x16\x03\x03\x00\x7a\x02")
                client.close()

        serve_each(listener, serve)
        gateway = self.gateway(f"https://127.0.0.1:{listener.getsockname()[1]}", upstream_connect_timeout="10m",
                               upstream_tls_verify="false")
        for _ in range(10):
            self.assert_not_served(gateway.request(timeout=20))

    def test_and_an_operators(self):
        gateway = self.gateway(self.service().address, ops_timeout="10m", ops_max_connections="4")
        for _ in range(50):
            client = socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"GET /metrics HTTP/1.1\r\nHo")
            client.close()

        def is_answered():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return "classgate_" in scrape(gateway)[1]
        wait_until(is_answered, "room for an operator")


if __name__ == "__main__":
    unittest.main()
