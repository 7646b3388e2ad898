import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import type { ImportSummary } from '../../src/client/import-summary.ts';
import { importKeyStream } from '../../src/client/key-file.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { bench, serve, WAYS } from './balancers.ts';

const [ONE, TWO, THREE] = apiKeys(3) as [string, string, string];

function fileOf(content: string | Uint8Array): string {
  const path = join(tempDir(), 'keys.txt');
  writeFileSync(path, content);
  return path;
}

async function balancer(): Promise<Balancer> {
  const { grpc } = await serve();
  const remote = await connect({ address: grpc });
  onTestFinished(() => remote.close());
  return remote;
}

describe.each(WAYS)('importing a file, $way,', ({ place }) => {
  test('counts what was new, what was there and what was no key, by line', async () => {
    const { wrapper } = await bench(await place(), { [TWO]: {} });
    const path = fileOf(
      `\ufeff# of team A\r\n${ONE}:2\r\n\r\n${TWO}\r\nAQ.no good\r\n${ONE}\r\n${THREE}:0\r\nAQ.test-key-9:\r\n${THREE}\r\n${TWO}:high`,
    );
    const summary = await wrapper.importKeysFromFile(path);
    expect(summary).toEqual({
      new: 2,
      updated: 0,
      skipped: 2,
      rejected: 4,
      rejections: [
        { line: 5, reason: expect.stringMatching(/^api_key is .*spaces/) },
        { line: 7, reason: expect.stringMatching(/^weight is 0; allowed: 0.001 to 1000/) },
        { line: 8, reason: 'there is no weight after the colon' },
        { line: 10, reason: 'what follows the colon is no number; allowed: KEY or KEY:WEIGHT' },
      ],
      ignored: [],
    } satisfies ImportSummary);
    const { pools, keys } = await wrapper.getStats();
    expect(pools[0]?.keysBySource).toEqual({ manual: 1n, imported: 2n });
    expect(keys.map((key) => key.weight).sort()).toEqual([1, 1, 2]);
  });

  test('again skips every key; with onConflict update it takes the weights', async () => {
    const { wrapper } = await bench(await place(), {});
    expect(await wrapper.importKeysFromFile(fileOf(`${ONE}\n${TWO}\n`), 'a.txt')).toMatchObject({ new: 2, skipped: 0 });
    expect(await wrapper.importKeysFromFile(fileOf(`${ONE}:3\n${TWO}\n`), 'a.txt')).toMatchObject({
      new: 0,
      skipped: 2,
    });
    const update = await wrapper.importKeysFromFile(fileOf(`${ONE}:3\n${TWO}\n`), 'a.txt', { onConflict: 'update' });
    expect(update).toMatchObject({ new: 0, updated: 1, skipped: 1 });
  });

  test.each([
    ['that does not exist', () => join(tempDir(), 'none.txt'), /none\.txt, which does not exist/],
    ['that is a directory', () => tempDir(), /which is a directory/],
    ['that is binary', () => fileOf(Buffer.from([0x41, 0x00, 0x42, 0x0a])), /NUL bytes/],
    ['in UTF-16', () => fileOf(Buffer.from(`\ufeff${ONE}\n`, 'utf16le')), /in UTF-16; allowed: the same in UTF-8/],
    ['in UTF-16 without a mark', () => fileOf(Buffer.from(`${ONE}\n`, 'utf16le')), /not UTF-16/],
    [
      'that is compressed',
      () => fileOf(gzipSync(`${ONE}\n`)),
      /compressed by gzip; allowed: the file that gunzip makes/,
    ],
    ['that is a spreadsheet', () => fileOf('PK\u0003\u0004 and so on'), /spreadsheet.*as CSV/],
    ['that is a database', () => fileOf('SQLite format 3\0 and so on'), /--from-easy-gemini-balance/],
  ])('refuses one %s, and imports nothing of it', async (_, path, message) => {
    const { wrapper } = await bench(await place(), {});
    await expect(wrapper.importKeysFromFile(path())).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(message),
    });
    expect((await wrapper.getStats()).pools[0]?.totalKeys).toBe(0n);
  });

  test('of nothing imports nothing', async () => {
    const { wrapper } = await bench(await place(), {});
    expect(await wrapper.importKeysFromFile(fileOf('# none yet\n\n'))).toMatchObject({ new: 0, rejected: 0 });
    expect(await wrapper.importKeysFromFile(fileOf(''))).toMatchObject({ new: 0, rejected: 0 });
  });
});

test('a stream of more keys than one call takes is imported in several, with progress', async () => {
  const seen: number[] = [];
  const lines = Readable.from(apiKeys(4_500).map((key) => `${key}\n`));
  const summary = await importKeyStream(await balancer(), lines, { onProgress: (sofar) => seen.push(sofar.new) });
  expect(summary).toMatchObject({ new: 4_500, rejected: 0 });
  expect(seen).toEqual([2_000, 4_000, 4_500]);
});

test('a check changes nothing', async () => {
  const to = await balancer();
  const summary = await importKeyStream(to, Readable.from([`${ONE}\n${TWO}:x y`]), { validateOnly: true });
  expect(summary).toMatchObject({ new: 1, rejected: 1, rejections: [{ line: 2 }] });
  expect((await to.keyAdmin.listKeys({})).totalSize).toBe(0n);
});

test('of a key that comes twice the first line that will do counts, however far the other is', async () => {
  const to = await balancer();
  const update = async (validateOnly = false) => {
    const lines = [`${ONE}:0`, `${ONE}:2`, `${ONE}:3`, ...apiKeys(2_500).slice(3), `${ONE}:4`, `${TWO}:5`];
    const { rejections, ignored, ...counts } = await importKeyStream(to, Readable.from(lines.map((l) => `${l}\n`)), {
      onConflict: 'update',
      validateOnly,
    });
    return counts;
  };
  const first = { new: 2_499, updated: 0, skipped: 2, rejected: 1 };
  expect(await update(true)).toEqual(first);
  expect(await update()).toEqual(first);
  expect(await update()).toEqual({ new: 0, updated: 0, skipped: 2_501, rejected: 1 });
  expect((await to.keyAdmin.listKeys({ pageSize: 1 })).keys).toMatchObject([{ weight: 2 }]);
});

test('lines that are too long are rejected by number, and never repeated', async () => {
  const long = 'AQ.'.padEnd(5_000_000, 'x');
  const text = Readable.from([`# ${long}\n${ONE}\n${long}\n${long}:2\n${TWO}\n`]);
  const summary = await importKeyStream(await balancer(), text);
  expect(summary).toMatchObject({ new: 2, rejected: 2, rejections: [{ line: 3 }, { line: 4 }] });
  expect(JSON.stringify(summary)).not.toContain('xxx');
});

test('an import that is given up ends, and what was imported stays', async () => {
  const to = await balancer();
  const controller = new AbortController();
  const importing = importKeyStream(to, Readable.from(apiKeys(10_000).map((key) => `${key}\n`)), {
    signal: controller.signal,
    onProgress: () => controller.abort(),
  });
  await expect(importing).rejects.toMatchObject({ code: 'CANCELLED' });
  expect((await to.keyAdmin.listKeys({})).totalSize).toBe(2_000n);
});
