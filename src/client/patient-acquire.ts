import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type {
  AcquireKeyRequestSchema,
  BatchGetKeysRequestSchema,
  BatchGetKeysResponse,
  Lease,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer, CallOptions } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';
import type { KeyImporter } from './key-file.ts';
import { keyless, type PatientCall, patiently } from './patiently.ts';

type Own = '$typeName' | 'maxWait' | 'requestId';
type Request = Omit<MessageInitShape<typeof AcquireKeyRequestSchema>, Own>;
type BatchRequest = Omit<MessageInitShape<typeof BatchGetKeysRequestSchema>, Own>;

/** A lease, also where the balancer is away for a while. Takes from `left` what it used of it. */
export function patientAcquire(balancer: Balancer, request: Request, context: PatientCall): Promise<Lease> {
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
  context: PatientCall,
): Promise<BatchGetKeysResponse> {
  const { left, mayWait } = context;
  return patiently(balancer, context, (_, options) =>
    balancer.keyBalancer.batchGetKeys({ ...request, ...(mayWait && { maxWait: maxWaitOf(left.waitMs) }) }, options),
  );
}

/** Imports, part by part. A part may take longer than a call that only has to be answered. */
export function patientImporter(balancer: Balancer): KeyImporter {
  return {
    keyBalancer: {
      importKeys: (request, options) =>
        patiently(balancer, keyless(), (requestId) =>
          balancer.keyBalancer.importKeys({ ...request, requestId }, options),
        ),
    },
  };
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
