#!/usr/bin/env python3
"""The examples in packaging/ for places that can't be run here (containers, Kubernetes, a hosting platform):
parsed and held against the code, NOT run. And what can be run: bash completion, logrotate's own reading."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
CLASSGATE = BUILD / "gateway/classgate"
PACKAGING = ROOT / "packaging"


def check(environment, conf="/dev/null"):
    """What classgate --check says of this environment."""
    done = subprocess.run([CLASSGATE, "--check", "--conf", conf], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], **environment})
    return done.returncode, done.stderr


class Container(unittest.TestCase):
    """Parsed, not run: there is no container engine here."""

    def setUp(self):
        text = re.sub(r"\\\n\s*", " ", (PACKAGING / "Containerfile").read_text())
        self.lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]

    def values(self, instruction):
        return [value for name, value in self.lines if name == instruction]

    def test_two_stages_nobody_is_root_and_its_health_is_asked_for(self):
        self.assertEqual(len(self.values("FROM")), 2)
        last = [name for name, _ in self.lines][::-1].index("FROM")
        users = [value for name, value in self.lines[-last:] if name == "USER"]
        self.assertEqual(len(users), 1)
        self.assertNotIn(users[0], ("root", "0"))
        self.assertIn('["classgate", "status", "--quiet"]', self.values("HEALTHCHECK")[0])
        self.assertEqual(self.values("STOPSIGNAL"), ["SIGTERM"])

    def test_what_it_copies_is_there_and_its_environment_is_good(self):
        for value in self.values("COPY"):
            *sources, _ = [word for word in value.split() if not word.startswith("--")]
            if "--from=" not in value:
                for source in sources:
                    self.assertTrue((ROOT / source).exists(), source)
        environment = dict(pair.split("=", 1) for value in self.values("ENV") for pair in value.split())
        self.assertEqual(check({**environment, "CLASSGATE_UPSTREAM_SERVERS": "model:9000"})[0], 0)

    def test_the_libraries_it_installs_are_those_of_the_program(self):
        needed = subprocess.run(["ldd", CLASSGATE], capture_output=True, text=True, check=True).stdout
        installed = self.values("RUN")[-1]
        for library, package in (("libevent_core", "libevent-core-"), ("libcares", "libc-ares2"), ("libcjose", "libcjose0"), ("libfmt", "libfmt9"), ("libspdlog", "libspdlog"),
                                 ("libsystemd", "libsystemd0"), ("libsqlite3", "libsqlite3-0"), ("libtomlplusplus", "libtomlplusplus3"), ("libz.so", "zlib1g"), ("libzstd", "libzstd1"), ("libprometheus-cpp-core", "libprometheus-cpp-core")):
            self.assertEqual(library in needed, package in installed, library)


# A pod as kubernetes.yaml has it, but for the cluster: its user, its root, its volumes with their owners and modes.
POD = """set -eu
ip link set lo up
mount -t tmpfs none /run
mount -t tmpfs none /var/lib
install -m 0755 "$1" /run/classgate-program
printf %s "$2" >/run/classgate.conf
for volume in /run/classgate /run/secrets/classgate /var/lib/classgate; do
  mkdir -p $volume
  mount -t tmpfs -o mode=2777,gid=10001 none $volume
done
head -c 32 /dev/urandom | od -A n -t x1 | tr -d ' \\n' >/run/secrets/classgate/clients.secret
chgrp 10001 /run/secrets/classgate/clients.secret
chmod 0440 /run/secrets/classgate/clients.secret
[ -z "$3" ] || umount "$3"
for place in / /run /var/lib; do mount -o remount,bind,ro $place; done
program="setpriv --reuid 10001 --regid 10001 --clear-groups /run/classgate-program --conf /run/classgate.conf"
$program --check
for start in 1 2; do
  $program &
  pid=$!
  curl -fsS --retry 5 --retry-connrefused http://127.0.0.1:9190/livez
  kill -TERM $pid
  wait $pid
