import type { MessageInitShape } from '@bufbuild/protobuf';
import type { TokenUsageSchema } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** No call has more; what is beyond is no count of tokens. */
const MOST = 1e9;

/** The tokens that a result says it used, if it is one of Gemini's that does, and lets itself be read. */
export function tokenUsage(result: unknown): MessageInitShape<typeof TokenUsageSchema> | undefined {
  try {
    return usageOf(result);
  } catch {
    // A getter or a proxy of the caller's.
    return undefined;
  }
}

/** Thoughts are paid as output. */
function usageOf(result: unknown): MessageInitShape<typeof TokenUsageSchema> | undefined {
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
