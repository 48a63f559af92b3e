"""The clients: how each is run, and what it says."""
import atexit
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from kit import BUILD, TEXT, clean_environment

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"
GIVEN = 240  # seconds for all that one client does in one case
GOCODE = "/usr/share/gocode"  # where Debian has Go's libraries


@dataclasses.dataclass
class Said:
    """What came out of a client: the status that it ends with (None: there was no answer), what the usual words show to
    whoever runs it, and what can be read beside that."""
    status: int = None
    sees: str = ""
    body: str = ""
    events: int = 0


@dataclasses.dataclass
class Client:
    name: str
    version: str
    words: list                   # its command, without WHAT and URL
    obeys: bool = False      # it comes back after 429 and 503, not before Retry-After
    insists: bool = False    # it comes back after 504 too
    is_silent: bool = False  # nothing but the status can be read in the end
    aborts: str = "stream"   # WHAT it is to do to read three events and abort

    def run(self, what, url):
        done = subprocess.run([*self.words, what, url], capture_output=True, text=True, timeout=GIVEN, env=environment())
        if done.returncode != 0:
            raise AssertionError(f"{self.name} {what}: {done.stdout}{done.stderr}")
        return [Said(**json.loads(line)) for line in done.stdout.splitlines()]

    def start(self, what, url):
        """The same in the background."""
        pool = concurrent.futures.ThreadPoolExecutor(1)
        future = pool.submit(self.run, what, url)
        pool.shutdown(wait=False)
        return future


def environment():
    return clean_environment({"no_proxy": "127.0.0.1", "PYTHONDONTWRITEBYTECODE": "1", "NODE_PATH": "/usr/share/nodejs"})


class Command(Client):
    """curl and wget: no library, but what shell scripts ask with."""

    def run(self, what, url):
        with tempfile.TemporaryDirectory(prefix="classgate-client-") as folder:
            return self.ask(what, url, pathlib.Path(folder))


class Curl(Command):
    def ask(self, what, url, folder):
        given = b"x" * (8 << 20) if what == "upload" else None
        options = {"ask": ["-H", "Content-Type: application/json", "-d", TEXT, url],
                   "twice": ["-H", "Content-Type: application/json", "-d", TEXT, url, url],
                   "upload": ["-X", "POST", "-H", "Expect:", "-T", "-", "--retry", "0", url],
                   "stream": ["-N", url], "listen": ["-N", url]}[what]
        if what == "stream":
            return [leave_after_events([*self.words, *options])]
        done = subprocess.run([*self.words, "-w", "\n%{http_code}\n", *options], input=given, capture_output=True,
                              timeout=GIVEN, env=environment())
        out = done.stdout.decode()
        if what == "listen":
            return [Said(200, done.stderr.decode().strip(), events=out.count("data:"))]
        said, body = [], ""
        for line in out.splitlines():  # a body and the status in turns, as -w has it; with --retry a body for each try
            if line.isdigit() and len(line) == 3:
                said.append(Said(int(line) or None, (body + done.stderr.decode().strip())[:300], body))
            elif line:
                body = line
        return said


class Wget(Command):
    def ask(self, what, url, folder):
        big = folder / "upload"
        options = {"ask": ["--header=Content-Type: application/json", f"--post-data={TEXT}", url],
                   "twice": ["--header=Content-Type: application/json", f"--post-data={TEXT}", url, url],
                   "upload": [f"--post-file={big}", url],
                   "stream": [url], "listen": [url]}[what]
        if what == "upload":
            big.write_bytes(b"x" * (8 << 20))
        if what == "stream":
            return [leave_after_events([*self.words, "-O", "-", *options])]
        words = ["wget", "-nv", "--tries=1"] if what == "upload" else self.words  # with nothing but what failed in the end
        done = subprocess.run([*words, "-O", "-", *options], capture_output=True, timeout=GIVEN, env=environment())
        errors = [line for line in done.stderr.decode().splitlines() if "ERROR" in line or "failed" in line.lower()]
        out = done.stdout.decode()
        if what == "listen":
            return [Said(200, " ".join(errors), events=out.count("data:"))]
        answers = out.count('"label"')
        said = [Said(200, "", '{"label"')] * answers
        if done.returncode != 0:
            words = errors[-1] if errors else f"exit status {done.returncode}"
            status = words.split("ERROR ")[1][:3] if "ERROR " in words else ""
            said.append(Said(int(status) if status.isdigit() else None, words, out))
        return said


