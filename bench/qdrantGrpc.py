"""What gRPC gives: the same points into a real Qdrant as JSON bodies and as protobuf messages.

    pip install qdrant-client
    QDRANT_TEST_URL=http://127.0.0.1:6333 python bench/qdrantGrpc.py [--grpc-port 6334] [--rounds 3]

Bodies are made before the clock starts, so that no encoder is measured: what is left is the wire and the server.
Four requests in flight, `wait=false`, the last one of each round with `wait=true`; m: 0, so that no graph is built.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import random
import statistics
import struct
import time
import urllib.parse

import grpc
from qdrant_client import grpc as q

parser = argparse.ArgumentParser()
parser.add_argument("--grpc-port", type=int, default=6334)
parser.add_argument("--rounds", type=int, default=3)
args = parser.parse_args()
url = urllib.parse.urlparse(os.environ.get("QDRANT_TEST_URL", "http://127.0.0.1:6333"))
random.seed(7)
DIMS, WEIGHTS, ROWS, IN_FLIGHT = 1024, 100, 128, 4
# Points of a request and requests of a round; ColBERT's are bounded by bytes, as trivec's are.
SHAPES = {"dense": (128, 16), "sparse": (128, 16), "colbert": (5, 24)}


def floats(count):
    return [struct.unpack("f", struct.pack("f", random.uniform(-0.06, 0.06)))[0] for _ in range(count)]


def vector(kind):
    if kind == "dense":
        return floats(DIMS)
    if kind == "colbert":
        return [floats(DIMS) for _ in range(ROWS)]
    return {"indices": sorted(random.sample(range(250_000), WEIGHTS)), "values": [abs(x) for x in floats(WEIGHTS)]}


def short(value):
    """The fewest digits that give the same float32, as trivec prints them."""
    if isinstance(value, dict):
        return {"indices": value["indices"], "values": short(value["values"])}
    if isinstance(value, list):
        return [short(v) for v in value]
    return next(float(s) for d in range(6, 10) if struct.pack("f", float(s := f"{value:.{d}g}")) == struct.pack("f", value))


def proto(value):
    if isinstance(value, dict):
        return q.Vector(sparse=q.SparseVector(indices=value["indices"], values=value["values"]))
    if isinstance(value[0], list):
        return q.Vector(multi_dense=q.MultiDenseVector(vectors=[q.DenseVector(data=row) for row in value]))
    return q.Vector(dense=q.DenseVector(data=value))


def call(method, path, body=None):
    connection = http.client.HTTPConnection(url.hostname, url.port or 6333)
    connection.request(method, path, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text
    connection.close()


def collection(kind):
    name = f"bench_grpc_{kind}"
    call("DELETE", f"/collections/{name}")
    dense = {"size": DIMS, "distance": "Cosine"}
    vectors = {
        "dense": {"vectors": {"dense": dense}},
        "sparse": {"vectors": {}, "sparse_vectors": {"sparse": {}}},
        "colbert": {"vectors": {"colbert": {**dense, "multivector_config": {"comparator": "max_sim"}, "hnsw_config": {"m": 0}}}},
    }[kind]
    call("PUT", f"/collections/{name}", json.dumps({**vectors, "hnsw_config": {"m": 0}}))
    return name


def timed(send, bodies):
    started = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(IN_FLIGHT) as pool:
        list(pool.map(lambda body: send(body, False), bodies[:-1]))
    send(bodies[-1], True)
    return time.perf_counter() - started


channel = grpc.insecure_channel(f"{url.hostname}:{args.grpc_port}", options=[("grpc.max_send_message_length", -1)])
# Already serialised: no encoder is measured.
upsert = channel.unary_unary("/qdrant.Points/Upsert", request_serializer=lambda x: x, response_deserializer=lambda x: x)

for kind, (points, requests) in SHAPES.items():
    distinct = [vector(kind) for _ in range(points)]
    shown, packed = [short(v) for v in distinct], [proto(v) for v in distinct]
    name = f"bench_grpc_{kind}"
    rest, grpc_bodies = [], []
    for i in range(requests):
        ids = range(i * points, (i + 1) * points)
        rest.append(json.dumps({"points": [{"id": id, "vector": {kind: v}, "payload": {"n": id}} for id, v in zip(ids, shown)]}, separators=(",", ":")).encode())
        for wait in (False, True):
            message = q.UpsertPoints(collection_name=name, wait=wait, points=[
                q.PointStruct(id=q.PointId(num=id), vectors=q.Vectors(vectors=q.NamedVectors(vectors={kind: v})), payload={"n": q.Value(integer_value=id)})
                for id, v in zip(ids, packed)])
            if not wait or i == requests - 1:
                grpc_bodies.append(message.SerializeToString())
    last_waiting = grpc_bodies.pop()
    grpc_bodies[-1] = last_waiting

    def send_rest(body, wait):
        call("PUT", f"/collections/{name}/points?wait={'true' if wait else 'false'}", body)

    ways = {"REST": (send_rest, rest), "gRPC": (lambda body, _: upsert(body, timeout=60), grpc_bodies)}
    seconds = {way: [] for way in ways}
    for _ in range(args.rounds):
        for way, (send, bodies) in ways.items():
            collection(kind)
            seconds[way].append(timed(send, bodies))
    for way, (_, bodies) in ways.items():
        median = statistics.median(seconds[way])
        print(f"{kind:8} {way}: {points * requests / median:8.0f} points/s, {sum(map(len, bodies)) / points / requests:9.0f} bytes a point, seconds {[round(s, 2) for s in seconds[way]]}")
    call("DELETE", f"/collections/{name}")
