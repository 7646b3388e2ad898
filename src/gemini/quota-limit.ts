import type { Evidence } from './evidence.ts';
import type { Scope } from './finding.ts';
import { limitValue } from './violation.ts';

/** What kinds of limit an exhausted quota speaks of; of several, the worst is what counts. */
export interface BrokenLimit {
  /** The project has none of it: waiting does not help. */
  zero: boolean;
  day: boolean;
  tokens: boolean;
  scope: Scope;
}

/** A delay beyond this, with no limit named, is one of a day. */
const LONGEST_MINUTE_DELAY_MS = 3_600_000;
const PER_DAY = /per[_ ]?day/i;
const PER_DAY_UNIT = /^1\/d\b/;
const TOKENS = /token/i;
/** For a message that names no metric. */
const DAY_IN_WORDS = /\b(?:daily (?:quota|limit|request|token|rate)|(?:requests?|tokens?|quota|limit) per day)/;
const TOKENS_IN_WORDS = /\btokens per minute\b/;
const ZERO_IN_MESSAGE = /\blimit: 0(?![\d.,]\d|\d)/;
/** The lines of a message that name a metric, and the sentence of the older form. Both are Google's words alone. */
const METRIC_LINES =
  /^(?:\* )?Quota exceeded for (?:metric: [^\s,]{1,200}|[a-z.]{1,100}\/[\w]{1,200}|quota metric '[^'\n]{0,200}' and limit '[^'\n]{0,200}')/gm;

/** Undefined: the failure is not an exhausted quota. */
export function brokenLimit(evidence: Evidence): BrokenLimit | undefined {
  if (!isQuota(evidence)) return undefined;
  const { violations, metadata, message } = evidence;
  const inMetadata = [metadata.quota_limit, metadata.quota_metric].filter((name) => typeof name === 'string');
  const unit = typeof metadata.quota_unit === 'string' ? metadata.quota_unit : '';
  const names = [
    ...violations.map(({ metric, quotaId, description }) => `${metric} ${quotaId} ${description}`),
    ...inMetadata,
    ...(message.match(METRIC_LINES) ?? []),
  ].join(' ');
  return {
    zero: isZero(evidence),
    day:
      evidence.code === 'quota_exceeded' ||
      PER_DAY.test(names) ||
      PER_DAY_UNIT.test(unit) ||
      (names === '' && (isLong(evidence.delay) || DAY_IN_WORDS.test(evidence.lead))),
    tokens: TOKENS.test(names) || (names === '' && TOKENS_IN_WORDS.test(evidence.lead)),
    // A limit that ErrorInfo names without a model, such as one for a region, holds for all models.
    scope:
      violations.length === 0 && inMetadata.length > 0 && !/model/i.test(`${names} ${unit}`)
        ? 'project'
        : 'project-model',
  };
}

/** A delay that is absurd says nothing, of a day neither. */
function isLong({ ms = 0, distrusted }: Evidence['delay']): boolean {
  return ms > LONGEST_MINUTE_DELAY_MS && !distrusted;
}

function isQuota(evidence: Evidence): boolean {
  if (evidence.httpStatus === 429 || evidence.reasons.includes('RATE_LIMIT_EXCEEDED')) return true;
  // The reason of a closed live session is all that there is.
  return (
    evidence.httpStatus < 400 &&
    /^(?:you (?:have )?exceeded your (?:current )?quota|quota exceeded|resource(?: has been |_| )exhausted|rate limit exceeded)/.test(
      evidence.lead,
    )
  );
}

/**
 * Proto3 JSON leaves out a 0, so a limit of 0 shows as violations without a value. One alone, or one without dimensions, may be
 * an older form that never had a value. Fields of a report may lack the values because its client does not fill them, so there
 * one that is filled must show that it does: a spent day taken for a limit of 0 would rest for longer than it must.
 */
function isZero({ violations, fieldsOnly, metadata, message }: Evidence): boolean {
  if (limitValue(metadata.quota_limit_value) === 0 || ZERO_IN_MESSAGE.test(message)) return true;
  if (violations.some((violation) => violation.value === 0)) return true;
  if (fieldsOnly && violations.every((violation) => violation.value === undefined)) return false;
  return violations.filter((violation) => violation.hasDimensions && violation.value === undefined).length >= 2;
}
