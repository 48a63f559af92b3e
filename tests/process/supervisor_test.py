#!/usr/bin/env python3
"""The loop that hears signals, feeds the watchdog and answers operators waits for nothing."""
import fcntl
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from kit import ProcessTest, get_json, loops_of, threads_of, wait_until
from nameserver import Nameserver
from names_test import Service


class Manager:
    """A service manager that counts what it hears."""

    def __init__(self, folder):
        self.path = folder + "/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while True:
            text = self.socket.recv(65536).decode()
            if text == "end":
                return
            self.heard.append(text)

    def count(self, what):
        return sum(text.startswith(what) for text in list(self.heard))

    def end(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"end", self.path)
        self.thread.join()
        self.socket.close()


HUNG = "those before still hang"  # why one more is refused


def wait_for_errand(gateway):
    """Until there is a thread that prepares a change."""
    wait_until(lambda: "errand" in threads_of(gateway.process.pid).values(), "an errand")


class WithFolder(ProcessTest):
    """A conf with a conf.d."""

    def setUp(self):
        self.upstream = self.service()
        self.leased = None
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def start_in_folder(self, environment=None, **settings):
        # In a folder of its own, so that it can have a conf.d.
        conf = pathlib.Path(self.folder.name) / "classgate.conf"
        conf.write_text("")
        (conf.parent / "conf.d").mkdir()
        gateway = self.gateway(self.upstream.address, environment=environment or {},
                               wrapper=("sh", "-c", f'program=$1; exec "$program" --conf {conf}', "sh"), **settings)
        self.slow = conf.parent / "conf.d" / "later.conf"
        return gateway


