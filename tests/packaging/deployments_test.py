#!/usr/bin/env python3
"""packaging/compose and packaging/platform. There is no container engine and no platform here: images are not built and
nothing is deployed. What can be known without is: docker-compose accepts the file, what it mounts is there, the confs are good,
the commands are those of the programs, and the gateway serves with the environment that each platform's file sets."""
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/process"))
from kit import CLASSGATE, SERVICE, ProcessTest, Program, ask, free_port, is_refused, wait_until  # noqa: E402

COMPOSE = ROOT / "packaging/compose"
PLATFORM = ROOT / "packaging/platform"


def instructions(containerfile):
    text = re.sub(r"\\\n\s*", " ", containerfile.read_text())
    return [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]


class Composed(ProcessTest):
    def setUp(self):
        self.about = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
        self.services = self.about["services"]

    @unittest.skipUnless(shutil.which("docker-compose"), "docker-compose is not installed")
    def test_docker_compose_accepts_it(self):
        done = subprocess.run(["docker-compose", "config"], capture_output=True, text=True, cwd=COMPOSE, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(set(yaml.safe_load(done.stdout)["services"]), {"classgate", "model", "prometheus", "grafana"})

    @unittest.skipUnless(shutil.which("docker-compose"), "docker-compose is not installed")
    def test_docker_compose_accepts_three_gateways_that_share(self):
        done = subprocess.run(["docker-compose", "-f", "compose.yaml", "-f", "sharing.yaml", "config"], capture_output=True,
                              text=True, cwd=COMPOSE, timeout=60,
                              env={"PATH": os.environ["PATH"], "CLASSGATE_PORTS": "8080-8082"})
        self.assertEqual(done.returncode, 0, done.stderr)
        services = yaml.safe_load(done.stdout)["services"]
        self.assertEqual(set(services), {"classgate", "model", "prometheus", "grafana", "redis"})
        self.assertIn("8080-8082", str(services["classgate"]["ports"]))
        state, = [mount for mount in services["classgate"]["volumes"] if "/var/lib/classgate" in str(mount)]
        self.assertNotIn("classgate:/", str(state))
        self.assertNotIn("'source'", str(state))
        self.assertEqual(set(services["redis"]["networks"]), {"ledger"})
        with tempfile.TemporaryDirectory() as state:
            said = subprocess.run([CLASSGATE, "--check", "--conf", COMPOSE / "classgate/classgate.conf"], capture_output=True,
                                  text=True, env={"PATH": os.environ["PATH"], **services["classgate"]["environment"],
                                                  "CLASSGATE_CLIENTS_QUOTA_FILE": f"{state}/quotas.db"})
        self.assertEqual(said.returncode, 0, said.stderr)

    @unittest.skipUnless(shutil.which("docker-compose"), "docker-compose is not installed")
    def test_docker_compose_would_find_a_mistake(self):
        self.services["classgate"]["prots"] = self.services["classgate"].pop("ports")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "compose.yaml"
            path.write_text(yaml.safe_dump(self.about))
            done = subprocess.run(["docker-compose", "-f", path, "config"], capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("prots", done.stderr)

    def test_what_it_builds_and_mounts_is_there(self):
        for name, service in self.services.items():
            if "build" in service:
                context = COMPOSE / service["build"]["context"]
                self.assertTrue((context / service["build"]["dockerfile"]).is_file(), name)
            else:
                self.assertRegex(service["image"], r"^[\w./-]+:v?\d+\.\d+\.\d+$", "a version, or it is another one tomorrow")
            for mount in service.get("volumes", []):
                source, target, *_ = mount.split(":")
                self.assertTrue(target.startswith("/"), mount)
                self.assertTrue((COMPOSE / source).exists() if source.startswith(".") else source in self.about["volumes"], mount)
            self.assertLessEqual(set(service["networks"]), set(self.about["networks"]))
            self.assertLessEqual(set(service.get("depends_on", [])), set(self.services))

    def test_operators_are_answered_where_only_prometheus_is(self):
        self.assertEqual({name for name, service in self.services.items() if "operators" in service["networks"]},
                         {"classgate", "prometheus", "grafana"})
        self.assertEqual(self.services["classgate"]["ports"], ["${CLASSGATE_PORTS:-8080}:8080"])
        for name in ("prometheus", "grafana"):
            self.assertTrue(all(port.startswith("127.0.0.1:") for port in self.services[name]["ports"]), name)

    def test_names_and_ports_are_those_that_the_others_ask(self):
        conf = tomllib.loads((COMPOSE / "classgate/classgate.conf").read_text())
        self.assertEqual(conf["upstream"]["servers"], ["model:9000"])
        command = self.services["model"]["command"]
        self.assertEqual(command[command.index("--listen") + 1], "0.0.0.0:9000")
        self.assertEqual(str(conf["admission"]["workers"]), command[command.index("--concurrency") + 1])
        prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
        discovery = prometheus["scrape_configs"][0]["dns_sd_configs"][0]
        self.assertEqual((discovery["names"], discovery["port"]), (["classgate"], 9190))
        self.assertTrue(conf["ops"]["listen"][0].endswith(":9190"))
        source = yaml.safe_load((COMPOSE / "grafana/datasources.yml").read_text())["datasources"][0]
        self.assertEqual(source["url"], "http://prometheus:9090")
        folder = yaml.safe_load((COMPOSE / "grafana/dashboards.yml").read_text())["providers"][0]["options"]["path"]
        self.assertTrue(any(f":{folder}/" in mount for mount in self.services["grafana"]["volumes"]))

    def test_prometheus_accepts_its_conf_with_the_rules_beside_it(self):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(COMPOSE / "prometheus.yml", folder)
            shutil.copy(ROOT / "packaging/monitoring/classgate.rules.yml", folder)
            done = subprocess.run(["promtool", "check", "config", "prometheus.yml"], capture_output=True, text=True, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_model_runs_as_it_is_called_and_the_conf_serves_its_plans(self):
        """The same programs, command and conf, with this machine's ports."""
        command = list(self.services["model"]["command"])
        port = free_port()
        command[command.index("0.0.0.0:9000")] = f"127.0.0.1:{port}"
        self.start(Program([SERVICE, *command]))
        listen = free_port()
        with tempfile.TemporaryDirectory() as state:
            gateway = self.start(Program([CLASSGATE, "--conf", COMPOSE / "classgate/classgate.conf"],
                                         {"CLASSGATE_UPSTREAM_SERVERS": f"127.0.0.1:{port}", "CLASSGATE_OPS_LISTEN": "",
                                          "CLASSGATE_LISTEN": f"127.0.0.1:{listen}", "CLASSGATE_STATE_DIR": state,
                                          "CLASSGATE_CLIENTS_SECRET": f"{state}/secret", "CLASSGATE_OPS_CONTROL": f"{state}/socket",
                                          "CLASSGATE_CLIENTS_QUOTA_FILE": f"{state}/quotas.db"}))
            statuses = served(self, listen, 20, {"X-Api-Key": "trial-key-to-be-replaced"})
            self.assertEqual((statuses[:5], set(statuses)), ([200] * 5, {200, 429}))  # a burst of five, and two a second
            self.assertEqual(served(self, listen, 6, {"X-Api-Key": "gold-key-to-be-replaced"}), [200] * 6)
            gateway.signal(15)
            self.assertEqual(gateway.wait(), 0)

    def test_the_model_s_image_has_the_libraries_of_the_program_and_what_it_copies_is_there(self):
        lines = instructions(COMPOSE / "model.Containerfile")
        for name, value in lines:
            if name == "COPY" and "--from=" not in value:
                *sources, _ = value.split()
                for source in sources:
                    self.assertTrue((ROOT / source).exists(), source)
        last = [name for name, _ in lines][::-1].index("FROM")
        installed = set(re.findall(r"lib[\w.+-]+", " ".join(value for name, value in lines[-last:] if name == "RUN")))
        if "Debian GNU/Linux 12" not in pathlib.Path("/etc/os-release").read_text():
            self.skipTest("the image is of Debian 12, whose packages have other names here")
        libraries = re.findall(r"=> (/\S+)", subprocess.run(["ldd", SERVICE], capture_output=True, text=True).stdout)
        self.assertGreater(len(libraries), 3)
        for library in libraries:
            owner = subprocess.run(["dpkg-query", "--search", "*" + os.path.realpath(library).removeprefix("/usr")],
                                   capture_output=True, text=True, check=True).stdout.split(":")[0]
            # What debian:bookworm-slim has, as apt itself needs it.
            if owner in ("libc6", "libstdc++6", "libgcc-s1"):
                continue
            self.assertTrue(owner in installed or owner.startswith("libevent-") and "libevent-2.1-7" in installed, owner)


def served(test, port, count=1, headers=None):
    """The statuses of so many texts that are classified there, once somebody listens."""
    wait_until(lambda: not is_refused(port), f"port {port}")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    test.addCleanup(connection.close)
    return [ask(connection, headers=headers).status for _ in range(count)]


class Platforms(ProcessTest):
    """Not deployed: what each file sets is tried on the program, with the conf that the image has."""

    def image_conf(self):
        """As packaging/image-root makes it."""
        said = re.search(r"^sed (-e '.*') \\$", (ROOT / "packaging/image-root").read_text(), re.M).group(1)
        done = subprocess.run(f"sed {said} {ROOT}/conf/classgate.conf", shell=True, capture_output=True, text=True, check=True)
        conf = tempfile.NamedTemporaryFile("w", suffix=".conf")
        self.addCleanup(conf.close)
        conf.write(done.stdout)
        conf.flush()
        self.assertIn('listen = ["*:8080"]', done.stdout)
        return conf.name

    def serves(self, variables, port_is_set=True, internal_port=8080):
        """With these variables, where the platform says that it listens."""
        service = self.service("--service-time", "2ms")
        environment = {**variables, "CLASSGATE_UPSTREAM_SERVERS": service.address}
        self.assertIn("CLASSGATE_UPSTREAM_SERVERS", variables)
        port = free_port()
        state = tempfile.TemporaryDirectory()
        self.addCleanup(state.cleanup)
        environment.setdefault("CLASSGATE_CLIENTS_SECRET", f"{state.name}/secret")
        # This machine's, in the place of the container's own.
        environment |= {"CLASSGATE_STATE_DIR": state.name, "CLASSGATE_OPS_CONTROL": f"{state.name}/socket",
                        "CLASSGATE_OPS_LISTEN": ""}
        conf = self.image_conf()
        if port_is_set:
            environment["PORT"] = str(port)
        else:
            text = pathlib.Path(conf).read_text()
            self.assertIn(f'listen = ["*:{internal_port}"]', text)
            pathlib.Path(conf).write_text(text.replace(f"*:{internal_port}", f"*:{port}"))
        for name in variables:
            self.assertRegex(name, r"^CLASSGATE_")
        gateway = self.start(Program([CLASSGATE, "--conf", conf], environment))
        self.assertEqual(served(self, port), [200], gateway.err())
        gateway.signal(15)
        self.assertEqual(gateway.wait(), 0)

    def checked_as_it_stands(self, variables):
        done = subprocess.run([CLASSGATE, "--check", "--conf", self.image_conf()], capture_output=True, text=True, timeout=60,
                              env={"PATH": os.environ["PATH"], "PORT": "5000", **variables})
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_heroku(self):
        app = json.loads((PLATFORM / "app.json").read_text())
        built = yaml.safe_load((PLATFORM / "heroku.yml").read_text())["build"]["docker"]
        self.assertEqual(app["stack"], "container")
        self.assertTrue((ROOT / built["web"]).is_file())
        variables = {name: about.get("value", "model:9000") for name, about in app["env"].items()}
        self.checked_as_it_stands(variables)
        self.serves(variables)

    def test_railway(self):
        about = json.loads((PLATFORM / "railway.json").read_text())
        self.assertTrue((ROOT / about["build"]["dockerfilePath"]).is_file())
        lines = (PLATFORM / "railway.env").read_text().splitlines()
        variables = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        self.checked_as_it_stands(variables)
        self.serves(variables)

    def test_fly(self):
        about = tomllib.loads((PLATFORM / "fly.toml").read_text())
        self.assertTrue((PLATFORM / about["build"]["dockerfile"]).is_file())
        self.assertEqual(about["checks"]["alive"]["port"], about["http_service"]["internal_port"])
        self.checked_as_it_stands(about["env"])
        self.serves(about["env"], port_is_set=False, internal_port=about["http_service"]["internal_port"])

    def test_cloud_run(self):
        about = yaml.safe_load((PLATFORM / "cloud-run.yaml").read_text())
        (container,) = about["spec"]["template"]["spec"]["containers"]
        self.assertEqual(container["startupProbe"]["tcpSocket"]["port"], container["ports"][0]["containerPort"])
        variables = {one["name"]: one["value"] for one in container["env"]}
        self.checked_as_it_stands(variables)
        self.serves(variables)

    def test_nothing_else_lies_there(self):
        self.assertEqual({path.name for path in PLATFORM.iterdir()},
                         {"app.json", "heroku.yml", "railway.json", "railway.env", "fly.toml", "cloud-run.yaml"})


if __name__ == "__main__":
    unittest.main()
