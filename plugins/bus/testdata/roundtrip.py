"""Reads lines `TYPE HEX`, unpacks each frame, packs it again and prints the same form."""
import sys

sys.path.insert(0, sys.argv[1])
import frames  # noqa: E402

for line in sys.stdin:
    number, raw = (line.split() + [""])[:2]
    frame = frames.FRAMES[int(number)].unpack(bytes.fromhex(raw))
    print(number, frame.pack().hex())
print("fingerprint", frames.FINGERPRINT)
