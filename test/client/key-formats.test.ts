import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { emptySummary, type ImportSummary, ignore } from '../../src/client/import-summary.ts';
import { formatOf, KEY_READERS, type KeyFileFormat } from '../../src/client/key-formats/formats.ts';
import type { KeyEntry, KeyOfFile } from '../../src/client/key-formats/key-entry.ts';

const KEY = 'AQ.test-key-000001';
const OTHER = 'AQ.test-key-000002';

interface Found {
  keys: (KeyOfFile & { line: number })[];
  problems: { line: number; problem: string }[];
  ignored: ImportSummary['ignored'];
}

/** What the reader of a format finds in a text that comes in pieces of so many bytes. */
async function found(format: KeyFileFormat, text: string, size = 1 << 16): Promise<Found> {
  const bytes = Buffer.from(text);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  const summary = emptySummary();
  const source = { chunks: Readable.from(pieces), name: 'keys.file', ignored: (name: string) => ignore(summary, name) };
  const all: KeyEntry[] = [];
  for await (const entries of KEY_READERS[format](source)) all.push(...entries);
  const keys = all.flatMap((entry) => ('key' in entry ? [{ ...entry.key, line: entry.line }] : []));
  const problems = all.flatMap((entry) => ('problem' in entry ? [entry] : []));
  expect(JSON.stringify(problems) + summary.ignored.join()).not.toContain('AQ.');
  return { keys, problems, ignored: summary.ignored };
}

async function refusal(format: KeyFileFormat, text: string): Promise<string> {
  const error = await found(format, text).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ name: 'KeyBalancerError', code: 'INVALID_ARGUMENT', metadata: { field: 'file' } });
  expect(error?.message).not.toContain('AQ.');
  return error?.message ?? '';
}

const FULL = {
  apiKey: KEY,
  weight: 2.5,
  project: 'p-1',
  models: ['gemini-2.5-pro', 'gemini-2.5-flash'],
  labels: { team: 'search', env: 'a=b' },
  tier: 3,
  source: 'vault',
  pool: 'batch',
  disabled: true,
  maxConcurrentLeases: 0,
};

describe('CSV', () => {
  test('names its columns in any order and spelling, and says of a key all there is', async () => {
    const text = [
      '\ufeffweight,Key,PROJECT,models,labels,tier,source,pool,disabled,max_concurrent_leases',
      `2.5,${KEY},p-1,gemini-2.5-pro gemini-2.5-flash,"{""team"":""search"",""env"":""a=b""}",3,vault,batch,true,0`,
      `,${OTHER},,"gemini-2.5-pro, gemini-2.5-flash",team=search;env=a=b,,,,,`,
    ].join('\r\n');
    const { apiKey: _, ...rest } = FULL;
    expect(await found('csv', text)).toEqual({
      keys: [
        { line: 2, ...FULL },
        { line: 3, apiKey: OTHER, models: rest.models, labels: rest.labels },
      ],
      problems: [],
      ignored: [],
    });
  });

  test.each([
    ['semicolons', ';'],
    ['tabs', '\t'],
  ])('may be separated by %s, as a spreadsheet does', async (_, separator) => {
    const rows = [['api_key', 'weight', 'labels'], [KEY, '2', '"a=1;b=2"'], [OTHER]];
    const { keys } = await found('csv', rows.map((row) => row.join(separator)).join('\n'));
    expect(keys).toEqual([
      { line: 2, apiKey: KEY, weight: 2, labels: { a: '1', b: '2' } },
      { line: 3, apiKey: OTHER },
    ]);
  });

  test('rejects what cannot be by line, and leaves comments, blank lines and columns of others out', async () => {
    const text = [
      '# of team A',
      'key,weight,owner,tier',
      `${KEY},${OTHER},me,1`,
      '',
      '# none',
      ',1,me,1',
      `${KEY},2,me,1.5`,
      `${KEY},2,me,1,more`,
      `"${KEY}"x,2,me,1`,
      `${OTHER},2,me,1`,
      `key=AQ.test-key-000009,2,me,1`,
      `${KEY},0x10,me,1`,
    ].join('\n');
    expect(await found('csv', text)).toEqual({
      keys: [{ line: 10, apiKey: OTHER, weight: 2, tier: 1 }],
      problems: [
        { line: 3, problem: 'weight is another text; allowed: a number' },
        { line: 6, problem: 'there is no key' },
        { line: 7, problem: 'tier is another text; allowed: a whole number, 0 to 9' },
        { line: 8, problem: 'it has 5 fields, where the first line names 4' },
        { line: 9, problem: 'it is no CSV: look at its quotes' },
        { line: 11, problem: 'something stands before or behind the key' },
        { line: 12, problem: 'weight is another text; allowed: a number' },
      ],
      ignored: ['owner'],
    });
  });

  test('whose quotes do not end is refused from there on, by line', async () => {
    const rows = Array.from({ length: 4_000 }, (_, row) => `AQ.key-of-row-${row},1`);
    const text = (quoted: string) => ['key,weight', KEY, quoted, ...rows].join('\n');
    for (const quoted of [`"${OTHER}`, `${OTHER},"1`]) {
      expect(await refusal('csv', text(quoted))).toContain('which has quotes behind line 2 that do not end');
    }
  });

  test('without a line of names is refused, and none of it is shown', async () => {
    expect(await refusal('csv', `${KEY},2\n${OTHER},1\n`)).toMatch(
      /^file is keys\.file, whose first line names no column "key"; allowed: CSV .* key, weight, project/,
    );
  });

  test('of nothing has no key', async () => {
    expect((await found('csv', '')).keys).toEqual([]);
    expect((await found('csv', 'key,weight\n')).keys).toEqual([]);
  });
});

