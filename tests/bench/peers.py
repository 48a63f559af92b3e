"""The programs that are compared, each doing the same job in front of the same service."""
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import socket
import tempfile

from bench import BUILD, Gateway, Program, free_port, most_files, wait_until

CONFS = pathlib.Path(__file__).resolve().parent / "peers"
NOBODY_REACHES = 1_000_000  # a rate limit that is in force and out of the way


@dataclasses.dataclass(frozen=True)
class Job:
    """What all of them are asked to do; what one of them cannot do is said in its conf."""
    upstream: str
    threads: int = 1
    workers: int = 50
    queue: int = 1000
    connections: int = 4000
    rate: int = NOBODY_REACHES    # a second
    refuse: int | None = None     # the status with which everything is refused: 429, 503
    certificate: tuple | None = None  # and key: TLS with clients
    buffers_body: bool = True     # nginx only: takes a body whole before it sends it on
    wrapper: tuple = ()           # strace or callgrind in front of it
    history: bool = True          # classgate only: who used how much is counted and kept


class Peer:
    """One of them, running: its port, and the processes whose time counts."""

    def __init__(self, name, program, port, folder=None, workers=0):
        """`workers` are processes below the one that is started; they come after the port is open."""
        self.name, self.program, self.port, self.folder = name, program, port, folder
        try:
            self.pids = self.wait_until_ready(workers)
        except AssertionError:
            self.end()
            raise

    def wait_until_ready(self, workers):
        process = self.program.process
        wait_until(lambda: listens(self.port) or process.poll() is not None, f"{self.name} to listen", 60)
        if process.poll() is not None:
            raise AssertionError(f"{self.name} does not start:\n{self.program.err()}{self.program.out()}")
        is_followed = pathlib.Path(str(process.args[0])).name == "strace"
        wait_until(lambda: len(self.tree()) > workers + is_followed, f"the workers of {self.name}")
        return self.tree()[1 if is_followed else 0:]

    def stop(self):
        """Asks it to end, so that a tracer around it writes its counts, and waits until it has."""
        os.kill(self.pids[0], signal.SIGTERM)
        self.program.wait(60)

    def end(self):
        # nginx's workers outlive a master that is killed, and what strace follows outlives strace; a
        # master that is still there starts others.
        others = self.tree()[1:] if self.program.process.poll() is None else []
        self.program.end()
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.folder:
            self.folder.cleanup()

    def tree(self):
        """The process that was started and its descendants."""
        def below(pid):
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [pid, *(one for child in children for one in below(int(child)))]
        return below(self.program.process.pid)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files_for(job):
    return 2 * job.connections + 1000


def classgate(job):
    settings = {"threads": job.threads, "admission_workers": job.workers, "admission_queue_size": job.queue,
                "admission_queue_bytes": "1GiB", "client_max_connections": job.connections,
                "client_requests_per_connection": 0, "client_body_bytes": "100MiB",
                "admission_rate": job.rate, "admission_burst": max(job.rate, 1),
                "admission_request_timeout": "5m", "admission_queue_timeout": "5m",
                "history_keep": str(job.history).lower()}
    if job.refuse == 429:
        settings |= {"admission_rate": 0.001, "admission_burst": 1}
    if job.refuse == 503:  # once something has the worker
        settings |= {"admission_workers": 1, "admission_queue_size": 0}
    if job.certificate:
        settings |= {"listen": "127.0.0.1:0,https://127.0.0.1:0", "tls_certificate": job.certificate[0],
                     "tls_key": job.certificate[1]}
    gateway = Gateway(job.upstream, wrapper=job.wrapper, nofile=most_files(files_for(job)), **settings)
    port = gateway.port
    if job.certificate:
        port = int(re.search(r"https://127\.0\.0\.1:(\d+)", gateway.err()).group(1))
    return Peer("classgate", gateway, port)


def with_conf(name, template, command, job, workers=0, **words):
    """Starts a peer on the conf of this folder, its @NAMES@ replaced."""
    folder = tempfile.TemporaryDirectory(prefix="classgate-bench-")
    port = free_port()
    words = {"PORT": port, "FOLDER": folder.name, "UPSTREAM": job.upstream, "THREADS": job.threads,
             "WORKERS": job.workers, "QUEUE": job.queue, "CONNECTIONS": job.connections,
             "FILES": files_for(job), "REFUSAL": job.refuse or 429, **words}
    text = (CONFS / template).read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    conf = pathlib.Path(folder.name) / template
    conf.write_text(text)
    return Peer(name, Program([*job.wrapper, *command, conf], nofile=most_files(files_for(job))), port, folder,
                workers)


def haproxy(job):
    bind = ""
    if job.certificate:
        both = tempfile.NamedTemporaryFile("w", suffix=".pem")
        both.write("".join(pathlib.Path(part).read_text() for part in job.certificate))
        both.flush()
        bind = f"ssl crt {both.name}"
    return with_conf("haproxy", "haproxy.cfg", ["/usr/sbin/haproxy", "-db", "-f"], job, TLS_BIND=bind,
                     RATE=0 if job.refuse else job.rate)


def nginx(job):
    # One process is all that one thread needs; several need a master above them.
    processes = f"worker_processes {job.threads};" if job.threads > 1 else "master_process off;"
    files = "".join(f"ssl_certificate{suffix} {part};"
                    for suffix, part in zip(("", "_key"), job.certificate or ()))
    return with_conf("nginx", "nginx.conf", ["/usr/sbin/nginx", "-c"], job, PROCESSES=processes,
                     workers=job.threads if job.threads > 1 else 0,
                     TLS_LISTEN="ssl" if job.certificate else "", TLS_FILES=files,
                     RATE="1r/m" if job.refuse else f"{job.rate}r/s",
                     BURST="" if job.refuse else f"burst={job.rate} nodelay",
                     KEPT=256, BUFFERS_BODY="on" if job.buffers_body else "off")


def h2o(job):
    return with_conf("h2o", "h2o.conf", ["/usr/bin/h2o", "-c"], job)


def floor(job):
    program = Program([*job.wrapper, BUILD / "tests/bench/bench_floor", "--upstream", job.upstream,
                       "--workers", job.workers], nofile=most_files(files_for(job)))
    port = int(program.wait_for_text(r"listening on 127\.0\.0\.1:(\d+)", program.out, 60).group(1))
    return Peer("floor", program, port)


KINDS = {"classgate": classgate, "haproxy": haproxy, "nginx": nginx, "h2o": h2o, "floor": floor}


def installed(name):
    return name in ("classgate", "floor") or shutil.which(name, path="/usr/sbin:/usr/bin") is not None


@contextlib.contextmanager
def running(names, job):
    """Those of `names` that are installed, ready to be asked, for as long as the block takes."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(KINDS[name](job)) for name in names if installed(name)]
