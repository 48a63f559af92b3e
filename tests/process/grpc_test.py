#!/usr/bin/env python3
"""What a client of gRPC hears of the gateway when its call is not served: codes of gRPC, when to come back, and details
that say why. Asked by grpcio itself, which opens a channel as every client of it does."""
import json
import re
import signal

import grpc
import grpc_kit
import http2_kit as h2
from http2_test import Http2Test
from http2_service import Http2Service
from kit import Script, ScriptedService, free_port, scrape, wait_until

CALL = "/inference.GRPCInferenceService/ModelInfer"
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def fields_of(message):
    """The fields of a message of protocol buffers: numbers, and bytes."""
    found, at = {}, 0

    def number():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(message):
        key = number()
        if key & 7 == 0:
            value = number()
        else:
            size = number()
            value = message[at:at + size]
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found


def details_of(status):
    """google.rpc.Status: its code, its message, and each detail by the name of its type."""
    said = fields_of(status)
    details = {}
    for detail in said.get(3, []):
        any_ = fields_of(detail)
        details[any_[1][0].decode().rsplit(".", 1)[-1]] = fields_of(any_[2][0])
    return said[1][0], said[2][0].decode(), details


class Refusals(Http2Test):
    def channel(self, gateway, *options):
        channel = grpc.insecure_channel(f"127.0.0.1:{gateway.port}", options=options)
        self.addCleanup(channel.close)
        grpc_kit.KEPT.append(channel)
        return channel

    def call(self, channel, timeout=None, metadata=None, body=b"x"):
        """A unary call that is refused: what is heard of it."""
        with self.assertRaises(grpc.RpcError) as caught:
            channel.unary_unary(CALL)(body, timeout=timeout, metadata=metadata)
        return caught.exception

    def assert_refused(self, error, code, reason):
        self.assertEqual(error.code(), code, error)
        fields = dict(error.trailing_metadata())
        self.assertEqual(fields["x-classgate-reason"], reason)
        number, message, details = details_of(fields["grpc-status-details-bin"])
        self.assertEqual((number, message), (code.value[0], error.details()))
        info = details["ErrorInfo"]
        self.assertEqual((info[1], info[2]), ([reason.encode()], [b"classgate"]))
        entry = fields_of(info[3][0])
        self.assertEqual((entry[1][0], entry[2][0].decode()), (b"request_id", fields["x-request-id"]))
        return fields, details

    def test_a_rate_that_is_exceeded_says_when_to_come_back(self):
        gateway = self.before(admission_rate=0.1, admission_burst=1)
        channel = self.channel(gateway)
        self.assertNotIn("grpc-status-details-bin", dict(self.call(channel).trailing_metadata()))  # the service's own
        fields, details = self.assert_refused(self.call(channel), grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")
        delay = fields_of(details["RetryInfo"][1][0])
        told = delay.get(1, [0])[0] * 1000 + delay.get(2, [0])[0] / 1e6
        self.assertGreater(int(fields["grpc-retry-pushback-ms"]), 1000)
        self.assertLess(abs(told - int(fields["grpc-retry-pushback-ms"])), 2)

    def test_a_full_queue(self):
        held = self.held()
        gateway = self.before(held.address, admission_workers=1, admission_queue_size=1)
        channel = self.channel(gateway)
        calls = [channel.unary_unary(CALL).future(b"x") for _ in range(2)]
        gateway.wait_for_health(lambda h: h["active_workers"] == 1 and h["queue_size"] == 1, "one in, one waiting")
        fields, _ = self.assert_refused(self.call(channel), grpc.StatusCode.RESOURCE_EXHAUSTED, "queue_full")
        self.assertIn("grpc-retry-pushback-ms", fields)
        for call in calls:
            call.cancel()

    def test_a_deadline_is_the_calls_own_and_is_shortened_on_its_way(self):
        said = []

        class Slow(Script):
            def do_POST(self):
                said.append(self.headers.get("grpc-timeout"))
                self.say(404)

        service = ScriptedService(Slow)
        self.addCleanup(service.close)
        gateway = self.before(service.address, deadlines_from_client="true")
        self.call(self.channel(gateway), timeout=5)
        value, unit = re.fullmatch(r"(\d+)([numSMH])", said[0]).groups()
        self.assertLessEqual(int(value) * {"n": 1e-9, "u": 1e-6, "m": 1e-3, "S": 1}[unit], 5)

    def test_a_deadline_that_passes_while_the_call_waits(self):
        """Of a client that waits longer than it says, to hear it from the gateway and not from its own library."""
        held = self.held()
        gateway = self.before(held.address, admission_workers=1, deadlines_from_client="true")
        peer = self.peer(gateway)
        peer.send(h2.get(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a busy worker")
        peer.send(h2.headers(3, h2.request_fields(CALL, "POST", [*GRPC, ("grpc-timeout", "300m")])))
        answer = peer.answer(3)
        self.assertEqual((answer.status, answer.fields["grpc-status"], answer.fields["x-classgate-reason"]),
                         (200, "4", "deadline"))
        self.assertEqual((answer.body, answer.trailers, answer.error), (b"", None, None))
        self.assertTrue(peer.is_well())

    def test_no_server_that_is_up(self):
        gateway = self.before(f"127.0.0.1:{free_port()}")
        channel = self.channel(gateway)
        error = self.call(channel)
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        error = wait_until(lambda: (lambda e: e if dict(e.trailing_metadata()).get("x-classgate-reason") == "upstream_down"
                                    else None)(self.call(channel)), "it is known to be down")
        self.assert_refused(error, grpc.StatusCode.UNAVAILABLE, "upstream_down")

    def test_who_is_unknown(self):
        clients = self.authority.folder.name + "/clients"
        with open(clients, "w") as file:
            file.write("acme key=sha256:" + "0" * 64 + "\n")
        conf = (f'[fairness]\nidentity = ["header:X-Api-Key"]\n[clients]\nclients_file = "{clients}"\nsecret = "off"\n'
                'unknown = "refuse"\n')
        for status, code in ((401, grpc.StatusCode.UNAUTHENTICATED), (403, grpc.StatusCode.PERMISSION_DENIED)):
            gateway = self.before(conf=conf, status_unknown_client=status)
            self.assert_refused(self.call(self.channel(gateway), metadata=[("x-api-key", "other")]), code, "unknown_client")

    def test_while_it_drains(self):
        """Of a client that has not answered the PING behind the first GOAWAY: its call may have been on its way."""
        held = self.held()
        gateway = self.before(held.address, drain_grace="1ms")
        peer = self.peer(gateway, is_kind=False)
        peer.send(h2.get(1))
        gateway.wait_for_health(lambda h: h["active_workers"] == 1, "a busy worker")
        gateway.signal(signal.SIGTERM)
        peer.read_until(lambda read: read.kind == h2.GOAWAY)
        streams = iter(range(3, 2001, 2))

        def refused():
            """The first ones may still be within the grace."""
            stream = next(streams)
            peer.send(h2.headers(stream, h2.request_fields(CALL, "POST", GRPC)))
            answer = peer.answer(stream, 0.2)
            return answer if answer.fields else None
        answer = wait_until(refused, "a refusal")
        self.assertEqual((answer.status, answer.fields["grpc-status"], answer.fields["x-classgate-reason"]),
                         (200, "14", "draining"))
        held.release.set()
        self.assertEqual(peer.answer(1).status, 204)

    def test_an_answer_that_the_service_breaks_off_ends_with_trailers(self):
        service = Http2Service()
        self.addCleanup(service.close)
        gateway = self.before(service.address, log_access="stdout")
        peer = self.peer(gateway)
        peer.send(h2.headers(1, h2.request_fields("/half", "POST", GRPC)))
        answer = peer.answer(1)
        self.assertEqual((answer.body, answer.error), (b"half", None))
        self.assertEqual(answer.trailers, {"grpc-status": "14", "grpc-message": "The service broke off or answered nonsense",
                                           "x-classgate-reason": "upstream_broken"})
        self.assertTrue(peer.is_well())
        gateway.wait_for_text(r"reason=upstream_broken .* status=200 .* upstream_protocol=h2 grpc_status=14", gateway.out)
        # HTTP has no words for it.
        self.assertEqual(peer.ask(3, "/half").error, 2)

    def test_the_log_and_the_numbers_tell_the_code(self):
        gateway = self.before(admission_rate=0.1, admission_burst=1, log_access="stdout")
        channel = self.channel(gateway)
        self.call(channel)
        self.call(channel)
        gateway.wait_for_text(r"status=429 .* protocol=h2 upstream_protocol=- grpc_status=8", gateway.out)
        wait_until(lambda: '\nclassgate_grpc_calls_total{code="8"} 1\n' in scrape(gateway)[1], "it is counted")
        self.assertIn('\nclassgate_upstream_requests_total{protocol="http/1.1"} 1\n', scrape(gateway)[1])

    def test_what_is_no_gRPC_is_refused_as_ever(self):
        gateway = self.before(admission_rate=0.1, admission_burst=1)
        peer = self.peer(gateway)
        peer.ask(1)
        answer = peer.ask(3, extra=[("content-type", "application/grpc-web")])
        self.assertEqual((answer.status, json.loads(answer.body)["reason"]), (429, "rate_limited"))


if __name__ == "__main__":
    grpc_kit.main()
