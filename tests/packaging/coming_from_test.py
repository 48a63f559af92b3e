#!/usr/bin/env python3
"""classgate(7) sets a conf of nginx and one of HAProxy beside a conf of ours: the three programs take them as they stand
on the page, and let the same client through as often."""
import http.client
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/process"))
from kit import CLASSGATE, TEXT, ProcessTest, Program, clean_environment, free_port, wait_until  # noqa: E402

NGINX = "daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{ }}\n" \
        "http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n" \
        "uwsgi_temp_path {folder}; scgi_temp_path {folder};\n{conf}\n}}\n"
REQUESTS = 40


def examples():
    """[(whose, conf)] of the page, in its order."""
    page = (ROOT / "packaging/classgate.7").read_text().replace("\\-", "-").replace("\\(dq", '"')
    return re.findall(r"^\.EX\n# (nginx|haproxy|classgate)\n(.*?)^\.EE", page, re.M | re.S)


class ComingFrom(ProcessTest):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.upstream = self.service()

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def conf_of(self, whose, conf, port):
        for old in ("127.0.0.1:9000", "127.0.0.1:9001"):
            conf = conf.replace(old, self.upstream.address)
        if whose == "classgate":
            # Both servers are the one that there is.
            one = f'"{self.upstream.address}"'
            return conf.replace(f"{one}, {one}", one).replace("0.0.0.0:8080", f"127.0.0.1:{port}")
        return conf.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("bind :8080", f"bind 127.0.0.1:{port}")

    def started(self, whose, conf):
        port = free_port()
        conf = self.conf_of(whose, conf, port)
        if whose == "classgate":
            path = self.write("classgate.conf", conf + '[ops]\nlisten = []\ncontrol = "off"\n[clients]\nsecret = "off"\n')
            command = [CLASSGATE, "--conf", path]
        elif whose == "nginx":
            command = ["nginx", "-c", self.write("nginx.conf", NGINX.format(folder=self.folder, conf=conf)), "-e",
                       "stderr", "-p", self.folder]
        else:
            command = ["haproxy", "-db", "-f", self.write("haproxy.cfg", conf)]
        program = self.start(Program([str(part) for part in command]))

        def answers():
            try:
                return self.ask(port, "nobody in particular") == 200
            except OSError:
                self.assertIsNone(program.process.poll(), program.err())
        wait_until(answers, f"{whose} at work")
        return port

    def ask(self, port, key):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("POST", "/v1/classify", TEXT, {"X-Api-Key": key, "Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def served_of_a_burst(self, port, key):
        """How many, and the seconds that it took."""
        begin = time.monotonic()
        answers = [self.ask(port, key) for _ in range(REQUESTS)]
        self.assertLessEqual(set(answers), {200, 429})
        return answers.count(200), time.monotonic() - begin

    def test_the_page_has_both_and_ours_beside_each(self):
        self.assertEqual([whose for whose, _ in examples()], ["nginx", "classgate", "haproxy", "classgate"])

    def test_each_program_takes_its_conf_as_it_stands(self):
        for whose, conf in examples():
            if whose == "nginx":
                path = self.write("n.conf", NGINX.format(folder=self.folder, conf=conf))
                command = ["nginx", "-t", "-e", "stderr", "-p", self.folder, "-c", path]
            elif whose == "haproxy":
                command = ["haproxy", "-c", "-f", self.write("h.cfg", conf)]
            else:
                command = [CLASSGATE, "--check", "--conf", self.write("c.conf", conf)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
            self.assertEqual(done.returncode, 0, (whose, done.stderr))

    def test_a_client_gets_as_much_of_a_burst_from_each(self):
        of_nginx, ours, of_haproxy, ours_too = (self.started(*example) for example in examples())
        # A rate of 10 a second. What a bucket holds at once, and what comes while the burst lasts; HAProxy counts the
        # requests of a second, refused ones too.
        for port, at_once in ((of_nginx, 21), (ours, 21), (ours_too, 10)):
            served, seconds = self.served_of_a_burst(port, "one")
            self.assertGreaterEqual(served, min(at_once, REQUESTS))
            self.assertLessEqual(served, at_once + 10 * seconds + 1)
        served, seconds = self.served_of_a_burst(of_haproxy, "one")
        self.assertGreaterEqual(served, 10)
        self.assertLessEqual(served, 10 + 10 * seconds + 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
