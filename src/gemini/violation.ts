import type { ProviderError } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { JsonObject } from './json.ts';

/** One limit that was broken, by google.rpc.QuotaFailure. */
export interface Violation {
  metric: string;
  quotaId: string;
  description: string;
  /** Of the dimensions, as it was said; "": not said. */
  model: string;
  hasDimensions: boolean;
  /** Undefined when not stated. */
  value: number | undefined;
}

/** Whichever of the two JSON forms of its names it has. */
export function bodyViolation(violation: JsonObject): Violation {
  const dimensions = violation.quotaDimensions ?? violation.quota_dimensions;
  return {
    metric: text(violation.quotaMetric ?? violation.quota_metric),
    quotaId: text(violation.quotaId ?? violation.quota_id),
    description: text(violation.description),
    model: text((dimensions as JsonObject | null | undefined)?.model),
    hasDimensions: dimensions !== undefined && dimensions !== null,
    value: limitValue(violation.quotaValue ?? violation.quota_value),
  };
}

/** An int64 of 0 cannot be told from one that is not there. */
export function fieldViolation(violation: ProviderError['quotaViolations'][number]): Violation {
  const { model } = violation.quotaDimensions;
  return {
    metric: violation.quotaMetric,
    quotaId: violation.quotaId,
    description: '',
    model: model ?? '',
    hasDimensions: Object.keys(violation.quotaDimensions).length > 0,
    value: violation.quotaValue === 0n ? undefined : Number(violation.quotaValue),
  };
}

/** Proto3 JSON has an int64 as text. Anything but a number is none: converting an object may even throw. */
export function limitValue(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d{1,20}$/.test(value) ? Number(value) : undefined;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
