#!/usr/bin/env python3
"""A differential fuzz: the rows of the conformance table, spliced and mutated, go through the real gateway, and parsers
that have nothing in common with its own (h11, node's) must find the same messages in what it forwards.

    differential_test.py [RUNS [SEED]]    a run is one connection's bytes, or one answer of the service
    differential_test.py --minutes N      of CPU, all processes together, one seed after the other

Requests: h11 answers as the service; the very bytes of each of its connections are read by node, too. Both must find the
same methods, targets and bodies, without an error; those must be the ones of the gateway's access log; and they must be,
in their order, among the ones that h11 finds in what the client sent.
Requests by HTTP/2 (http2_requests.py): h11 and node must find in what goes on what was sent, whole, and nothing of what RFC
9113 forbids.
Answers: what a client gets must be what h11 reads from the service's own bytes, or 502, or cut; the answer behind it on the
same connection must be untouched.
"""
import collections
import json
import pathlib
import random
import re
import resource
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "conformance"), str(HERE.parent / "process")]
import answers  # noqa: E402
import connections  # noqa: E402
import framing  # noqa: E402
import http2_requests  # noqa: E402
import lines  # noqa: E402
import targets  # noqa: E402
from independent import OK, PATIENCE, Node, Service, read_answer, read_requests  # noqa: E402
from kit import Gateway  # noqa: E402

CROWD = 8  # clients at once: most of their time they wait for the gateway to lose its patience
LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
WORDS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b";", b"0", b"1", b"5", b"a", b"-", b"+", b"0x",
         b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
         b"Connection: close\r\n", b"Connection: content-length\r\n", b"Connection: transfer-encoding\r\n", b"Expect: 100-continue\r\n",
         b"Upgrade: h2c\r\n", b"Trailer: X\r\n", b"TE: trailers\r\n", b"Host: b\r\n", b" HTTP/1.0", b" HTTP/1.1", b"0\r\n\r\n",
         b"5\r\nhello\r\n", b";x=y", b"chunked", b"GET /inside HTTP/1.1\r\nHost: a\r\n\r\n", b"%2f", b"%00", b"/../", b"#", b"?", b"\xff"]
SETTINGS = {"admission_rate": 0, "upstream_eject_after": 0}
# Many a mutation leaves a request unfinished.
IMPATIENT = {"client_header_timeout": "150ms", "client_body_timeout": "150ms", "client_idle_timeout": "150ms",
             "client_linger_timeout": "50ms", "upstream_retry_budget": 0}


def mutated(rng, text, others):
    """`text` with a few edits."""
    text = bytearray(text[:4000])
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2, 3))):
        at, size = rng.randrange(len(text) + 1), rng.choice((1, 1, 2, 5, 20))
        match rng.randrange(6):
            case 0:
                text[at:at] = rng.choice(WORDS)
            case 1:
                del text[at:at + size]
            case 2:
                text[at:at + 1] = bytes([rng.randrange(256)])
            case 3:
                text[at:at] = text[at:at + size * 4]
            case 4:
                line = text.find(b"\r\n", at)
                text[line + 2:line + 2] = rng.choice(WORDS) if line >= 0 else b""
            case 5:
                other = rng.choice(others)
                text[at:at + size] = other[rng.randrange(len(other) + 1):][:40]
    return bytes(text)


def exchange(port, text, source="127.0.0.1"):
    """Sends all, then reads until the gateway ends the connection."""
    heard = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            client.sendall(text)
            while part := client.recv(65536):
                heard += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return heard


def stop(gateway):
    gateway.wait_for_health(lambda h: h["active_workers"] == 0 and h["queue_size"] == 0, "an idle gateway")
    gateway.signal(15)
    status = gateway.wait()
    if status != 0:
        raise AssertionError(f"the gateway ended with {status}:\n{gateway.err()}")


def address_of(run):
    """Every run has an address of its own, by which it is known again in X-Forwarded-For and in the log."""
    return f"127.{1 + run // 62500}.{1 + run // 250 % 250}.{1 + run % 250}"


