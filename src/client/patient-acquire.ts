import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type {
  AcquireKeyRequestSchema,
  BatchGetKeysRequestSchema,
  BatchGetKeysResponse,
  Lease,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { awayPauseMs, inTime, isAway } from './away.ts';
import type { Balancer, CallOptions } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';

/** How long one call tries to reach a balancer that answered before, and one that has not: its address may be wrong. */
const PATIENCE_MS = 10_000;
const FIRST_PATIENCE_MS = 2_000;

/** Those that gave a key, by what all that stand around one balancer share. */
const answered = new WeakSet<Balancer['keyAdmin']>();

/** Milliseconds that one call has left. */
export interface TimeLeft {
  /** For a key to become free. */
  waitMs: number;
  /** For a balancer that is away; undefined: it was there so far. */
  awayMs?: number;
}

export interface AcquireContext {
  left: TimeLeft;
  /** Whether to wait for a key that is free, else to take one only if there is. */
  mayWait: boolean;
  signal: AbortSignal | undefined;
}

type Own = '$typeName' | 'maxWait' | 'requestId';
type Request = Omit<MessageInitShape<typeof AcquireKeyRequestSchema>, Own>;
type BatchRequest = Omit<MessageInitShape<typeof BatchGetKeysRequestSchema>, Own>;

/** A lease, also where the balancer is away for a while. Takes from `left` what it used of it. */
export function patientAcquire(balancer: Balancer, request: Request, context: AcquireContext): Promise<Lease> {
  const { left, mayWait } = context;
  return patiently(balancer, context, (requestId, options) =>
    mayWait
      ? waitForLease(balancer, request, left.waitMs, options)
      : takeLease(balancer, { ...request, requestId }, options),
  );
}

/**
 * The same for batches. Without a request id: the server takes keys back that come as their caller leaves; those of an answer that was
 * lost end by their time.
 */
export function patientBatches(
  balancer: Balancer,
  request: BatchRequest,
  context: AcquireContext,
): Promise<BatchGetKeysResponse> {
  const { left, mayWait } = context;
  return patiently(balancer, context, (_, options) =>
    balancer.keyBalancer.batchGetKeys({ ...request, ...(mayWait && { maxWait: maxWaitOf(left.waitMs) }) }, options),
  );
}

async function patiently<T>(
  balancer: Balancer,
  { left, mayWait, signal }: AcquireContext,
  ask: (requestId: string, options: CallOptions) => Promise<T>,
): Promise<T> {
  // Answers of a balancer in this process are not lost, and an id costs as much as the pick.
  let requestId = balancer.inProcess ? '' : randomUUID();
  let awaySince: number | undefined;
  /** Why it is away: what was said last, or, where nothing was said in the rest of the time, before. */
  let trouble: unknown;
  const spentAway = (): number => (awaySince === undefined ? 0 : performance.now() - awaySince);
  try {
    for (;;) {
      const startedAt = performance.now();
      try {
        const timeoutMs = Math.max(1, (left.awayMs ?? PATIENCE_MS) - spentAway());
        const options = { signal, timeoutMs: timeoutMs + (mayWait ? left.waitMs : 0) };
        const taken = await inTime(ask(requestId, options));
        answered.add(balancer.keyAdmin);
        return taken;
      } catch (error) {
        if (awaySince !== undefined && error instanceof KeyBalancerError && error.reason === 'LEASE_EXPIRED') {
          // It was had, and ended while the balancer was away.
          requestId = randomUUID();
          continue;
        }
        if (!isAway(error)) throw error;
        // One that was reached and did not answer has been away for all of the try.
        const wasLate = (error as Error).cause instanceof KeyBalancerError;
        awaySince ??= wasLate ? startedAt : performance.now();
        left.awayMs ??= wasLate || answered.has(balancer.keyAdmin) ? PATIENCE_MS : FIRST_PATIENCE_MS;
        if (!wasLate || trouble === undefined) trouble = error;
        // One that was late had all the time that was left, and its lease is given back should it come.
        if (wasLate || spentAway() >= left.awayMs) throw trouble;
      } finally {
        if (mayWait) left.waitMs = Math.max(0, left.waitMs - (performance.now() - startedAt));
      }
      await sleep(awayPauseMs(), undefined, { signal });
    }
  } finally {
    if (left.awayMs !== undefined) left.awayMs = Math.max(0, left.awayMs - spentAway());
  }
}

/** Without a request id: the server then takes a key back that comes as its caller leaves. */
async function waitForLease(
  balancer: Balancer,
  request: Request,
  waitMs: number,
  options: CallOptions,
): Promise<Lease> {
  return leaseOf(await balancer.keyBalancer.acquireKey({ ...request, maxWait: maxWaitOf(waitMs) }, options));
}

/** With a request id: a lease whose answer was lost is found again. One that comes when its caller has left is given back. */
async function takeLease(
  balancer: Balancer,
  request: Request & { requestId: string },
  options: CallOptions,
): Promise<Lease> {
  return leaseOf(await balancer.keyBalancer.acquireKey(request, { ...options, mayRepeat: false }));
}

function leaseOf({ lease }: { lease?: Lease | undefined }): Lease {
  if (lease === undefined) throw new KeyBalancerError('the answer holds no lease', { code: 'INTERNAL' });
  return lease;
}

function maxWaitOf(waitMs: number) {
  return durationFromMs(Math.round(waitMs));
}
