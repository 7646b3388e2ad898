import type { LimitName } from '../../gemini/finding.ts';
import { ErrorClassSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Store } from '../../store/store.ts';
import type { Tell } from './figures.ts';

const LIMITS: Readonly<Record<LimitName, string>> = {
  requestsPerMinute: 'requests_per_minute',
  inputTokensPerMinute: 'input_tokens_per_minute',
  requestsPerDay: 'requests_per_day',
  tokensPerDay: 'tokens_per_day',
};

/** Models of a pool beyond the bound, together; no model is called so. */
const OTHER_MODELS = '(others)';

/** What keeps keys from serving: cooldowns, and quota that is known. */
export async function tellConstraints(tell: Tell, store: Store): Promise<void> {
  const { cooldowns, quotas } = await store.constraints();
  for (const { scope, cause, count, longestMs } of cooldowns) {
    const labels = { scope, cause: ErrorClassSchema.value[cause]!.localName.toLowerCase() };
    tell('cooldowns', count, labels);
    tell('longestCooldown', longestMs / 1000, labels);
  }
  for (const { pool, model = OTHER_MODELS, limit, used, left } of quotas) {
    const labels = { pool, model, limit: LIMITS[limit] };
    tell('quotaUsed', used, labels);
    tell('quotaLeft', left, labels);
  }
}
