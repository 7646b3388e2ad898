"""Asks Gemini something with a leased key, and reports what came of it. While the server says that it helps, it tries another key.

docs/other-languages.md says how the modules of the API are generated. KEYBALANCER_ADDRESS is HOST:PORT or unix:PATH.
"""

import http.client as http_client
import json
import os
import sys
import time
import urllib.error
import urllib.request

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from keybalancer.v1 import keybalancer_pb2 as pb
from keybalancer.v1.keybalancer_pb2_grpc import KeyBalancerServiceStub

ADDRESS = os.environ.get("KEYBALANCER_ADDRESS") or "127.0.0.1:50051"
GEMINI = os.environ.get("GOOGLE_GEMINI_BASE_URL") or "https://generativelanguage.googleapis.com"
MODEL = "gemini-2.5-flash"
MAX_TRIES = 4
MAX_WAIT_S = 5
MAX_BODY = 16 * 1024


def main() -> int:
    prompt = sys.argv[1] if len(sys.argv) > 1 else "Why is the sky blue?"
    with grpc.insecure_channel(ADDRESS) as channel:
        try:
            return ask(KeyBalancerServiceStub(channel), prompt)
        except grpc.RpcError as error:
            print(f"KeyBalancer at {ADDRESS}: {described(error)}", file=sys.stderr)
            return 1


def ask(balancer: KeyBalancerServiceStub, prompt: str) -> int:
    avoid = pb.RetryAdvice()
    for _ in range(MAX_TRIES):
        lease = balancer.AcquireKey(
            pb.AcquireKeyRequest(
                model=MODEL,
                max_wait=Duration(seconds=MAX_WAIT_S),
                exclude_key_ids=avoid.exclude_key_ids,
                exclude_projects=avoid.exclude_projects,
            ),
            timeout=MAX_WAIT_S + 5,
        ).lease
        report = pb.ReportResultRequest(lease_id=lease.lease_id)
        answer = call_gemini(lease.api_key, prompt, report)
        verdict = balancer.ReportResult(report, timeout=10)
        if answer is not None:
            print(answer)
            return 0
        # An enum value that is newer than the generated modules has no name, only its number.
        known = pb.ErrorClass.DESCRIPTOR.values_by_number.get(verdict.error_class)
        class_name = known.name.removeprefix("ERROR_CLASS_") if known else str(verdict.error_class)
        print(f"{lease.key_id}: {class_name}", file=sys.stderr)
        advice = verdict.retry_advice
        if not advice.retry:
            return 1
        avoid.MergeFrom(advice)
        time.sleep(advice.delay.ToTimedelta().total_seconds())
    return 1


def call_gemini(api_key: str, prompt: str, report: pb.ReportResultRequest) -> str | None:
    """The answer's text, or None; either way the report says what happened."""
    request = urllib.request.Request(
        f"{GEMINI}/v1beta/models/{MODEL}:generateContent",
        data=json.dumps({"contents": [{"parts": [{"text": prompt}]}]}).encode(),
        headers={"content-type": "application/json", "x-goog-api-key": api_key},
    )
    began = time.monotonic()
    text = None
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        report.outcome = pb.OUTCOME_SUCCESS
        usage = answer.get("usageMetadata", {})
        report.usage.input_tokens = usage.get("promptTokenCount", 0)
        report.usage.output_tokens = usage.get("candidatesTokenCount", 0)
        parts = answer.get("candidates", [{}])[0].get("content", {}).get("parts", [])
        text = "".join(part.get("text", "") for part in parts)
    except urllib.error.HTTPError as error:
        # The body as it came: the server judges it. Only the key must not go with it.
        report.outcome = pb.OUTCOME_FAILURE
        report.error.http_status = error.code
        report.error.body = error.read(MAX_BODY).decode(errors="ignore").replace(api_key, "[key]")
    except TimeoutError:
        report.outcome = pb.OUTCOME_FAILURE
        report.error.transport_failure = pb.TRANSPORT_FAILURE_TIMEOUT
    except urllib.error.URLError as error:
        report.outcome = pb.OUTCOME_FAILURE
        timed_out = isinstance(error.reason, TimeoutError)
        report.error.transport_failure = pb.TRANSPORT_FAILURE_TIMEOUT if timed_out else pb.TRANSPORT_FAILURE_CONNECT
    except (OSError, ValueError, http_client.HTTPException):
        report.outcome = pb.OUTCOME_FAILURE
        report.error.transport_failure = pb.TRANSPORT_FAILURE_CUT
    report.latency.FromNanoseconds(int((time.monotonic() - began) * 1e9))
    return text


def described(error: grpc.RpcError) -> str:
    """Reason of the refusal, and when to come back, which are in its details."""
    words = [error.details()]
    for name, value in error.trailing_metadata() or ():
        if name != "grpc-status-details-bin":
            continue
        for detail in Status.FromString(value).details:
            info, retry = ErrorInfo(), RetryInfo()
            if detail.Unpack(info):
                words.insert(0, info.reason)
            elif detail.Unpack(retry):
                words.append(f"come back in {retry.retry_delay.ToTimedelta().total_seconds():.0f} s")
    return ", ".join(words)


if __name__ == "__main__":
    sys.exit(main())
