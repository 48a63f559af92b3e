"""A service that speaks HTTP/2 by python3-h2, in this process, and does what its path says."""
import contextlib
import json
import socket
import threading

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
import hpack

from kit import serve_each, stop_listening


class Request:
    def __init__(self, stream, headers):
        self.stream = stream
        self.headers = headers
        self.body = b""
        self.trailers = []
        self.is_whole = False

    def field(self, name):
        return dict(self.headers).get(name)

    @property
    def path(self):
        return self.field(":path")


class Connection:
    def __init__(self, service, connection):
        self.service = service
        self.socket = connection
        self.lock = threading.RLock()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8",
                                                                      validate_outbound_headers=False,
                                                                      normalize_outbound_headers=False))
        if service.streams is not None:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: service.streams})
        self.requests = {}
        self.waiting = {}  # stream: [bytes that its window does not take, trailers or None, whether that is all]

    def run(self):
        try:
            self.h2.initiate_connection()
            self.flush()
            while data := self.socket.recv(65536):
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.on_event(event)
                    self.flush()
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            self.socket.close()

    def flush(self):
        with self.lock:
            data = self.h2.data_to_send()
            if data:
                self.socket.sendall(data)

    def on_event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            request = self.requests[event.stream_id] = Request(event.stream_id, event.headers)
            self.service.requests.append(request)
            self.service.on_head(self, request)
        elif isinstance(event, h2.events.DataReceived):
            request = self.requests[event.stream_id]
            request.body += event.data
            self.service.on_part(self, request, event.data)
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            self.requests[event.stream_id].trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            request = self.requests[event.stream_id]
            request.is_whole = True
            self.service.on_request(self, request)
        elif isinstance(event, h2.events.StreamReset):
            self.waiting.pop(event.stream_id, None)
            self.service.resets.append((event.stream_id, event.error_code))
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for stream in list(self.waiting):
                self.push(stream)

    def head(self, request, status=200, fields=(), ends=False):
        with self.lock:
            self.h2.send_headers(request.stream, [(":status", str(status)), *fields], end_stream=ends)
            self.flush()

    def body(self, request, data, ends=False, trailers=None):
        """Goes as the windows allow."""
        with self.lock:
            entry = self.waiting.setdefault(request.stream, [b"", None, False])
            entry[0] += data
            entry[1] = trailers
            entry[2] = ends or trailers is not None
            self.push(request.stream)
            self.flush()

    def push(self, stream):
        entry = self.waiting[stream]
        try:
            while entry[0]:
                size = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(entry[0]))
                if size == 0:
                    return
                self.h2.send_data(stream, entry[0][:size])
                entry[0] = entry[0][size:]
            if entry[2]:
                del self.waiting[stream]
                if entry[1] is not None:
                    self.h2.send_headers(stream, entry[1], end_stream=True)
                else:
                    self.h2.end_stream(stream)
        except h2.exceptions.ProtocolError:
            self.waiting.pop(stream, None)

    def answer(self, request, body, status=200, fields=(), trailers=None):
        self.head(request, status, fields)
        self.body(request, body, ends=True, trailers=trailers)

    def reset(self, request, error):
        with self.lock:
            self.h2.reset_stream(request.stream, error)
            self.flush()

    def go_away(self, last, error=0):
        with self.lock:
            self.h2.close_connection(error, last_stream_id=last)
            self.flush()


class Http2Service:
    """By clear HTTP/2, or in `context`; `streams`: MAX_CONCURRENT_STREAMS."""

    def __init__(self, context=None, streams=None):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.context = context
        self.streams = streams
        self.address = f"{'https' if context else 'h2c'}://127.0.0.1:{self.port}"
        self.connections = []
        self.requests = []
        self.resets = []
        self.release = threading.Event()
        self.held = []
        self.health = 200
        self.closed_after = None  # requests for /goaway-zero on one connection
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        if self.context:
            try:
                connection = self.context.wrap_socket(connection, server_side=True)
            except OSError:
                return
        one = Connection(self, connection)
        self.connections.append(one)
        one.run()

    def on_head(self, connection, request):
        if request.path == "/early":
            connection.answer(request, b"enough")
        if request.path == "/both-ways":
            connection.head(request)

    def on_part(self, connection, request, part):
        if request.path == "/both-ways":
            connection.body(request, part)

    def on_request(self, connection, request):
        path, _, number = request.path.partition("?")
        if path == "/held":
            self.held.append((connection, request))
        elif path == "/both-ways":
            connection.body(request, b"", trailers=[("x-bytes", str(len(request.body)))])
        elif path == "/health":
            connection.answer(request, b"", self.health)
        elif path == "/trailers":
            connection.answer(request, b"body", trailers=[("x-sum", "1")])
        elif path == "/large":
            connection.answer(request, b"x" * int(number))
        elif path == "/interim":
            connection.head(request, 103, [("link", "</a>")])
            connection.answer(request, b"late")
        elif path == "/reset":
            connection.reset(request, int(number))
        elif path == "/refused-once":
            if sum(other.path == request.path for other in self.requests) == 1:
                connection.reset(request, 7)
            else:
                connection.answer(request, b"taken")
        elif path == "/goaway-once":
            if sum(other.path == request.path for other in self.requests) == 1:
                connection.go_away(request.stream - 2)
            else:
                connection.answer(request, b"taken")
        elif path == "/goaway-zero":
            mine = [other for other in connection.requests.values() if other.path == request.path]
            if connection is not self.connections[-1] or self.closed_after is None:
                connection.answer(request, b"taken")
            elif len(mine) == self.closed_after:
                self.closed_after = None
                connection.go_away(0)
                connection.socket.shutdown(socket.SHUT_RDWR)
        elif path == "/half":
            connection.head(request)
            connection.body(request, b"half")
            connection.socket.shutdown(socket.SHUT_RDWR)
        elif path == "/closes":
            connection.socket.shutdown(socket.SHUT_RDWR)
        elif path == "/never-indexed":
            connection.head(request, fields=[hpack.NeverIndexedHeaderTuple("x-told", "a"), ("x-open", "b")], ends=True)
        elif path == "/pkg.Echo/Say":
            connection.answer(request, request.body, fields=[("content-type", "application/grpc")], trailers=[("grpc-status", "0")])
        elif path == "/pkg.Echo/Refuse":
            connection.head(request, fields=[("content-type", "application/grpc"), ("grpc-status", "8")], ends=True)
        elif path == "/bad":
            connection.head(request, 200, [("connection", "close")])
        elif path == "/empty":
            connection.head(request, 204, ends=True)
        elif path != "/early":
            said = {"headers": request.headers, "body": request.body.decode("latin-1"), "trailers": request.trailers}
            body = json.dumps(said).encode()
            fields = [("content-type", "application/json"), ("content-length", str(len(body)))]
            if request.field(":method") == "HEAD":
                connection.head(request, 200, fields, ends=True)
            else:
                connection.answer(request, body, 200, fields)

    def let_go(self):
        """Those that ask for /held hear now."""
        while self.held:
            connection, request = self.held.pop(0)
            with contextlib.suppress(OSError, h2.exceptions.ProtocolError):  # some have left
                connection.answer(request, b"let go")

    def close(self):
        stop_listening(self.listener)
        for connection in self.connections:
            try:
                connection.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
