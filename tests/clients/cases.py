"""What the clients meet, one case after the other; each with a gateway and a service of its own."""
import contextlib
import dataclasses
import signal

from kit import Gateway, wait_until
from model import Model
from witness import Witness

LONG = 75  # events, 20 ms each


@dataclasses.dataclass
class Seen:
    """What became of one client in one case."""
    client: str
    case: str
    tries: list = dataclasses.field(default_factory=list)  # Try
    said: list = dataclasses.field(default_factory=list)   # Said, one for each thing asked
    computed: int = 0     # by the service, of what this client asked
    noticed: bool = None  # stream: the service heard that its reader had gone

    @property
    def waits(self):
        """Seconds from an answer to the next try."""
        return [after.asked - before.told for before, after in zip(self.tries, self.tries[1:]) if before.told]

    @property
    def came_back(self):
        return len(self.tries) > 1

    @property
    def obeyed(self):
        """Each time it came back it came not before it was told; None: it was told nothing, or did not come back."""
        waits = [after.asked - before.told >= before.retry_after
                 for before, after in zip(self.tries, self.tries[1:]) if before.told and before.retry_after]
        return all(waits) if waits else None


@contextlib.contextmanager
def place(before_first=lambda gateway: None, **settings):
    """A service, a gateway before it and a witness before that, which calls `before_first` when a client asks."""
    model = Model()
    gateway = witness = None
    try:
        gateway = Gateway(model.address, threads=1, **settings)
        witness = Witness(gateway.port, lambda: before_first(gateway))
        yield model, gateway, witness
    finally:
        if witness:
            witness.end()
        model.end()
        if gateway:
            gateway.end()


def url(port, path="/v1/classify"):
    return f"http://127.0.0.1:{port}{path}"


def take_the_token(gateway):
    assert gateway.request().status == 200


def too_many(client, case="429", rate=0.5, **settings):
    """429: the bucket has its next token in two seconds."""
    with place(take_the_token, admission_rate=rate, admission_burst=1, **settings) as (model, _, witness):
        said = client.run("ask", url(witness.port))
        return Seen(client.name, case, witness.tries, said, model.computed - 1)


def too_many_as_503(client):
    """503 with four seconds: longer than back-offs are."""
    return too_many(client, "429 as 503", 0.25, conf="[status]\nrate_limited = 503\n")


def queue_full(client, case="503", **settings):
    """503: the worker and the one place are taken, until somebody has been refused."""
    with place(admission_rate=0, admission_workers=1, admission_queue_size=1, **settings) as (model, gateway, witness):
        model.may_answer.clear()
        others = []
        for _ in range(2):
            connection = gateway.connect()
            connection.request("POST", "/v1/classify", "{}")
            others.append(connection)
        gateway.wait_for_health(lambda h: (h["active_workers"], h["queue_size"]) == (1, 1), "a full house")
        running = client.start("ask", url(witness.port))
        gateway.wait_for_health(lambda h: h["rejected_requests"] > 0, f"a refusal of {client.name}", 60)
        model.may_answer.set()
        assert [one.getresponse().status for one in others] == [200, 200]
        said = running.result()
        for one in others:
            one.close()
        return Seen(client.name, case, witness.tries, said, model.computed - 2)


def queue_full_as_429(client):
    return queue_full(client, "503 as 429", conf="[status]\nqueue_full = 429\n")


def too_slow(client, case="504", **settings):
    """504: the service takes longer than request_timeout, however often it is asked."""
    with place(admission_rate=0, admission_request_timeout="300ms", **settings) as (model, gateway, witness):
        model.may_answer.clear()
        said = client.run("ask", url(witness.port))
        return Seen(client.name, case, witness.tries, said, model.computed)


def too_slow_as_424(client):
    return too_slow(client, "504 as 424", conf="[status]\nupstream_timeout = 424\n")


def too_slow_as_406(client):
    """For those to whom 424 does not say that it is final."""
    return too_slow(client, "504 as 406", conf="[status]\nupstream_timeout = 406\n")


def too_slow_and_remembered(client):
    """Whoever asks again, whatever it is told."""
    return too_slow(client, "504 remembered", upstream_repeat_window="3m")


def drain(client):
    """The gateway is stopped while the service works on the first of two requests; a balancer sends new connections to
    another one."""
    with place(admission_rate=0) as (model, gateway, witness):
        successor = Gateway(model.address, threads=1, admission_rate=0)
        try:
            model.may_answer.clear()
            running = client.start("twice", url(witness.port))
            wait_until(lambda: model.computed == 1, f"the first request of {client.name}", 60)
            witness.target = successor.port
            gateway.signal(signal.SIGTERM)
            gateway.wait_for_text("drain", gateway.err)
            model.may_answer.set()
            said = running.result()
            assert gateway.wait() == 0
            return Seen(client.name, "drain", witness.tries, said, model.computed)
        finally:
            successor.end()


def stream(client):
    """It reads three events of an endless stream and leaves."""
    return leave(client, "stream", "stream", "/events/1000")


def slow_stream(client):
    """It aborts a stream after 45 s, with the request_timeout of the default conf, 30 s."""
    return leave(client, "stream 45 s", client.aborts, "/events/4/every/22.5")


def leave(client, case, what, events):
    with place(admission_rate=0) as (model, gateway, _):
        said = client.run(what, url(gateway.port, events))
        noticed = model.left.wait(10)
        gateway.wait_for_health(lambda h: h["active_workers"] == 0, "a free worker", 60)
        return Seen(client.name, case, [], said, model.computed, noticed)


def long_stream(client):
    """A stream that goes on for three times as long as request_timeout."""
    with place(admission_rate=0, admission_request_timeout="500ms") as (model, gateway, _):
        said = client.run("listen", url(gateway.port, f"/events/{LONG}"))
        return Seen(client.name, "long stream", [], said, model.computed)


def upload(client, case="upload", **settings):
    """8 MiB are refused while they come: there is no token for long."""
    with place(admission_rate=0.01, admission_burst=1, **settings) as (model, gateway, _):
        take_the_token(gateway)
        said = client.run("upload", url(gateway.port))
        return Seen(client.name, case, [], said, model.computed - 1)


def upload_as_openai(client):
    return upload(client, "upload as openai", client_refusal_body="openai")


def upload_as_text(client):
    return upload(client, "upload as text", client_refusal_body="text")


CASES = {"429": too_many, "503": queue_full, "504": too_slow, "504 as 424": too_slow_as_424,
         "504 remembered": too_slow_and_remembered, "drain": drain,
         "stream": stream, "long stream": long_stream, "upload": upload}
MORE_CASES = {"stream 45 s": slow_stream, "429 as 503": too_many_as_503, "503 as 429": queue_full_as_429,
              "504 as 406": too_slow_as_406, "upload as openai": upload_as_openai, "upload as text": upload_as_text}
