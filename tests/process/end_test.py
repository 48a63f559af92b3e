#!/usr/bin/env python3
"""It ends when told, whatever its output leads to; and what it takes of descriptors and processors."""
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import tempfile
import unittest

from kit import CLASSGATE, ProcessTest, Program, clean_environment, wait_until

ENDS_WITHIN = 20  # seconds; the bounds in the program are 5 and 1


class Unread:
    """A pipe or a socket for the output of a program that nobody reads any more, and that is full."""

    def __init__(self, is_socket):
        if is_socket:
            ours, theirs = socket.socketpair()
            self.reading, self.writing = ours.detach(), theirs.detach()
        else:
            self.reading, self.writing = os.pipe()
        self.text = ""

    def wait_for(self, pattern):
        def found():
            if select.select([self.reading], [], [], 0)[0]:
                self.text += os.read(self.reading, 65536).decode()
            return re.search(pattern, self.text)
        return wait_until(found, pattern)

    def fill(self, is_socket):
        """Leaves the descriptor as it is: blocking, for all who share it."""
        if is_socket:
            with socket.socket(fileno=os.dup(self.writing)) as filling:
                try:
                    while True:
                        filling.send(b"x" * 1000 + b"\n", socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return
        filling = os.open(f"/proc/self/fd/{self.writing}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(filling, b"x\n")
        except BlockingIOError:
            os.close(filling)

    def close(self):
        os.close(self.reading)
        os.close(self.writing)


class End(ProcessTest):
    def setUp(self):
        self.upstream = self.service()

    def start_with(self, stdout, stderr, **settings):
        environment = {"CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_UPSTREAM_SERVERS": self.upstream.address,
                       "CLASSGATE_OPS_LISTEN": "", "CLASSGATE_OPS_CONTROL": "off", "CLASSGATE_LOG_ACCESS": "stdout",
                       **{"CLASSGATE_" + key.upper(): value for key, value in settings.items()}}
        process = subprocess.Popen([CLASSGATE, "--conf", "/dev/null"], stdin=subprocess.DEVNULL, stdout=stdout,
                                   stderr=stderr, env=clean_environment(environment))

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.addCleanup(end)
        return process

    def ask(self, port):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def accepts(self, port):
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    def test_a_full_unread_pipe_or_socket_on_stdout_and_stderr(self):
        # Blocking and full: write(2) would wait for ever.
        for is_socket in (False, True):
            with self.subTest(is_socket=is_socket):
                unread = Unread(is_socket)
                self.addCleanup(unread.close)
                process = self.start_with(unread.writing, unread.writing)
                port = int(unread.wait_for(r"listening on 127\.0\.0\.1:(\d+)").group(1))
                unread.wait_for("sandbox of the loops")
                unread.fill(is_socket)
                for _ in range(5):
                    self.ask(port)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(ENDS_WITHIN), 0)

    def test_only_one_of_them_is_full_and_the_other_is_told(self):
        unread = Unread(False)
        self.addCleanup(unread.close)
        with tempfile.NamedTemporaryFile("r") as errors:
            process = self.start_with(unread.writing, os.open(errors.name, os.O_WRONLY))
            port = int(wait_until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", pathlib.Path(errors.name).read_text()),
                                  "the port").group(1))
            unread.fill(False)
            self.ask(port)
            wait_until(lambda: re.search("access log cannot be written: it is full, and nobody reads it",
                                         pathlib.Path(errors.name).read_text()), "a complaint")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(ENDS_WITHIN), 0)

    def test_the_second_signal_ends_it_though_a_client_still_works(self):
        unread = Unread(False)
        self.addCleanup(unread.close)
        process = self.start_with(unread.writing, unread.writing, drain_timeout="1h")
        port = int(unread.wait_for(r"listening on 127\.0\.0\.1:(\d+)").group(1))
        unread.wait_for("sandbox of the loops")
        unread.fill(False)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            self.ask(port)  # it has been accepted
            process.send_signal(signal.SIGTERM)
            # It has heard the first one when it accepts no more.
            wait_until(lambda: not self.accepts(port), "the drain")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(ENDS_WITHIN), 1)

    def test_after_an_upgrade_both_end(self):
        unread = Unread(False)
        self.addCleanup(unread.close)
        process = self.start_with(unread.writing, unread.writing)
        port = int(unread.wait_for(r"listening on 127\.0\.0\.1:(\d+)").group(1))
        process.send_signal(signal.SIGUSR2)
        successor = int(unread.wait_for(r"started \S+ as process (\d+)").group(1))

        def end():
            try:
                os.kill(successor, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.addCleanup(end)
        unread.wait_for(r"takes over")
        unread.fill(False)
        self.assertEqual(process.wait(ENDS_WITHIN), 0)
        self.ask(port)
        watch = os.pidfd_open(successor)
        self.addCleanup(os.close, watch)
        os.kill(successor, signal.SIGTERM)
        self.assertTrue(select.select([watch], [], [], ENDS_WITHIN)[0], "the successor has not ended")


class Fifo(ProcessTest):
    """A log that is a FIFO."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "log")
        os.mkfifo(self.path)
        self.upstream = self.service()

    def test_without_a_reader_the_start_says_so_at_once(self):
        for key in ("ACCESS", "ERROR"):
            with self.subTest(key):
                done = subprocess.run([CLASSGATE, "--conf", "/dev/null"], capture_output=True, text=True, timeout=20,
                                      env=clean_environment({f"CLASSGATE_LOG_{key}": self.path,
                                                             "CLASSGATE_LISTEN": "127.0.0.1:0",
                                                             "CLASSGATE_OPS_LISTEN": "",
                                                             "CLASSGATE_OPS_CONTROL": "off"}))
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"{self.path}: nobody reads it", done.stderr)

    def test_without_a_reader_a_reload_is_refused_at_once_and_with_one_it_is_written(self):
        gateway = self.gateway(self.upstream.address)
        with open(gateway.conf.name, "w") as conf:
            conf.write(f'[log]\nerror = "{self.path}"\n')
        status, out, err = gateway.command("reload")
        self.assertIn(f"{self.path}: nobody reads it", out + err)
        reading = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reading)
        gateway.do("reload")
        gateway.command("set", "admission.queue_size", "999")
        text = []

        def found():
            if select.select([reading], [], [], 0)[0]:
                text.append(os.read(reading, 65536).decode())
            return "admission.queue_size" in "".join(text)
        wait_until(found, "the log in the FIFO")


class Limits(ProcessTest):
    def start_limited(self, limit, wrapper=(), **settings):
        environment = {"CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_OPS_LISTEN": "", "CLASSGATE_OPS_CONTROL": "off"}
        return self.start(Program([*wrapper, CLASSGATE, "--conf", "/dev/null"], environment, nofile=limit))

    def test_the_soft_limit_of_descriptors_becomes_the_hard_one(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        program = self.start_limited(None, ("sh", "-c", 'ulimit -Sn 256 && exec "$@"', "sh"))
        program.wait_for_text(r"listening on", program.err)
        limits = pathlib.Path(f"/proc/{program.process.pid}/limits").read_text()
        soft = re.search(r"Max open files +(\S+)", limits).group(1)
        self.assertEqual(soft, "unlimited" if hard == resource.RLIM_INFINITY else str(hard))

    def test_standard_streams_that_are_closed_at_start_are_nobody_elses(self):
        """A socket took the number of standard output, and the access log was written into it."""
        for closed, numbers in (("<&-", [0]), (">&-", [1]), ("2>&-", [2]), ("<&- >&- 2>&-", [0, 1, 2])):
            with self.subTest(closed), tempfile.TemporaryDirectory() as folder:
                control = pathlib.Path(folder, "control")
                with open(f"{folder}/output", "w") as output:
                    program = subprocess.Popen(["sh", "-c", f'exec "$@" {closed}', "sh", CLASSGATE, "--conf", "/dev/null"],
                                               stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                               env=clean_environment({"CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_OPS_LISTEN": "",
                                                                      "CLASSGATE_OPS_CONTROL": str(control)}))
                self.addCleanup(program.wait)
                self.addCleanup(program.kill)
                wait_until(control.exists, "the control socket")
                self.assertEqual([os.readlink(f"/proc/{program.pid}/fd/{number}") for number in numbers],
                                 ["/dev/null"] * len(numbers))

    def test_as_many_loops_as_processors_that_it_may_use(self):
        one = min(os.sched_getaffinity(0))
        program = self.start_limited(None, ("taskset", "-c", str(one)))
        program.wait_for_text(r", 1 threads,", program.err)


if __name__ == "__main__":
    unittest.main()
