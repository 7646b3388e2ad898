import { expect, test } from 'vitest';
import { AnswerTail, usageIn } from '../../../src/client/genai/answer-tail.ts';

const usage = '"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "details": [{"tokens": "}{"}]}';

test('usage is read from the end of an answer, in however many parts it came', () => {
  const tail = new AnswerTail();
  for (let at = 0; at < 5_000; at++) tail.take(Buffer.alloc(1_000, 'x'));
  for (const character of `{${usage}, "modelVersion": "m"}`) tail.take(Buffer.from(character));
  expect(tail.usage()).toMatchObject({ inputTokens: 3n, outputTokens: 4n });
});

test('no more than the end is kept', () => {
  const tail = new AnswerTail();
  tail.take(Buffer.from(`{${usage}}`));
  tail.take(Buffer.alloc(20_000, 'x'));
  expect(tail.usage()).toBeUndefined();
});

test('the last usage of several counts, also that of an interaction', () => {
  expect(usageIn(`{"usageMetadata":{"promptTokenCount":1}}\n{${usage}}`)).toMatchObject({ outputTokens: 4n });
  expect(
    usageIn(
      '{"usage":{"total_input_tokens":5,"total_output_tokens":6,"total_thought_tokens":1,"total_cached_tokens":2}}',
    ),
  ).toMatchObject({ inputTokens: 5n, outputTokens: 7n, cachedTokens: 2n });
});

test.each([
  '',
  '{"usageMetadata":',
  '{"usageMetadata":{"promptTokenCount":1',
  '{"usageMetadata":"none"}',
  '{"usageMetadata":{bad}}',
])('what is no usage is none: %j', (text) => {
  expect(usageIn(text)).toBeUndefined();
});
