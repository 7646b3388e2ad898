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
  const add = (name: LimitName | undefined, value: number | undefined, quotaId: string, model: string): void => {
    if (name === undefined || value === undefined || !(value >= 1 && value <= LARGEST_VALUE)) return;
    const key = `${name} ${quotaId} ${model}`;
    const known = limits.get(key);
    if (known === undefined ? limits.size < MOST_LIMITS : value < known.value) {
      limits.set(key, { name, value, quotaId, model });
    }
  };
  const inMessage = message.includes(', limit: ') ? metricLines(message) : [];
  const values = valuesByMetric(inMessage);
  for (const { metric, quotaId, model, value } of violations) {
    add(limitName(quotaId, metric, ''), value ?? values.get(metric), idOf(quotaId), modelOf(model));
  }
  if (limits.size === 0) {
    const [limit, metric, unit] = [metadata.quota_limit, metadata.quota_metric, metadata.quota_unit].map(text);
    add(
      limitName(limit!, metric!, unit!),
      limitValue(metadata.quota_limit_value),
      idOf(limit!),
      modelOf(text(metadata.model)),
    );
  }
  if (limits.size === 0) {
    for (const line of inMessage) add(limitName('', line.metric, ''), line.value, '', modelOf(line.model));
  }
  return [...limits.values()].sort((a, b) => WORST_FIRST.indexOf(a.name) - WORST_FIRST.indexOf(b.name));
}

/** By the quota's id, and what that leaves open by its metric and unit; undefined: of another unit or period. */
function limitName(quotaId: string, metric: string, unit: string): LimitName | undefined {
  if (OTHER_UNITS.test(quotaId) || OTHER_UNITS.test(metric)) return undefined;
  const period = [quotaId, metric].find((name) => PER_DAY.test(name) || PER_MINUTE.test(name)) ?? '';
  const day = PER_DAY.test(period) || (period === '' && /^1\/d\b/.test(unit));
  if (!day && !PER_MINUTE.test(period) && !/^1\/min\b/.test(unit)) return undefined;
  const counted = [quotaId, metric].find((name) => /token|request/i.test(name));
  if (counted === undefined) return undefined;
  if (/token/i.test(counted)) return day ? 'tokensPerDay' : 'inputTokensPerMinute';
  return day ? 'requestsPerDay' : 'requestsPerMinute';
}

interface MetricLine {
  metric: string;
  value: number;
  model: string;
}

/** "* Quota exceeded for metric: generativelanguage.googleapis.com/..., limit: 20, model: gemini-2.5-flash" */
const METRIC_LINE =
  /^\* Quota exceeded for metric: ([^\s,]{1,200}), limit: (\d{1,15})(?=[,\n]|$)(?:, model: ([A-Za-z0-9._/-]{1,140}))?/gm;

function metricLines(message: string): MetricLine[] {
  return [...message.matchAll(METRIC_LINE)].map(([, metric, value, model]) => ({
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

function idOf(quotaId: string): string {
  return redact(quotaId).slice(0, LONGEST_QUOTA_ID);
}

function modelOf(model: string): string {
  return redact(normalizeModel(model) ?? '');
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
