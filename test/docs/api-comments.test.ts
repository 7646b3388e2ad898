import { expect, test } from 'vitest';
import { apiReference } from '../../scripts/api-reference.ts';

const reference = apiReference();
const entries = reference.split('\n### ').slice(1);

test('each name in docs/api.md is told of in words', () => {
  const silent = entries.filter((entry) => {
    const words = entry
      .split('\n\n## ')[0]!
      .split('\n')
      .slice(1)
      .filter((line) => !/^$|^`.*`$|^- |^Also named|^For `await|^`.*`: with what is in/.test(line));
    return words.length === 0;
  });
  expect(silent.map((entry) => entry.split('\n')[0])).toEqual([]);
});

test('each field and method in docs/api.md is told of in words', () => {
  const silent = entries.flatMap((entry) =>
    entry
      .split('\n')
      .filter((line) => line.startsWith('- `') && line.endsWith('`') && !line.includes('`: '))
      .map((line) => `${entry.split('\n')[0]}: ${line}`),
  );
  expect(silent).toEqual([]);
});

/** Of the language, of the SDK, of the messages, and of what they stand on. */
const ELSEWHERE = new RegExp(
  `^(?:${[
    'Promise|AsyncIterable|AsyncDisposable|Readonly|Record|Omit|Pick|Exclude|Extract|Error|AbortSignal',
    'GoogleGenAI|GoogleGenAIOptions',
    'GetStatsResponse|MemoryStats|WatchHealthResponse|HealthEventKind|ErrorReason|Code|KeyBalancerService|KeyAdminService',
    'Desc\\w+|Message\\w*',
  ].join('|')})$`,
);

test('each type that shows in a signature is in docs/api.md', () => {
  const titles = new Set(entries.map((entry) => entry.split('\n')[0]));
  const shown = [...reference.matchAll(/(?:^|- )`([^`]+)`/gm)].flatMap(
    ([, signature]) => signature!.replaceAll(/'[^']*'|"[^"]*"/g, '').match(/\b[A-Z]\w{2,}\b/g) ?? [],
  );
  expect([...new Set(shown)].filter((name) => !titles.has(name) && !ELSEWHERE.test(name))).toEqual([]);
});
