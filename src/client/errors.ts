import type { Code } from '../gen/google/rpc/code_pb.ts';
import type { ErrorReason } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** Name of a google.rpc.Code, such as "RESOURCE_EXHAUSTED". */
export type StatusName = Exclude<keyof typeof Code, 'OK'>;

/** Name of an ErrorReason without its prefix, such as "NO_KEY_AVAILABLE"; newer servers may know others. "": none was given. */
export type ReasonName = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'> | '' | (string & {});

/** What a KeyBalancerError is made of. */
export interface KeyBalancerErrorFields {
  /** What kind of failure it is. */
  code: StatusName;
  /** Why. Default: "". */
  reason?: ReasonName | undefined;
  /** Milliseconds until a repeat can succeed. Default: unknown. */
  retryAfterMs?: number | undefined;
  /** What it is about. Default: nothing. */
  metadata?: Readonly<Record<string, string>> | undefined;
  /** Fields that were refused, and why. Default: none. */
  violations?: readonly { field: string; description: string }[] | undefined;
  /** The error that led to it. Default: none. */
  cause?: unknown;
}

/** A refusal by KeyBalancer, or a failure to reach it: the same from a server and from the embedded engine. */
export class KeyBalancerError extends Error {
  /** Tells it from other errors where `instanceof` cannot, as between two copies of the package. */
  override readonly name = 'KeyBalancerError';
  /** What kind of failure it is: RESOURCE_EXHAUSTED and UNAVAILABLE pass, INVALID_ARGUMENT does not. */
  readonly code: StatusName;
  /**
   * Why. BALANCER_AWAY, OPERATION_CANCELLED and ANSWER_LOST come from the client, the others from the balancer. ANSWER_LOST: what Gemini was
   * asked to make may be there, but its answer broke off; it is not asked for again.
   */
  readonly reason: ReasonName;
  /** Milliseconds until a repeat can succeed; undefined: unknown. */
  readonly retryAfterMs: number | undefined;
  /** Such as pool, model and cause of NO_KEY_AVAILABLE. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Fields of the request that were refused, and why. */
  readonly violations: readonly { field: string; description: string }[];

  /** For tests of one's own, such as one that lets a call fail. */
  constructor(message: string, fields: KeyBalancerErrorFields) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = fields.code;
    this.reason = fields.reason ?? '';
    this.retryAfterMs = fields.retryAfterMs;
    this.metadata = fields.metadata ?? {};
    this.violations = fields.violations ?? [];
  }
}

/** INVALID_ARGUMENT of an option or argument that never reached a server. `allowed` says what would have been right. */
export function invalidOption(name: string, shown: string, allowed: string): KeyBalancerError {
  const description = `${name} is ${shown}; allowed: ${allowed}`;
  return new KeyBalancerError(description, {
    code: 'INVALID_ARGUMENT',
    reason: 'INVALID_FIELD',
    metadata: { field: name },
    violations: [{ field: name, description }],
  });
}

/** What a call on something closed rejects with. */
export function closedError(where: string): KeyBalancerError {
  return new KeyBalancerError(`the client of ${where} is closed`, { code: 'FAILED_PRECONDITION' });
}

/** What a call rejects with that its caller gave up. */
export function cancelledError(signal: AbortSignal): KeyBalancerError {
  return new KeyBalancerError('given up by its caller', {
    code: 'CANCELLED',
    reason: 'OPERATION_CANCELLED',
    cause: signal.reason,
  });
}