def leave_after_events(command, most=3):
    """As `curl | head`: whoever reads has enough."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as program:
        count = 0
        while count < most and (line := program.stdout.readline()):
            count += line.startswith(b"data:")
        program.stdout.close()
        program.terminate()
    return Said(200, events=count)


def version_of(*command):
    if not shutil.which(command[0]):
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    return done.stdout.split("\n")[0].strip() if done.returncode == 0 else None


def python_module(name):
    return version_of("/usr/bin/python3", "-c", f"import {name}; print(getattr({name}, '__version__', 'here'))")


def debian_version(package):
    return version_of("dpkg-query", "-W", "-f", "${Version}", package)


def built_go(folder):
    """The Go program; None without Go or the library. What is built of Go's own is kept in the build folder."""
    if not shutil.which("go") or not pathlib.Path(GOCODE, "src/github.com/hashicorp/go-retryablehttp").is_dir():
        return None
    cache = BUILD / "tests/clients/go-cache"
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["go", "build", "-o", folder / "client", PROGRAMS / "client.go"], capture_output=True, text=True,
                          cwd=folder, timeout=240,
                          env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "GOCACHE": str(cache),
                               "GO111MODULE": "off", "GOPATH": GOCODE, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"})
    assert done.returncode == 0, done.stderr
    return folder / "client"


def built_java(folder):
    if not shutil.which("javac"):
        return None
    done = subprocess.run(["javac", "-d", folder, PROGRAMS / "Client.java"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def clients(is_wanted=lambda name: True):
    """Those that are installed, and {name: why not} of the others."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="classgate-clients-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found, missing = [], {}

    def add(name, package, version, words, kind=Client, **what):
        if not is_wanted(name):
            return
        if version is None or words is None:
            missing[name] = f"{package} is not installed"
            return
        found.append(kind(name, version, [str(word) for word in words], **what))

    def python(name, module, program, **what):
        add(name, f"python3-{module}", python_module(module), ["/usr/bin/python3", PROGRAMS / "python_client.py", program], **what)

    python("requests", "requests", "requests")
    python("urllib3 Retry as copied", "urllib3", "urllib3-copied", obeys=True, insists=True, is_silent=True)
    python("urllib3 Retry 429 503", "urllib3", "urllib3", obeys=True)
    python("httpx", "httpx", "httpx")
    python("aiohttp", "aiohttp", "aiohttp")
    python("tenacity as copied", "tenacity", "tenacity", insists=True)
    python("tenacity that reads", "tenacity", "tenacity-obedient", obeys=True)
    curl = version_of("curl", "--version")
    add("curl --retry 2", "curl", curl and curl.split()[1], ["curl", "-sS", "--retry", "2"], Curl, obeys=True, insists=True)
    wget = version_of("wget", "--version")
    add("wget --retry-on-http-error", "wget", wget and wget.split()[2],
        ["wget", "-nv", "--tries=3", "--waitretry=1", "--retry-on-http-error=429,503"], Wget, insists=True, is_silent=True)
    package = "golang-github-hashicorp-go-retryablehttp-dev"
    go = built_go(folder) if is_wanted("go-retryablehttp") or is_wanted("go-retryablehttp that passes on") else None
    add("go-retryablehttp", package, debian_version(package), go and [go, "plain"], obeys=True, insists=True, is_silent=True)
    add("go-retryablehttp that passes on", package, debian_version(package), go and [go, "passes-on"], obeys=True, insists=True)
    add("LWP", "libwww-perl", version_of("perl", "-MLWP", "-e", "print $LWP::VERSION"), ["perl", PROGRAMS / "client.pl"])
    node = version_of("node", "--version")
    for name, package, version, what in (
            ("node fetch", "nodejs", node, {}),
            ("axios", "node-axios", node and debian_version("node-axios"), {}),
            ("got", "node-got", node and debian_version("node-got"), {"obeys": True, "insists": True})):
        add(name, package, version, ["node", PROGRAMS / "client.js", name.split()[-1]], **what)
    add("Java HttpClient", "a JDK", version_of("java", "--version") if shutil.which("javac") else None,
        (classes := built_java(folder) if is_wanted("Java HttpClient") else None) and ["java", "-Xshare:auto", "-cp", classes, "Client"])
    return found, missing
