#!/usr/bin/env python3
"""A second implementation of the protocol, from FORMAT.md and the vectors alone.

It reads the layout tables out of FORMAT.md, decodes every frame of the vectors and compares the values, then encodes
the values and compares the bytes. Standard library only. Usage: check.py (exit code 0: everything agrees).
"""

import json
import pathlib
import re
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
SCALARS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q", "bool": "<B", "Unmet": "<B",
           "DiskSpace": "<B"}


def read_layouts():
    """Struct name -> (size of its fixed part, [(offset, size, field, type)])."""
    text = (HERE.parent / "FORMAT.md").read_text(encoding="utf-8")
    block = text.split("<!-- layouts -->")[1].split("<!-- /layouts -->")[0]
    layouts, current = {}, None
    for line in block.splitlines():
        head = re.fullmatch(r"(\w+)  (part|0x[0-9a-f]{4})  (\d+) bytes", line)
        row = re.fullmatch(r" +(\d+) +(\d+)  (\w+) +(.+)", line)
        if head:
            current = layouts[head[1]] = (int(head[3]), [])
        elif row:
            current[1].append((int(row[1]), int(row[2]), row[3], row[4]))
    return layouts


LAYOUTS = read_layouts()


def size_of(kind):
    if kind.endswith("?"):
        return 1 + size_of(kind[:-1])
    if kind in SCALARS:
        return struct.calcsize(SCALARS[kind])
    if kind in ("bytes", "text") or kind.startswith("list of "):
        return 8
    return 16 if kind == "16 bytes" else LAYOUTS[kind][0]


def decode(data, at, kind):
    """The value of type `kind` whose fixed part starts at `at`."""
    if kind.endswith("?"):
        return decode(data, at + 1, kind[:-1]) if data[at] else None
    if kind in SCALARS:
        value = struct.unpack_from(SCALARS[kind], data, at)[0]
        return bool(value) if kind == "bool" else value
    if kind == "16 bytes":
        return {"hex": data[at : at + 16].hex()}
    if kind == "text":
        if data[at] & 0xC0 != 0x80:  # inline: up to the first ff
            return data[at : at + 8].split(b"\xff")[0].decode()
        word, offset = struct.unpack_from("<Ii", data, at)
        length = (word & 0x3F) | ((word & ~0xFF) >> 2)
        return data[at + offset : at + offset + length].decode()
    if kind == "bytes" or kind.startswith("list of "):
        offset, count = struct.unpack_from("<iI", data, at)
        start = at + offset
        if kind == "bytes":
            raw = data[start : start + count] if count else b""
            return {"hex": raw.hex(), "text": raw.decode(errors="replace")}
        item = kind[len("list of ") :]
        return [decode(data, start + index * size_of(item), item) for index in range(count)]
    return {field: decode(data, at + offset, inner) for offset, _, field, inner in LAYOUTS[kind][1]}


class Writer:
    """Writes what is pointed at first and the root last."""

    def __init__(self):
        self.out = bytearray()

    def prepare(self, kind, value):
        """Writes what lies outside of the fixed part; gives a function from the fixed part's place to its bytes."""
        if kind.endswith("?"):
            if value is None:
                return lambda at: bytes(size_of(kind))
            inner = self.prepare(kind[:-1], value)
            return lambda at: b"\x01" + inner(at + 1)
        if kind in SCALARS:
            return lambda at: struct.pack(SCALARS[kind], value)
        if kind == "16 bytes":
            return lambda at: bytes.fromhex(value["hex"])
        if kind == "text":
            raw = value.encode()
            if len(raw) <= 8:
                return lambda at: raw + b"\xff" * (8 - len(raw))
            start = self.append(raw)
            word = (len(raw) & 0x3F) | 0x80 | ((len(raw) & ~0x3F) << 2)
            return lambda at: struct.pack("<Ii", word, start - at)
        if kind == "bytes":
            raw = bytes.fromhex(value["hex"])
            start = self.append(raw)
            return lambda at: struct.pack("<iI", start - at, len(raw))
        if kind.startswith("list of "):
            item = kind[len("list of ") :]
            parts = [self.prepare(item, element) for element in value]
            start = len(self.out)
            for part in parts:
                self.append(part(len(self.out)))
            return lambda at: struct.pack("<iI", start - at, len(parts))
        fields = [(offset, self.prepare(inner, value[field])) for offset, _, field, inner in LAYOUTS[kind][1]]
        return lambda at: b"".join(part(at + offset) for offset, part in fields)

    def append(self, raw):
        start = len(self.out)
        self.out += raw
        return start


