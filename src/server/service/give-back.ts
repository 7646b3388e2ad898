import { Outcome } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ServiceContext } from './service-context.ts';

/** Ends a lease of which its taker never heard: the key was not used, and nothing is learned of it. */
export async function giveBack({ store }: ServiceContext, caller: string, leaseId: string): Promise<void> {
  await store.report({
    caller,
    leaseId,
    outcome: Outcome.UNUSED,
    finding: undefined,
    latencyMs: undefined,
    inputTokens: 0,
    outputTokens: 0,
    cachedTokens: 0,
    keepLease: false,
    idempotency: undefined,
    relaxed: false,
  });
}
