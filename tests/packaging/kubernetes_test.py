#!/usr/bin/env python3
"""packaging/kubernetes: read, built by kustomize where there is one, and held against the API's types and the code. Not run:
there is no cluster here. What can be run of it is: its conf, and its pod's user, root and volumes."""
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import tomllib
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CLASSGATE_BUILD", ROOT / "build/release"))
CLASSGATE = BUILD / "gateway/classgate"
FOLDER = ROOT / "packaging/kubernetes"
EXAMPLES = ROOT / "packaging/examples"

# A pod as the base has it, but for the cluster: its user, its root, its volumes with their owners and modes.
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


def check(folder):
    """What classgate --check says of the conf in this folder; the Secret is not here."""
    done = subprocess.run([CLASSGATE, "--check", "--conf", folder / "classgate.conf"], capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"], "CLASSGATE_CLIENTS_SECRET": "off"})
    return done.returncode, done.stderr


def base():
    """The objects of the base as they stand there, with the ConfigMap that kustomize makes."""
    about = yaml.safe_load((FOLDER / "base/kustomization.yaml").read_text())
    objects = [one for name in about["resources"] for one in yaml.safe_load_all((FOLDER / "base" / name).read_text())]
    for made in about["configMapGenerator"]:
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": made["name"]},
                        "data": {name: (FOLDER / "base" / name).read_text() for name in made["files"]}})
    return objects


