import { redact } from '../gemini/redact.ts';
import type { ErrorReason } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** Names of google.rpc.Code that KeyBalancer answers with. */
export type StatusCode =
  | 'CANCELLED'
  | 'INVALID_ARGUMENT'
  | 'NOT_FOUND'
  | 'ALREADY_EXISTS'
  | 'PERMISSION_DENIED'
  | 'UNAUTHENTICATED'
  | 'RESOURCE_EXHAUSTED'
  | 'FAILED_PRECONDITION'
  | 'ABORTED'
  | 'UNAVAILABLE';

/** ErrorReason without its "ERROR_REASON_" prefix: what google.rpc.ErrorInfo.reason says. */
export type Reason = Exclude<keyof typeof ErrorReason, 'UNSPECIFIED'>;

/** Which status a reason is answered with; the proto's comments on ErrorReason say the same. */
const CODE_OF_REASON: Record<Reason, StatusCode> = {
  NO_KEY_AVAILABLE: 'RESOURCE_EXHAUSTED',
  QUEUE_FULL: 'RESOURCE_EXHAUSTED',
  POOL_EMPTY: 'FAILED_PRECONDITION',
  POOL_NOT_FOUND: 'NOT_FOUND',
  KEY_NOT_FOUND: 'NOT_FOUND',
  LEASE_NOT_FOUND: 'NOT_FOUND',
  LEASE_EXPIRED: 'FAILED_PRECONDITION',
  LEASE_NOT_OWNED: 'PERMISSION_DENIED',
  REQUEST_ID_REUSED: 'ALREADY_EXISTS',
  KEY_ALREADY_EXISTS: 'ALREADY_EXISTS',
  INVALID_FIELD: 'INVALID_ARGUMENT',
  ETAG_MISMATCH: 'ABORTED',
  CREDENTIALS_INVALID: 'UNAUTHENTICATED',
  SCOPE_MISSING: 'PERMISSION_DENIED',
  DRAINING: 'UNAVAILABLE',
  STORE_UNAVAILABLE: 'UNAVAILABLE',
  POOL_NOT_EMPTY: 'FAILED_PRECONDITION',
  OPERATION_CANCELLED: 'CANCELLED',
  NO_MATCHING_KEY: 'FAILED_PRECONDITION',
  CALLER_RATE_LIMITED: 'RESOURCE_EXHAUSTED',
};

export interface BalancerErrorDetails {
  /** google.rpc.ErrorInfo.metadata. Never a secret. */
  metadata?: Record<string, string>;
  /** google.rpc.RetryInfo: milliseconds until a repeat can succeed. */
  retryDelayMs?: number;
  /** google.rpc.BadRequest: the field's path in the request, and what is wrong with it. */
  violations?: { field: string; description: string }[];
}

/** A refusal with its reason. Made where it is understood, mapped to a transport's status once, there. */
export class BalancerError extends Error {
  override readonly name = 'BalancerError';
  readonly reason: Reason;
  readonly code: StatusCode;
  readonly metadata: Record<string, string>;
  readonly retryDelayMs: number | undefined;
  readonly violations: { field: string; description: string }[];

  constructor(reason: Reason, message: string, details: BalancerErrorDetails = {}) {
    super(message);
    this.reason = reason;
    this.code = CODE_OF_REASON[reason];
    this.metadata = details.metadata ?? {};
    this.retryDelayMs = details.retryDelayMs;
    this.violations = details.violations ?? [];
  }
}

/** INVALID_ARGUMENT for one field. `allowed` says what would have been right, such as "1 to 1000". */
export function invalidField(field: string, value: unknown, allowed: string): BalancerError {
  const description = `${field} is ${shown(value)}; allowed: ${allowed}`;
  return new BalancerError('INVALID_FIELD', description, {
    metadata: { field },
    violations: [{ field, description }],
  });
}

/**
 * A value as it may be shown in a message: quoted, escaped and cut, and without what looks like an API key that came into the
 * wrong field. Not for fields that hold a secret.
 */
export function shown(value: unknown): string {
  if (typeof value !== 'string') return String(value);
  const text = redact(value.slice(0, 200));
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
