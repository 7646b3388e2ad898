import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventWatch } from '../../../src/client/genai/event-watch.ts';

const error = { error: { code: 503, message: 'busy', status: 'UNAVAILABLE' } };

/** What a model may say: also what looks like marks of the protocol. */
const words = fc.oneof(
  fc.string(),
  fc.constantFrom('"error"', '{"error":{"code":503}}', '"finishReason"', '\n\n', 'data: x', '[{"error":1}]'),
);
const chunk = fc.record({
  candidates: fc.tuple(
    fc.record({ content: fc.record({ parts: fc.array(fc.record({ text: words }), { maxLength: 3 }) }) }),
  ),
});
const newline = fc.constantFrom('\n', '\r\n', '\r');

/** The bytes, cut at random places. */
function cut(text: string, places: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text);
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, at) => bytes.subarray(ends[at - 1] ?? 0, end));
}

test('however the bytes are cut, the events are counted, and no words of a model are an error or an end', () => {
  fc.assert(
    fc.property(fc.array(chunk), newline, fc.array(fc.nat()), (chunks, nl, places) => {
      const watch = new EventWatch();
      const text = chunks.map((each) => `data: ${JSON.stringify(each)}${nl}${nl}`).join('');
      for (const part of cut(text, places)) expect(watch.take(part)).toBe(part.length);
      watch.end();
      expect(watch).toMatchObject({ events: chunks.length, finished: false, error: undefined });
    }),
  );
});

test('however the bytes are cut, an end is seen', () => {
  fc.assert(
    fc.property(fc.array(chunk), newline, fc.array(fc.nat()), fc.boolean(), (chunks, nl, places, blocked) => {
      const watch = new EventWatch();
      const last = blocked ? { promptFeedback: { blockReason: 'SAFETY' } } : { candidates: [{ finishReason: 'STOP' }] };
      const text = [...chunks, last].map((each) => `data: ${JSON.stringify(each)}${nl}${nl}`).join('');
      for (const part of cut(text, places)) watch.take(part);
      expect(watch.finished).toBe(true);
    }),
  );
});

test('however the bytes are cut, an error is found, with whatever comes before it, and nothing of it passes whole', () => {
  const wrapped = fc.constantFrom(
    JSON.stringify(error),
    JSON.stringify([error]),
    `[ {\t"error" : ${JSON.stringify(error.error)}} ]`,
  );
  fc.assert(
    fc.property(fc.array(chunk), newline, fc.array(fc.nat()), wrapped, (chunks, nl, places, said) => {
      const watch = new EventWatch();
      const before = chunks.map((each) => `data: ${JSON.stringify(each)}${nl}${nl}`).join('');
      let passed = '';
      for (const part of cut(`${before}data: ${said}${nl}${nl}data: {}${nl}${nl}`, places)) {
        passed += part.subarray(0, watch.take(part)).toString('latin1');
        if (watch.error !== undefined) break;
      }
      expect(watch.error).toBe(said);
      const whole = Buffer.from(before).toString('latin1');
      expect(passed.startsWith(whole)).toBe(true);
      // What passed of its event is less than an event.
      expect(passed.slice(whole.length)).not.toMatch(/\n\n|\r\r|\r\n\r\n/);
      expect(watch.events).toBe(chunks.length + 1);
    }),
  );
});

test('a last event without the blank line after it is one', () => {
  const watch = new EventWatch();
  watch.take(Buffer.from(`data: ${JSON.stringify(error)}`));
  expect(watch.error).toBeUndefined();
  watch.end();
  expect(watch.error).toBe(JSON.stringify(error));
});

test('of an event of any length no more is kept than may be an error', () => {
  const watch = new EventWatch();
  watch.take(Buffer.from('data: [{"error": {"message": "'));
  for (let at = 0; at < 1_000; at++) watch.take(Buffer.alloc(10_000, 'x'));
  watch.take(Buffer.from('"}}]\n\n'));
  expect(watch.error!.length).toBeLessThan(70_000);
});
