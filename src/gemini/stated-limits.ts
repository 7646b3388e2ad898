import type { Evidence } from './evidence.ts';
import type { LimitName, StatedLimit } from './finding.ts';
import { normalizeModel } from './model-name.ts';
import { redact } from './redact.ts';
import { limitValue } from './violation.ts';

const LARGEST_VALUE = 1e12;
/** An error names one to four limits; a forged one may name thousands. */
const MOST_LIMITS = 16;
const LONGEST_QUOTA_ID = 128;

const WORST_FIRST: readonly LimitName[] = [
  'tokensPerDay',
  'requestsPerDay',
  'inputTokensPerMinute',
  'requestsPerMinute',
];

const PER_DAY = /per_?day/i;
const PER_MINUTE = /per_?minute/i;
/** Limits of these are none on the requests or input tokens of a call: they have their own units, or count a part of the calls. */
const OTHER_UNITS =
  /image|video|audio|second|character|byte|output|batch|enqueue|concurren|session|ground|search|upload|storage|tuning/i;

/** The limits that an exhausted quota states with a value that makes sense, worst first, each once. */
export function statedLimits({ violations, metadata, message }: Evidence): readonly StatedLimit[] {
  const limits = new Map<string, StatedLimit>();
  const add = (named: NamedQuota, value: number | undefined): void => {
    if (value === undefined || !(value >= 1 && value <= LARGEST_VALUE)) return;
    const name = limitName(named);
    if (name === undefined) return;
    const quotaId = redact(named.quotaId).slice(0, LONGEST_QUOTA_ID);
    const model = redact(normalizeModel(named.model) ?? '');
    const key = `${name} ${quotaId} ${model}`;
    const known = limits.get(key);
    if (known === undefined ? limits.size < MOST_LIMITS : value < known.value) {
      limits.set(key, { name, value, quotaId, model });
    }
  };
  const inMessage = message.includes(', limit: ') ? metricLines(message) : [];
  const values = valuesByMetric(inMessage);
  for (const violation of violations) add(violation, violation.value ?? values.get(violation.metric));
  if (limits.size === 0) {
    const { quota_limit, quota_metric, quota_unit, model, quota_limit_value } = metadata;
    add(
      { quotaId: text(quota_limit), metric: text(quota_metric), unit: text(quota_unit), model: text(model) },
      limitValue(quota_limit_value),
    );
  }
  if (limits.size === 0) for (const line of inMessage) add(line, line.value);
  return [...limits.values()].sort((a, b) => WORST_FIRST.indexOf(a.name) - WORST_FIRST.indexOf(b.name));
}

interface NamedQuota {
  quotaId: string;
  metric: string;
  /** Such as "1/min/{project}/{region}". */
  unit?: string;
  model: string;
}

/** By the quota's id, and what that leaves open by its metric and unit; undefined: of another unit or period. */
function limitName({ quotaId, metric, unit = '' }: NamedQuota): LimitName | undefined {
  const names = [quotaId, metric];
  if (names.some((name) => OTHER_UNITS.test(name))) return undefined;
  const period = names.find((name) => PER_DAY.test(name) || PER_MINUTE.test(name)) ?? '';
  const day = PER_DAY.test(period) || (period === '' && /^1\/d\b/.test(unit));
  if (!day && !PER_MINUTE.test(period) && !/^1\/min\b/.test(unit)) return undefined;
  const counted = names.find((name) => /token|request/i.test(name));
  if (counted === undefined) return undefined;
  if (/token/i.test(counted)) return day ? 'tokensPerDay' : 'inputTokensPerMinute';
  return day ? 'requestsPerDay' : 'requestsPerMinute';
}

interface MetricLine extends NamedQuota {
  value: number;
}

/** "* Quota exceeded for metric: generativelanguage.googleapis.com/..., limit: 20, model: gemini-2.5-flash" */
const METRIC_LINE =
  /^\* Quota exceeded for metric: ([^\s,]{1,200}), limit: (\d{1,15})(?=[,\n]|$)(?:, model: ([A-Za-z0-9._/-]{1,140}))?/gm;

function metricLines(message: string): MetricLine[] {
  return [...message.matchAll(METRIC_LINE)].map(([, metric, value, model]) => ({
    quotaId: '',
    metric: metric!,
    value: Number(value),
    model: model ?? '',
  }));
}

/** For violations without a value: what the message says of their metric; NaN where its lines contradict each other. */
function valuesByMetric(lines: readonly MetricLine[]): ReadonlyMap<string, number> {
  const values = new Map<string, number>();
  for (const { metric, value } of lines) {
    const known = values.get(metric);
    values.set(metric, known === undefined || known === value ? value : Number.NaN);
  }
  return values;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