describe('JSON', () => {
  test.each([
    ['a list', (list: string) => list],
    [
      'an object with a list',
      (list: string) => `{"note": ["keys", {"keys": [1]}], "keys": ${list}, "more": {"a": "]"}}`,
    ],
  ])('is %s of texts and objects, with the fields of a key', async (_, wrap) => {
    const text = wrap(`[\n "${KEY}",\n "${OTHER}:2", ${JSON.stringify(FULL)},\n {"key": "${OTHER}", "owner": "me"} ]`);
    expect(await found('json', text)).toEqual({
      keys: [
        { line: 2, apiKey: KEY },
        { line: 3, apiKey: OTHER, weight: 2 },
        { line: 3, ...FULL },
        { line: 4, apiKey: OTHER },
      ],
      problems: [],
      ignored: ['owner'],
    });
  });

  test('rejects items that cannot be by number, and goes on', async () => {
    const items = [
      `{"key": "${KEY}", "weight": "x"}`,
      `{key: "${KEY}"}`,
      '12',
      'null',
      '{}',
      `["${KEY}"]`,
      `{"key": 12}`,
      `{"key": "${KEY}", "labels": ["a"]}`,
      `{"key": "${KEY}", "project": "\\ud800"}`,
      `"${KEY.padEnd(70_000, 'x')}"`,
      '',
      `{"key": "${OTHER}", "disabled": "perhaps"}`,
      `"${OTHER}"`,
    ];
    const { keys, problems } = await found('json', `[${items.join(',')}]`);
    expect(keys).toEqual([{ line: 1, apiKey: OTHER }]);
    expect(problems.map(({ problem }) => problem)).toEqual([
      'item 1: weight is another text; allowed: a number',
      'item 2: it is no JSON',
      'item 3: it is a number; allowed: a text, or an object with a key',
      'item 4: it is null; allowed: a text, or an object with a key',
      'item 5: there is no key',
      'item 6: it is an array; allowed: a text, or an object with a key',
      'item 7: key is 12; allowed: a text',
      'item 8: labels is an array; allowed: an object with texts',
      'item 9: project has half a character',
      'item 10: it is longer than 65536 characters',
      'item 11: it is no JSON',
      'item 12: disabled is another text; allowed: true or false',
    ]);
  });

  test.each([
    ['', 'which is empty'],
    ['  \n', 'which is empty'],
    [`"${KEY}"`, 'which is no JSON'],
    [`${KEY}\n`, 'which is no JSON'],
    [`["${KEY}"`, 'which ends in the middle'],
    [`["${KEY}", "AQ.`, 'which ends in the middle'],
    [`["${KEY}"] x`, 'which goes on behind its end'],
    [`["${KEY}"]["${KEY}"]`, 'which goes on behind its end'],
    [`{"names": ["${KEY}"]}`, 'which has no list "keys"'],
    [`{"keys": "${KEY}"}`, 'which has no list "keys"'],
  ])('%j is refused', async (text, says) => {
    expect(await refusal('json', text)).toContain(`file is keys.file, ${says}; allowed: JSON: a list of keys, or`);
  });

  test('is the same in whatever pieces it comes, and of whatever else it holds', async () => {
    const label = fc.string({ maxLength: 20 });
    const item = fc.record({
      key: fc.stringMatching(/^AQ\.[\w-]{5,20}$/),
      labels: fc.dictionary(
        label.filter((name) => name !== '__proto__'),
        label,
        { maxKeys: 3 },
      ),
    });
    const other = fc.dictionary(
      fc.string().filter((name) => name !== 'keys' && name !== '__proto__'),
      fc.jsonValue(),
      {
        maxKeys: 3,
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(item), other, fc.nat(40), fc.boolean(), async (keys, others, size, pretty) => {
        const text = JSON.stringify({ ...others, keys }, undefined, pretty ? 2 : undefined);
        const { keys: read, problems } = await found('json', text, size + 1);
        expect(problems).toEqual([]);
        const trimmed = (labels: Record<string, string>) =>
          Object.fromEntries(Object.entries(labels).map(([name, value]) => [name.trim(), value.trim()]));
        expect(read.map(({ line: _, ...key }) => key)).toEqual(
          keys.map(({ key, labels }) => ({ apiKey: key, labels: trimmed(labels) })),
        );
      }),
      { numRuns: 60 },
    );
  });
});

