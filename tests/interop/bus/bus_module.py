"""A module on the bus in plain Python, written from docs/bus_protocol.md alone.

Usage: bus_module.py HOST PORT FOLDER-OF-frames.py. Answers each TEXT with its length, and a request
for BUTTON_STATE with a button that is pressed; ends when it reads "bye".
"""
import json
import socket
import struct
import sys

sys.path.insert(0, sys.argv[3])
import frames  # noqa: E402

HEADER = struct.Struct("<BBBBBBHIId")  # kind flags codec priority ttl 0 headers id route number
HELLO, HELLO_ACK, GOODBYE, CREDIT, ROUTE, REGISTER, REGISTERED = 1, 2, 3, 5, 6, 8, 9
SUBSCRIBE, SUBSCRIBE_ACK, UNSUBSCRIBE, EVENT = 32, 33, 34, 35
WINDOW, REQUEST_FLAG = 65536, 1


class Bus:
    def __init__(self, host, port, name):
        self.socket = socket.create_connection((host, port), timeout=20)
        self.theirs, self.mine, self.sequence = [], {}, {}  # addresses by number, numbers, counters
        self.listeners, self.owed, self.unpaid, self.waiting = {}, 0, 0, []
        signatures = [f"{f.NAME} {f.TYPE} {f.LAYOUT}" for f in frames.FRAMES.values()]
        hello = {"versions": [1, 1], "bay": {"id": name * 4, "module": name, "instance": name},
                 "codecs": ["raw"], "compression": [], "maxMessageBytes": 4096,
                 "windowBytes": WINDOW, "capabilities": ["speaker"], "metadata": {
                     "frames.fingerprint": frames.FINGERPRINT, "frames.0": "\n".join(signatures)}}
        self.write(HELLO, body=b"PBAY" + json.dumps(hello).encode())
        kind, _, _, body = self.read()
        assert kind == HELLO_ACK, body

    def write(self, kind, flags=0, priority=255, id=0, route=0, number=0.0, body=b""):
        frame = HEADER.pack(kind, flags, 0, priority, 8, 0, 0, id, route, number) + body
        if kind == EVENT:
            while self.unpaid and self.unpaid + len(frame) > WINDOW:
                self.waiting.append(self.read())  # credit may come with it
            self.unpaid += len(frame)
        self.socket.sendall(struct.pack("<I", len(frame)) + frame)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise EOFError("the manager has closed")
            data += more
        return data

    def read(self):
        """The next frame: kind, id, number, body."""
        raw = self.exactly(struct.unpack("<I", self.exactly(4))[0])
        kind, _, _, _, _, _, block, id, route, number = HEADER.unpack_from(raw)
        body = raw[HEADER.size + block:]
        if kind == EVENT:
            self.owed += len(raw)
            if self.owed >= WINDOW // 4:
                self.write(CREDIT, number=self.owed)
                self.owed = 0
            return kind, id, self.theirs[route], body
        if kind == CREDIT and id == 0:
            self.unpaid -= int(number)
        elif kind == ROUTE:
            self.theirs.append(json.loads(body)["address"])
        elif kind == GOODBYE:
            raise EOFError(json.loads(body)["message"])
        elif kind == SUBSCRIBE:  # somebody listens for what this module sends
            self.listeners[id] = json.loads(body)["pattern"]
            self.write(SUBSCRIBE_ACK, id=id)
        elif kind == UNSUBSCRIBE:
            self.listeners.pop(id, None)
        return kind, id, number, body

    def address(self, frame):
        return "frame/" + frame.NAME.lower()

    def listen_for(self, *types):
        for frame in types:
            terms = {"pattern": self.address(frame), "overflow": "drop_oldest", "maxQueue": 256}
            self.write(SUBSCRIBE, id=frame.TYPE, body=json.dumps(dict(terms, retained=False)).encode())

    def send_of(self, *types):
        for frame in types:
            number, address = len(self.mine), json.dumps({"address": self.address(frame)}).encode()
            self.mine[frame.TYPE] = number
            self.write(ROUTE, route=number, body=address)
            offer = {"pattern": "speaker", "address": self.address(frame), "retain": False}
            self.write(REGISTER, id=number + 1, body=json.dumps(offer).encode())

    def send(self, frame, priority=128):
        sequence = self.sequence[frame.TYPE] = self.sequence.get(frame.TYPE, 0) + 1
        for id, pattern in list(self.listeners.items()):
            if pattern == self.address(frame):
                self.write(EVENT, 0, priority, id, self.mine[frame.TYPE], sequence, b"\0" + frame.pack())

    def frames(self):
        while True:
            kind, id, _, body = self.waiting.pop(0) if self.waiting else self.read()
            if kind == EVENT:
                frame = frames.FRAMES[id]
                yield frame, None if body[0] & REQUEST_FLAG else frame.unpack(body[1:])


bus = Bus(sys.argv[1], int(sys.argv[2]), "snake")
bus.send_of(frames.Text, frames.ButtonState)
bus.listen_for(frames.Text, frames.ButtonState)
missing = [REGISTERED, REGISTERED, SUBSCRIBE_ACK, SUBSCRIBE_ACK]
while missing:  # until then, what others send may pass by
    if (kind := bus.read()[0]) in missing:
        missing.remove(kind)
print("ready", flush=True)
for kind, frame in bus.frames():
    if kind is frames.ButtonState and frame is None:
        bus.send(frames.ButtonState(pressed=True), priority=224)
    elif kind is frames.Text and frame and frame.text == "bye":
        break
    elif kind is frames.Text and frame and not frame.text.startswith(("python:", "c:")):
        bus.send(frames.Text(text=f"python: {len(frame.text)}"))
bus.write(GOODBYE, body=b'{"code": "closed", "message": "the snake has left"}')