def requests_agree(runs, rng):
    rows = [row for module in (framing, lines, targets, connections) for row in module.ROWS if len(row.send) < 4000]
    seeds = [row.send for row in rows]
    fine = [row.send for row in rows if row.forwards and row.then == "open"]
    texts = {address_of(run): b"".join(mutated(rng, rng.choice(rng.choice((seeds, fine))), seeds)
                                       for _ in range(rng.choice((1, 1, 2, 3)))) + LAST for run in range(runs)}
    seen, wrong = 0, []
    half = runs // 2
    # Bodies held until they are whole; and bodies streamed as they come.
    for buffer, part in (("64KiB", list(texts.items())[:half]), ("1B", list(texts.items())[half:])):
        service, node = Service(), Node()
        log = tempfile.NamedTemporaryFile("r", suffix=".log")
        gateway = Gateway(service.address, client_body_buffer=buffer, log_access=log.name, log_format="json",
                          log_access_lines_max=1_000_000, **SETTINGS, **IMPATIENT)
        try:
            with ThreadPoolExecutor(CROWD) as crowd:
                for heard in [crowd.submit(exchange, gateway.port, text, source) for source, text in part]:
                    heard.result()
            stop(gateway)
            entries = [json.loads(line) for line in log.read().splitlines()]
            seen += compare(dict(part), entries, service.streams, node, wrong)
        finally:
            gateway.end()
            node.end()
            service.end()
    return seen, wrong


def compare(texts, entries, streams, node, wrong):
    """Adds to `wrong` what does not agree; says how many requests do."""
    forwarded = {}
    for stream in streams:
        ours, error = read_requests(bytes(stream))
        stand_in, listed = for_node(bytes(stream), ours, node)
        theirs, other = node.read(stand_in)
        if error or other:
            wrong.append(f"h11: {error}; node: {other}\n    {bytes(stream)[-600:]!r}")
        if listed != theirs:
            wrong.append(f"h11 and node differ:\n    {listed}\n    {theirs}")
        for found in ours:
            if found.id in forwarded:
                wrong.append(f"twice: {found.listed()}")
            forwarded[found.id] = found
    by_client = collections.defaultdict(list)
    for entry in entries:
        found = forwarded.pop(entry["id"], None)
        # What the service read to its end had been read to its end by the gateway, in these bounds.
        if found is None:
            if entry["status"] == 200 and entry["verdict"] == "admitted":
                wrong.append(f"answered, and nobody saw it: {entry}")
            continue
        by_client[entry["address"]].append(found)
        path = found.target.split("?")[0]
        logged = (entry["method"], entry["path"], entry["bytes_in"], entry["address"])
        if logged != (found.method, path, int(found.digest.split(":")[0]), found.client):
            wrong.append(f"the service read {found.listed()}; the gateway's log has {entry}")
    wrong += [f"the service read {found.listed()}; the gateway's log has nothing of it" for found in forwarded.values()]
    for client, group in by_client.items():
        sent, error = read_requests(as_h11_knows(texts[client]), is_clients=True)
        rest = iter(sent)
        for found in group:
            if not any(found.is_like(one) for one in rest):
                wrong.append(f"forwarded {[f.listed()[1:] for f in group]}, but h11 finds {[f.listed()[1:] for f in sent]} "
                             f"({error}) in\n    {texts[client]!r}")
                break
    return sum(map(len, by_client.values()))


def as_h11_knows(text):
    """Without the white space before a chunk's extension, which is legal (RFC 9112 section 7.1.1) and which h11 refuses."""
    return re.sub(rb"(\n[0-9A-Fa-f]+)[ \t]+;", rb"\1;", text)


def for_node(stream, found, node):
    """Node has a list of methods (h11 takes any token): the others it gets as POST. The bytes for it, and what it is to find."""
    listed = [one.listed() for one in found]
    for one in listed:
        if one[1] in node.methods:
            continue
        head = re.compile(re.escape(one[1].encode()) + rb"( [^ \r\n]+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*?X-Request-Id: " + one[0].encode() + rb"\r\n)")
        stream, one[1] = head.sub(rb"POST\1", stream, count=1), "POST"
    return stream, listed


