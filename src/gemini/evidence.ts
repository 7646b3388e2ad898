import type { ProviderError, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { isObject, type JsonObject } from './json.ts';
import { LOOKED_AT, type OpenedBody, openBody } from './open-body.ts';
import { delayInText, delayOf, retryInfoDelay } from './retry-delay.ts';
import { httpStatusOfName, httpStatusOfNumber, isRpcCode } from './rpc-status.ts';

/** One limit that was broken, by google.rpc.QuotaFailure. */
export interface Violation {
  /** Metric, id and description: the words that tell which limit. */
  names: string;
  hasDimensions: boolean;
  /** Undefined when not stated. */
  value: number | undefined;
}

/** All that is known of a failure, wherever it was said. Empty strings, 0 and empty arrays: not said. */
export interface Evidence {
  httpStatus: number;
  /** google.rpc.Code name. */
  status: string;
  /** Error code of the Interactions API, such as "quota_exceeded". */
  code: string;
  /** google.rpc.ErrorInfo reasons, most often one. */
  reasons: readonly string[];
  /** google.rpc.ErrorInfo metadata. */
  metadata: JsonObject;
  message: string;
  /**
   * The beginning of the message in lower case, up to where words of the request may begin: a quotation mark, a colon, a brace, a
   * new line.
   */
  lead: string;
  violations: readonly Violation[];
  retryDelayMs: number | undefined;
  /** What came was an answer, and this is how it ended. */
  answer: 'blocked' | 'cut' | 'finished' | undefined;
  transportFailure: TransportFailure;
  closeCode: number;
}

/** Reads the body first; a field of the message counts where the body says nothing of its kind. */
export function gatherEvidence(report: ProviderError): Evidence {
  const opened = openBody(report.body);
  // Some clients put the body where the message belongs.
  const isEmpty = opened.errors.length === 0 && opened.answer === undefined && opened.text === '';
  if (isEmpty && report.message !== '') return evidenceOf(openBody(report.message), report);
  return evidenceOf(opened, report);
}

function evidenceOf(opened: OpenedBody, report: ProviderError): Evidence {
  const errors = opened.errors.toReversed();
  const details = objects(errors.map((error) => error.details).find(Array.isArray) ?? []);
  const reasons = details.map((detail) => text(detail.reason)).filter((reason) => reason !== '');
  const violations = details.flatMap((detail) => objects(detail.violations).map(bodyViolation));
  const message = opened.text || report.message.slice(0, LOOKED_AT);
  const code = errors.map((error) => text(error.code)).find((found) => found !== '') ?? '';
  const status = errors.map((error) => text(error.status)).find(isRpcCode) ?? report.status;
  return {
    httpStatus: httpStatusOf(opened, errors, code, status, report),
    status,
    code,
    reasons: reasons.length === 0 && report.reason !== '' ? [report.reason] : reasons,
    metadata: details.map((detail) => detail.metadata).find(isObject) ?? {},
    message,
    lead: leadOf(message),
    violations: violations.length === 0 ? report.quotaViolations.map(fieldViolation) : violations,
    retryDelayMs: delayInText(message) ?? firstDelay(details) ?? fieldDelay(report),
    answer: opened.answer === undefined ? undefined : howItEnded(opened.answer),
    transportFailure: report.transportFailure,
    closeCode: opened.closeCode || report.closeCode,
  };
}

function httpStatusOf(
  opened: OpenedBody,
  errors: readonly JsonObject[],
  code: string,
  status: string,
  report: ProviderError,
): number {
  for (const error of errors) {
    // A serialised ApiError has the number under "status".
    for (const value of [error.code, error.status, error.statusCode]) {
      const found = typeof value === 'number' ? httpStatusOfNumber(value) : 0;
      if (found >= 400) return found;
    }
  }
  if (report.httpStatus >= 400 && report.httpStatus < 600) return report.httpStatus;
  const named = httpStatusOfName(code) || httpStatusOfNumber(Number(code)) || httpStatusOfName(status);
  return named || opened.httpStatus || (report.httpStatus === 200 ? 200 : 0);
}

function bodyViolation(violation: JsonObject): Violation {
  const value = violation.quotaValue ?? violation.quota_value;
  const names = [
    violation.quotaMetric ?? violation.quota_metric,
    violation.quotaId ?? violation.quota_id,
    violation.description,
  ];
  const dimensions = violation.quotaDimensions ?? violation.quota_dimensions;
  return {
    names: names.map(text).join(' '),
    hasDimensions: dimensions !== undefined && dimensions !== null,
    value: limitValue(value),
  };
}

/** Proto3 JSON has an int64 as text. Anything but a number is none: converting an object may even throw. */
function limitValue(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && /^-?\d{1,20}$/.test(value) ? Number(value) : undefined;
}

/** An int64 of 0 cannot be told from one that is not there. */
function fieldViolation(violation: ProviderError['quotaViolations'][number]): Violation {
  return {
    names: `${violation.quotaMetric} ${violation.quotaId}`,
    hasDimensions: Object.keys(violation.quotaDimensions).length > 0,
    value: violation.quotaValue === 0n ? undefined : Number(violation.quotaValue),
  };
}

function firstDelay(details: readonly JsonObject[]): number | undefined {
  for (const detail of details) {
    const delay = retryInfoDelay(detail);
    if (delay !== undefined) return delay;
  }
  return undefined;
}

function fieldDelay(report: ProviderError): number | undefined {
  return report.retryDelay === undefined ? undefined : delayOf(report.retryDelay);
}

function howItEnded(answer: JsonObject): Evidence['answer'] {
  const feedback = answer.promptFeedback;
  if (isObject(feedback) && text(feedback.blockReason) !== '') return 'blocked';
  const reasons = objects(answer.candidates).map((candidate) => text(candidate.finishReason));
  const stated = reasons.filter((reason) => reason !== '' && reason !== 'FINISH_REASON_UNSPECIFIED');
  if (stated.length === 0) return 'cut';
  return stated.every((reason) => reason === 'STOP') ? 'finished' : 'blocked';
}

const LONGEST_LEAD = 200;

function leadOf(message: string): string {
  const start = message.slice(0, LONGEST_LEAD);
  const end = start.search(/["'`{<\n]|: /);
  return (end === -1 ? start : start.slice(0, end)).toLowerCase();
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function objects(value: unknown): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}
