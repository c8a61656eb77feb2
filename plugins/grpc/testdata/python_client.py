"""A gRPC client in Python that knows no .proto: it learns everything by reflection."""

import json
import sys

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

same = lambda b: b
TIMEOUT = 10


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def text(field, value):
    data = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def fields(data):
    at = 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size
        elif key & 7 == 0:
            yield key >> 3, number()
        else:
            raise ValueError(key)


def code_of(call):
    try:
        return call()
    except grpc.RpcError as error:
        return error.code().name


def reflect(target, version):
    told = {}
    with grpc.insecure_channel(target) as channel:
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        ask = channel.stream_stream(path, same, same)

        def one(request):
            return dict(fields(next(iter(ask(iter([request]), timeout=TIMEOUT)))))

        names = [dict(fields(s))[1].decode() for _, s in fields(one(text(7, ""))[6])]
        told["services"] = names
        pool = descriptor_pool.DescriptorPool()
        for name in names:
            pending = [f for _, f in fields(one(text(4, name))[4])]
            files = {}
            for data in pending:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                files[file.name] = file

            def add(file):
                for needed in file.dependency:
                    add(files[needed])
                try:
                    pool.FindFileByName(file.name)
                except KeyError:
                    pool.Add(file)

            for file in files.values():
                add(file)
            pool.FindServiceByName(name)
        told["unknown"] = dict(fields(one(text(4, "no.such.Symbol"))[7]))[1]
        arm = pool.FindServiceByName("example.arm.Arm")
        factory = message_factory.MessageFactory(pool)

        def call(service, method, **about):
            found = pool.FindServiceByName(service).FindMethodByName(method)
            request = factory.GetPrototype(found.input_type)(**about)
            response = factory.GetPrototype(found.output_type)
            rpc = channel.unary_unary(
                f"/{service}/{method}", lambda m: m.SerializeToString(), response.FromString
            )
            return rpc(request, timeout=TIMEOUT)

        data = descriptor_pb2.DescriptorProto()
        pool.FindMessageTypeByName("example.arm.GetDataRequest").CopyToProto(data)
        told["optional"] = [f.name for f in data.field if f.proto3_optional]
        told["joints"] = list(call(arm.full_name, "Initialize", frontend="python").joints)
        answer = call("patchbay.v1.Patchbay", "Call", address="arm/double", json="21")
        told["doubled"] = answer.json
    return told


def health(target):
    told = {}
    with grpc.insecure_channel(target) as channel:
        check = channel.unary_unary("/grpc.health.v1.Health/Check", same, same)
        for name in ["", "example.arm.Arm", "nobody"]:
            request = text(1, name)
            told[name] = code_of(lambda: dict(fields(check(request, timeout=TIMEOUT)))[1])
    return told


def faults(target):
    with grpc.insecure_channel(target) as channel:

        def call(path, request):
            rpc = channel.unary_unary(path, same, same)
            return code_of(lambda: rpc(request, timeout=TIMEOUT))

        patchbay = "/patchbay.v1.Patchbay/Call"
        big = text(1, "arm/echo") + text(3, b"x" * 300_000)
        told = {
            "garbage": call(patchbay, b"\x0a\xff\xff\xff"),
            "service_garbage": call("/example.arm.Arm/Initialize", b"\x0a\xff\xff\xff"),
            "bad_json": call(patchbay, text(1, "arm/echo") + text(2, "{")),
            "no_method": call("/patchbay.v1.Patchbay/Nothing", b""),
            "no_service": call("/no.Service/Nothing", b""),
            "nobody": call(patchbay, text(1, "arm/nobody")),
            "oversize": call(patchbay, big),
        }
        last = call(patchbay, text(1, "arm/echo") + text(2, '{"alive":true}'))
        told["after"] = dict(fields(last))[1].decode()
        return told


if __name__ == "__main__":
    _, what, *about = sys.argv
    print(json.dumps({"reflect": reflect, "health": health, "faults": faults}[what](*about)))
