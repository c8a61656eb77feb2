"""A client of the session protocol in plain Python, written from docs/protocol.md alone.

Usage: python_session.py SOCKET. Says what it has got, one JSON value a line.
"""

import json
import socket
import struct
import sys

HEADER = struct.Struct("<BBBBBBHIId")  # kind flags codec priority ttl 0 headers id route number
HELLO, HELLO_ACK, GOODBYE, CREDIT, ROUTE, FRAGMENT = 1, 2, 3, 5, 6, 7
REQUEST, RESPONSE, ERROR, SUBSCRIBE, SUBSCRIBE_ACK, UNSUBSCRIBE, EVENT = 16, 17, 18, 32, 33, 34, 35
PAID = {16, 20, 35, 48, 49, 50, 51}
LAST, FLAG_PAID, WINDOW = 4, 32, 65536


class Session:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)  # seconds
        self.socket.connect(path)
        self.addresses, self.routes = [], {}  # by the other side's numbers; our numbers
        self.pieces, self.owed, self.last_id = {}, 0, 0
        hello = {
            "versions": [1, 1],
            "bay": {"id": "70797468" * 2, "module": "snake", "instance": "snake"},
            "codecs": ["json"],
            "compression": [],
            "maxMessageBytes": 1 << 20,
            "windowBytes": WINDOW,
            "capabilities": ["callable", "speaker"]}
        self.send(HELLO, body=b"PBAY" + json.dumps(hello).encode())
        kind, _, _, _, body = self.frame()
        assert kind == HELLO_ACK and body[:4] == b"PBAY", (kind, body)
        self.ack = json.loads(body[4:])

    def send(self, kind, flags=0, id=0, route=0, number=0.0, headers=b"", body=b""):
        head = HEADER.pack(kind, flags, 0, 128, 8, 0, len(headers), id, route, number)
        frame = head + headers + body
        self.socket.sendall(struct.pack("<I", len(frame)) + frame)

    def read(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError("the other side has closed")
            data += more
        return data

    def frame(self, whole=None):
        """The next frame that is not this class's own business: kind, flags, id, route, body."""
        while True:
            frame = whole or self.read(struct.unpack("<I", self.read(4))[0])
            kind, flags, _, _, _, _, headers, id, route, number = HEADER.unpack_from(frame)
            body = frame[HEADER.size + headers :]
            paid = kind in PAID or (flags & FLAG_PAID) or (kind == FRAGMENT and route == 1)
            if paid and whole is None:
                self.owed += len(frame)
                if self.owed >= WINDOW // 4:
                    self.send(CREDIT, number=self.owed)
                    self.owed = 0
            whole = None
            if kind == GOODBYE:
                raise EOFError(json.loads(body)["message"])
            if kind == ROUTE:
                assert route == len(self.addresses)
                self.addresses.append(json.loads(body)["address"])
            elif kind == FRAGMENT:
                self.pieces[id] = self.pieces.get(id, b"") + body
                if flags & LAST:
                    whole = self.pieces.pop(id)
            elif kind > FRAGMENT or kind == HELLO_ACK:
                return kind, flags, id, route, body

    def call(self, address, value, headers=None):
        if address not in self.routes:
            self.routes[address] = len(self.routes)
            self.send(ROUTE, route=self.routes[address], body=json.dumps({"address": address}).encode())
        self.last_id += 1
        block = json.dumps(headers).encode() if headers else b""
        self.send(REQUEST, 0, self.last_id, self.routes[address], 10000.0, block, json.dumps(value).encode())
        return self.last_id

    def answer(self, wanted):
        kind, _, id, _, body = self.frame()
        assert id == wanted, (id, wanted)
        return ("response" if kind == RESPONSE else "error"), json.loads(body or b"null")


def tell(*values):
    print(json.dumps(values), flush=True)


session = Session(sys.argv[1])
tell("hello", session.ack["bay"]["module"], session.ack["version"], session.ack["codecs"])
tell(*session.answer(session.call("tower/add", {"a": 2, "b": 3}, {"from": "python"})))
tell(*session.answer(session.call("tower/echo", "x" * 5000)))
kind, large = session.answer(session.call("tower/large", 100_000))
tell(kind, len(large))
tell(session.answer(session.call("tower/nowhere", None))[1]["code"])
tell(session.answer(session.call("tower/throws", None))[1])
subscription = session.last_id = session.last_id + 1
terms = {"pattern": "tower/*", "overflow": "drop_newest", "maxQueue": 1000, "retained": False}
session.send(SUBSCRIBE, id=subscription, body=json.dumps(terms).encode())
tell(session.frame()[:1] == (SUBSCRIBE_ACK,))
request = session.call("tower/shout", 300)
events, answer = [], None
while len(events) < 300 or answer is None:
    kind, flags, id, route, body = session.frame()
    if kind == EVENT:
        assert id == subscription
        events.append((session.addresses[route], json.loads(body)["n"]))
    else:
        answer = json.loads(body)
tell("events", len(events), events[0], events[-1], [n for _, n in events] == list(range(300)), answer)
session.send(UNSUBSCRIBE, id=subscription)
tell(*session.answer(session.call("tower/add", {"a": 1, "b": 1})))
session.send(GOODBYE, body=json.dumps({"code": "closed", "message": "python is done"}).encode())
