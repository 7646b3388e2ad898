"""Prints what changes in the health of keys and pools, a line each, until Ctrl-C. It outlasts a restart of the server and misses nothing.

docs/other-languages.md says how the modules of the API are generated. KEYBALANCER_ADDRESS is HOST:PORT or unix:PATH.
"""

import os
import sys
import time

import grpc
from keybalancer.v1 import keybalancer_pb2 as pb
from keybalancer.v1.keybalancer_pb2_grpc import KeyBalancerServiceStub

ADDRESS = os.environ.get("KEYBALANCER_ADDRESS") or "127.0.0.1:50051"
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def main() -> int:
    resume_token = ""
    # A connection whose other end is gone without a word is found out in half a minute.
    options = [("grpc.keepalive_time_ms", 20_000), ("grpc.max_reconnect_backoff_ms", 5_000)]
    with grpc.insecure_channel(ADDRESS, options=options) as channel:
        balancer = KeyBalancerServiceStub(channel)
        while True:
            try:
                # wait_for_ready: while there is no server, the call waits for one.
                request = pb.WatchHealthRequest(resume_token=resume_token)
                for message in balancer.WatchHealth(request, wait_for_ready=True):
                    # Pages of a snapshot but the last have none.
                    resume_token = message.resume_token or resume_token
                    show(message)
            except grpc.RpcError as error:
                if error.code() not in PASSING:
                    print(f"KeyBalancer at {ADDRESS}: {error.details()}", file=sys.stderr)
                    return 1
            time.sleep(0.5)


def show(message: pb.WatchHealthResponse) -> None:
    match message.WhichOneof("event"):
        case "snapshot":
            for key in message.snapshot.keys:
                say(f"{key.pool} {key.key_id} {state(key.state)}")
            if not message.snapshot.more:
                say("watching")
        case "change":
            change = message.change
            kind = name_of(pb.HealthEventKind, change.kind, "HEALTH_EVENT_KIND_")
            if change.HasField("key"):
                was = f"{state(change.previous_state)} -> " if change.previous_state else ""
                say(f"{kind} {change.key.key_id} {was}{state(change.key.state)}")
            else:
                say(" ".join(part for part in (kind, change.pool, change.model) if part))


def state(number: int) -> str:
    return name_of(pb.KeyState, number, "KEY_STATE_")


def name_of(enum, number: int, prefix: str) -> str:
    """A value that is newer than the generated modules has no name, only its number."""
    known = enum.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix(prefix) if known else str(number)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
