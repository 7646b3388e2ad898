/** How leases ended, and what their calls used. Active leases are counted apart: acquired is the sum of all. */
export interface UsageCounts {
  succeeded: number;
  failed: number;
  expired: number;
  unused: number;
  released: number;
  late: number;
  calls: number;
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
}

export function noUsage(): UsageCounts {
  return {
    succeeded: 0,
    failed: 0,
    expired: 0,
    unused: 0,
    released: 0,
    late: 0,
    calls: 0,
    inputTokens: 0,
    outputTokens: 0,
    cachedTokens: 0,
  };
}

/** How a lease counts once it is no longer active. Each lease is in just one of these. */
export type Ending = 'succeeded' | 'failed' | 'expired' | 'unused' | 'released';

/** Leases given, so that acquired = active + succeeded + failed + expired + unused + released holds by its making. */
export function acquired(counts: UsageCounts, active: number): number {
  return active + counts.succeeded + counts.failed + counts.expired + counts.unused + counts.released;
}