def built(overlay, components=()):
    """What kustomize makes of an overlay, with these components as well."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "kubernetes"
        shutil.copytree(FOLDER, copy)
        about = copy / "overlays" / overlay / "kustomization.yaml"
        text = about.read_text()
        if components:
            text = re.sub(r"(?m)^#components:.*$", "components: [%s]" % ", ".join(f"../../components/{c}" for c in components), text)
        about.write_text(text)
        command = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
        done = subprocess.run([*command, about.parent], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return list(yaml.safe_load_all(done.stdout))


has_kustomize = unittest.skipUnless(shutil.which("kustomize") or shutil.which("kubectl"),
                                    "neither kustomize nor kubectl is here: the overlays are not built")


class Parts(unittest.TestCase):
    def take(self, objects):
        self.objects = objects
        self.deployment = self.only("Deployment")
        self.pod = self.deployment["spec"]["template"]["spec"]
        self.container, = self.pod["containers"]

    def all(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def only(self, kind, name="classgate"):
        one, = [one for one in self.all(kind) if re.sub(r"-[a-z0-9]{10}$", "", one["metadata"]["name"]) == name]
        return one

    def conf(self):
        return tomllib.loads(self.only("ConfigMap")["data"]["classgate.conf"])

    def assert_conf_is_good(self):
        """The files of the ConfigMap as the volume lays them out."""
        volume, = [volume for volume in self.pod["volumes"] if volume["name"] == "conf"]
        data = self.only("ConfigMap")["data"]
        items = volume["configMap"].get("items") or [{"key": key, "path": key} for key in data]
        self.assertEqual({item["key"] for item in items}, set(data))
        with tempfile.TemporaryDirectory() as folder:
            for item in items:
                path = pathlib.Path(folder, item["path"])
                path.parent.mkdir(exist_ok=True)
                path.write_text(data[item["key"]])
            status, said = check(pathlib.Path(folder))
            self.assertEqual(status, 0, said)

    def assert_names_match(self):
        """Whatever is named is there."""
        labels = self.deployment["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(self.deployment["spec"]["selector"]["matchLabels"], labels)
        for service in self.all("Service"):
            if service["spec"]["selector"] in ({"app": "model"}, {"app": "redis"}):
                continue
            self.assertEqual(service["spec"]["selector"], labels)
            ports = {port["name"] for port in self.container["ports"]}
            self.assertLessEqual({port["targetPort"] for port in service["spec"]["ports"]}, ports)
        self.assertEqual(self.only("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels)
        self.assertEqual({v["name"] for v in self.pod["volumes"]}, {m["name"] for m in self.container["volumeMounts"]})
        volume, = [volume for volume in self.pod["volumes"] if volume["name"] == "conf"]
        self.assertEqual(volume["configMap"]["name"], self.only("ConfigMap")["metadata"]["name"])


class Base(Parts):
    def setUp(self):
        self.take(base())

    def test_its_conf_is_good_and_its_names_match(self):
        self.assert_conf_is_good()
        self.assert_names_match()

    def test_probes_ask_the_gateway_alone_where_operators_are_answered(self):
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(self.conf()["listen"], [f'*:{ports["http"]}'])
        self.assertEqual(self.conf()["ops"]["listen"], [f'*:{ports["ops"]}'])
        self.assertEqual(self.container["readinessProbe"]["httpGet"], {"path": "/readyz?for=gateway", "port": "ops"})
        self.assertEqual(self.container["livenessProbe"]["httpGet"], {"path": "/livez", "port": "ops"})

    def test_a_rollout_never_has_more_gateways_than_there_are(self):
        self.assertEqual(self.deployment["spec"]["strategy"],
                         {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})

    def test_nothing_but_the_conf_says_what_is_in_force(self):
        """Variables go before the conf: one in the image kept a ConfigMap from having TLS."""
        self.assertIs(self.pod["enableServiceLinks"], False)
        self.assertNotIn("env", self.container)
        self.assertNotIn("envFrom", self.container)
        image = (ROOT / "packaging/Containerfile").read_text()
        self.assertEqual(re.findall(r"(?m)^ENV .*CLASSGATE_\w+", image), [])

    def test_not_every_pod_reaches_the_operators_address_nor_passes_for_the_ingress(self):
        policy = self.only("NetworkPolicy")
        self.assertEqual(policy["spec"]["podSelector"]["matchLabels"], {"app": "classgate"})
        for rule in policy["spec"]["ingress"]:
            self.assertTrue(rule.get("from"), rule)
            self.assertTrue(rule.get("ports"), rule)
        self.assertTrue(self.conf()["client"]["trusted_proxies"])
        self.assertEqual(self.only("NetworkPolicy", "model")["spec"]["ingress"][0]["from"],
                         [{"podSelector": {"matchLabels": {"app": "classgate"}}}])

    def test_the_model_is_seen_pod_by_pod(self):
        service = self.only("Service", "model")
        self.assertEqual(service["spec"]["clusterIP"], "None")
        port = service["spec"]["ports"][0]["port"]
        self.assertEqual(self.conf()["upstream"]["servers"], [f"model:{port}"])
        self.assertGreater(self.conf()["admission"]["workers_per_server"], 0)

    def test_there_is_time_to_drain_and_no_privilege(self):
        stop = int(self.container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertEqual(self.conf()["drain_timeout"], "30s")
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], stop + 30)
        self.assertTrue(self.pod["securityContext"]["runAsNonRoot"])
        self.assertIs(self.pod["automountServiceAccountToken"], False)
        self.assertEqual(self.container["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertTrue(self.container["securityContext"]["readOnlyRootFilesystem"])
        self.assertIn("memory", self.container["resources"]["limits"])

    def volume_at(self, path):
        mount, = [m for m in self.container["volumeMounts"] if m["mountPath"] == path]
        volume, = [v for v in self.pod["volumes"] if v["name"] == mount["name"]]
        return {kind: about for kind, about in volume.items() if kind != "name"}, mount

    def test_what_must_outlive_the_process_has_volumes_that_its_group_reads_and_writes(self):
        about = self.pod["securityContext"]
        self.assertEqual((about["runAsUser"], about["runAsGroup"], about["fsGroup"]), (10001, 10001, 10001))
        self.assertIn("USER 10001:10001", (ROOT / "packaging/Containerfile").read_text())
        self.assertIn("classgate:x:10001:10001:", (ROOT / "packaging/image-root").read_text())
        # Else each start of a pod opens what classgate made with mode 0600 to the group.
        self.assertEqual(about["fsGroupChangePolicy"], "OnRootMismatch")
        secret = self.conf()["clients"]["secret"]
        volume, mount = self.volume_at(str(pathlib.Path(secret).parent))
        self.assertEqual((volume["secret"]["defaultMode"], mount["readOnly"]), (0o440, True))
        for file in ("base/deployment.yaml", "overlays/one/kustomization.yaml", "overlays/three/kustomization.yaml"):
            self.assertIn(f'kubectl create secret generic {volume["secret"]["secretName"]} --from-literal={pathlib.Path(secret).name}=',
                          (FOLDER / file).read_text())
        volume, mount = self.volume_at("/var/lib/classgate")
        self.assertEqual((list(volume), mount.get("readOnly")), (["emptyDir"], None))

    @unittest.skipUnless(subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode == 0,
                         "needs root, for mounts and a network of its own")
    def test_on_a_root_that_nobody_can_write_its_volumes_are_enough_for_quotas_and_confs(self):
        conf = self.only("ConfigMap")["data"]["classgate.conf"]
        conf += '[fairness]\nidentity = ["address"]\n[[plan]]\nname = "free"\nquota_day = 2\nclients = ["address:127.0.0.1"]\n'
        status, said = self.start_twice(conf)
        self.assertEqual((status, said.count("drained")), (0, 2), said)
        self.assertNotIn("conf history: nothing is kept", said)
        status, said = self.start_twice(conf, without="/var/lib/classgate")
        self.assertEqual(status, 1, said)
        self.assertIn("clients.quota_file: /var/lib/classgate/quotas.db: ", said)

    def start_twice(self, conf, without=""):
        done = subprocess.run(["unshare", "--mount", "--net", "sh", "-c", POD, "sh", CLASSGATE, conf, without],
                              capture_output=True, text=True, timeout=120,
                              env={"PATH": os.environ["PATH"], "CLASSGATE_UPSTREAM_SERVERS": "127.0.0.1:9000"})
        return done.returncode, done.stdout + done.stderr


@has_kustomize
class Overlays(Parts):
    def test_one_is_the_base(self):
        self.take(built("one"))
        self.assert_conf_is_good()
        self.assert_names_match()
        self.assertEqual(self.deployment["spec"]["replicas"], 1)
        self.assertEqual({one["kind"] for one in self.objects}, {one["kind"] for one in base()})
        self.assertEqual(self.pod["containers"], next(one for one in base() if one["kind"] == "Deployment")
                         ["spec"]["template"]["spec"]["containers"])

    def test_another_conf_is_another_pod(self):
        self.take(built("one"))
        self.assertRegex(self.only("ConfigMap")["metadata"]["name"], r"\Aclassgate-[a-z0-9]{10}\Z")

    def test_three_have_a_third_each(self):
        self.take(built("three"))
        self.assert_conf_is_good()
        self.assert_names_match()
        self.assertEqual(self.deployment["spec"]["replicas"], 3)
        thirds = tomllib.loads(self.only("ConfigMap")["data"]["thirds.conf"])["admission"]
        self.assertLessEqual(3 * thirds["workers"], self.conf()["admission"]["workers"])
        self.assertEqual((3 * thirds["rate"], 3 * thirds["burst"]), (99, 198))  # of 100 and 200, which are built in

    def test_three_that_share_have_a_ledger_and_one_more_while_they_are_replaced(self):
        self.take(built("sharing"))
        self.assert_conf_is_good()
        self.assert_names_match()
        self.assertEqual(self.deployment["spec"]["replicas"], 3)
        self.assertEqual(self.deployment["spec"]["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": 0})
        conf = tomllib.loads(self.only("ConfigMap")["data"]["sharing.conf"])
        redis = self.only("Deployment", "redis")["spec"]["template"]
        service = self.only("Service", "redis")["spec"]
        self.assertEqual(conf["sharing"]["redis"], [f'redis://redis:{service["ports"][0]["port"]}/0'])
        self.assertEqual(service["selector"], redis["metadata"]["labels"])
        self.assertEqual(self.only("NetworkPolicy", "redis")["spec"]["ingress"][0]["from"],
                         [{"podSelector": {"matchLabels": {"app": "classgate"}}}])
        password = pathlib.Path(conf["sharing"]["password_file"])
        for pod in (self.pod, redis["spec"]):
            volume, = [v for v in pod["volumes"] if v.get("secret", {}).get("secretName") == "classgate-redis"]
            mount, = [m for m in pod["containers"][0]["volumeMounts"] if m["name"] == volume["name"]]
            self.assertEqual((mount["mountPath"], mount["readOnly"]), (str(password.parent), True))
        self.assertIn(f"classgate-redis --from-literal={password.name}=",
                      (FOLDER / "overlays/sharing/kustomization.yaml").read_text())

    @unittest.skipUnless(shutil.which("redis-server"), "redis-server is not here")
    def test_the_redis_of_those_that_share_asks_for_the_password_and_keeps_nothing(self):
        self.take(built("sharing"))
        command = self.only("Deployment", "redis")["spec"]["template"]["spec"]["containers"][0]["command"]
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "password").write_text("open sesame")
            script = command[2].replace("/run/secrets/redis", folder).replace("/run/redis", folder)
            script = script.strip() + f" --port 0 --unixsocket {folder}/socket"
            redis = subprocess.Popen([*command[:2], script], cwd=folder, stdout=subprocess.DEVNULL)
            try:
                ask = ["redis-cli", "-s", f"{folder}/socket", "--no-auth-warning"]
                end = time.monotonic() + 30
                while "NOAUTH" not in (said := self.answer_to([*ask, "GET", "x"])):
                    self.assertLess(time.monotonic(), end, said)
                said = self.answer_to([*ask, "-a", "open sesame", "CONFIG", "GET", "save"])
                self.assertEqual(said.split(), ["save"])
            finally:
                redis.terminate()
                redis.wait(timeout=30)

    def answer_to(self, command):
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout

    def test_with_the_autoscaler_nothing_else_says_how_many_gateways_there_are(self):
        self.take(built("one", ["autoscaling"]))
        self.assertNotIn("replicas", self.deployment["spec"])
        self.assertEqual(self.only("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"], "classgate")

    def test_with_a_claim_what_quotas_hold_outlives_the_pod(self):
        self.take(built("one", ["quotas", "prometheus-operator"]))
        self.assert_names_match()
        claim = self.only("PersistentVolumeClaim")
        volume, = [volume for volume in self.pod["volumes"] if volume["name"] == "state"]
        self.assertEqual(volume, {"name": "state", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}})
        self.assertEqual(self.deployment["spec"]["strategy"], {"type": "Recreate"})
        monitor = self.only("ServiceMonitor")
        services = [one for one in self.all("Service")
                    if monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"].get("labels", {}).items()]
        self.assertEqual([one["metadata"]["name"] for one in services], ["classgate-ops"])
        self.assertEqual(monitor["spec"]["endpoints"][0]["port"], services[0]["spec"]["ports"][0]["name"])


@unittest.skipUnless(importlib.util.find_spec("kubernetes"), "python3-kubernetes is not here, which has the API's types")
class Types(unittest.TestCase):
    """Every field is one of the API's, of its type, and none that must be there is missing."""

    def hold(self, kind, value, path):
        from kubernetes.client import models
        if kind.startswith("list["):
            self.assertIsInstance(value, list, path)
            for i, one in enumerate(value):
                self.hold(kind[5:-1], one, f"{path}[{i}]")
        elif kind.startswith("dict("):
            self.assertIsInstance(value, dict, path)
            for name, one in value.items():
                self.hold(kind[5:-1].split(", ", 1)[1], one, f"{path}.{name}")
        elif kind == "object":  # a number or a percentage, or a name
            self.assertIsInstance(value, (int, str), path)
        elif kind in ("str", "int", "bool"):
            self.assertIs(type(value), {"str": str, "int": int, "bool": bool}[kind], path)
        else:
            model = getattr(models, kind)
            fields = {json: name for name, json in model.attribute_map.items()}
            self.assertIsInstance(value, dict, path)
            for name, one in value.items():
                self.assertIn(name, fields, f"{path} has no such field")
                self.hold(model.openapi_types[fields[name]], one, f"{path}.{name}")
            model(**{fields[name]: one for name, one in value.items()})  # refuses what is missing

    def hold_all(self, objects):
        held = 0
        for one in objects:
            group, _, version = one["apiVersion"].rpartition("/")
            if "." in group and not group.endswith("k8s.io"):
                continue  # of an operator: ServiceMonitor
            self.hold(version[0].upper() + version[1:] + one["kind"], one, one["kind"])
            held += 1
        self.assertGreater(held, 6)

    def test_of_the_base(self):
        self.hold_all(base())

    @has_kustomize
    def test_of_the_overlays(self):
        self.hold_all(built("one", ["quotas", "prometheus-operator"]))
        self.hold_all(built("three"))
        self.hold_all(built("sharing"))

    def test_of_what_scales_the_gateway_and_the_model(self):
        gateway = yaml.safe_load((FOLDER / "components/autoscaling/hpa.yaml").read_text())
        from kubernetes.client import models
        # Of version 2 what Debian 12 has is called v2beta2; its fields are the same.
        kind = next(kind for kind in ("V2HorizontalPodAutoscaler", "V2beta2HorizontalPodAutoscaler") if hasattr(models, kind))
        self.hold(kind, gateway, "gateway")
        target, = [one for one in base() if one["kind"] == "Deployment" and
                   one["metadata"]["name"] == gateway["spec"]["scaleTargetRef"]["name"]]
        # What a utilization is a share of.
        self.assertIn("cpu", target["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"])
        self.assertIn("replicas", target["spec"], "the component takes it out")
        adapter, model = yaml.safe_load_all((EXAMPLES / "autoscaling/hpa.yaml").read_text())
        self.hold("V1ConfigMap", adapter, "adapter")
        self.hold(kind, model, "model")
        rules = yaml.safe_load(adapter["data"]["config.yaml"])["externalRules"]
        self.assertEqual(rules[0]["name"]["as"], model["spec"]["metrics"][0]["external"]["metric"]["name"])
        # KEDA's own kinds have no types here: their fields, as its reference has them (keda.sh, version 2).
        keda = {kind: [] for kind in ("Secret", "TriggerAuthentication", "ScaledObject")}
        for one in yaml.safe_load_all((EXAMPLES / "autoscaling/keda.yaml").read_text()):
            keda[one["kind"]].append(one)
            self.assertEqual(one["apiVersion"], "v1" if one["kind"] == "Secret" else "keda.sh/v1alpha1")
        secret, = keda["Secret"]
        self.hold("V1Secret", secret, "secret")
        authentication, = keda["TriggerAuthentication"]
        given, = authentication["spec"]["secretTargetRef"]
        self.assertIn(given["key"], secret["stringData"])
        self.assertEqual(given["name"], secret["metadata"]["name"])
        self.assertGreater(len(keda["ScaledObject"]), 0)
        needed = {"metrics-api": {"url", "valueLocation", "targetValue", "authMode"}, "cpu": {"value"},
                  "external": {"scalerAddress"}, "external-push": {"scalerAddress"}}
        for scaled in keda["ScaledObject"]:
            self.assertLessEqual(set(scaled["spec"]), {"scaleTargetRef", "pollingInterval", "cooldownPeriod", "idleReplicaCount",
                                                       "minReplicaCount", "maxReplicaCount", "fallback", "advanced", "triggers"})
            self.assertEqual(set(scaled["spec"]["fallback"]), {"failureThreshold", "replicas"})
            for trigger in scaled["spec"]["triggers"]:
                self.assertLessEqual(set(trigger),
                                     {"type", "name", "metricType", "metadata", "authenticationRef", "useCachedMetrics"})
                self.assertGreaterEqual(set(trigger["metadata"]), needed[trigger["type"]])
                if not trigger["type"].startswith("external"):  # whose further keys are the scaler's own
                    self.assertEqual(set(trigger["metadata"]), needed[trigger["type"]])
                self.assertTrue(all(type(value) is str for value in trigger["metadata"].values()), trigger)
                if trigger["type"] == "metrics-api":
                    self.assertEqual(trigger["authenticationRef"]["name"], authentication["metadata"]["name"])

    def test_it_would_find_a_mistake(self):
        for wrong in ({"replicaz": 1}, {"replicas": "1"}):
            one = next(one for one in base() if one["kind"] == "Deployment")
            one["spec"].update(wrong)
            with self.assertRaises(AssertionError):
                self.hold("V1Deployment", one, "Deployment")
        del one["spec"]["replicas"], one["spec"]["selector"]
        with self.assertRaises(ValueError):
            self.hold("V1Deployment", one, "Deployment")


if __name__ == "__main__":
    unittest.main()
