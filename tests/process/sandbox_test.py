#!/usr/bin/env python3
"""What the kernel keeps the loops from, and what a crash leaves behind."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import unittest

from authority import Authority
from kit import CLASSGATE, Gateway, ProcessTest, Program, loops_of, wait_until


def loops(pid):
    """Of each loop's thread: the fields of its status."""
    def fields_of(status):
        return dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
    return [fields_of(pathlib.Path(f"/proc/{pid}/task/{number}/status")) for number in loops_of(pid)]


class Sandbox(ProcessTest):
    def setUp(self):
        self.authority = Authority()
        self.addCleanup(self.authority.folder.cleanup)
        self.certificate, self.key = self.authority.issue("localhost", names=("DNS:localhost",))
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def tls_gateway(self, **settings):
        gateway = self.start(Gateway(
            self.service().address, environment={"CLASSGATE_LISTEN": "127.0.0.1:0,https://127.0.0.1:0"},
            conf=f'[tls]\ncertificate = "{self.certificate}"\nkey = "{self.key}"\n', threads=2, **settings))
        gateway.tls_port = int(re.search(r"https://127\.0\.0\.1:(\d+)", gateway.err()).group(1))
        return gateway

    def ask_by_tls(self, gateway):
        done = subprocess.run(["curl", "-sS", "--cacert", self.authority.ca, "--resolve",
                               f"localhost:{gateway.tls_port}:127.0.0.1", "-d", '{"text": "bread"}',
                               f"https://localhost:{gateway.tls_port}/v1/classify"], capture_output=True, text=True)
        self.assertIn("label", done.stdout, done.stderr)

    def assert_kept(self, pid):
        threads = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(loops(pid)), "two loops")
        self.assertEqual([(t["Seccomp"], t["NoNewPrivs"]) for t in threads], [("2", "1")] * 2)

    def test_the_loops_are_kept_and_traffic_reload_rotation_and_upgrade_work(self):
        log = pathlib.Path(self.folder.name) / "access.log"
        gateway = self.tls_gateway(log_access=log)
        gateway.wait_for_text(r"sandbox of the loops: seccomp", gateway.err)
        first = gateway.process.pid
        self.assert_kept(first)
        self.ask_by_tls(gateway)
        self.assertEqual(gateway.request().status, 200)
        # Another certificate, from where none was before.
        new = pathlib.Path(self.folder.name) / "new"
        new.mkdir()
        certificate, key = self.authority.issue("localhost", names=("DNS:localhost",))
        certificate.rename(new / "a.pem"), key.rename(new / "a.key")
        pathlib.Path(gateway.conf.name).write_text(f'[tls]\ncertificate = "{new}/a.pem"\nkey = "{new}/a.key"\n')
        gateway.do("reload")
        self.ask_by_tls(gateway)
        log.rename(log.with_suffix(".old"))
        gateway.signal(signal.SIGUSR1)
        wait_until(lambda: gateway.request().status == 200 and log.exists() and log.read_text(), "the new log")
        gateway.do("upgrade")
        second = int(re.search(r"started \S+ as process (\d+)", gateway.err()).group(1))
        self.addCleanup(os.kill, second, signal.SIGKILL)
        self.assert_kept(second)
        self.ask_by_tls(gateway)
        self.assertEqual(gateway.wait(), 0)
        self.assertNotIn("not permitted", gateway.err())

    def test_it_can_be_turned_off_and_that_is_told(self):
        gateway = self.gateway(self.service().address, sandbox="off", threads=2)
        gateway.wait_for_text("sandbox of the loops: none", gateway.err)
        wait_until(lambda: len(loops(gateway.process.pid)) == 2, "the loops")
        without = pathlib.Path("/proc/self/status").read_text()
        for fields in loops(gateway.process.pid):
            self.assertIn(f"Seccomp:\t{fields['Seccomp']}\n", without)

    def test_required_where_the_kernel_has_it_all_starts_and_else_says_why_not(self):
        program = self.start(Program([CLASSGATE, "--conf", "/dev/null"], {
            "CLASSGATE_LISTEN": "127.0.0.1:0", "CLASSGATE_OPS_LISTEN": "", "CLASSGATE_OPS_CONTROL": "off",
            "CLASSGATE_SANDBOX": "required"}))
        wait_until(lambda: "sandbox" in program.err(), "a word about the sandbox")
        if program.process.poll() is None:
            self.assertIn("sandbox of the loops: seccomp and Landlock", program.err())
        else:
            self.assertRegex(program.err(), 'sandbox = "required", and there is .* without')

    @unittest.skipIf(pathlib.Path("/proc/sys/kernel/core_pattern").read_text().startswith("|"),
                     "cores go to a program here")
    def test_a_crash_leaves_a_core_with_the_key_only_when_core_dumps_are_wanted(self):
        number = re.search(r"priv:\n((?:\s+[0-9a-f:]+\n)+)", subprocess.run(
            ["openssl", "ec", "-in", self.key, "-noout", "-text"], capture_output=True, text=True).stdout).group(1)
        secret = bytes.fromhex(re.sub(r"[^0-9a-f]", "", number))[-32:]
        for wanted in (True, False):
            with self.subTest(core_dumps=wanted):
                folder = pathlib.Path(self.folder.name) / str(wanted)
                folder.mkdir()
                gateway = self.tls_gateway(core_dumps=str(wanted).lower(), wrapper=(
                    "sh", "-c", f'cd {folder} && ulimit -c unlimited && exec "$@"', "sh"))
                self.ask_by_tls(gateway)
                gateway.signal(signal.SIGABRT)
                _, status = os.waitpid(gateway.process.pid, 0)
                gateway.process.returncode = -signal.SIGABRT
                self.assertEqual(os.WTERMSIG(status), signal.SIGABRT)
                self.assertEqual(os.WCOREDUMP(status), wanted)
                cores = [path.read_bytes() for path in folder.iterdir()]
                self.assertEqual(len(cores), int(wanted))
                for core in cores:  # it is there to be found: in words of the machine
                    self.assertTrue(secret[::-1] in core or secret in core)


if __name__ == "__main__":
    unittest.main()
