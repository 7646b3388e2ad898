import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { excerpt } from '../../src/gemini/excerpt.ts';
import { redact } from '../../src/gemini/redact.ts';
import { SAMPLES, textOf } from './error-samples.ts';

// Shaped like keys, shorter than real ones.
const STANDARD = 'AIzaSyFAKE000000000000000000';
const AUTH = 'AQ.FAKE-key_0000000000.000';
const ODD = 'new form: "50%"/\\key+é&=';

const PLACES: readonly ((key: string) => string)[] = [
  (key) => key,
  (key) => `Consumer 'api_key:${key}' has been suspended.`,
  (key) => `https://host/v1/models?alt=sse&key=${encodeURIComponent(key)}&x=1`,
  (key) =>
    `wss://host/ws?key=${encodeURIComponent(key)
      .toLowerCase()
      .replace(/[a-z0-9.]+/gi, (part) => part)}`,
  (key) => JSON.stringify({ error: { message: `The key ${key} is bad` } }),
  (key) => JSON.stringify({ error: { message: JSON.stringify({ error: { message: `key ${key}` } }) } }),
  (key) => `TypeError: Headers.append: "${key}" is an invalid header value.`,
  (key) => `{'x-goog-api-key': '${key}'}`,
  (key) => `before${key}after`,
  (key) => `\\n${key}\\n`,
];

