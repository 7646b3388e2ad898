import type { ProviderError, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { isObject, type JsonObject } from './json.ts';
import { LOOKED_AT, type OpenedBody, openBody } from './open-body.ts';
import { delayInText, delayOf, firstPlausible, retryInfoDelay, type StatedDelay } from './retry-delay.ts';
import { httpStatusOfName, httpStatusOfNumber, isRpcCode } from './rpc-status.ts';
import { bodyViolation, fieldViolation, type Violation } from './violation.ts';

/** More than Gemini ever names, which is one to four. */
const MOST_VIOLATIONS = 64;

/** All that is known of a failure, wherever it was said. Empty strings, 0 and empty arrays: not said. */
export interface Evidence {
  httpStatus: number;
  /** google.rpc.Code name. */
  status: string;
  /** Error code of the Interactions API, such as "quota_exceeded". */
  code: string;
  /** google.rpc.ErrorInfo reasons, most often one. */
  reasons: readonly string[];
  /** The error's details, whatever they are. */
  details: readonly JsonObject[];
  /** google.rpc.ErrorInfo metadata. */
  metadata: JsonObject;
  message: string;
  /**
   * The beginning of the message in lower case, up to where words of the request may begin: a quotation mark, a colon, a brace, a
   * new line.
   */
  lead: string;
  violations: readonly Violation[];
  /** The violations are fields of the report: an int64 of 0 in them may be one that the client did not fill. */
  fieldsOnly: boolean;
  /** Who was called for, by ErrorInfo and the report, such as "projects/100000000009". */
  consumers: readonly string[];
  delay: StatedDelay;
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
  const message = (opened.text || report.message.slice(0, LOOKED_AT)).trim();
  const code = errors.map((error) => text(error.code)).find((found) => found !== '') ?? '';
  const status = errors.map((error) => text(error.status)).find(isRpcCode) ?? report.status;
  const httpStatus = httpStatusOf(opened, errors, code, status, report);
  const fieldsOnly = violations.length === 0;
  return {
    httpStatus,
    status,
    code,
    reasons: reasons.length === 0 && report.reason !== '' ? [report.reason] : reasons,
    details,
    metadata: details.map((detail) => detail.metadata).find(isObject) ?? {},
    message,
    lead: leadOf(message),
    violations: fieldsOnly ? report.quotaViolations.slice(0, MOST_VIOLATIONS).map(fieldViolation) : violations,
    fieldsOnly,
    consumers: consumersOf(details, report),
    delay: firstPlausible([
      // A bad request may say so in words that it was sent.
      httpStatus === 400 ? undefined : delayInText(message),
      ...details.map(retryInfoDelay),
      fieldDelay(report),
    ]),
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

function fieldDelay(report: ProviderError): number | undefined {
  return report.retryDelay === undefined ? undefined : delayOf(report.retryDelay);
}

function consumersOf(details: readonly JsonObject[], report: ProviderError): string[] {
  const inDetails = details.map(({ metadata }) => (isObject(metadata) ? text(metadata.consumer) : ''));
  return [...inDetails, report.consumerProject].filter((consumer) => consumer !== '');
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