test('JSON Lines has a text or an object a line, and rejects what is neither', async () => {
  const text = [`"${KEY}:3"`, '', '# mine', JSON.stringify(FULL), KEY, `["${KEY}"]`, `{"key": ""}`].join('\n');
  expect(await found('jsonl', text)).toEqual({
    keys: [
      { line: 1, apiKey: KEY, weight: 3 },
      { line: 4, ...FULL },
    ],
    problems: [
      { line: 5, problem: 'it is no JSON' },
      { line: 6, problem: 'it is an array; allowed: a text, or an object with a key' },
      { line: 7, problem: 'there is no key' },
    ],
    ignored: [],
  });
});

describe('.env', () => {
  const names = (...of: string[]) => of.map((name, index) => `${name}=AQ.key-${index}`).join('\n');

  test('has keys in variables that are named for Gemini, one or a list', async () => {
    const text = [
      '# keys',
      `export GEMINI_API_KEY='${KEY}' # ours`,
      'PORT=8000',
      `API_KEYS=["AQ.a", "AQ.b:2"]`,
      'GEMINI_API_KEYS=AQ.c, AQ.d;AQ.e:0.5',
    ].join('\n');
    expect(await found('env', text)).toEqual({
      keys: [
        { line: 2, apiKey: KEY },
        { line: 4, apiKey: 'AQ.a' },
        { line: 4, apiKey: 'AQ.b', weight: 2 },
        { line: 5, apiKey: 'AQ.c' },
        { line: 5, apiKey: 'AQ.d' },
        { line: 5, apiKey: 'AQ.e', weight: 0.5 },
      ],
      problems: [],
      ignored: [],
    });
  });

  test('has keys under all names that are usual', async () => {
    const usual = [
      'GEMINI_API_KEY_1',
      'GEMINI_KEY2',
      'VITE_GEMINI_API_KEY',
      'GOOGLE_API_KEY',
      'GOOGLE_GENERATIVE_AI_API_KEY',
      'GOOGLE_GENAI_API_KEY',
      'NEXT_GOOGLE_API_KEY',
      'API_KEY',
      'API_KEYS',
      'gemini_api_key',
    ];
    expect((await found('env', names(...usual))).keys).toHaveLength(usual.length);
  });

  test("leaves other services' keys out, and says so", async () => {
    const others = ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GOOGLE_MAPS_API_KEY', 'SECRET_KEY'];
    expect(await found('env', names(...others, 'DATABASE_URL'))).toEqual({ keys: [], problems: [], ignored: others });
  });
});

test.each<[path: string, format: KeyFileFormat]>([
  ['keys.txt', 'text'],
  ['keys', 'text'],
  ['-', 'text'],
  ['a.b/KEYS.CSV', 'csv'],
  ['keys.tsv', 'csv'],
  ['keys.json', 'json'],
  ['keys.ndjson', 'jsonl'],
  ['/srv/.env', 'env'],
  ['.env.production', 'env'],
  ['prod.env', 'env'],
])('%s is read as %s', (path, format) => {
  expect(formatOf(path)).toBe(format);
});

test('a name that may be a key is not shown as ignored', async () => {
  const { ignored } = await found('csv', `key,AQ.Ab8RN6Kx7Yz12345678901234567890,my notes\n${KEY},1,2\n`);
  expect(ignored).toEqual(['one whose name is not shown', 'my notes']);
});