describe('redact', () => {
  test.each([STANDARD, AUTH, 'AQ.test-key-000001', ODD])(
    'leaves nothing of the leased key %s, wherever it stands',
    (key) => {
      for (const place of PLACES) {
        const redacted = redact(place(key), key);
        expect(redacted).toContain('[redacted]');
        for (const form of [key, encodeURIComponent(key), JSON.stringify(key).slice(1, -1)])
          expect(redacted).not.toContain(form);
      }
    },
  );

  test.each([STANDARD, AUTH])('masks %s also when it is not the leased key', (key) => {
    for (const place of PLACES) expect(redact(place(key))).not.toMatch(/FAKE/);
  });

  test.each([
    ['https://x/v1?key=anything-else', 'https://x/v1?key=[redacted]'],
    ['https://x/v1?a=b&key=anything-else&c=d', 'https://x/v1?a=b&key=[redacted]&c=d'],
    ['"https://x/v1?a=b\\u0026key=anything-else"', '"https://x/v1?a=b\\u0026key=[redacted]"'],
    ['%3Fkey%3Danything-else', '%3Fkey%3D[redacted]'],
    ["Consumer 'api_key:anything-else' has been", "Consumer 'api_key:[redacted]' has been"],
    ['{\\"containerInfo\\":\\"api_key:anything-else\\"}', '{\\"containerInfo\\":\\"api_key:[redacted]\\"}'],
    ['auth_tokens/0123-abc_def and more', 'auth_tokens/[redacted] and more'],
    [
      'Headers.append: "old key\nwith a line" is an invalid header value.',
      'Headers.append: "[redacted]" is an invalid header value.',
    ],
    ['x-goog-api-key: anything-else', 'x-goog-api-key: [redacted]'],
    ['{"x-goog-api-key":"anything-else"}', '{"x-goog-api-key":"[redacted]"}'],
    ['X-Goog-Api-Key: anything-else', 'X-Goog-Api-Key: [redacted]'],
    ["[['X-GOOG-API-KEY', 'anything-else']]", "[['X-GOOG-API-KEY', '[redacted]']]"],
    ['https://x/v1?Key=anything-else', 'https://x/v1?Key=[redacted]'],
    ['wss://x/ws?access_token=anything-else', 'wss://x/ws?access_token=[redacted]'],
    ['API_KEY:anything-else', 'API_KEY:[redacted]'],
    ['GEMINI_API_KEY=anything-else', 'GEMINI_API_KEY=[redacted]'],
    ["{ apiKey: 'anything-else' }", "{ apiKey: '[redacted]' }"],
    ['Authorization: Bearer ya29.FAKE_0000000000-0000', 'Authorization: Bearer [redacted]'],
    ['{"authorization":"bearer AIzaSyFAKE0000000000000"}', '{"authorization":"bearer [redacted]"}'],
    ['token ya29.FAKE_000', 'token [redacted]'],
    ['"auth_tokens\\/0123-abc_def"', '"auth_tokens\\/[redacted]"'],
    // Cut off by the end of the text.
    ['the key AIzaSyF', 'the key [redacted]'],
    ['the key AQ.FA', 'the key [redacted]'],
  ])('%s becomes %s', (text, redacted) => expect(redact(text)).toBe(redacted));

  test.each([
    'API key not valid. Please pass a valid API key.',
    'The monkey=fun, turkey=food, key = value',
    'GenerateRequestsPerDayPerProjectPerModel-FreeTier',
    'FAQ. See https://ai.google.dev/faq',
    'See the FAQ.',
    'Bearer authentication is not supported',
    '"reason": "API_KEY_INVALID"',
  ])('leaves "%s" as it is', (text) => expect(redact(text, 'AQ.test-key-000001')).toBe(text));

  test('keeps JSON what it is, and leaves no recorded failure with a key', () => {
    for (const sample of SAMPLES) {
      const redacted = redact(textOf(sample));
      expect(redacted).not.toMatch(/FAKE0/);
      if (typeof sample.body === 'object') expect(() => JSON.parse(redacted)).not.toThrow();
    }
    const header = JSON.stringify({ error: { message: 'Headers.append: "a\nb" is an invalid header value.' } });
    expect(JSON.parse(redact(header))).toEqual({
      error: { message: 'Headers.append: "[redacted]" is an invalid header value.' },
    });
  });

  test('twice is the same as once, and the key is gone from any text', () => {
    const key = fc.string({ minLength: 12, maxLength: 60 });
    fc.assert(
      fc.property(key, fc.string(), fc.string(), fc.constantFrom(...PLACES), (apiKey, before, after, place) => {
        const text = before + place(apiKey) + after;
        const redacted = redact(text, apiKey);
        expect(redacted).not.toContain(apiKey);
        expect(redact(redacted, apiKey)).toBe(redacted);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['AIza'],
    ['AIzaAQ.key='],
    ['?key='],
    ['api_key:'],
    ['Headers.append: "'],
    ['Headers.append: \\"'],
    ['x-goog-api-key\\\\'],
    ['\\'],
    ['auth_tokens/'],
    ['Bearer '],
    ['api_key='],
    ['apikey: "'],
    ['AQ.'],
    ['AQ.a'],
    ['a'],
  ])('takes 10 MB of "%s" in a bounded time', (piece) => {
    const text = piece.repeat(Math.ceil(10_000_000 / piece.length));
    const start = performance.now();
    redact(text, STANDARD);
    // Some 100 ms; were it quadratic, days.
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('a text that was cut within the leased key', () => {
  test('keeps no more than five characters of it', () => {
    const key = 'key-of-a-form-not-known-yet-0123456789';
    for (let length = 1; length < key.length; length++) {
      const redacted = redact(`The key ${key.slice(0, length)}`, key);
      expect(redacted).toBe(length < 6 ? `The key ${key.slice(0, length)}` : 'The key [redacted]');
    }
  });
});

describe('an excerpt', () => {
  test('holds no beginning of a key that the cut went through', () => {
    const key = 'key-of-a-form-not-known-yet-0123456789';
    for (let before = 256 * 1024 - 60; before < 256 * 1024 + 5; before++) {
      // Redacting shortens the text so much that the cut comes into sight.
      const text = `${key.repeat(5000).slice(0, before - (before % key.length))}${key}`.padEnd(300_000, 'y');
      expect(excerpt(text, 200_000, key)).not.toContain('key-of');
    }
  });

  test('never cuts a character in two and has at most the bytes asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(40), (text, maxBytes) => {
        const cut = excerpt(text, maxBytes);
        expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(maxBytes);
        expect(Buffer.from(cut).toString()).toBe(cut);
      }),
    );
  });
});

test.each([
  'ya29.secret-part',
  'Bearer secret-part-of-it',
  'AQ.secret-part',
  'AIzasecret-part',
  'auth_tokens/secret-part',
  'Headers.set: "secret-part" is no header',
  '?key=secret-part',
])('a secret is masked where the text has nothing else: %s', (text) => {
  expect(redact(text)).not.toContain('secret-part');
});
