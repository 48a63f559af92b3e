#!/usr/bin/env python3
"""classgate simulate with the logs of others, written by the real programs of one traffic: client, HAProxy, nginx,
classgate, service."""
import json
import pathlib
import re
import shutil
import subprocess
import unittest

from kit import CLASSGATE, ROOT, FolderTest, Program, clean_environment, free_port, wait_until

WORKLOAD = """duration = "3s"
[[class]]
path = "/v1/classify"
rate = 40
arrivals = "regular"
clients = 3
[[class]]
path = "/nothing/here"
rate = 10
arrivals = "regular"
"""
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 500; }}
http {{
  {log_format}
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  access_log {folder}/combined.log combined;
  access_log {folder}/nginx.log classgate;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://{to}; }}
    location = /own {{ return 200 nginx; }}
  }}
}}
"""
HAPROXY = """
global
  log stdout format raw local0
defaults
  mode http
  option httplog
  log global
  timeout client 20s
  timeout server 20s
  timeout connect 5s
frontend service
  bind 127.0.0.1:{port}
  http-request return status 200 if {{ path /own }}
  default_backend nginx
backend nginx
  server nginx {to}
"""


def documented_log_format():
    """The line that classgate(8) tells users to write."""
    page = (ROOT / "packaging/classgate.8").read_text()
    lines = re.search(r"\.nf\n(log_format classgate .*?;)\n\.fi", page, re.DOTALL).group(1)
    return lines.replace("\\(aq", "'").replace("\\-", "-").replace("\\(dq", '"')


class OtherLogs(FolderTest):
    @classmethod
    def setUpClass(cls):
        for program in ("/usr/sbin/nginx", "/usr/sbin/haproxy"):
            if shutil.which(program) is None:
                raise unittest.SkipTest(f"{program} is not installed")

    def classgate(self, *words, status=0):
        done = subprocess.run([CLASSGATE, *map(str, words)], capture_output=True, text=True, timeout=100,
                              env=clean_environment())
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def json(self, *words):
        return json.loads(self.classgate(*words, "--json").stdout)

    def begin(self, program, port, option, text):
        conf = self.folder / pathlib.Path(program).name
        conf.write_text(text)
        running = self.start(Program([program, *option, conf]))
        self.wait_for_answer(running, port)
        return running

    def wait_for_answer(self, running, port):
        def answers():
            if running.process.poll() is not None:
                raise AssertionError(running.err() + running.out())
            return subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/own"],
                                  timeout=10).returncode == 0
        wait_until(answers, f"{running.process.args[0]} listens")

    def traffic(self):
        """Makes it, and ends all who write of it: the logs by name."""
        gateway = self.gateway(self.service("--service-time", "20ms").address, log_access=self.folder / "own.log")
        nginx_port, haproxy_port = free_port(), free_port()
        nginx = self.begin("/usr/sbin/nginx", nginx_port, ("-p", self.folder, "-c"),
                           NGINX.format(folder=self.folder, port=nginx_port, to=gateway.address,
                                        log_format=documented_log_format()))
        haproxy = self.begin("/usr/sbin/haproxy", haproxy_port, ("-f",),
                             HAPROXY.format(port=haproxy_port, to=f"127.0.0.1:{nginx_port}"))
        workload = self.folder / "w.toml"
        workload.write_text(WORKLOAD)
        self.classgate("load", "--workload", workload, "--to", f"http://127.0.0.1:{haproxy_port}")
        for program in (haproxy, nginx, gateway):
            program.signal(15)
            program.wait()
        (self.folder / "haproxy.log").write_text(haproxy.out())
        return {name: self.folder / f"{name}.log" for name in ("own", "nginx", "combined", "haproxy")}

    def test_logs_of_nginx_and_haproxy_tell_the_traffic_that_our_own_tells(self):
        logs = self.traffic()
        own = self.json("simulate", "--log", logs["own"])
        routes = [(of["route"], of["arrived"]) for of in own["by_route"]]
        for name in ("nginx", "haproxy"):
            with self.subTest(name):
                found = self.json("simulate", "--log", logs[name])
                self.assertEqual(found["all"]["arrived"], own["all"]["arrived"])
                self.assertEqual(found["all"]["served"], own["all"]["served"])
                self.assertEqual([(of["route"], of["arrived"]) for of in found["by_route"]], routes)
                # What the service takes is no less than it sleeps; half of what is asked for is no work.
                self.assertGreater(found["all"]["latency_ms"]["p95"], 19)
                missing = [remark for remark in found["remarks"] if "read as a log of" in remark]
                self.assertEqual(missing, [] if name == "nginx" else [
                    f"read as a log of haproxy: {own['all']['arrived']} of {own['all']['arrived']} requests do not tell "
                    "how long their body was: it counts as empty"])

    def test_what_combined_cannot_tell_is_asked_for(self):
        log = self.traffic()["combined"]
        why = self.classgate("simulate", "--log", log, status=1).stderr
        self.assertIn("does not tell how long the service took: describe the service with --upstream", why)
        self.assertIn("$upstream_response_time", why)
        self.classgate("simulate", "--log", log, "--upstream", "fitted", status=1)
        found = self.classgate("simulate", "--log", log, "--upstream", "fixed 20ms")
        self.assertIn("tell the second in which they ended", found.stdout)

    def test_what_journald_docker_and_kubernetes_put_before_a_line_is_no_part_of_it(self):
        log = self.traffic()["haproxy"]
        expected = self.json("simulate", "--log", log)["all"]
        wrapped = {
            "journal": lambda line: f"Nov 24 09:30:00 host haproxy[12]: {line}\n",
            "docker": lambda line: json.dumps({"log": line + "\n", "stream": "stdout",
                                               "time": "2026-11-24T09:30:00Z"}, separators=(",", ":")) + "\n",
            "kubernetes": lambda line: f"2026-11-24T09:30:00.123456789Z stdout F {line}\n"}
        for name, wrap in wrapped.items():
            with self.subTest(name):
                path = self.folder / name
                path.write_text("".join(wrap(line) for line in log.read_text().splitlines()))
                self.assertEqual(self.json("simulate", "--log", path)["all"], expected)


if __name__ == "__main__":
    unittest.main()