class Hanging(WithFolder):
    """A reload that hangs in a file of conf.d: one that we hold a lease on (fcntl(2), F_SETLEASE), so that whoever
    opens it waits, as for a disk that does not answer."""

    def lease(self):
        """Whoever opens the file waits until feed() is called."""
        signal.signal(signal.SIGIO, lambda *_: None)  # somebody waits
        self.leased = os.open(self.slow, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.fcntl(self.leased, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def hang(self, gateway):
        """A reload that is under way until feed() is called."""
        self.lease()
        answer = []
        ordering = threading.Thread(target=lambda: answer.append(gateway.command("reload")))
        ordering.start()
        self.addCleanup(ordering.join)
        self.addCleanup(self.feed, "")
        # Whoever opens the file breaks the lease: from then on it is this file that the reload reads.
        wait_until(lambda: fcntl.fcntl(self.leased, fcntl.F_GETLEASE) != fcntl.F_WRLCK, "a reload that opens the file")
        return ordering, answer

    def feed(self, text):
        """Lets whoever waits go on, and read this."""
        if self.leased is None:
            return
        os.write(self.leased, text.encode())
        fcntl.fcntl(self.leased, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        os.close(self.leased)
        self.leased = None

    def live(self, gateway):
        with socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            return connection.recv(65536).decode()

    def test_meanwhile_the_watchdog_is_fed_operators_are_answered_and_a_second_change_is_told(self):
        manager = Manager(self.folder.name)
        self.addCleanup(manager.end)
        gateway = self.start_in_folder({"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"})
        ordering, answer = self.hang(gateway)
        fed = manager.count("WATCHDOG=1")
        wait_until(lambda: manager.count("WATCHDOG=1") >= fed + 5, "the watchdog's food")
        self.assertIn("every event loop turns", self.live(gateway))
        self.assertEqual(gateway.request().status, 200)
        for command in (("reload",), ("set", "admission.workers", "7")):
            status, out, err = gateway.command(*command)
            self.assertNotEqual(status, 0)
            self.assertIn("a change of the conf is under way", out + err)
        self.assertTrue(ordering.is_alive())
        self.feed("[admission]\nworkers = 9\n")
        ordering.join(30)
        self.assertEqual(answer[0][0], 0, answer)
        self.assertEqual(gateway.health()["limits"]["workers"], 9)

    def test_a_hangup_meanwhile_is_followed_by_a_reload(self):
        gateway = self.start_in_folder()
        ordering, _ = self.hang(gateway)
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_text("HUP: a change of the conf is under way; a reload follows it", gateway.err)
        os.rename(self.slow, self.folder.name + "/held")
        self.slow.write_text("[admission]\nworkers = 11\n")
        self.feed("[admission]\nworkers = 10\n")
        ordering.join(30)
        wait_until(lambda: gateway.health()["limits"]["workers"] == 11, "the second reload")
        self.assertEqual(gateway.health()["conf"]["reloads"], 2)

    def test_it_is_ended_at_once_meanwhile(self):
        gateway = self.start_in_folder()
        ordering, answer = self.hang(gateway)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(10), 0)  # nobody has fed it
        ordering.join(30)
        self.assertIn("given up: this process drains", answer[0][1] + answer[0][2])

    def test_it_is_refused_after_reload_timeout_and_a_later_one_works(self):
        manager = Manager(self.folder.name)
        self.addCleanup(manager.end)
        gateway = self.start_in_folder({"NOTIFY_SOCKET": manager.path}, ops_reload_timeout="200ms")
        ordering, answer = self.hang(gateway)
        ordering.join(30)
        self.assertNotEqual(answer[0][0], 0)
        self.assertIn("within ops.reload_timeout", answer[0][1] + answer[0][2])
        self.assertEqual(gateway.health()["conf"]["failed_reloads"], 1)
        os.rename(self.slow, self.folder.name + "/held")
        gateway.do("reload")
        # Those that hang are bounded, and that is told: by command, and by signal in the log and to the manager.
        os.rename(self.folder.name + "/held", self.slow)
        texts = [gateway.command("reload") for _ in range(5)]
        hung = [HUNG in out + err for _, out, err in texts]
        self.assertTrue(hung[-1], texts)
        failed = gateway.health()["conf"]["failed_reloads"]
        said, refused = 1 + 2 + len(texts), sum(hung)  # the start, and each reload
        # The log and the manager hear of them a little later than who asked.
        wait_until(lambda: gateway.err().count(HUNG) == refused, "the refusals in the log")
        wait_until(lambda: manager.count("READY=1") == said, "READY=1 of each reload")
        gateway.signal(signal.SIGHUP)
        wait_until(lambda: gateway.err().count(HUNG) == refused + 1, "the refusal in the log")
        wait_until(lambda: manager.count("READY=1") == said + 1, "READY=1")
        self.assertEqual(manager.count("RELOADING=1"), manager.count("READY=1") - 1)
        self.assertEqual(gateway.health()["conf"]["failed_reloads"], failed + 1)
        self.assertEqual(gateway.request().status, 200)
        self.feed("[admission]\nworkers = 12\n")
        wait_until(lambda: gateway.command("reload")[0] == 0, "a reload when they hang no more")
        self.assertEqual(gateway.health()["limits"]["workers"], 12)

    def test_what_is_no_file_is_told_and_nobody_waits_for_it(self):
        # In place of the conf, of a file in conf.d and of a certificate: a FIFO, a device, a socket, a folder.
        gateway = self.start_in_folder()
        conf = self.slow.parent.parent / "classgate.conf"
        pair = pathlib.Path(self.folder.name, "pair.pem")
        tls = f'[tls]\ncertificate = "{pair}"\nkey = "{pair}"\n'

        def make_socket(path):
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        makers = (os.mkfifo, lambda path: os.symlink("/dev/zero", path), make_socket)
        for place, text in ((self.slow, ""), (pair, tls), (conf, "")):
            for make in makers:
                conf.unlink(missing_ok=True)
                if place != conf:
                    conf.write_text(text)
                make(place)
                code, out, err = gateway.command("reload")
                self.assertEqual(code, 1, out)
                self.assertIn(f"{place}", err)
                self.assertRegex(err, "cannot be read: (it is no regular file|No such device or address)")
                place.unlink()
        conf.mkdir()
        self.assertIn(f"{conf}: cannot be read: Is a directory", gateway.command("reload")[2])
        conf.rmdir()
        conf.write_text("[admission]\nworkers = 13\n")
        gateway.do("reload")
        self.assertEqual(gateway.health()["limits"]["workers"], 13)


class Starving(WithFolder):
    """Reloads for which there is not enough memory: the address space (RLIMIT_AS) may grow by less than they need."""

    SMALL = "[admission]\nworkers = 6\n"
    @staticmethod
    def large(step):
        """Each needs more than the one before, whose memory the process may have kept."""
        return "[admission]\nworkers = 5\n" + "".join(
            f'[[route]]\npath = "/some/long/path/that/needs/memory/{i}"\npriority = {1 + i % 5}\nrate = 5\n'
            'statuses = ["queue_full=429"]\n' for i in range(400 * (step + 1)))

    def address_space(self, gateway):
        status = pathlib.Path(f"/proc/{gateway.process.pid}/status").read_text()
        return int(re.search(r"VmSize:\s+(\d+)", status).group(1)) * 1024

    def limit(self, gateway, margin):
        """So many bytes more than it has now; None: as many as it likes."""
        soft = resource.RLIM_INFINITY if margin is None else self.address_space(gateway) + margin
        resource.prlimit(gateway.process.pid, resource.RLIMIT_AS, (soft, resource.RLIM_INFINITY))

    def test_whoever_asked_hears_of_it_and_the_next_change_works(self):
        manager = Manager(self.folder.name)
        self.addCleanup(manager.end)
        gateway = self.start_in_folder({"NOTIFY_SOCKET": manager.path}, threads=2, ops_reload_timeout="10s")
        if self.address_space(gateway) > 1 << 40:
            self.skipTest("a sanitizer has taken terabytes of addresses, and ends the process instead of throwing")
        gateway.do("reload")  # from now on there is a stack for its thread
        failures = 0
        told = 2  # READY=1 at the start and now; the manager may read it later
        for step in range(36):
            if step >= 12 and failures > 0:
                break
            by_signal = step % 2 == 1
            asked = {key: gateway.health()["conf"][key] for key in ("reloads", "failed_reloads")}
            self.slow.write_text(self.large(step))
            self.limit(gateway, step % 6 * 128 * 1024)
            if by_signal:
                gateway.signal(signal.SIGHUP)
                wait_until(lambda: manager.count("READY=1") == told + 1, "READY=1")
                code = None
            else:
                code, out, err = gateway.command("reload", timeout=20)
            self.limit(gateway, None)
            now = gateway.health()
            failed = now["conf"]["failed_reloads"] - asked["failed_reloads"]
            self.assertEqual(failed + now["conf"]["reloads"] - asked["reloads"], 1, now["conf"])
            self.assertEqual(now["conf"]["last_reload_failed"], failed == 1)
            if code is not None:
                self.assertEqual(code, failed, out + err)
            failures += failed
            self.slow.write_text(self.SMALL)
            code, out, err = gateway.command("reload")
            self.assertEqual(code, 0, out + err)
            self.assertEqual(gateway.health()["limits"]["workers"], 6)
            told += 2
        self.assertGreater(failures, 0)
        wait_until(lambda: gateway.err().count("reload refused") == failures, "as many lines as failures")
        wait_until(lambda: manager.count("READY=1") == told, "READY=1 for each")
        self.assertEqual(manager.count("RELOADING=1"), told - 1)
        self.assertEqual(gateway.request().status, 200)


class Silent(ProcessTest):
    """Nameservers that say nothing."""

    def test_all_nameservers_are_silent(self):
        first = Service("127.0.0.1")
        self.addCleanup(first.end)
        nameserver = Nameserver(["127.0.0.1"])
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        manager = Manager(folder.name)
        self.addCleanup(manager.end)
        gateway = self.gateway(f"model.test:{first.port}", upstream_nameservers=nameserver.address,
                               environment={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"})
        nameserver.end()
        silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(silent.close)
        silent.bind(("127.0.0.1", int(nameserver.address.split(":")[1])))
        # No name has changed: nobody has to be asked.
        for command in (("set", "admission.workers", "7"), ("reload",)):
            status, out, err = gateway.command(*command)
            self.assertEqual(status, 0, out + err)
        self.assertEqual(gateway.request("GET", "/x").status, 200)
        # Another name: that takes its time, and nothing else does.
        answer = []
        ordering = threading.Thread(target=lambda: answer.append(
            gateway.command("set", "upstream.servers", f"other.test:{first.port}")))
        ordering.start()
        wait_for_errand(gateway)
        fed = manager.count("WATCHDOG=1")
        wait_until(lambda: manager.count("WATCHDOG=1") >= fed + 3, "the watchdog's food")
        self.assertEqual(gateway.request("GET", "/x").status, 200)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.wait(10), 0)
        ordering.join(30)
        self.assertNotEqual(answer[0][0], 0)


class Stuck(ProcessTest):
    """A loop of the data path that does not turn."""

    def test_who_asks_for_it_waits_and_nobody_else(self):
        upstream = self.service()
        gateway = self.gateway(upstream.address, threads=2)
        loops = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(loops_of(gateway.process.pid)),
                           "two loops")
        holder = subprocess.Popen(
            ["strace", "-qq", "-o", "/dev/null", "-p", str(loops[-1]), "-e", "trace=epoll_wait,epoll_pwait",
             "-e", "inject=epoll_wait,epoll_pwait:delay_enter=60s"])
        try:
            wait_until(lambda: "does not turn" in self.ask_livez(gateway), "a loop that is held")
            # The question takes a second; another operator is answered meanwhile.
            with socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20) as asking:
                asking.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                get_json(gateway.ops_port, "/queue/health", any_status=True)
                asking.setblocking(False)
                with self.assertRaises(BlockingIOError):
                    asking.recv(1)
                asking.settimeout(20)
                self.assertIn(b"503", asking.recv(65536))
            gateway.signal(signal.SIGTERM)
            gateway.wait_for_text("TERM: draining", gateway.err)
            gateway.signal(signal.SIGTERM)
            gateway.wait_for_text("TERM: ended at once", gateway.err)
        finally:
            holder.kill()
            holder.wait()
        self.assertEqual(gateway.wait(20), 1)

    def ask_livez(self, gateway):
        with socket.create_connection(("127.0.0.1", gateway.ops_port), timeout=20) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer.decode()


if __name__ == "__main__":
    unittest.main()