def answers_agree(runs, rng):
    seeds = [part for row in answers.ROWS for answer in row.service
             for part in [b"".join(p for p in (answer if isinstance(answer, tuple) else (answer,)) if isinstance(p, bytes))]
             if 0 < len(part) < 4000]
    methods = [rng.choice(("POST", "POST", "HEAD")) for _ in range(runs)]
    script = {f"/{run}".encode(): mutated(rng, rng.choice(seeds), seeds) for run in range(runs)}
    service = Service(lambda target: script.get(target, OK))
    # The service closes after each of these answers, perhaps with the next request in its hands: that is asked again.
    gateway = Gateway(service.address, upstream_retry_budget=1, **SETTINGS)
    wrong, whole = [], 0

    def ask(run):
        length = "Content-Length: 0\r\n" if methods[run] == "POST" else ""
        return exchange(gateway.port, f"{methods[run]} /{run} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode() + LAST)

    try:
        with ThreadPoolExecutor(CROWD) as crowd:
            for run, heard in enumerate(crowd.map(ask, range(runs))):
                is_whole, what = judge_answer(script[f"/{run}".encode()], methods[run], heard)
                whole += is_whole
                wrong += [what] if what else []
        stop(gateway)
    finally:
        gateway.end()
        service.end()
    return whole, wrong


def judge_answer(answer, method, heard):
    """Whether a whole answer of the service's passed; and what is wrong with what was `heard`."""
    expected, body, _ = read_answer(answer, method, True)
    status, got, rest = read_answer(heard, method, False)
    context = f":\n    {answer!r}\n    {heard!r}"
    if status is None:
        return False, "no answer at all" + context
    if status == 502 and status != expected:
        return False, None
    if got is None:  # cut: then h11 must not have found it whole; but it takes more than is allowed in chunks and trailers
        head, _, after = answer.partition(b"\r\n\r\n")
        is_odd = re.search(rb"[^\t\r\n -~]|(?<!\r)\n|\n[ \t]", answer) or (
            b"chunked" in head.lower() and re.search(rb"(?:^|\n)[0-9A-Fa-f]+[^0-9A-Fa-f\r\n]", after))
        return False, f"cut, and h11 reads {expected} {body!r}" + context if body is not None and not is_odd else None
    # The gateway leaves out trailers that would be about framing; h11 objects to them.
    has_odd_trailers = re.search(rb"\n0.*\r\n(.*\r\n)*(Transfer-Encoding|Content-Length)", answer, re.IGNORECASE)
    # h11 does not know that white space before a colon is removed (RFC 9112 section 5.1).
    *read, _ = read_answer(re.sub(rb"(\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+:", rb"\1:", as_h11_knows(answer)), method, True)
    if (status, got) not in ((expected, body), tuple(read)) and not (body is None and has_odd_trailers):
        return True, f"h11 reads {expected} {body!r}, the client {status} {got!r}" + context
    if rest and read_answer(rest, "GET", False) != (200, b"ok", b""):
        return True, f"what follows is {rest!r}" + context
    return True, None


def requests_by_http2_agree(runs, rng):
    return http2_requests.http2_agree(runs, rng, exchange, stop, address_of, CROWD, {**SETTINGS, **IMPATIENT})


def run_once(runs, seed):
    failed = 0
    for name, agree in (("requests", requests_agree), ("answers", answers_agree),
                        ("requests by HTTP/2", requests_by_http2_agree)):
        passed, wrong = agree(runs, random.Random(seed))
        for line in wrong[:20]:
            print(f"FAILED  {name}: {line}")
        print(f"{name}: seed {seed}, {runs} runs, {passed} whole messages passed through, {len(wrong)} differences", flush=True)
        # A fuzz in which nothing gets through compares nothing.
        failed += len(wrong) + (passed < runs // 10)
    return failed


def cpu_seconds():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main():
    if sys.argv[1:2] == ["--minutes"]:
        failed, seed = 0, random.SystemRandom().randrange(1 << 30)
        while cpu_seconds() < 60 * float(sys.argv[2]):
            failed += run_once(5000, seed)
            seed += 1
        print(f"{cpu_seconds():.0f} s of CPU, {failed} differences")
    else:
        failed = run_once(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
