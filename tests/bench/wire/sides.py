"""What stands in front of the service: classgate with a conf that grows section by section, HAProxy, nginx."""
import dataclasses

import peers
from bench import Gateway, balance
from wire.world import CAPACITY, FILES

CONNECTIONS = FILES // 2

# When an answer is of no use any more: each class has its own, and its clients give up then.
DEADLINES = {"/health": "200ms", "/v1/classify": "1s", "/v1/classify/batch": "3s"}


def conf(*, deadlines=False, reserve=False, adaptive=False, more="", admission="", routes=""):
    """A conf file; a rate limit would only hide what is compared."""
    text = f"[admission]\nrate = 0\n{admission}\n"
    if adaptive:
        text += 'discipline = "adaptive"\n'
    if reserve:
        text += "[reserve]\npriority_4 = 0.1\n"
    text += more + routes
    if deadlines:
        for path, priority in (("/health", 1), ("/v1/classify", 3), ("/v1/classify/batch", 4)):
            text += f'[[route]]\npath = "{path}"\npriority = {priority}\ndeadline = "{DEADLINES[path]}"\n'
            text += "rate_limited = false\n" if priority == 1 else ""
    return text


@dataclasses.dataclass(frozen=True)
class Classgate:
    name: str
    conf: str
    log: str = "off"  # the access log, in JSON

    def start(self, upstream):
        gateway = Gateway(upstream.address, conf=self.conf, threads=1, client_max_connections=CONNECTIONS,
                          client_requests_per_connection=0, client_trusted_proxies="127.0.0.1",
                          log_access=self.log, log_format="json")
        return peers.Peer(self.name, gateway, gateway.port)

    def check_books(self, peer):
        health = peer.program.wait_for_health(lambda h: h["active_workers"] == 0, "an idle gateway")
        if balance(health) != 0:
            raise AssertionError(f"the books do not balance: {health}")


class Other:
    """Has no books that could be read."""

    def check_books(self, peer):
        pass


@dataclasses.dataclass(frozen=True)
class HAProxy(Other):
    """All share one queue in the order of their priorities; or batches have so many of the service's places,
    and a queue, for themselves."""
    name: str
    queue: int         # classify is refused when so many wait, batches when ...
    batch_queue: int   # ... so many do
    wait: str          # in the queue, at most
    batch_wait: str = "1s"
    batch_workers: int = 0

    def start(self, upstream):
        job = peers.Job(upstream.address, workers=CAPACITY - self.batch_workers, queue=self.queue,
                        connections=CONNECTIONS)
        return peers.with_conf(self.name, "haproxy-overload.cfg", ["/usr/sbin/haproxy", "-db", "-f"], job,
                               BATCH="batch" if self.batch_workers else "service", WAIT=self.wait,
                               BATCH_WAIT=self.batch_wait, BATCH_QUEUE=self.batch_queue,
                               BATCH_WORKERS=max(self.batch_workers, 1))


@dataclasses.dataclass(frozen=True)
class Nginx(Other):
    name: str = "nginx"

    def start(self, upstream):
        job = peers.Job(upstream.address, connections=CONNECTIONS)
        return peers.with_conf(self.name, "nginx-overload.conf", ["/usr/sbin/nginx", "-c"], job)


def installed(side):
    kind = {HAProxy: "haproxy", Nginx: "nginx"}.get(type(side))
    return kind is None or peers.installed(kind)
