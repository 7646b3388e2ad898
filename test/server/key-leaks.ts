import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { CustomError } from '../fake-gemini/index.ts';

/** Within every key and token here, so that a leak shows however the rest of it is escaped or cut. */
const MARK = 'SECRETMIDDLE';

/** The two forms of Gemini's keys, shorter than real ones; and two that no pattern knows: one that must be escaped, one like a name. */
export const API_KEYS = {
  standard: `AIzaSy-${MARK}-01-tail`,
  auth: `AQ.ab_${MARK}-02.tail`,
  escaped: `new"${MARK}/03%\\+=&'tail`,
  name: `newform-${MARK}.04-tail`,
} as const;

/** Of others: secrets by the words around them. */
const FOREIGN = [
  `https://generativelanguage.googleapis.com/v1/models?alt=sse&key=${MARK}-a&x=1`,
  `wss://generativelanguage.googleapis.com/ws?access_token=${MARK}-b`,
  `%3Fkey%3D${MARK}-c`,
  `Consumer 'api_key:${MARK}-d' has been suspended.`,
  `auth_tokens/${MARK}-e`,
  `Headers.append: "${MARK} f" is an invalid header value.`,
  `{"x-goog-api-key":"${MARK}-g"}`,
  `Authorization: Bearer ${MARK}-of-someone-h`,
].join(' ');

/** A key as it may stand in what Gemini, a proxy or a runtime says. */
export function wordsWith(apiKey: string): string {
  const inJson = JSON.stringify(apiKey);
  return [
    `API key ${apiKey} not valid.`,
    `Consumer 'api_key:${apiKey}' has been suspended.`,
    `https://host/v1/models?alt=sse&key=${encodeURIComponent(apiKey)}&x=1`,
    encodeURIComponent(apiKey).replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase()),
    `Headers.append: "${apiKey}" is an invalid header value.`,
    `{"x-goog-api-key":${inJson}}`,
    FOREIGN,
  ].join(' ');
}

/** The ways in which a failure can hold a key, with each kind of judgement that they lead to. */
export function errorsWith(apiKey: string): CustomError[] {
  const words = wordsWith(apiKey);
  const details = [
    {
      '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
      reason: 'CONSUMER_SUSPENDED',
      domain: words,
      metadata: {
        containerInfo: `api_key:${apiKey}`,
        consumer: `api_key:${apiKey}`,
        service: apiKey,
        [apiKey]: apiKey,
      },
    },
    { '@type': 'type.googleapis.com/google.rpc.DebugInfo', detail: words, stackEntries: [words] },
    { '@type': 'type.googleapis.com/google.rpc.LocalizedMessage', locale: apiKey, message: words },
  ];
  const quota = {
    '@type': 'type.googleapis.com/google.rpc.QuotaFailure',
    violations: [
      {
        quotaMetric: `generativelanguage.googleapis.com/${apiKey}_requests_per_minute`,
        quotaId: `GenerateRequestsPerMinute-${apiKey}`,
        quotaDimensions: { model: apiKey, location: apiKey },
        quotaValue: '9000',
      },
    ],
  };
  const error = (code: number, status: string, message: string, ...more: unknown[]): CustomError => ({
    status: code,
    body: { error: { code, message, status, ...(more.length > 0 ? { details: more } : {}) } },
  });
  const nested = JSON.stringify(error(429, 'RESOURCE_EXHAUSTED', words, quota).body);
  return [
    error(400, 'INVALID_ARGUMENT', `API key not valid. ${words}`, { ...details[0], reason: 'API_KEY_INVALID' }),
    error(403, 'PERMISSION_DENIED', `Permission denied: Consumer 'api_key:${apiKey}' has been suspended.`, ...details),
    error(403, apiKey, words, { ...details[0], reason: apiKey }),
    error(429, 'RESOURCE_EXHAUSTED', `Quota exceeded. ${words}`, quota, details[1]),
    error(429, 'RESOURCE_EXHAUSTED', nested),
    error(400, 'INVALID_ARGUMENT', words),
    error(404, 'NOT_FOUND', `models/${apiKey} is not found for API version v1`),
    error(500, 'INTERNAL', words, ...details),
    { status: 502, body: `<html><title>502 ${words}</title><body>${words}</body></html>` },
    { status: 503, body: [{ error: { code: 503, message: words, status: 'UNAVAILABLE', details } }] },
  ];
}

/** What left the server, by where. */
export class Outputs {
  readonly #texts: [where: string, text: string][] = [];

  note(where: string, value: unknown): void {
    const whole = { depth: Number.POSITIVE_INFINITY, maxArrayLength: null, maxStringLength: null } as const;
    this.#texts.push([where, typeof value === 'string' ? value : inspect(value, whole)]);
  }

  noteFiles(dir: string): void {
    for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) this.note(`file ${entry.name}`, readFileSync(join(entry.parentPath, entry.name), 'latin1'));
    }
  }

  /** Where there is a piece of a key, and what stands around it. */
  get leaks(): string[] {
    return this.#texts.flatMap(([where, text]) => {
      const at = text.search(new RegExp(MARK, 'i'));
      return at < 0 ? [] : [`${where}: ${text.slice(Math.max(0, at - 60), at + 40)}`];
    });
  }

  /** Of everything noted under that name, so that a test sees that there was something to look at. */
  textOf(where: string): string {
    return this.#texts
      .filter(([name]) => name === where)
      .map(([, text]) => text)
      .join('\n');
  }
}
