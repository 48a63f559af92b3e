#!/usr/bin/env python3
"""Names of servers, looked up again while requests flow: a real nameserver that changes its mind."""
import http.client
import http.server
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import unittest

from authority import Authority
from kit import CLASSGATE, Held, ProcessTest, clean_environment, wait_until
from nameserver import A, AAAA, NXDOMAIN, OK, REFUSED, SERVFAIL, SILENT, Nameserver

FAILING = "the nameservers fail, refuse or cannot be reached"


class Service:
    """Says which address it was asked at."""

    def __init__(self, host, port=0):
        self.connections = 0
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                service.connections += 1
                super().setup()

            def do_GET(self):
                body = host.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def end(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Names(ProcessTest):
    def setUp(self):
        self.first = Service("127.0.0.1")
        self.addCleanup(self.first.end)
        for host in ("127.0.0.2", "127.0.0.3"):
            self.addCleanup(Service(host, self.first.port).end)

    def named(self, nameserver, **settings):
        self.addCleanup(nameserver.end)
        return self.gateway(f"model.test:{self.first.port}", upstream_nameservers=nameserver.address, admission_rate=0,
                            **settings)

    def who(self, gateway):
        answer = gateway.request("GET", "/x")
        self.assertEqual(answer.status, 200)
        return answer.body.decode()

    def test_new_addresses_are_used_while_requests_flow_and_none_fails(self):
        nameserver = Nameserver(["127.0.0.1"])
        gateway = self.named(nameserver)
        self.assertEqual({self.who(gateway) for _ in range(5)}, {"127.0.0.1"})
        nameserver.addresses = ["127.0.0.3", "127.0.0.2"]
        seen = []
        wait_until(lambda: seen.append(self.who(gateway)) or {"127.0.0.2", "127.0.0.3"} <= set(seen), "the new ones")
        self.assertEqual({self.who(gateway) for _ in range(10)}, {"127.0.0.2", "127.0.0.3"})
        health = gateway.health()
        self.assertEqual(set(health["upstream"]), {f"model.test:{self.first.port}/127.0.0.{i}" for i in (2, 3)})
        self.assertEqual(health["failed_requests"], 0)
        gateway.wait_for_text("has other addresses: forwarding to model.test", gateway.err)
        self.assert_balanced(health)

    def test_a_name_that_is_not_known_any_more_keeps_its_addresses(self):
        nameserver = Nameserver(["127.0.0.2"])
        gateway = self.named(nameserver)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        nameserver.addresses = []
        gateway.wait_for_text(r'cannot look up "model.test:\d+" again: .*; it keeps its addresses', gateway.err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        nameserver.addresses = ["127.0.0.1"]
        wait_until(lambda: self.who(gateway) == "127.0.0.1", "the new address")
        gateway.wait_for_text("can be looked up again", gateway.err)

    def test_an_answer_is_believed_for_its_time_at_most_for_resolve_interval(self):
        nameserver = Nameserver(["127.0.0.1"], ttl=3600)
        gateway = self.named(nameserver, upstream_resolve_interval="1s")
        wait_until(lambda: nameserver.queries >= 4, "questions, an hour before the answer ages")
        self.assertEqual(self.who(gateway), "127.0.0.1")

    def test_a_name_that_is_not_known_at_start_waits_and_is_refused_in_a_reload(self):
        nameserver = Nameserver([])
        gateway = self.named(nameserver, upstream_hold="1h")  # which is for what was up: nobody waits for the unknown
        gateway.wait_for_text(r'cannot look up "model.test:\d+": no such name; looked up again until it is known',
                              gateway.err)
        answer = gateway.request("GET", "/x")
        self.assertEqual((answer.status, answer.reason), (503, "upstream_down"))
        self.assertEqual(gateway.health()["upstream"], {f"model.test:{self.first.port}": "not known: no such name"})
        # One that hangs, and one that lies: it waits on.
        nameserver.behaviour = {A: SERVFAIL, AAAA: SERVFAIL}
        asked = nameserver.queries
        wait_until(lambda: nameserver.queries > asked + 2, "another attempt")
        self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
        nameserver.behaviour = {}
        nameserver.addresses = ["0.0.0.0", "224.0.0.1"]
        asked = nameserver.queries
        wait_until(lambda: nameserver.queries > asked + 1, "another attempt")
        self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
        nameserver.addresses = ["127.0.0.2"]
        wait_until(lambda: gateway.request("GET", "/x").status == 200, "its address")
        self.assertEqual(self.who(gateway), "127.0.0.2")
        # A slip of the pen in a change is refused: what there is serves on.
        status, out, err = gateway.command("set", "upstream.servers", "modle.test:1")
        self.assertNotEqual(status, 0)
        self.assertIn('cannot look up "modle.test:1": no such name (see upstream.servers)', out + err)
        self.assertEqual(self.who(gateway), "127.0.0.2")

    def test_a_name_that_nobody_knows_takes_nothing_from_the_others(self):
        """One server's name can't be looked up, at start or later, and all requests fail, though another server is well."""
        nameserver = Nameserver(["127.0.0.1"])
        self.addCleanup(nameserver.end)
        gateway = self.gateway(f"model.test:{self.first.port},nobody.test:1", upstream_nameservers=nameserver.address,
                               admission_rate=0)
        gateway.wait_for_health(lambda h: h["upstream"]["nobody.test:1"] == "not known: no such name", "that one is not known")
        self.assertEqual({self.who(gateway) for _ in range(10)}, {"127.0.0.1"})
        nameserver.behaviour = {A: SILENT, AAAA: SILENT}
        gateway.do("reload")
        self.assertEqual({self.who(gateway) for _ in range(10)}, {"127.0.0.1"})

    def test_why_a_name_is_not_known_is_told_wherever_one_looks(self):
        nameserver = Nameserver([])
        gateway = self.named(nameserver, log_access="stdout")
        server = f"model.test:{self.first.port}"
        for behaviour, why in (({}, "no such name"),
                               ({A: OK, AAAA: OK}, "it has no address"),
                               ({A: SERVFAIL, AAAA: SERVFAIL}, FAILING),
                               ({}, "no such name"),
                               ({A: REFUSED, AAAA: REFUSED}, FAILING)):
            nameserver.behaviour = behaviour
            gateway.wait_for_health(lambda h, w=why: h["upstream"] == {server: f"not known: {w}"}, why)
            self.assertEqual(ask_operators(gateway, "/readyz"), (503, "no upstream server is reachable (upstream.servers)\n"
                                                                 f"cannot look up {server}: {why}\n"))
            self.assertRegex(gateway.command("status")[1], f"model.test:[0-9]+ +not known: {re.escape(why)}")
            self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
            gateway.wait_for_text(re.escape(f"{server}: {why}"), gateway.out)

    def test_of_a_pool_those_serve_that_are_known_and_a_reload_with_an_unknown_one_is_refused(self):
        nameserver = Nameserver(["127.0.0.2"])
        self.addCleanup(nameserver.end)
        port = self.first.port
        gateway = self.gateway(f"model.test:{port}, nobody.test:{port}", upstream_nameservers=nameserver.address,
                               admission_rate=0)
        self.assertEqual({self.who(gateway) for _ in range(5)}, {"127.0.0.2"})
        self.assertEqual(gateway.health()["upstream"][f"nobody.test:{port}"], "not known: no such name")
        # What is known and what is waited for already is no mistake of a reload; what it brings is.
        gateway.do("reload")
        status, out, err = gateway.command("set", "upstream.servers",
                                           f"model.test:{port},nobody.test:{port},else.test:{port}")
        self.assertNotEqual(status, 0)
        self.assertIn(f'cannot look up "else.test:{port}": no such name (see upstream.servers)', out + err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        nameserver.hosts = {"nobody.test": ["127.0.0.3"]}
        wait_until(lambda: self.who(gateway) == "127.0.0.3", "the other")

    def test_a_short_name_is_looked_up_by_the_search_list(self):
        nameserver = Nameserver(["127.0.0.2"])
        self.addCleanup(nameserver.end)
        gateway = self.gateway(f"model:{self.first.port}", upstream_nameservers=nameserver.address, admission_rate=0,
                               environment={"LOCALDOMAIN": "else.test test"})
        self.assertEqual(self.who(gateway), "127.0.0.2")

    def test_a_whole_name_is_not_searched_and_its_dot_is_for_dns_only(self):
        nameserver = Nameserver(["127.0.0.2"])
        self.addCleanup(nameserver.end)
        authority = Authority()
        self.addCleanup(authority.folder.cleanup)
        asked, hosts = [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                hosts.append(self.headers["Host"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        server = http.server.ThreadingHTTPServer(("127.0.0.2", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("model.test", names=["DNS:model.test"]))
        context.sni_callback = lambda _, name, __: asked.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        gateway = self.gateway(f"https://model.test.:{server.server_port}", upstream_nameservers=nameserver.address,
                               upstream_tls_ca_file=authority.ca, upstream_check_path="/well", admission_rate=0,
                               environment={"LOCALDOMAIN": "else.test"})
        gateway.wait_for_health(lambda h: list(h["upstream"].values()) == ["reachable"], "a server that is who it is")
        self.assertEqual((set(asked), set(hosts)), ({"model.test"}, {f"model.test:{server.server_port}"}))

    def test_an_address_with_a_zone_is_listened_on_and_forwarded_to(self):
        inside = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        if subprocess.run([*inside, "ip", "link", "set", "lo", "up"], capture_output=True).returncode != 0:
            self.skipTest("no network namespace of its own is to be had here")
        done = subprocess.run([*inside, sys.executable, __file__, "--in-a-network-of-its-own"], capture_output=True,
                              text=True, timeout=60)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_a_check_of_the_conf_tells_of_a_name_that_is_not_known(self):
        nameserver = Nameserver([])
        self.addCleanup(nameserver.end)
        done = subprocess.run([CLASSGATE, "-t", "--conf", "/dev/null"], capture_output=True, text=True, timeout=60,
                              env=clean_environment({"CLASSGATE_UPSTREAM_SERVERS": "nobody.test:1",
                                                     "CLASSGATE_UPSTREAM_NAMESERVERS": nameserver.address}))
        self.assertEqual(done.returncode, 0)
        self.assertIn('warning: cannot look up "nobody.test:1": no such name (upstream.servers)', done.stderr)

    def test_an_answer_that_does_not_fit_comes_over_tcp_and_all_of_it_is_used(self):
        many = [f"127.0.{i // 250}.{i % 250 + 1}" for i in range(300)]
        nameserver = Nameserver(many)
        gateway = self.named(nameserver)
        self.assertGreater(nameserver.tcp_queries, 0)
        self.assertEqual(len(gateway.health()["upstream"]), 300)
        # 60 fit into what the client says that it takes (EDNS), and not into 512 bytes.
        nameserver.addresses = many[:60]
        gateway.wait_for_health(lambda h: len(h["upstream"]) == 60, "the sixty")
        nameserver.tcp_queries, asked = 0, nameserver.queries
        wait_until(lambda: nameserver.queries >= asked + 2, "more questions")
        self.assertEqual(nameserver.tcp_queries, 0)

    def test_more_addresses_than_are_used_are_told(self):
        nameserver = Nameserver([f"127.1.{i // 250}.{i % 250 + 1}" for i in range(1100)])
        gateway = self.named(nameserver, log_lines_max=100_000)  # each of them is told to be unreachable
        gateway.wait_for_text(r"has 1100 addresses: the first 1024 are used", gateway.err)
        self.assertEqual(len(gateway.health()["upstream"]), 1024)

    def test_lies_under_another_id_or_to_another_question_are_not_believed(self):
        nameserver = Nameserver(["127.0.0.2"])
        nameserver.lies = True
        gateway = self.named(nameserver)
        asked = nameserver.queries
        wait_until(lambda: nameserver.queries >= asked + 2, "another question")
        self.assertEqual(set(gateway.health()["upstream"]), {f"model.test:{self.first.port}/127.0.0.2"})
        self.assertEqual(self.who(gateway), "127.0.0.2")

    def test_answers_in_part(self):
        # No such name is said of AAAA only (RFC 4074): there are IPv4 addresses.
        nameserver = Nameserver(["127.0.0.2"])
        nameserver.behaviour = {AAAA: NXDOMAIN}
        gateway = self.named(nameserver)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        # Of A nothing is to be learnt any more, AAAA has something: it keeps what works.
        nameserver.addresses = ["::1"]
        nameserver.behaviour = {A: SERVFAIL}
        gateway.wait_for_text("the nameservers tell IPv6 addresses only; it keeps its addresses", gateway.err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        # Now it is said that there are no others.
        nameserver.behaviour = {A: OK}
        gateway.wait_for_health(lambda h: list(h["upstream"]) == [f"model.test:{self.first.port}/::1"], "IPv6")

    def test_silence_is_bounded_at_start_and_ends(self):
        nameserver = Nameserver(["127.0.0.1"])
        nameserver.behaviour = {A: SILENT, AAAA: SILENT}
        gateway = self.named(nameserver, upstream_resolve_timeout="200ms")
        gateway.wait_for_text("the nameservers do not answer; looked up again until", gateway.err)
        self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
        nameserver.behaviour = {}
        wait_until(lambda: gateway.request("GET", "/x").status == 200, "its address")

    def test_no_nameserver_is_there_and_nothing_but_our_own_lines_is_said(self):
        nameserver = Nameserver([])
        nameserver.end()
        gateway = self.gateway("model.test:1", upstream_nameservers=nameserver.address)
        gateway.wait_for_text(r'cannot look up "model.test:1": .*; looked up again', gateway.err)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(), 0)
        for line in gateway.err().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z (info|warning|error) ")

    def test_one_address_that_changes_keeps_the_connections_to_the_others(self):
        nameserver = Nameserver(["127.0.0.1", "127.0.0.2"])
        gateway = self.named(nameserver, threads=1)
        wait_until(lambda: {self.who(gateway) for _ in range(4)} == {"127.0.0.1", "127.0.0.2"}, "both")
        before = self.first.connections
        for other in ("127.0.0.3", "127.0.0.2", "127.0.0.3"):
            nameserver.addresses = ["127.0.0.1", other]
            gateway.wait_for_health(lambda h, o=other: f"model.test:{self.first.port}/{o}" in h["upstream"], other)
            wait_until(lambda o=other: {self.who(gateway) for _ in range(4)} == {"127.0.0.1", o}, "both")
        self.assertEqual(self.first.connections, before)

    def test_workers_follow_how_many_pods_a_name_stands_for(self):
        nameserver = Nameserver(["127.0.0.1"])
        gateway = self.named(nameserver, admission_workers=20, admission_workers_per_server=8, upstream_probe_interval="100ms")
        gateway.wait_for_health(lambda h: h["limits"]["workers"] == 8, "eight for one")
        for addresses, workers in ((["127.0.0.1", "127.0.0.2"], 16), (["127.0.0.1", "127.0.0.2", "127.0.0.3"], 20),
                                   (["127.0.0.3"], 8)):
            nameserver.addresses = addresses
            gateway.wait_for_health(lambda h, w=workers: h["limits"]["workers"] == w, f"{workers} for {addresses}")
        self.assertEqual(self.who(gateway), "127.0.0.3")

    def test_requests_per_server_holds_while_an_address_leaves_and_returns(self):
        held = Held()
        self.addCleanup(held.close)
        nameserver = Nameserver(["127.0.0.1"])
        self.addCleanup(nameserver.end)
        gateway = self.gateway(f"model.test:{held.port}", upstream_nameservers=nameserver.address, admission_rate=0,
                               upstream_requests_per_server=1, upstream_probe_interval="100ms")
        first = threading.Thread(target=gateway.request, args=("GET", "/first"))
        first.start()
        self.addCleanup(first.join)
        self.addCleanup(held.release.set)
        wait_until(lambda: held.busy == 1, "a request in the server")
        for addresses in (["127.0.0.77"], ["127.0.0.1"]):
            nameserver.addresses = addresses
            gateway.wait_for_health(
                lambda h, a=addresses: list(h["upstream"]) == [f"model.test:{held.port}/{a[0]}"], addresses)
        second = threading.Thread(target=gateway.request, args=("GET", "/second"))
        second.start()
        self.addCleanup(second.join)
        gateway.wait_for_health(lambda h: h["queue_size"] == 1 or held.most > 1, "a place in the queue")
        self.assertEqual(held.most, 1)
        held.release.set()
        first.join()
        second.join()
        self.assertEqual(held.most, 1)


def ask_operators(gateway, path):
    connection = http.client.HTTPConnection("127.0.0.1", gateway.ops_port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class InANetworkOfItsOwn(ProcessTest):
    """fe80::1 and fe80::2 are on lo there."""

    def runTest(self):
        for words in (["link", "set", "lo", "up"], ["addr", "add", "fe80::1/64", "dev", "lo", "nodad"],
                      ["addr", "add", "fe80::2/64", "dev", "lo", "nodad"]):
            subprocess.run(["ip", *words], check=True)
        zone = socket.if_nametoindex("lo")
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.headers["Host"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6

        server = Server(("fe80::2", 0, 0, zone), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        port = server.server_address[1]
        gateway = self.gateway(f"[fe80::2%lo]:{port}", listen="127.0.0.1:0, [fe80::1%lo]:0", upstream_check_path="/well")
        gateway.wait_for_health(lambda h: h["upstream"] == {f"[fe80::2%lo]:{port}": "reachable"}, "a server in a zone")
        self.assertEqual(asked[0], f"[fe80::2]:{port}")
        heard = int(gateway.wait_for_text(r"\[fe80::1%lo\]:(\d+)", gateway.err).group(1))
        with socket.socket(socket.AF_INET6) as client:
            client.settimeout(20)
            client.connect(("fe80::1", heard, 0, zone))
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertEqual(client.recv(12), b"HTTP/1.1 204")


def load_tests(loader, tests, pattern):
    """All but what wants a network of its own."""
    return unittest.TestSuite(one for group in tests for one in group if not isinstance(one, InANetworkOfItsOwn))


if __name__ == "__main__":
    if "--in-a-network-of-its-own" in sys.argv:
        outcome = unittest.TextTestRunner().run(InANetworkOfItsOwn())
        sys.exit(0 if outcome.wasSuccessful() else 1)
    unittest.main(verbosity=2)
