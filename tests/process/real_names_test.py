#!/usr/bin/env python3
"""Names of servers, told by a nameserver that others use: Debian's unbound."""
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, ProcessTest, Program, clean_environment, free_port, wait_until
from names_test import FAILING, Service

UNBOUND = pathlib.Path("/usr/sbin/unbound")


class Unbound(Program):
    """Answers for test. with `records`, and refuses closed.test."""

    def __init__(self, *records):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.own = tempfile.TemporaryDirectory()
        self.conf = pathlib.Path(self.own.name) / "unbound.conf"
        self.write(*records)
        super().__init__([UNBOUND, "-d", "-c", self.conf])
        self.wait_for_text("start of service", lambda: self.err() + self.out())

    def write(self, *records):
        told = "".join(f"  local-data: '{record}'\n" for record in records)
        self.conf.write_text(
            f'server:\n  interface: 127.0.0.1@{self.port}\n  do-daemonize: no\n  chroot: ""\n  username: ""\n'
            f'  directory: "{self.own.name}"\n  pidfile: "{self.own.name}/pid"\n  use-syslog: no\n  num-threads: 1\n'
            f'  do-not-query-localhost: no\n'
            f'  local-zone: "closed.test." always_refuse\n  local-zone: "test." static\n{told}'
            f'remote-control:\n  control-enable: no\n')

    def tell(self, *records):
        """Other records, from now on."""
        count = len(re.findall("start of service", self.err()))
        self.write(*records)
        self.signal(signal.SIGHUP)
        wait_until(lambda: len(re.findall("start of service", self.err())) > count, "unbound with other records")

    def end(self):
        super().end()
        self.own.cleanup()


@unittest.skipUnless(UNBOUND.exists(), "unbound is not installed (packaging/install-build-dependencies)")
class RealNames(ProcessTest):
    def unbound(self, *records):
        return self.start(Unbound(*records))

    def services(self, *hosts):
        services = [Service(hosts[0])]
        services += [Service(host, services[0].port) for host in hosts[1:]]
        for service in services:
            self.addCleanup(service.end)
        return services[0].port

    def named(self, unbound, servers, **settings):
        return self.gateway(servers, upstream_nameservers=unbound.address, admission_rate=0,
                            upstream_resolve_interval="1s", **settings)

    def who(self, gateway):
        return gateway.request("GET", "/x").body.decode()

    def test_three_hundred_addresses_come_over_tcp_and_serve_on_without_it(self):
        """With libevent's resolver, which has neither EDNS nor TCP, more than 30 or so were 502 for good."""
        port = self.services("127.0.0.1")
        unbound = self.unbound(*(f"many.test. 1 IN A 127.0.{i // 250}.{i % 250 + 1}" for i in range(300)))
        gateway = self.named(unbound, f"many.test:{port}", log_lines_max=10_000)
        self.assertEqual(len(gateway.health()["upstream"]), 300)
        self.assertEqual(gateway.request("GET", "/x").status, 200)
        unbound.end()
        status, out, err = gateway.command("reload")
        self.assertEqual(status, 0, out + err)
        self.assertEqual(len(gateway.health()["upstream"]), 300)

    def test_each_way_of_not_knowing_has_its_words(self):
        unbound = self.unbound("text.test. 1 IN TXT nothing", "six.test. 1 IN AAAA ::1")
        done = subprocess.run(
            [CLASSGATE, "-t", "--conf", "/dev/null"], capture_output=True, text=True, timeout=60,
            env=clean_environment({"CLASSGATE_UPSTREAM_SERVERS": "nobody.test:1, text.test:1, a.closed.test:1, "
                                                                 "six.test:1, http+srv://text.test",
                                   "CLASSGATE_UPSTREAM_NAMESERVERS": unbound.address}))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(re.findall(r'cannot look up "(.*?)": (.*) \(upstream', done.stderr)), [
            ("a.closed.test:1", FAILING),
            ("http+srv://text.test", "it has no SRV records"),
            ("nobody.test:1", "no such name"),
            ("text.test:1", "it has no address")])

    def test_it_changes_its_mind_falls_silent_and_comes_back(self):
        port = self.services("127.0.0.1", "127.0.0.2", "127.0.0.3")
        unbound = self.unbound("model.test. 1 IN A 127.0.0.1")
        gateway = self.named(unbound, f"model.test:{port}", upstream_resolve_timeout="300ms")
        self.assertEqual(self.who(gateway), "127.0.0.1")
        unbound.tell("model.test. 1 IN A 127.0.0.2")
        wait_until(lambda: self.who(gateway) == "127.0.0.2", "the other address")
        unbound.signal(signal.SIGSTOP)
        gateway.wait_for_text(r'"model.test:\d+" again: the nameservers do not answer; it keeps its addresses', gateway.err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        unbound.signal(signal.SIGCONT)
        gateway.wait_for_text("can be looked up again", gateway.err)
        unbound.tell("else.test. 1 IN A 127.0.0.3")
        gateway.wait_for_text(r'again: no such name; it keeps its addresses', gateway.err)
        self.assertEqual(self.who(gateway), "127.0.0.2")
        self.assertEqual(gateway.health()["failed_requests"], 0)

    def test_a_start_while_it_is_silent_waits_for_it(self):
        port = self.services("127.0.0.1")
        unbound = self.unbound("model.test. 1 IN A 127.0.0.1")
        unbound.signal(signal.SIGSTOP)
        gateway = self.named(unbound, f"model.test:{port}", upstream_resolve_timeout="300ms")
        self.assertEqual(gateway.request("GET", "/x").reason, "upstream_down")
        self.assertEqual(gateway.health()["upstream"],
                         {f"model.test:{port}": "not known: the nameservers do not answer"})
        unbound.signal(signal.SIGCONT)
        wait_until(lambda: self.who(gateway) == "127.0.0.1", "its address")

    def test_a_service_is_followed(self):
        port, other = self.services("127.0.0.1"), self.services("127.0.0.2")
        hosts = ("one.test. 1 IN A 127.0.0.1", "two.test. 1 IN A 127.0.0.2")
        unbound = self.unbound(*hosts, f"_classify._tcp.test. 1 IN SRV 10 1 {port} one.test.",
                               f"_classify._tcp.test. 1 IN SRV 20 1 {other} two.test.")
        gateway = self.named(unbound, "http+srv://_classify._tcp.test")
        self.assertEqual({self.who(gateway) for _ in range(4)}, {"127.0.0.1"})
        unbound.tell(*hosts, f"_classify._tcp.test. 1 IN SRV 10 1 {other} two.test.")
        wait_until(lambda: self.who(gateway) == "127.0.0.2", "the other host and port")


if __name__ == "__main__":
    unittest.main(verbosity=2)
