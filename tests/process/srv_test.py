#!/usr/bin/env python3
"""Servers that SRV records name: their hosts, ports, weights; records that lie."""
import http.server
import ssl
import threading
import unittest

from authority import Authority
from kit import Held, ProcessTest, wait_until
from names_test import FAILING, Service
from nameserver import A, AAAA, SERVFAIL, SILENT, SRV, Nameserver


class Services(ProcessTest):
    """http+srv://: who serves is told by SRV records."""

    def setUp(self):
        self.one, self.two = Service("127.0.0.1"), Service("127.0.0.2")
        self.addCleanup(self.one.end)
        self.addCleanup(self.two.end)
        self.nameserver = Nameserver([])
        self.addCleanup(self.nameserver.end)
        self.nameserver.hosts = {"one.test": ["127.0.0.1"], "two.test": ["127.0.0.2"]}

    def tell(self, *records):
        self.nameserver.services = {"_classify._tcp.test": list(records)}

    def served(self, **settings):
        return self.gateway("http+srv://_classify._tcp.test", upstream_nameservers=self.nameserver.address,
                            admission_rate=0, **settings)

    def who(self, gateway):
        return gateway.request("GET", "/x").body.decode()

    def test_hosts_and_ports_are_used_and_change(self):
        self.tell((0, 1, self.one.port, "one.test"), (0, 1, self.two.port, "two.test"))
        gateway = self.served()
        wait_until(lambda: {self.who(gateway) for _ in range(4)} == {"127.0.0.1", "127.0.0.2"}, "both")
        self.assertEqual(set(gateway.health()["upstream"]),
                         {f"http+srv://_classify._tcp.test/127.0.0.{i}:{s.port}" for i, s in ((1, self.one), (2, self.two))})
        self.tell((0, 1, self.two.port, "two.test"))
        wait_until(lambda: {self.who(gateway) for _ in range(4)} == {"127.0.0.2"}, "the second alone")

    def test_the_lowest_priority_number_serves_while_it_is_up(self):
        self.tell((20, 1, self.two.port, "two.test"), (10, 1, self.one.port, "one.test"))
        gateway = self.served(upstream_probe_interval="100ms")
        self.assertEqual({self.who(gateway) for _ in range(6)}, {"127.0.0.1"})
        self.tell((5, 1, self.two.port, "two.test"), (10, 1, self.one.port, "one.test"))
        wait_until(lambda: {self.who(gateway) for _ in range(6)} == {"127.0.0.2"}, "the other way about")
        self.tell((5, 1, 1, "two.test"), (10, 1, self.one.port, "one.test"))  # nobody listens there
        wait_until(lambda: {self.who(gateway) for _ in range(6)} == {"127.0.0.1"}, "the one that is up")

    def test_what_is_under_way_is_shared_by_weight(self):
        helds = [Held(), Held("127.0.0.2")]
        for held in helds:
            self.addCleanup(held.close)
        self.tell((0, 30, helds[0].port, "one.test"), (0, 10, helds[1].port, "two.test"))
        gateway = self.served(admission_workers=8, threads=1)
        crowd = [threading.Thread(target=gateway.request, args=("GET", "/x")) for _ in range(8)]
        for one in crowd:
            self.addCleanup(one.join)
            self.addCleanup(lambda: [held.release.set() for held in helds])
            one.start()
        wait_until(lambda: helds[0].busy + helds[1].busy == 8, "all in the servers")
        self.assertIn([held.busy for held in helds], ([6, 2], [7, 1]))

    def test_what_is_not_there_broken_or_silent_is_waited_for_and_told(self):
        gateway = self.served(upstream_resolve_timeout="300ms")
        one = (0, 1, self.one.port, "one.test")
        for services, broken, behaviour, why in (
                ([], None, {}, "it has no SRV records"),
                ([(0, 0, 0, ".")], None, {}, "its SRV record says that it is not there"),
                ([one], b"\0\0\0", {}, "the answer of the nameserver is malformed"),
                ([one], None, {SRV: SILENT}, "the nameservers do not answer"),
                ([one], None, {A: SERVFAIL, AAAA: SERVFAIL}, f'its host "one.test": {FAILING}'),
                ([(0, 1, 1, "nobody.test")], None, {}, 'its host "nobody.test": no such name')):
            self.tell(*services)
            self.nameserver.broken, self.nameserver.behaviour = broken, behaviour
            gateway.wait_for_health(lambda h, w=why: list(h["upstream"].values()) == [f"not known: {w}"], why)
            self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
        self.tell(one)
        self.nameserver.behaviour = {}
        wait_until(lambda: self.who(gateway) == "127.0.0.1", "its server")

    def test_a_host_that_cannot_be_learnt_leaves_the_others_and_its_servers_serving(self):
        self.tell((0, 1, self.one.port, "one.test"), (0, 1, self.two.port, "two.test"))
        gateway = self.served(upstream_resolve_timeout="300ms")
        wait_until(lambda: {self.who(gateway) for _ in range(4)} == {"127.0.0.1", "127.0.0.2"}, "both")
        self.nameserver.behaviour = {A: SERVFAIL, AAAA: SERVFAIL}
        asked = self.nameserver.queries
        wait_until(lambda: self.nameserver.queries > asked + 6, "questions")
        self.assertEqual({self.who(gateway) for _ in range(4)}, {"127.0.0.1", "127.0.0.2"})

    def test_the_certificate_is_for_the_domain_that_the_operator_wrote(self):
        """Whoever lies in DNS tells other hosts, not another name to prove (RFC 9525 section 6.2)."""
        authority = Authority()
        self.addCleanup(authority.folder.cleanup)
        for name, state in (("test", "reachable"), ("one.test", "unreachable")):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority.issue(name, names=[f"DNS:{name}"]))
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
            thread.start()
            self.addCleanup(thread.join)
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            self.tell((0, 1, server.server_port, "one.test"))
            gateway = self.gateway("https+srv://_classify._tcp.test", upstream_nameservers=self.nameserver.address,
                                   upstream_tls_ca_file=authority.ca)
            gateway.wait_for_health(lambda h, s=state: list(h["upstream"].values()) == [s], state)


if __name__ == "__main__":
    unittest.main()