def encode(kind, value):
    writer = Writer()
    root = writer.prepare(kind, value)
    writer.append(root(len(writer.out)))
    return bytes(writer.out)


def decode_body(kind, body):
    return decode(body, len(body) - LAYOUTS[kind][0], kind)


def encode_frame(header, prelude, body):
    payload = body
    if prelude is not None:
        fields = ("session", "number", "acknowledged", "valid_until_ms", "timeout_ms", "read", "durability")
        payload = struct.pack("<QQQQIBBH", *(prelude[field] for field in fields), 0) + body
    first = b"KAHN" + struct.pack("<BBHI", header["version"], header["flags"], header["kind"], len(payload))
    second = struct.pack("<QQ", header["request_id"], header["hlc"]) + payload
    return first + struct.pack("<I", zlib.crc32(first + second)) + second


def check_frame(vector):
    frame = bytes.fromhex(vector["hex"])
    header = vector["header"]
    stated = dict(zip(("version", "flags", "kind", "length", "crc", "request_id", "hlc"), struct.unpack_from("<BBHIIQQ", frame, 4)))
    assert frame[:4] == b"KAHN" and stated == header, "header"
    assert len(frame) == 32 + header["length"], "length"
    assert zlib.crc32(frame[:12] + frame[16:]) == header["crc"], "crc"
    body = frame[32 if vector["prelude"] is None else 72 :]
    assert decode_body(vector["body_type"], body) == vector["body"], "decoded body"
    again = encode(vector["body_type"], vector["body"])
    assert again == body, f"encoded body {again.hex()}"
    assert encode_frame(header, vector["prelude"], again) == frame, "encoded frame"


def check_batch(vector):
    batch = bytes.fromhex(vector["hex"])
    assert struct.unpack_from("<HHIQ", batch) == (1, 0, len(vector["commands"]), vector["stamp"]), "batch header"
    at = 16
    for command in vector["commands"]:
        length, *fields = struct.unpack_from("<IHHQQQQ", batch, at)
        names = ("kind", "flags", "session", "number", "acknowledged", "valid_until_ms")
        assert fields == [command[name] for name in names], "command header"
        assert decode_body(command["body_type"], batch[at + 40 : at + 40 + length]) == command["body"], "command body"
        at += 40 + length
    assert at == len(batch), "batch end"


def check_position(vector):
    name = vector["name"].encode()
    space = name.rpartition(b"/")[0] if b"/" in name else name
    assert space == vector["key_space"].encode(), "key space"
    stem = bytes.fromhex(vector["hash"]) + space + b"\0" + name[len(space) :]
    for bound, end in (("key", b"\0\1"), ("lock", b"\0\2"), ("sequence", b"\0\3"), ("before_name", b"\0"), ("after_name", b"\1")):
        assert bytes.fromhex(vector[bound]) == stem + end, bound
    assert vector["owner_of_16"] == 1 + (int(vector["hash"], 16) >> 60), "owner"


def check_refused(vector):
    frame = bytes.fromhex(vector["hex"])
    good_crc = zlib.crc32(frame[:12] + frame[16:]) == struct.unpack_from("<I", frame, 12)[0]
    if frame[:4] != b"KAHN":
        reason = "Magic"
    elif frame[4] != 1:
        reason = "Version"
    elif struct.unpack_from("<I", frame, 8)[0] > 1 << 20:
        reason = "TooLong"
    elif not good_crc:
        reason = "Crc"
    else:
        return  # of the payload
    assert reason == vector["reason"], reason


def main():
    failures = 0
    checks = {"frames": check_frame, "batches": check_batch, "positions": check_position, "refused": check_refused}
    for file, check in checks.items():
        vectors = json.loads((HERE / f"{file}.json").read_text(encoding="utf-8"))["vectors"]
        for vector in vectors:
            try:
                check(vector)
            except Exception as error:  # pylint: disable=broad-except
                failures += 1
                print(f"{file}: {vector['name']}: {type(error).__name__} {error}")
        print(f"{file}: {len(vectors)} vectors")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
