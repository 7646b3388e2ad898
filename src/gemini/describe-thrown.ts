import type { MessageInitShape } from '@bufbuild/protobuf';
import { type ProviderErrorSchema, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { excerpt } from './excerpt.ts';
import { isObject, type JsonObject } from './json.ts';
import { openBody } from './open-body.ts';

export type ProviderErrorInit = MessageInitShape<typeof ProviderErrorSchema>;

/** What the caller of the function that threw knows besides. */
export interface ThrownContext {
  /** The key that was leased: masked wherever it stands. */
  apiKey?: string | undefined;
  /**
   * Whether an abort was the caller's wish (true) or a time limit (false): the SDK's errors do not tell. Not given: a limit,
   * unless the error's name says that the user aborted.
   */
  cancelled?: boolean | undefined;
}

export const MAX_BODY_BYTES = 16 * 1024;
export const MAX_MESSAGE_BYTES = 1024;

/** Errors around errors that are looked through. */
const DEEPEST_CAUSE = 6;

/**
 * What to report of an error that a function threw while it used @google/genai; undefined when it is clearly none of Gemini's,
 * but, say, a mistake in that function. Judged by shape alone: several copies of the SDK may be loaded, and some of its classes
 * are not exported. Never throws, whatever was thrown. All texts are redacted and within the limits of ProviderError.
 */
export function describeThrown(thrown: unknown, context: ThrownContext = {}): ProviderErrorInit | undefined {
  const chain: unknown[] = [];
  for (let error = thrown; error !== undefined && error !== null && chain.length < DEEPEST_CAUSE; ) {
    chain.push(error);
    error = read(error, 'cause');
  }
  const readers = [answered, closed, aborted, disconnected, brokenAnswer];
  for (const error of chain) {
    for (const reader of readers) {
      const seen = reader(error, context);
      if (seen !== undefined) return described(seen, context.apiKey);
    }
  }
  const connection = chain.find((error) => CONNECTION_ERRORS.has(textOf(error, 'name')));
  if (connection === undefined) return undefined;
  return described({ message: wordsOf(connection), transportFailure: TransportFailure.RESET }, context.apiKey);
}

interface Seen {
  body?: string;
  message?: string;
  httpStatus?: number;
  transportFailure?: TransportFailure;
  closeCode?: number;
}

function described(seen: Seen, apiKey: string | undefined): ProviderErrorInit {
  const init: ProviderErrorInit = {
    body: excerpt(seen.body ?? '', MAX_BODY_BYTES, apiKey),
    message: excerpt(seen.message ?? openBody(seen.body ?? '').text, MAX_MESSAGE_BYTES, apiKey),
  };
  if (seen.httpStatus !== undefined) init.httpStatus = seen.httpStatus;
  if (seen.transportFailure !== undefined) init.transportFailure = seen.transportFailure;
  if (seen.closeCode !== undefined) init.closeCode = seen.closeCode;
  return init;
}

/** Names of the SDK's errors for an HTTP answer: ApiError, and those of its interactions. */
const ANSWER_ERRORS = new Set(['ApiError', 'APIError', 'GoogleGenAiError']);

/** An HTTP answer with an error: status and body, or a message that holds the body. */
function answered(error: unknown): Seen | undefined {
  if (typeof error === 'string') return saysError(error) ? { body: error } : undefined;
  const raw = read(error, 'error');
  const body = textOf(error, 'body') || textOf(error, 'responseBody');
  const message = textOf(error, 'message');
  const status = statusOf(read(error, 'status')) ?? statusOf(read(error, 'statusCode'));
  const withStatus = status === undefined ? {} : { httpStatus: status };
  if (status !== undefined && body !== '') return { body, ...withStatus };
  if (saysError(message)) return { body: message, ...withStatus };
  const ofInteractions = interactionsAnswer(error);
  if (ofInteractions !== undefined) return ofInteractions;
  if (status !== undefined && ANSWER_ERRORS.has(textOf(error, 'name'))) return { body: message, ...withStatus };
  // A body that was parsed and thrown as it was.
  const json = isObject(raw) ? toJson({ error: raw }) : undefined;
  return json !== undefined && saysError(json) ? { body: json, ...withStatus } : undefined;
}

/**
 * What an error of the SDK's interactions says without a body, or of an answer that is neither an error nor JSON. They are known
 * by fields that the similar errors of other SDKs do not have, as the names are the same.
 */
function interactionsAnswer(error: unknown): Seen | undefined {
  const status = read(error, 'statusCode');
  if (typeof status !== 'number' || status < 100 || typeof read(error, 'contentType') !== 'string') return undefined;
  if (typeof read(error, 'body') !== 'string') return undefined;
  const httpStatus = statusOf(status);
  if (httpStatus !== undefined) return { body: '', httpStatus };
  return { message: `Unexpected Status or Content-Type: ${status} ${textOf(error, 'contentType')}` };
}

/** Whether a text holds an error as Gemini writes it. A validation library's list of issues is JSON with messages, too. */
function saysError(text: string): boolean {
  const { named, errors } = openBody(text);
  return named && errors.some((error) => error.code !== undefined || error.status !== undefined);
}

function statusOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 400 && value < 600 ? value : undefined;
}

const LIVE_CLOSED = /^Live connection closed before setup completed \(code (\d{1,5})\): ([\s\S]*)/;
const LIVE_FAILED =
  /^(?:Live connection failed before setup completed: |(?=Unexpected server response: ))(?:Unexpected server response: (\d{3}))?/;

