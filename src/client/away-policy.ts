import { performance } from 'node:perf_hooks';
import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import {
  type AcquireKeyResponse,
  AcquireKeyResponseSchema,
  ErrorClass,
  RenewLeaseResponseSchema,
  type ReportResultResponse,
  ReportResultResponseSchema,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { inTime, isAway } from './away.ts';
import type { Balancer, CallOptions } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';

/**
 * What becomes of calls while the balancer is away: `wait` (each tries until its end, or for a while), `fail` (a typed error at once), or a key of the
 * caller's own that serves until the balancer is back.
 */
export type AwayOption = 'wait' | 'fail' | { fallbackKey: string };

/** Name of the fallback key in events and errors. */
export const FALLBACK_KEY_ID = 'fallback';
const FALLBACK_LEASE = 'fallback-lease-';
const FALLBACK_TTL_MS = 3_600_000;
/** A balancer that does not answer for so long is away, where nobody wants to wait for it. */
const PATIENCE_MS = 2_000;
/** For so long after that it is not asked again: each call would else wait for it. */
const BLIND_MS = 1_000;

/** How long whoever reports a lease waits for the balancer's word, in milliseconds: as long as for a key. The report goes on after that. */
export function reportWaitMs(away: AwayOption): number {
  return away === 'wait' ? 10_000 : PATIENCE_MS;
}

/** A balancer that does without when it is away. `served` hears of each lease of the fallback key. */
export function withAwayPolicy(balancer: Balancer, away: AwayOption, served: () => void): Balancer {
  if (away === 'wait') return balancer;
  const { keyBalancer, keyAdmin } = balancer;
  const failing = failingCalls();
  const acquireKey =
    away === 'fail' ? failing(keyBalancer.acquireKey) : fallbackAcquire(keyBalancer, away.fallbackKey, served);
  return {
    ...balancer,
    get where() {
      return balancer.where;
    },
    get inProcess() {
      return balancer.inProcess ?? false;
    },
    keyBalancer: {
      ...keyBalancer,
      acquireKey,
      // Of one key there are no batches of several: they fail in its stead.
      batchGetKeys: failing(keyBalancer.batchGetKeys),
      getStats: tellingAway(keyBalancer.getStats),
      importKeys: tellingAway(keyBalancer.importKeys),
      reportResult: (report, options) =>
        isFallback(report) ? Promise.resolve(unjudged()) : keyBalancer.reportResult(report, options),
      renewLease: (request, options) =>
        isFallback(request)
          ? Promise.resolve(create(RenewLeaseResponseSchema, { ttl: durationFromMs(FALLBACK_TTL_MS) }))
          : keyBalancer.renewLease(request, options),
    },
    keyAdmin: { ...keyAdmin, createKey: tellingAway(keyAdmin.createKey) },
  };
}

type Acquire = Balancer['keyBalancer']['acquireKey'];

/** A call that takes leases, and may wait for them. */
type Taking<R, T> = (request: R & Pick<Parameters<Acquire>[0], 'maxWait'>, options?: CallOptions) => Promise<T>;

/** Makes calls fail at once while the balancer is away. What one of them finds out the others know. */
function failingCalls(): <R, T>(call: Taking<R, T>) => Taking<R, T> {
  let late: { error: KeyBalancerError; until: number } | undefined;
  return (call) => async (request, options) => {
    if (late !== undefined && performance.now() < late.until) throw awayError(late.error);
    try {
      return await patiently(call, request, options);
    } catch (error) {
      if (!isAway(error)) throw error;
      const away = error as KeyBalancerError;
      // One that refuses does so at once; one that hangs would cost each call its patience.
      if (away.cause instanceof KeyBalancerError) late = { error: away, until: performance.now() + BLIND_MS };
      throw awayError(away);
    }
  };
}

/** A call that takes no lease: there is nothing to do without. */
function tellingAway<R, T>(call: (request: R, options?: CallOptions) => Promise<T>): typeof call {
  return async (request, options) => {
    try {
      return await inTime(call(request, options));
    } catch (error) {
      throw isAway(error) ? awayError(error as KeyBalancerError) : error;
    }
  };
}

function awayError(cause: KeyBalancerError): KeyBalancerError {
  const { message, retryAfterMs } = cause;
  return new KeyBalancerError(message, { code: 'UNAVAILABLE', reason: 'BALANCER_AWAY', retryAfterMs, cause });
}

function fallbackAcquire(keyBalancer: Balancer['keyBalancer'], apiKey: string, served: () => void): Acquire {
  let blindUntil = 0;
  return async (request, options) => {
    if (performance.now() >= blindUntil) {
      try {
        return await patiently(keyBalancer.acquireKey, request, options);
      } catch (error) {
        if (!isAway(error)) throw error;
        blindUntil = performance.now() + BLIND_MS;
      }
    }
    served();
    return fallbackLease(apiKey, request);
  };
}

/** It is answered when its wait for a key is over, or the balancer is away. */
async function patiently<R, T>(
  call: Taking<R, T>,
  request: Parameters<Taking<R, T>>[0],
  options: CallOptions = {},
): Promise<T> {
  const { maxWait } = request;
  const waitMs = maxWait === undefined ? 0 : Number(maxWait.seconds ?? 0n) * 1000 + (maxWait.nanos ?? 0) / 1e6;
  const timeoutMs = Math.min(options.timeoutMs ?? Number.POSITIVE_INFINITY, waitMs + PATIENCE_MS);
  return inTime(call(request, { ...options, timeoutMs }));
}

let lastLease = 0;

function fallbackLease(apiKey: string, { pool, model }: Parameters<Acquire>[0]): AcquireKeyResponse {
  return create(AcquireKeyResponseSchema, {
    lease: {
      leaseId: `${FALLBACK_LEASE}${++lastLease}`,
      keyId: FALLBACK_KEY_ID,
      apiKey,
      pool: pool ?? '',
      model: model ?? '',
      ttl: durationFromMs(FALLBACK_TTL_MS),
    },
  });
}

function isFallback({ leaseId = '' }: { leaseId?: string }): boolean {
  return leaseId.startsWith(FALLBACK_LEASE);
}

/** Nobody is there to judge; there is no other key to try. */
function unjudged(): ReportResultResponse {
  return create(ReportResultResponseSchema, { errorClass: ErrorClass.UNKNOWN, retryAdvice: { retry: false } });
}
