#!/usr/bin/env python3
"""Tokens that nobody has signed, as many as one address can send, no two the same, while customers with good ones ask on
at their pace. What came of both, and what it cost in memory and CPU. Exit 1 when one that is no good was let in, a
customer was refused, or the gateway ended or broke an invariant.
    tests/bench/garbage_tokens.py [TOKENS] [SECONDS]   defaults: 1,000,000 in 10 s, whichever is over first
                                                       CLASSGATE_BUILD: build/release; build/asan finds more"""
import json
import os
import pathlib
import re
import socket
import sys
import tempfile
import threading
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent), str(pathlib.Path(__file__).resolve().parents[1] / "process")]
from kit import PAUSE, Gateway, Service, raw_request, read_answer, scrape  # noqa: E402
from million_keys import memory_of  # noqa: E402
from tokens_test import CONF, Issuer, base64url  # noqa: E402

CUSTOMERS, PACE = 20, 0.1  # and seconds between two requests of one
BATCH = 100


def unsigned(header, claims=None):
    claims = claims or {"sub": "alice", "aud": "api", "exp": int(time.time()) + 600}
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims)) + "."


def beginnings(issuer):
    """Of tokens of which none is good, however they end; 8 digits follow."""
    good = issuer.token().rsplit(".", 1)
    filler = base64url(os.urandom(300))
    return {"a forged signature": good[0] + "." + filler[:334],
            "none": unsigned({"alg": "none"}),
            "another algorithm": unsigned({"alg": "HS256", "kid": issuer.kid}) + filler[:35],
            "a kid that is a path": unsigned({"alg": "RS256", "kid": "../../../dev/zero"}) + filler[:334],
            "no JSON": base64url(os.urandom(40)) + "." + base64url(os.urandom(80)) + "." + filler[:334],
            "a long one": unsigned({"alg": "RS256"}, {"sub": "a" * 5000}) + filler[:334],
            "depth": base64url(b"[" * 3000) + "." + filler[:300] + ".",
            "two parts": "eyJhbGciOiJSUzI1NiJ9.",
            "other bytes": "\xff\xfe.%00.' or 1=1--"}


def attack(port, tokens, until, texts, told):
    sent, statuses = 0, {}
    starts = [text.encode("latin-1") for text in texts]
    connection, said = None, b""
    while sent < tokens and time.monotonic() < until:
        if connection is None:
            connection = socket.create_connection(("127.0.0.1", port), timeout=30, source_address=("127.0.0.2", 0))
        connection.sendall(b"".join(b"GET /any HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s%08d\r\n\r\n"
                                    % (starts[(sent + i) % len(starts)], sent + i) for i in range(BATCH)))
        sent += BATCH
        said = b""
        while min(said.count(b"HTTP/1.1 "), said.count(b"\r\n\r\n")) < BATCH:
            part = connection.recv(1 << 20)
            if not part:
                connection.close()
                connection = None
                break
            said += part
        for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", said):
            statuses[status.decode()] = statuses.get(status.decode(), 0) + 1
    told.append((sent, statuses))


def customer(port, issuer, number, until, told):
    asked = served = 0
    token = issuer.token(sub=f"customer-{number}")
    while time.monotonic() < until:
        if asked % 20 == 19:  # a refreshed one, which must be verified
            token = issuer.token(sub=f"customer-{number}", jti=str(asked))
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(raw_request(headers=f"Authorization: Bearer {token}\r\nConnection: close\r\n"))
            asked += 1
            served += read_answer(connection).status == 200
        PAUSE.wait(PACE)
    told.append((asked, served))


def main():
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
    issuer = Issuer("RS256", "key-1")
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys.json"
        keys.write_text(json.dumps({"keys": [issuer.jwk()]}))
        service = Service("--service-time", "1ms")
        conf = CONF.format(keys=keys, algorithms='["RS256"]', more="[client]\nrequests_per_connection = 0\n")
        gateway = Gateway(service.address, conf=conf, admission_rate=0)
        try:
            before = memory_of(gateway.process.pid)
            until = time.monotonic() + seconds
            garbage, customers = [], []
            threads = [threading.Thread(target=attack, args=(gateway.port, tokens, until, beginnings(issuer).values(), garbage))]
            threads += [threading.Thread(target=customer, args=(gateway.port, issuer, number, until, customers))
                        for number in range(CUSTOMERS)]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.monotonic() - began
            sent, statuses = garbage[0]
            asked, served = (sum(numbers) for numbers in zip(*customers))
            after = memory_of(gateway.process.pid)
            broken = re.search(r"^classgate_invariants_broken_total (\d+)$", scrape(gateway)[1], re.M).group(1)
            print(f"garbage: {sent:,} tokens in {took:.1f} s ({sent / took:,.0f} a second), answered "
                  + ", ".join(f"{count:,} with {status}" for status, count in sorted(statuses.items())))
            print(f"customers: {served:,} of {asked:,} requests served")
            print(f"memory: {before:,} -> {after:,} KiB; invariants broken: {broken}")
            is_fine = served == asked and not set(statuses) - {"400", "401", "431", "503"} and broken == "0"
            print("reached" if is_fine else "NOT reached")
            return 0 if is_fine else 1
        finally:
            gateway.end()
            service.end()


if __name__ == "__main__":
    sys.exit(main())
