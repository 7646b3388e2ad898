import type { MessageInitShape } from '@bufbuild/protobuf';
import type { TokenUsageSchema } from '../gen/keybalancer/v1/keybalancer_pb.ts';

export type Usage = MessageInitShape<typeof TokenUsageSchema>;

/** No call has more; what is beyond is no count of tokens, and the balancer takes no report of it. */
const MOST = 1_000_000_000n;

/** The tokens that a result says it used, if it is one of Gemini's that does, and lets itself be read. */
export function tokenUsage(result: unknown): Usage | undefined {
  try {
    return usageOf(result);
  } catch {
    // A getter or a proxy of the caller's.
    return undefined;
  }
}

/** undefined: nothing is known of either. */
export function sumOfUsage(one: Usage | undefined, other: Usage | undefined): Usage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const sum = (name: 'inputTokens' | 'outputTokens' | 'cachedTokens'): bigint => {
    const tokens = (one[name] ?? 0n) + (other[name] ?? 0n);
    return tokens < MOST ? tokens : MOST;
  };
  return { inputTokens: sum('inputTokens'), outputTokens: sum('outputTokens'), cachedTokens: sum('cachedTokens') };
}

/** Thoughts are paid as output. */
function usageOf(result: unknown): Usage | undefined {
  const usage = (result as { usageMetadata?: Record<string, unknown> } | null | undefined)?.usageMetadata;
  if (typeof usage !== 'object' || usage === null) return undefined;
  return {
    inputTokens: count(usage.promptTokenCount),
    outputTokens: count(usage.candidatesTokenCount) + count(usage.thoughtsTokenCount),
    cachedTokens: count(usage.cachedContentTokenCount),
  };
}

function count(value: unknown): bigint {
  return typeof value === 'number' && value >= 0 && value <= MOST ? BigInt(Math.trunc(value)) : 0n;
}