done
[ "$(stat -c '%u %a' /var/lib/classgate/quotas.db)" = "10001 600" ]
"""


class Kubernetes(unittest.TestCase):
    """Parsed, not run: there is no cluster here."""

    def setUp(self):
        self.take((PACKAGING / "kubernetes.yaml").read_text())

    def take(self, text):
        self.parts = {part["kind"]: part for part in yaml.safe_load_all(text)}
        self.pod = self.parts["Deployment"]["spec"]["template"]["spec"]
        self.container = self.pod["containers"][0]

    def test_its_conf_is_good(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write(self.parts["ConfigMap"]["data"]["classgate.conf"])
            conf.flush()
            status, said = check({"CLASSGATE_CLIENTS_SECRET": "off"}, conf.name)  # the Secret is not here
            self.assertEqual(status, 0, said)

    def test_probes_ask_where_operators_are_answered(self):
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        conf = self.parts["ConfigMap"]["data"]["classgate.conf"]
        self.assertIn(f'listen = ["*:{ports["http"]}"]', conf)
        self.assertIn(f'listen = ["*:{ports["ops"]}"]', conf)
        self.assertEqual(self.container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "ops"})
        self.assertEqual(self.container["livenessProbe"]["httpGet"], {"path": "/livez", "port": "ops"})

    def test_not_every_pod_reaches_the_operators_address(self):
        rules = self.parts["NetworkPolicy"]["spec"]["ingress"]
        self.assertEqual(self.parts["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"], {"app": "classgate"})
        for rule in rules:
            if {"port": "ops"} in rule.get("ports", [{"port": "ops"}]):
                self.assertTrue(rule.get("from"), rule)
        self.assertIn({"ports": [{"port": "http"}]}, rules)

    def test_there_is_time_to_drain_and_no_privilege(self):
        stop = int(self.container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], stop + 30)
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertEqual(self.container["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertTrue(self.container["securityContext"]["readOnlyRootFilesystem"])
        self.assertIn("memory", self.container["resources"]["limits"])

    def test_selectors_and_volumes_match(self):
        labels = self.parts["Deployment"]["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(self.parts["Deployment"]["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual(self.parts["Service"]["spec"]["selector"], labels)
        self.assertEqual({v["name"] for v in self.pod["volumes"]}, {m["name"] for m in self.container["volumeMounts"]})

    def volume_at(self, path):
        mount, = [m for m in self.container["volumeMounts"] if m["mountPath"] == path]
        volume, = [v for v in self.pod["volumes"] if v["name"] == mount["name"]]
        return {kind: about for kind, about in volume.items() if kind != "name"}, mount

    def test_what_must_outlive_the_process_has_volumes_that_its_group_reads_and_writes(self):
        about = self.pod["securityContext"]
        self.assertEqual((about["runAsUser"], about["runAsGroup"], about["fsGroup"]), (10001, 10001, 10001))
        image = (PACKAGING / "Containerfile").read_text()
        for words in ("--gid 10001 classgate", "--uid 10001 --gid classgate", "USER 10001:10001"):
            self.assertIn(words, image)
        # Else each start of a pod opens what classgate made with mode 0600 to the group.
        self.assertEqual(about["fsGroupChangePolicy"], "OnRootMismatch")
        secret = tomllib.loads(self.parts["ConfigMap"]["data"]["classgate.conf"])["clients"]["secret"]
        volume, mount = self.volume_at(str(pathlib.Path(secret).parent))
        self.assertEqual((volume["secret"]["defaultMode"], mount["readOnly"]), (0o440, True))
        self.assertIn(f'kubectl create secret generic {volume["secret"]["secretName"]} --from-literal={pathlib.Path(secret).name}=',
                      (PACKAGING / "kubernetes.yaml").read_text())
        volume, mount = self.volume_at("/var/lib/classgate")
        self.assertEqual((list(volume), mount.get("readOnly")), (["emptyDir"], None))

    def test_the_claim_in_place_of_the_volume_that_goes_with_its_pod_is_one(self):
        text = (PACKAGING / "kubernetes.yaml").read_text()
        text = re.sub(r"^ *emptyDir: {sizeLimit.*\n", "", text, flags=re.M)
        text = re.sub(r"^( +)#(?=\S)", r"\1", text, flags=re.M)
        before, _, claim = text.partition("\n#---\n")
        claim, _, after = claim.partition("\n---\n")
        self.take("\n".join([before, "---", re.sub(r"^#", "", claim, flags=re.M), "---", after]))
        self.assertEqual(self.volume_at("/var/lib/classgate")[0],
                         {"persistentVolumeClaim": {"claimName": self.parts["PersistentVolumeClaim"]["metadata"]["name"]}})
        self.assertEqual(self.parts["Deployment"]["spec"]["strategy"], {"type": "Recreate"})
        self.test_selectors_and_volumes_match()

    @unittest.skipUnless(subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode == 0,
                         "needs root, for mounts and a network of its own")
    def test_on_a_root_that_nobody_can_write_its_volumes_are_enough_for_quotas(self):
        conf = self.parts["ConfigMap"]["data"]["classgate.conf"]
        conf += '[[plan]]\nname = "free"\nquota_day = 2\nclients = ["address:127.0.0.1"]\n'
        status, said = self.start_twice(conf)
        self.assertEqual((status, said.count("drained")), (0, 2), said)
        self.assertNotIn("warning", said)
        status, said = self.start_twice(conf, without="/var/lib/classgate")
        self.assertEqual(status, 1, said)
        self.assertIn("clients.quota_file: /var/lib/classgate/quotas.db: ", said)

    def start_twice(self, conf, without=""):
        done = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", POD, "sh", CLASSGATE, conf, without],
                              capture_output=True, text=True, timeout=120,
                              env={"PATH": os.environ["PATH"], "CLASSGATE_UPSTREAM_SERVERS": "127.0.0.1:9000"})
        return done.returncode, done.stdout + done.stderr


class Platform(unittest.TestCase):
    """Parsed, not run there; its environment is tried on the program."""

    def test_environment_variables_are_enough(self):
        app = json.loads((PACKAGING / "platform/app.json").read_text())
        environment = {name: about.get("value", "model:9000") for name, about in app["env"].items()}
        status, said = check({**environment, "PORT": "5000"})
        self.assertEqual((status, said.splitlines()[-1]), (0, "classgate: /dev/null: the configuration is good"))
        self.assertRegex(said, r'^(classgate: warning: cannot look up "model:9000": [^\n]*\n)?classgate: /dev/null')
        self.assertEqual((PACKAGING / "platform/Procfile").read_text(), 'web: classgate --listen "*:$PORT"\n')


class Readme(unittest.TestCase):
    def setUp(self):
        self.text = (ROOT / "README.md").read_text()

    def test_its_commands_are_there_and_can_be_run_as_they_stand(self):
        lines = [line for block in re.findall(r"```sh\n(.*?)```", self.text, re.S) for line in block.splitlines()]
        commands = [line.split()[:2] for line in lines if re.match(r"(python3 )?(tests|packaging)/", line)]
        self.assertGreater(len(commands), 20)
        for first, *rest in commands:
            program = ROOT / (rest[0] if first == "python3" else first)
            self.assertTrue(program.is_file(), program)
            self.assertTrue(first == "python3" or os.access(program, os.X_OK), f"{program}: not executable")

    def test_its_conf_is_good(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            conf.write(re.search(r"```toml\n(.*?)```", self.text, re.S).group(1))
            conf.flush()
            self.assertEqual(check({}, conf.name)[0], 0, check({}, conf.name)[1])

    def test_every_reason_stands_in_its_table_with_its_status(self):
        told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", self.text, re.M))
        known = dict(re.findall(r'ReasonKind::\w+, "(\w+)", (\d+)', (ROOT / "conf/reason.h").read_text()))
        cut = {reason: "cut" for reason in ("stream_idle", "stream_too_long")}
        self.assertEqual(told, known | cut)


class Confs(unittest.TestCase):
    def test_before_a_service_and_the_quickstart_are_good(self):
        for name in ("before-a-service.conf", "quickstart/classgate.conf"):
            status, said = check({}, str(PACKAGING / "examples" / name))
            self.assertEqual(status, 0, said)


class Autoscaling(unittest.TestCase):
    """Held against the code; a hook is run by tests/process/forecast_live_test.py."""
    folder = PACKAGING / "examples/autoscaling"

    def test_what_keda_and_the_adapter_are_told_to_read_is_told(self):
        _, _, scaled = yaml.safe_load_all((self.folder / "keda.yaml").read_text())
        api = scaled["spec"]["triggers"][0]["metadata"]
        self.assertEqual(api["authMode"], "bearer")
        told = json.loads((PACKAGING / "openapi.json").read_text())
        self.assertTrue(any(api["url"].endswith(path) for path in told["paths"]), api["url"])
        schema = told["components"]["schemas"]["Forecast"]
        for part in api["valueLocation"].split("."):
            schema = schema["properties"][part]
        self.assertIn("integer", schema["type"])
        code = (ROOT / "gateway/ops/forecast_report.cpp").read_text()
        names = set(re.findall(r"classgate_\w+", (self.folder / "hpa.yaml").read_text()))
        self.assertTrue(names)
        for name in names:
            self.assertIn(f'"{name}"', code)

    def test_the_hook_names_what_it_is_given_and_is_good_shell(self):
        hook = self.folder / "hook"
        self.assertTrue(os.access(hook, os.X_OK))
        subprocess.run(["sh", "-n", hook], check=True)
        done = subprocess.run([hook], capture_output=True, text=True, env={"CLASSGATE_SERVERS_NEEDED": "3"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("3 servers", done.stderr)
        code = (ROOT / "gateway/ops/forecast_hook.cpp").read_text()
        for name in set(re.findall(r"CLASSGATE_(\w+)", hook.read_text())):
            self.assertIn(f'"{name}"', code)


class Completion(unittest.TestCase):
    def complete(self, *words):
        script = (f'source {PACKAGING}/completion/classgate; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  '_classgate; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", script, "bash", "classgate", *words], capture_output=True, text=True,
                              check=True, env={"PATH": f"{CLASSGATE.parent}:{os.environ['PATH']}"})
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_it_knows_commands_options_and_keys(self):
        self.assertEqual(self.complete("st"), ["status"])
        self.assertEqual(self.complete("status", "--w"), ["--watch"])
        self.assertEqual(self.complete("set", "admission.w"), ["admission.workers", "admission.workers_per_server"])
        self.assertEqual(self.complete("set", "thr"), [], "what needs a restart can't be set")
        self.assertEqual(self.complete("--log-level", "w"), ["warning"])

    def test_it_knows_every_option_and_command_of_help(self):
        known = self.complete("")
        text = subprocess.run([CLASSGATE, "--help"], capture_output=True, text=True, check=True).stdout
        for option in re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text, re.M):
            self.assertIn(option, known)
        for command in re.findall(r"^  ([a-z]+)\b", text.split("Commands,")[1].split("\n  with")[0], re.M):
            self.assertIn(command, known)


    def test_the_manual_and_it_have_every_option_of_every_command_and_no_other(self):
        help_text = subprocess.run([CLASSGATE, "--help"], capture_output=True, text=True, check=True).stdout
        manual = re.sub(r"\\f.", "", (PACKAGING / "classgate.8").read_text().replace("\\-", "-"))
        options = {name: set(re.findall(r"(?<![a-z-])--[a-z][a-z-]+", text)) for name, text in
                   (("help", help_text), ("manual", manual), ("completion", (PACKAGING / "completion/classgate").read_text()))}
        self.assertGreater(len(options["help"]), 40)
        self.assertEqual(options["manual"], options["help"])
        self.assertEqual(options["completion"], options["help"])
        for command in re.findall(r"^  ([a-z]+)\b", help_text.split("Commands,")[1].split("\n  with")[0], re.M):
            self.assertRegex(manual, rf'(?m)^\.B[IR]? "?{command}\b')


class Units(unittest.TestCase):
    def test_the_service_is_rated_well(self):
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager",
                               str(PACKAGING / "debian/classgate.service")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-300:] + done.stderr)

    def test_logrotate_understands_its_snippet(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
            # The account does not exist here: who owns a new file is left out.
            conf.write((PACKAGING / "debian/classgate.logrotate").read_text().replace(" classgate classgate", ""))
            conf.flush()
            done = subprocess.run(["logrotate", "--debug", "--state", "/dev/null", conf.name], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("error:", done.stderr)


if __name__ == "__main__":
    unittest.main()
