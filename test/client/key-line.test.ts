import { expect, test } from 'vitest';
import { readKeyLine } from '../../src/client/key-formats/key-line.ts';

test.each([
  ['AQ.test-key-000001', 'AQ.test-key-000001', undefined],
  ['  AQ.test-key-000001\t', 'AQ.test-key-000001', undefined],
  ['AQ.test-key-000001:2', 'AQ.test-key-000001', 2],
  ['AQ.test-key-000001: 0.5 ', 'AQ.test-key-000001', 0.5],
  ['AQ.test-key-000001:1e2', 'AQ.test-key-000001', 100],
  ['AQ.test-key-000001:.5', 'AQ.test-key-000001', 0.5],
  ['AQ.test-key-000001:-1', 'AQ.test-key-000001', -1],
  ['AQ.test-key-000001:NaN', 'AQ.test-key-000001', Number.NaN],
  ['AQ.test-key-000001:Infinity', 'AQ.test-key-000001', Infinity],
  ['AQ.test-key-000001:-inf', 'AQ.test-key-000001', -Infinity],
  ['AQ.test:key:3', 'AQ.test:key', 3],
])('%j is a key with or without a weight', (line, apiKey, weight) => {
  expect(readKeyLine(line)).toEqual({ key: { apiKey, ...(weight !== undefined && { weight }) } });
});

test.each(['', '   ', '\t', '# a comment', '  # AQ.test-key-000001:2'])('%j says nothing', (line) => {
  expect(readKeyLine(line)).toBeUndefined();
});

test.each(['AQ.test-key-000001:', ':2', ' : '])('%j is told what it lacks, without being repeated', (line) => {
  const read = readKeyLine(line);
  expect(read).toEqual({ problem: expect.stringMatching(/^there is no (key|weight)/) });
  expect(JSON.stringify(read)).not.toContain('AQ.');
});

test.each([
  'AQ.test-key-000001,2',
  '"AQ.test-key-000001"',
  '{"key":"AQ.test-key-000001"}',
  '["AQ.test-key-000001"]',
  'GEMINI_API_KEY=AQ.test-key-000001',
  'export GEMINI_API_KEY=AQ.test-key-000001',
])('%j is of another format, and no key', (line) => {
  const read = readKeyLine(line);
  expect(read).toEqual({ problem: expect.stringContaining('looks like CSV, JSON or .env') });
  expect(JSON.stringify(read)).not.toContain('AQ.');
});

const REAL = 'AIzaSyFAKE000000000000000000';

test.each([
  `${REAL};2`,
  `${REAL}#c`,
  `-${REAL}`,
  `key=${REAL}`,
  `Bearer ${REAL}`,
  `Bearer:${REAL}`,
  `https://x?key=${REAL}`,
  `https://x/${REAL}:1`,
  `${REAL}:2:3`,
  `${REAL}:high`,
  `${REAL} ${REAL}`,
  'AQ.test-key-000001 # mine',
])('%j holds more than a key and its weight', (line) => {
  const read = readKeyLine(line);
  expect(read).toEqual({ problem: expect.stringContaining('; allowed: KEY or KEY:WEIGHT') });
  expect(JSON.stringify(read)).not.toMatch(/FAKE|AQ\./);
});

test.each(['aBc=', 'ABC==', 'AQ.test=key'])('%j may be a key', (line) => {
  expect(readKeyLine(line)).toEqual({ key: { apiKey: line } });
});
