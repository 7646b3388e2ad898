import { judge } from './classify.ts';
import type { Evidence } from './evidence.ts';
import { excerpt } from './excerpt.ts';
import type { Finding } from './finding.ts';
import { pastedError } from './pasted-error.ts';

/** What was read of an error, with every key masked. Empty strings, 0 and empty arrays: not said. */
export interface ReadError {
  httpStatus: number;
  /** WebSocket close code of a live session. */
  closeCode: number;
  /** google.rpc.Code name. */
  status: string;
  /** Error code of the Interactions API. */
  code: string;
  reasons: readonly string[];
  /** At most 1 KiB. */
  message: string;
  quotaIds: readonly string[];
  /** Undefined: none, or one that makes no sense. */
  retryDelayMs: number | undefined;
}

export interface Explanation {
  finding: Finding;
  error: ReadError;
  /** One sentence: the rule that decided, what it goes by, and what was seen of it. */
  why: string;
}

const MAX_MESSAGE_BYTES = 1024;
const MAX_WORD_BYTES = 128;
const MOST_NAMES = 8;

/**
 * How a pasted error is judged, and why. The text may be a body, an error of @google/genai or of Python with a stack trace, the
 * answer that `curl -i` shows, or lines of a log with one error in them. Never throws, and tells no key.
 */
export function explainError(text: string, httpStatus = 0): Explanation {
  const { finding, evidence, rule } = judge(pastedError(text, httpStatus));
  const error = readOf(evidence);
  const seen = seenIn(error);
  return { finding, error, why: `Rule "${rule.name}" decided: ${rule.because}${seen === '' ? '' : `; here ${seen}`}.` };
}

function readOf(evidence: Evidence): ReadError {
  return {
    httpStatus: evidence.httpStatus,
    closeCode: evidence.closeCode,
    status: word(evidence.status),
    code: word(evidence.code),
    reasons: words(evidence.reasons),
    message: excerpt(evidence.message, MAX_MESSAGE_BYTES),
    quotaIds: words([
      ...evidence.violations.map(({ quotaId, metric }) => quotaId || metric),
      ...(typeof evidence.metadata.quota_limit === 'string' ? [evidence.metadata.quota_limit] : []),
    ]),
    retryDelayMs: evidence.delay.ms,
  };
}

function seenIn({ httpStatus, closeCode, status, code, reasons, quotaIds, message }: ReadError): string {
  return [
    httpStatus === 0 ? '' : `HTTP status ${httpStatus}`,
    closeCode === 0 ? '' : `close code ${closeCode}`,
    status === '' ? '' : `status ${status}`,
    code === '' ? '' : `code "${code}"`,
    ...reasons.map((reason) => `reason ${reason}`),
    ...quotaIds.map((quotaId) => `quota ${quotaId}`),
    message === '' ? '' : `message "${firstWords(message)}"`,
  ]
    .filter((part) => part !== '')
    .join(', ');
}

/** The first line's beginning, for a sentence. */
function firstWords(message: string): string {
  const line = message.split('\n', 1)[0]!.trim();
  return line.length <= 80 ? line : `${line.slice(0, 80).trimEnd()}...`;
}

function words(texts: readonly string[]): readonly string[] {
  return [
    ...new Set(
      texts
        .filter((text) => text !== '')
        .slice(0, MOST_NAMES)
        .map(word),
    ),
  ];
}

function word(text: string): string {
  return excerpt(text, MAX_WORD_BYTES).replace(/\s/g, ' ');
}