/** A live session that ended: the SDK's error, or the close event itself. */
function closed(error: unknown): Seen | undefined {
  const message = textOf(error, 'message');
  const atSetup = LIVE_CLOSED.exec(message);
  if (atSetup !== null) return { closeCode: Number(atSetup[1]), message: atSetup[2]! };
  const refused = LIVE_FAILED.exec(message);
  if (refused?.[1] !== undefined) return { httpStatus: Number(refused[1]), message };
  if (refused !== null) return { transportFailure: TransportFailure.CONNECT, message };
  const code = read(error, 'code');
  const reason = read(error, 'reason');
  if (typeof code !== 'number' || code < 1000 || code > 4999 || typeof reason !== 'string') return undefined;
  return { closeCode: code, message: reason };
}

const TIMEOUTS = new Set([
  'TimeoutError',
  'APIConnectionTimeoutError',
  'RequestTimeoutError',
  'ContinuationTimeoutError',
]);
const USER_ABORTS = new Set(['APIUserAbortError', 'RequestAbortedError']);

function aborted(error: unknown, context: ThrownContext): Seen | undefined {
  const name = textOf(error, 'name');
  const byUser = USER_ABORTS.has(name);
  if (name !== 'AbortError' && !byUser && !TIMEOUTS.has(name)) return undefined;
  const cancelled = context.cancelled ?? byUser;
  return {
    message: wordsOf(error),
    transportFailure: cancelled ? TransportFailure.CANCELLED : TransportFailure.TIMEOUT,
  };
}

/** Around a cause that says more, most often. */
const CONNECTION_ERRORS = new Set(['APIConnectionError', 'ConnectionError']);

const NOT_CONNECTED =
  /^(?:ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|CERT_.*|ERR_TLS_.*|.*SELF_SIGNED.*|UNABLE_TO_.*)$/;
const TOO_SLOW = /^UND_ERR_(?:HEADERS|BODY)_TIMEOUT$/;

/** What `fetch` throws when no answer came, or only a part of one. */
function disconnected(error: unknown): Seen | undefined {
  const message = textOf(error, 'message');
  if (message === 'Incomplete JSON segment at the end') {
    return { message: wordsOf(error), transportFailure: TransportFailure.CUT };
  }
  if (textOf(error, 'code') === 'ERR_STREAM_PREMATURE_CLOSE') {
    return { message: wordsOf(error), transportFailure: TransportFailure.CUT };
  }
  if (message === 'WebSocket is not connected') {
    return { message: wordsOf(error), transportFailure: TransportFailure.RESET };
  }
  if (textOf(error, 'name') !== 'TypeError' || (message !== 'fetch failed' && message !== 'terminated'))
    return undefined;
  const cause = read(error, 'cause');
  const code = textOf(cause, 'code');
  const words = [wordsOf(error), code, textOf(cause, 'message')].filter((part) => part !== '').join(': ');
  if (TOO_SLOW.test(code)) return { message: words, transportFailure: TransportFailure.TIMEOUT };
  if (message === 'terminated') return { message: words, transportFailure: TransportFailure.CUT };
  const failure = NOT_CONNECTED.test(code) ? TransportFailure.CONNECT : TransportFailure.RESET;
  return { message: words, transportFailure: failure };
}

/** What the SDK says where an upload's answers are not as they should be. */
const UPLOAD_BROKEN =
  /^(?:Failed to upload file: Upload status is not finalized|All content has been uploaded, but the upload status is not finalized|Failed to get upload url\b|Failed to get upload URL from upload handshake|Server did not return an HttpResponse|Unexpected response type from download)/;
const BROKEN_CHUNK = 'exception parsing stream chunk ';
/** Who called JSON.parse: the runtime's fetch, or the SDK, but not the function itself, which may parse what a model wrote. */
const PARSED_BY_OTHERS =
  /^[^\n]*\n(?:\s{1,8}at JSON\.parse[^\n]*\n)?\s{1,8}at [^\n]*(?:node:internal\/deps\/undici|@google\/genai)/;

/** An answer that claims to be JSON and is not. Its HTTP status is lost. */
function brokenAnswer(error: unknown): Seen | undefined {
  const message = textOf(error, 'message');
  // What follows is the chunk: a model's words, of no use here.
  if (message.startsWith(BROKEN_CHUNK)) return { message: 'SyntaxError: a chunk of the stream is not JSON' };
  if (message === 'Response body is empty') return { message: 'SyntaxError: the response body is empty' };
  if (UPLOAD_BROKEN.test(message)) return { message };
  if (textOf(error, 'name') !== 'SyntaxError') return undefined;
  const stack = textOf(error, 'stack');
  // The stack repeats the message, which quotes what was parsed and may have several lines.
  const frames = stack.startsWith(`SyntaxError: ${message}`) ? stack.slice(`SyntaxError: ${message}`.length) : stack;
  return PARSED_BY_OTHERS.test(frames) ? { message: `SyntaxError: ${message}` } : undefined;
}

function wordsOf(error: unknown): string {
  return `${textOf(error, 'name')}: ${textOf(error, 'message')}`;
}

function textOf(error: unknown, property: string): string {
  const value = read(error, property);
  return typeof value === 'string' ? value : '';
}

/** A property, or undefined: a getter or a proxy may throw. */
function read(value: unknown, property: string): unknown {
  try {
    return (value as JsonObject | null | undefined)?.[property];
  } catch {
    return undefined;
  }
}

function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
