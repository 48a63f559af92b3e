"""A scripted nameserver on UDP and TCP, at one port of the kernel's choice."""
import ipaddress
import socket
import struct
import threading

A, AAAA, SRV, OPT = 1, 28, 33, 41
OK, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5
SILENT = "silent"


class Nameserver:
    """Answers for model.test (or `name`) with what its fields hold at that time:
    addresses, ttl   records of either family; no address at all: no such name
    behaviour        {A: SERVFAIL, AAAA: SILENT, ...}: another answer for a type
    lies             answers to another question, under a wrong id, before the right one
    services         {"_classify._tcp.test": [(priority, weight, port, host), ...]}: SRV records
    hosts            {"one.test": [addresses]}: more names
    broken           octets in the place of each SRV record
    An answer that is longer than the client has room for comes cut off, with the TC bit."""

    def __init__(self, addresses, ttl=1, name="model.test"):
        self.addresses, self.ttl, self.name = addresses, ttl, name
        self.behaviour, self.lies = {}, False
        self.services, self.hosts, self.broken = {}, {}, None
        self.queries = self.tcp_queries = 0
        self.tcp = socket.socket()
        self.tcp.bind(("127.0.0.1", 0))
        self.tcp.listen(16)
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.address = f"127.0.0.1:{self.port}"
        self.threads = [threading.Thread(target=self.serve_udp), threading.Thread(target=self.serve_tcp)]
        for thread in self.threads:
            thread.start()

    def serve_udp(self):
        while True:
            query, client = self.udp.recvfrom(4096)
            if query == b"end":
                return
            self.queries += 1
            for answer in self.answers(query):
                if len(answer) > self.room(query):
                    end = self.question(query)[2]
                    answer = answer[:2] + struct.pack("!H", 0x8380) + answer[4:6] + bytes(6) + query[12:end]
                self.udp.sendto(answer, client)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.settimeout(20)
                head = connection.recv(2, socket.MSG_WAITALL)
                if head == b"en":
                    return
                if len(head) < 2:
                    continue
                query = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                self.queries += 1
                self.tcp_queries += 1
                for answer in self.answers(query)[-1:]:
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def question(self, query):
        """Name, type and end of the question."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        return ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0], at + 5

    def room(self, query):
        """What the client takes by UDP: 512 bytes, or what its OPT record says (RFC 6891)."""
        end = self.question(query)[2]
        if struct.unpack("!H", query[10:12])[0] and struct.unpack("!H", query[end + 1:end + 3])[0] == OPT:
            return struct.unpack("!H", query[end + 3:end + 5])[0]
        return 512

    def answers(self, query):
        name, kind, end = self.question(query)
        behaviour = self.behaviour.get(kind)
        if behaviour == SILENT:
            return []
        question = query[12:end]
        addresses = self.addresses if name == self.name else self.hosts.get(name, [])
        records = [ip.packed for ip in map(ipaddress.ip_address, addresses)
                   if ip.version == {A: 4, AAAA: 6}.get(kind)]
        if kind == SRV:
            records = [self.broken or struct.pack("!HHH", priority, weight, port) + self.octets_of(host)
                       for priority, weight, port, host in self.services.get(name, [])]
        is_known = bool(addresses) or name in self.services
        code = behaviour if behaviour is not None else (OK if is_known else NXDOMAIN)
        if code != OK:
            records = []

        def message(number, asked, of):
            return number + struct.pack("!HHHHH", 0x8180 | code, 1, len(of), 0, 0) + asked + b"".join(
                b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, len(packed)) + packed for packed in of)
        truth = message(query[:2], question, records)
        if not self.lies or kind != A:
            return [truth]
        wrong = [socket.inet_aton("127.0.0.9")]
        other_id = bytes([query[0] ^ 0xff, query[1]])
        return [message(other_id, question, wrong),
                message(query[:2], b"\x05other\x04test\0" + question[-4:], wrong), b"\0", truth]

    @staticmethod
    def octets_of(host):
        labels = [label.encode() for label in host.split(".") if label]
        return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"

    def end(self):
        self.udp.sendto(b"end", ("127.0.0.1", self.port))
        with socket.create_connection(("127.0.0.1", self.port)) as ending:
            ending.sendall(b"en")
            for thread in self.threads:
                thread.join()
        self.udp.close()
        self.tcp.close()
