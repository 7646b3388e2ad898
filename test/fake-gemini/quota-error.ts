import type { Limits } from './behaviour.ts';
import { type ErrorTemplate, recordedError } from './errors.ts';
import type { Violation } from './limits.ts';

const METRIC = 'generativelanguage.googleapis.com/generate_content_free_tier_';

/** The free tier's names for each limit. */
const QUOTA: Record<keyof Limits, { metric: string; id: string }> = {
  minuteLimit: { metric: `${METRIC}requests`, id: 'GenerateRequestsPerMinutePerProjectPerModel-FreeTier' },
  dayLimit: { metric: `${METRIC}requests`, id: 'GenerateRequestsPerDayPerProjectPerModel-FreeTier' },
  minuteTokenLimit: {
    metric: `${METRIC}input_token_count`,
    id: 'GenerateContentInputTokensPerModelPerMinute-FreeTier',
  },
  dayTokenLimit: { metric: `${METRIC}input_token_count`, id: 'GenerateContentInputTokensPerModelPerDay-FreeTier' },
};

/**
 * The 429 for these limits, made from a recorded one. As in Gemini's, the message has the exact delay and RetryInfo its whole
 * seconds, and a limit of zero has no quotaValue. The delay is the longest of them; `dayRetryDelayMs` replaces it where a day is spent.
 */
export function quotaError(
  violations: readonly Violation[],
  model: string,
  dayRetryDelayMs: number | undefined,
): ErrorTemplate {
  const template = recordedError('tpm_paid');
  const { error } = template.body as { error: { message: string; details: { '@type': string }[] } };
  const dayIsSpent = violations.some(({ kind }) => kind === 'dayLimit' || kind === 'dayTokenLimit');
  const trueDelayMs = Math.max(...violations.map(({ delayMs }) => delayMs));
  const seconds = (dayIsSpent && dayRetryDelayMs !== undefined ? dayRetryDelayMs : trueDelayMs) / 1000;
  const head = error.message.slice(0, error.message.indexOf('\n*'));
  const lines = violations.map(
    ({ kind, limit }) => `\n* Quota exceeded for metric: ${QUOTA[kind].metric}, limit: ${limit}, model: ${model}`,
  );
  const details = error.details.map((detail) => {
    if (detail['@type'].endsWith('QuotaFailure')) {
      return { '@type': detail['@type'], violations: violations.map((each) => violationDetail(each, model)) };
    }
    return detail['@type'].endsWith('RetryInfo')
      ? { '@type': detail['@type'], retryDelay: `${Math.floor(seconds)}s` }
      : detail;
  });
  return {
    ...template,
    body: { error: { ...error, message: `${head}${lines.join('')}\nPlease retry in ${seconds}s.`, details } },
  };
}

function violationDetail({ kind, limit }: Violation, model: string): Record<string, unknown> {
  return {
    quotaMetric: QUOTA[kind].metric,
    quotaId: QUOTA[kind].id,
    quotaDimensions: { model, location: 'global' },
    ...(limit === 0 ? {} : { quotaValue: String(limit) }),
  };
}
