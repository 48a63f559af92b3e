#!/usr/bin/env python3
"""Where clients are accepted: every address, of both families, and Unix sockets."""
import grp
import http.server
import os
import pathlib
import platform
import re
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

from kit import CLASSGATE, Program, ProcessTest, clean_environment, free_port, read_answer, wait_until

GET = b"GET /v1/classify HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


# Runs a program as on a kernel without IPv6: socket(AF_INET6, ...) fails with EAFNOSUPPORT, by a filter of seccomp.
WITHOUT_IPV6 = """
import ctypes, os, struct, sys
load, equal, give = 0x20, 0x15, 0x06
steps = [(load, 0, 0, 0), (equal, 0, 3, 41), (load, 0, 0, 16), (equal, 0, 1, 10), (give, 0, 0, 0x50000 | 97), (give, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


class ListenTest(ProcessTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = f"{self.folder.name}/clients"
        self.log = pathlib.Path(self.folder.name) / "access"

    def conf(self, listen, more="", upstream="127.0.0.1:1"):
        path = pathlib.Path(self.folder.name) / "conf"
        path.write_text(f"listen = {listen}\n{more}\n[ops]\nlisten = []\ncontrol = \"{path}.sock\"\n"
                        f'[log]\naccess = "{self.log}"\n[upstream]\nservers = ["{upstream}"]\nhold = "0s"\n')
        return path

    def begin(self, *arguments, **named):
        program = self.start(Program([CLASSGATE, "--conf", self.conf(*arguments, **named)]))
        self.places = program.wait_for_text(r"listening on (.*), forwarding", program.err).group(1).split(", ")
        return program

    def reload(self):
        done = subprocess.run([CLASSGATE, "--socket", f"{self.folder.name}/conf.sock", "reload"],
                              capture_output=True, text=True, env=clean_environment(), timeout=30)
        return done.returncode, done.stderr

    def status_by(self, family, address):
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(20)
            client.connect(address)
            client.sendall(GET)
            answer = read_answer(client)
            return answer.status if answer else None

    def clients_in_log(self, count):
        def lines():
            text = self.log.read_text() if self.log.exists() else ""
            return text.splitlines() if text.count("\n") >= count else None
        return wait_until(lines, f"{count} lines in the access log")

    def test_a_star_is_every_address_of_both_families(self):
        self.begin('["*:0"]')
        self.assertRegex(self.places[0], r"^\*:\d+$")
        port = int(self.places[0].split(":")[1])
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.9.9.9"), (socket.AF_INET6, "::1")):
            self.assertIsNotNone(self.status_by(family, (host, port)), host)
        lines = self.clients_in_log(3)
        # IPv4 is said to be that. The lines of two loops come in either order.
        self.assertEqual(sorted(re.search(r" address=(\S+) ", line).group(1) for line in lines),
                         ["127.0.0.1", "127.0.0.1", "::1"])

    @unittest.skipUnless(platform.machine() == "x86_64", "the filter knows the number of socket(2) there")
    def test_a_star_is_every_address_there_is_on_a_kernel_without_ipv6(self):
        """The container does not start where IPv6 is off: address family not supported."""
        program = self.start(Program([sys.executable, "-c", WITHOUT_IPV6, CLASSGATE, "--conf", self.conf('["*:0"]')]))
        port = int(program.wait_for_text(r"listening on \*:(\d+)|listening on 0\.0\.0\.0:(\d+)", program.err).group(0).rsplit(":", 1)[1])
        self.assertIsNotNone(self.status_by(socket.AF_INET, ("127.0.0.1", port)))
        with self.assertRaises(OSError):
            self.status_by(socket.AF_INET6, ("::1", port))

    def test_each_family_has_its_own_listener_on_one_port(self):
        port = free_port()
        self.begin(f'["0.0.0.0:{port}", "[::]:{port}"]')
        self.assertEqual(self.places, [f"0.0.0.0:{port}", f"[::]:{port}"])
        self.assertIsNotNone(self.status_by(socket.AF_INET, ("127.0.0.1", port)))
        self.assertIsNotNone(self.status_by(socket.AF_INET6, ("::1", port)))

    def test_six_alone_is_six_alone(self):
        self.begin('["[::]:0"]')
        port = int(self.places[0].rsplit(":", 1)[1])
        self.assertIsNotNone(self.status_by(socket.AF_INET6, ("::1", port)))
        with self.assertRaises(ConnectionRefusedError):
            self.status_by(socket.AF_INET, ("127.0.0.1", port))

    def test_a_unix_socket_has_the_mode_and_the_owner_that_are_wanted(self):
        program = self.begin(f'["unix:{self.path}", "127.0.0.1:0"]', 'socket_mode = "0640"\nsocket_owner = "0:adm"')
        self.assertEqual(self.places[0], f"unix:{self.path}")
        found = os.lstat(self.path)
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual((stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid), (0o640, 0, grp.getgrnam("adm").gr_gid))
        self.assertIsNotNone(self.status_by(socket.AF_UNIX, self.path))
        self.assertRegex(self.clients_in_log(1)[0], r"(^|[ =])unix:( |$)")
        program.signal(15)
        self.assertEqual(program.wait(), 0)
        self.assertFalse(os.path.lexists(self.path))

    def test_an_owner_that_is_not_there_is_told(self):
        done = subprocess.run([CLASSGATE, "--conf", self.conf(f'["unix:{self.path}"]', 'socket_owner = "no-such-user"')],
                              capture_output=True, text=True, env=clean_environment(), timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on {self.path}: there is no user no-such-user (listen)", done.stderr)
        self.assertFalse(os.path.lexists(self.path))

    def test_a_unix_socket_left_by_a_killed_process_is_taken_over_and_a_living_one_is_not(self):
        """A server that was killed leaves its socket; the next one can't bind: address already in use."""
        first = self.begin(f'["unix:{self.path}"]')
        done = subprocess.run([CLASSGATE, "--conf", self.conf(f'["unix:{self.path}"]')],
                              capture_output=True, text=True, env=clean_environment(), timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"cannot listen on {self.path}: another program answers there", done.stderr)
        self.assertIsNotNone(self.status_by(socket.AF_UNIX, self.path))
        first.signal(9)
        first.wait()
        self.assertTrue(os.path.lexists(self.path))
        self.begin(f'["unix:{self.path}"]')
        self.assertIsNotNone(self.status_by(socket.AF_UNIX, self.path))

    def test_what_is_no_socket_is_not_removed(self):
        pathlib.Path(self.path).write_text("precious")
        done = subprocess.run([CLASSGATE, "--conf", self.conf(f'["unix:{self.path}"]')],
                              capture_output=True, text=True, env=clean_environment(), timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("something else than a socket is there", done.stderr)
        self.assertEqual(pathlib.Path(self.path).read_text(), "precious")

    def test_clients_of_a_unix_socket_can_be_trusted_and_limited_by_name(self):
        seen = []

        class Upstream(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.headers)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as server:
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            self.begin(f'["unix:{self.path}"]', '[client]\ntrusted_proxies = ["unix:"]',
                       upstream=f"127.0.0.1:{server.server_port}")
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(self.path)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n"
                               b"Forwarded: for=192.0.2.7\r\n\r\n")
                self.assertEqual(read_answer(client).status, 200)
            server.shutdown()
            thread.join(10)
        self.assertEqual(seen[0]["X-Forwarded-For"], "192.0.2.7, unix:")
        self.assertEqual(seen[0]["Forwarded"], 'for=192.0.2.7, for=_unix;proto=http;host="a"')
        self.assertRegex(self.clients_in_log(1)[0], r"(^|[ =])192\.0\.2\.7( |$)")

    def test_connections_of_a_unix_socket_are_one_clients(self):
        self.begin(f'["unix:{self.path}", "127.0.0.1:0"]', "[client]\nconnections_per_address = 2\nmax_connections = 100")
        def connect():
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.settimeout(20)
            client.connect(self.path)
            return client
        for _ in range(2):  # several loops accept, the later connection first now and then: each is known before the next
            client = connect()
            client.sendall(GET.replace(b"Connection: close\r\n", b""))
            self.assertEqual(read_answer(client).status, 503)
        self.assertEqual(read_answer(connect()).status, 429)
        self.assertIsNotNone(self.status_by(socket.AF_INET, ("127.0.0.1", int(self.places[1].split(":")[1]))))

    def test_reload_and_upgrade_keep_add_and_remove_unix_sockets(self):
        program = self.begin(f'["unix:{self.path}"]')
        inode = os.lstat(self.path).st_ino
        self.conf(f'["unix:{self.path}", "unix:{self.path}2"]')
        self.assertEqual(self.reload(), (0, ""))
        self.assertEqual(os.lstat(self.path).st_ino, inode)
        self.assertIsNotNone(self.status_by(socket.AF_UNIX, self.path + "2"))
        self.conf(f'["unix:{self.path}"]')
        self.assertEqual(self.reload(), (0, ""))
        self.assertFalse(os.path.lexists(self.path + "2"))
        done = subprocess.run([CLASSGATE, "--socket", f"{self.folder.name}/conf.sock", "upgrade"], capture_output=True,
                              text=True, env=clean_environment(), timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        successor = int(re.search(r"started \S+ as process (\d+)", program.err()).group(1))
        self.addCleanup(lambda: end_process(successor))
        self.assertEqual(program.wait(), 0)
        self.assertEqual(os.lstat(self.path).st_ino, inode)
        self.assertIsNotNone(self.status_by(socket.AF_UNIX, self.path))
        os.kill(successor, 15)
        wait_until(lambda: not os.path.lexists(self.path), "the socket to go")


    def test_a_reload_goes_from_some_addresses_of_a_port_to_others_and_loses_nobody(self):
        """"Address already in use": the former socket was still open."""
        port = free_port()
        narrow, star, both, loopback = (f'["0.0.0.0:{port}"]', f'["*:{port}"]', f'["0.0.0.0:{port}", "[::]:{port}"]',
                                        f'["127.0.0.1:{port}"]')
        program = self.begin(narrow)
        failures, asked, over = [], [], threading.Event()

        def ask():
            for _ in range(100_000):  # bounded; ends long before
                if over.is_set():
                    return
                try:
                    asked.append(self.status_by(socket.AF_INET, ("127.0.0.1", port)))
                except OSError as error:
                    failures.append(repr(error))

        crowd = [threading.Thread(target=ask) for _ in range(3)]
        for one in crowd:
            one.start()
        for listen in (star, both, star, narrow, both, loopback, star, loopback, narrow):
            before = len(asked)
            self.conf(listen)
            self.assertEqual(self.reload(), (0, ""), listen)
            wait_until(lambda: len(asked) > before + 20, f"requests after {listen}")
            for host in ("127.0.0.1", "127.0.0.2", "::1"):
                is_open = (listen != loopback or host == "127.0.0.1") if "." in host else listen in (star, both)
                family = socket.AF_INET if "." in host else socket.AF_INET6
                if is_open:
                    self.assertIsNotNone(self.status_by(family, (host, port)), (listen, host))
                else:
                    self.assertTrue(wait_until(lambda: self.refuses(family, (host, port)), f"{host} closed by {listen}"))
            # Nobody else's socket is shared, whatever it asks for.
            with socket.socket() as stranger, self.assertRaises(OSError):
                stranger.bind(("127.0.0.1", port))
                stranger.listen()
        over.set()
        for one in crowd:
            one.join()
        self.assertEqual(failures, [])
        self.assertNotIn(None, asked)
        program.signal(15)
        self.assertEqual(program.wait(), 0)

    def refuses(self, family, address):
        try:
            self.status_by(family, address)
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was just being closed
            pass
        return False


def end_process(pid):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    unittest.main()
