#!/usr/bin/env python3
"""TLS to the service."""
import http.client
import socket
import ssl
import unittest

from authority import Authority
from nameserver import Nameserver
from tls_kit import TlsTest, TlsUpstream


class Upstream(TlsTest):
    def upstream(self, pair=None, **options):
        upstream = TlsUpstream(pair or self.pair, **options)
        self.addCleanup(upstream.end)
        return upstream

    def test_requests_of_every_size_over_a_verified_connection(self):
        upstream = self.upstream()
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        connection = gateway.connect()
        for size in (0, 1, 16384, 16385, 1_000_000):
            body = bytes(i % 251 for i in range(size))
            connection.request("POST", "/echo", body)
            answer = connection.getresponse()
            self.assertEqual((answer.status, answer.read()), (200, body))
        connection.close()
        self.assertEqual(upstream.connections, 2)  # one found out whether it is there

    def test_whoever_cannot_prove_who_he_is_gets_nothing(self):
        stranger = Authority()
        self.addCleanup(stranger.folder.cleanup)
        for upstream, settings, expected in (
                (self.upstream(stranger.issue("x", names=("IP:127.0.0.1",))), {}, "certificate verify failed"),
                (self.upstream(self.other), {}, "IP address mismatch"),
                (self.upstream(), {"upstream_tls_server_name": "else.example"}, "hostname mismatch"),
                (self.upstream(self.authority.issue("old", is_expired=True)),
                 {"upstream_tls_server_name": "old"}, "certificate has expired")):
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca, **settings)
            answer = gateway.request()
            self.assert_not_served(answer)
            gateway.wait_for_text(expected, gateway.err)
            self.assertEqual(upstream.heads, [])
            gateway.end()
            gateway = self.gateway(upstream.address, upstream_tls_verify="false", **settings)
            self.assertEqual(gateway.request().status, 200)

    def test_a_name_of_its_own(self):
        upstream = self.upstream(self.other)
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca,
                               upstream_tls_server_name="a.wild.example")
        self.assertEqual(gateway.request().status, 200)

    def test_a_dot_at_the_end_of_a_name_stays_out_of_tls(self):
        """A whole name (model.test.) keeps search lists away; strict servers refuse its dot in SNI (RFC 6066 section 3)."""
        upstream = self.upstream(self.authority.issue("model", names=("DNS:model.test",)))
        said = []
        upstream.context.sni_callback = lambda _, name, __: said.append(name)
        nameserver = Nameserver(["127.0.0.1"])
        self.addCleanup(nameserver.end)
        for address, settings in ((f"https://model.test.:{upstream.port}", {"upstream_nameservers": nameserver.address}),
                                  (upstream.address, {"upstream_tls_server_name": "model.test."})):
            gateway = self.gateway(address, upstream_tls_ca_file=self.authority.ca, **settings)
            self.assertEqual(gateway.request().status, 200)
        self.assertEqual(set(said), {"model.test"})

    def test_a_client_certificate_is_shown(self):
        upstream = self.upstream(client_ca=self.authority.ca)
        certificate, key = self.authority.issue("gateway")
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca,
                               upstream_tls_certificate=certificate, upstream_tls_key=key)
        self.assertEqual(gateway.request().status, 200)
        self.assertEqual(upstream.subjects[0]["subject"][0][0][1], "gateway")
        without = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        self.assertIn(without.request().status, (502, 503))

    def test_sessions_are_taken_up_again(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            upstream = self.upstream(versions=(version, version))
            gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca, threads=1,
                                   upstream_idle_connections=0)
            for _ in range(5):
                self.assertEqual(gateway.request().status, 200)
            # One more found out whether it is there, at the same time as the first request.
            self.assertEqual(upstream.connections, 6)
            self.assertIn(upstream.sessions_resumed, (4, 5))

    def test_an_end_without_notice_is_no_end(self):
        upstream = self.upstream()
        upstream.ends_without_notice = True
        gateway = self.gateway(upstream.address, upstream_tls_ca_file=self.authority.ca)
        with self.assertRaises((http.client.IncompleteRead, ConnectionResetError)):
            gateway.request(method="GET", path="/part")
        gateway.wait_for_health(lambda h: h["failed_requests"] == 1, "a failed request")

    def test_what_is_no_tls_is_a_502(self):
        plain = TlsUpstream(None)
        self.addCleanup(plain.end)
        gateway = self.gateway("https://" + plain.address, upstream_tls_ca_file=self.authority.ca)
        self.assert_not_served(gateway.request())

    def test_a_silent_handshake_ends_at_the_connect_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            gateway = self.gateway(f"https://127.0.0.1:{silent.getsockname()[1]}", upstream_connect_timeout="200ms",
                                   upstream_tls_ca_file=self.authority.ca)
            self.assert_not_served(gateway.request())


if __name__ == "__main__":
    unittest.main()
