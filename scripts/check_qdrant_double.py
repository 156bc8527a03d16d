#!/usr/bin/env python3
"""For maintainers: the Qdrant double of the tests against qdrant-client's local mode, on the same points and queries.

    python3 -m venv venv && venv/bin/pip install qdrant-client
    venv/bin/python scripts/check_qdrant_double.py [URL of a real server, asked instead of the double]

Starts the double (node must be on the PATH), writes random points with dense, sparse and ColBERT vectors to both,
asks both the same questions and compares ids and scores. Exits with 1 where they differ.
"""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from qdrant_client import QdrantClient, models

COLLECTION = "check_qdrant_double"
POINTS = 200
DIMS = 16
ROUNDS = 50
TOLERANCE = 1e-4
ROOT = Path(__file__).resolve().parent.parent
START = """
import { QdrantDouble } from './test/support/qdrantDouble.ts';
const double = await QdrantDouble.start();
console.log(double.url);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
"""


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    matrix = rng.standard_normal((rows, DIMS))
    return (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)


def sparse(rng: np.random.Generator) -> models.SparseVector:
    indices = sorted(rng.choice(60, size=int(rng.integers(0, 8)), replace=False).tolist())
    return models.SparseVector(indices=indices, values=[float(np.float32(rng.random() + 0.01)) for _ in indices])


def create(client: QdrantClient) -> None:
    client.create_collection(
        COLLECTION,
        vectors_config={
            "dense": models.VectorParams(size=DIMS, distance=models.Distance.COSINE),
            "colbert": models.VectorParams(
                size=DIMS,
                distance=models.Distance.COSINE,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
                hnsw_config=models.HnswConfigDiff(m=0),
            ),
        },
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )


def points(rng: np.random.Generator) -> list[models.PointStruct]:
    return [
        models.PointStruct(
            id=number,
            vector={
                "dense": unit(rng, 1)[0].tolist(),
                "sparse": sparse(rng),
                "colbert": unit(rng, int(rng.integers(1, 9))).tolist(),
            },
            payload={"lang": random.choice(["en", "de", "fr"]), "n": number, "tags": ["a", "b"][: number % 3]},
        )
        for number in range(POINTS)
    ]


def condition(key: str, **match: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, **match)


def filters() -> list[models.Filter | None]:
    english = condition("lang", match=models.MatchValue(value="en"))
    low = condition("n", range=models.Range(lt=POINTS / 2))
    tagged = condition("tags", match=models.MatchAny(any=["b"]))
    return [
        None,
        models.Filter(must=[english]),
        models.Filter(must_not=[english], must=[low]),
        models.Filter(should=[english, tagged]),
    ]


def questions(rng: np.random.Generator) -> list[tuple[str, dict]]:
    dense = {"query": unit(rng, 1)[0].tolist(), "using": "dense"}
    weights = sparse(rng)
    while not weights.indices:
        weights = sparse(rng)
    lexical = {"query": weights, "using": "sparse"}
    late = unit(rng, int(rng.integers(2, 6))).tolist()
    prefetch = [models.Prefetch(**dense, limit=40), models.Prefetch(**lexical, limit=40)]
    # All 80 candidates: a cut among equal ranks would be arbitrary on either side.
    fused = models.Prefetch(prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=80)
    return [
        ("dense", dense),
        ("sparse", lexical),
        ("colbert", {"query": late, "using": "colbert"}),
        ("hybrid", {"prefetch": prefetch, "query": models.FusionQuery(fusion=models.Fusion.RRF)}),
        ("rerank", {"prefetch": fused, "query": late, "using": "colbert"}),
    ]


def differences(name: str, expected: list, got: list) -> list[str]:
    """Scores by rank, and ids where no other point has the same score."""
    if len(expected) != len(got):
        return [f"{name}: {len(expected)} points in local mode, {len(got)} from the double"]
    found = []
    for rank, (want, have) in enumerate(zip(expected, got)):
        if abs(want.score - have.score) > TOLERANCE:
            found.append(f"{name} rank {rank}: score {want.score} in local mode, {have.score} from the double")
        ties = [other.id for other in expected if abs(other.score - want.score) <= TOLERANCE]
        if have.id not in ties and rank < len(expected) - 1:
            found.append(f"{name} rank {rank}: point {want.id} in local mode, {have.id} from the double")
    return found


def main() -> int:
    server = subprocess.Popen(
        ["node", "--input-type=module-typescript", "-e", START],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = server.stdout.readline().strip() if len(sys.argv) < 2 else sys.argv[1]
        local, double = QdrantClient(":memory:"), QdrantClient(url=url, check_compatibility=False)
        rng = np.random.default_rng(7)
        random.seed(7)
        batch = points(rng)
        for client in (local, double):
            client.delete_collection(COLLECTION)
            create(client)
            client.upsert(COLLECTION, batch, wait=True)
            client.delete(COLLECTION, models.PointIdsList(points=[3, 4]), wait=True)
            # Written again: overwritten, not doubled.
            client.upsert(COLLECTION, batch[:20], wait=True)
        problems = []
        if local.count(COLLECTION).count != double.count(COLLECTION).count:
            problems.append("the counts differ")
        compared = 0
        for round_number in range(ROUNDS):
            for query_filter in filters():
                for name, question in questions(rng):
                    ask = dict(question, query_filter=query_filter, limit=10, with_payload=True)
                    want, have = (client.query_points(COLLECTION, **ask).points for client in (local, double))
                    problems += differences(f"round {round_number} {name}", want, have)
                    compared += 1
        for problem in problems[:20]:
            print(problem)
        double.delete_collection(COLLECTION)
        print(f"{compared} queries compared, {len(problems)} differences.")
        return 1 if problems else 0
    finally:
        server.stdin.close()
        server.wait(timeout=10)


if __name__ == "__main__":
    sys.exit(main())
