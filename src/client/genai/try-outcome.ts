import { ApiError } from '@google/genai';
import { describeThrown, type ProviderErrorInit } from '../../gemini/describe-thrown.ts';
import { redact } from '../../gemini/redact.ts';
import type { AnswerEnd } from './answer.ts';

export interface TryContext {
  apiKey: string;
  /** HTTP status of the answer; 0: none. */
  status: number;
  /** Whether the caller ended it, and not a time limit. */
  cancelled: boolean;
}

/** What to report of a try that failed. */
export function errorOf(end: Exclude<AnswerEnd, { by: 'whole' | 'left' }>, context: TryContext): ProviderErrorInit {
  const { apiKey, status, cancelled } = context;
  switch (end.by) {
    case 'error': {
      const httpStatus = status >= 400 ? status : statusIn(end.body);
      const error = describeThrown({ name: 'ApiError', status: httpStatus, body: end.body }, { apiKey });
      return { ...error, httpStatus };
    }
    case 'nonsense':
      return { message: 'SyntaxError: the response body is not JSON' };
    case 'silence':
      return describeThrown(end.error, { apiKey, cancelled }) ?? { message: redact(String(end.error), apiKey) };
  }
}

/** The error that the SDK throws for an error within a stream, where it notices it; the key masked. */
export function streamError(body: string, apiKey: string): ApiError {
  const text = redact(body, apiKey);
  const error = errorIn(text);
  const name = typeof error?.status === 'string' ? error.status : error?.code;
  return new ApiError({ message: `got status: ${name}. ${text}`, status: statusIn(text) });
}

/** Errors that have a word as code. The others of interactions end no stream. */
const STATUS_OF_CODE: Readonly<Record<string, number>> = {
  invalid_request: 400,
  failed_precondition: 400,
  parameter_unknown: 400,
  authentication: 401,
  payment_required: 402,
  permission_denied: 403,
  not_found: 404,
  model_not_found: 404,
  out_of_range: 416,
  rate_limit_exceeded: 429,
  quota_exceeded: 429,
  cancelled: 499,
  service_unavailable: 503,
  overloaded: 503,
  deadline_exceeded: 504,
};

/** The HTTP status that an error within a stream stands for; 500 where it does not say. */
function statusIn(body: string): number {
  const code = errorIn(body)?.code;
  if (typeof code === 'number' && code >= 400 && code < 600) return code;
  return (typeof code === 'string' && STATUS_OF_CODE[code.toLowerCase()]) || 500;
}

function errorIn(body: string): { code?: unknown; status?: unknown } | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    const outer = (Array.isArray(parsed) ? parsed[0] : parsed) as { error?: unknown } | null | undefined;
    return typeof outer?.error === 'object' && outer.error !== null ? outer.error : undefined;
  } catch {
    return undefined;
  }
}
