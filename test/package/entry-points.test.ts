import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startServer } from '../../src/server/index.ts';
import { ROOT } from '../repository/root.ts';
import { tempDir } from '../support/temp-dir.ts';
import { type Loaded, loadedBy } from './loaded.ts';

const CLIENTS = ['src/index.js', 'src/client/index.js'];

/** Rooms that a client of a server has no use for. What a data dir looks like from outside is the store's to say. */
function insides({ own, others }: Loaded): string[] {
  return [
    ...own.filter((path) => /^src\/(server|engine|store|cli)\//.test(path) && path !== 'src/store/data-dir.js'),
    ...own.filter((path) => path.startsWith('test/')),
    ...others.filter((name) => /sqlite|pino|connect-node|reflection|health-check|prometheus|sdk-metrics/.test(name)),
  ];
}

test.each(CLIENTS)('%s loads no SQLite and no server', async (entry) => {
  const loaded = await loadedBy(entry);
  expect(loaded.own).toContain('src/client/key-balancer.js');
  expect(insides(loaded)).toEqual([]);
  const kB = (bytes: number): string => `${Math.round(bytes / 1000)} kB`;
  const own = `${kB(loaded.ownBytes)} in ${loaded.own.length} files`;
  process.stdout.write(`${entry}: ${own}, with all dependencies ${kB(loaded.bytes)}; ${Math.round(loaded.ms)} ms\n`);
});

test('keybalancer/client loads none either to work with a server, and all of it to open a data dir', async () => {
  const server = await startServer({ dataDir: tempDir() });
  onTestFinished(() => server.drain());
  const does = `
    const balancer = entry.createKeyBalancer(JSON.parse(process.env.PLACE));
    await balancer.addKey('AQ.test-key-000001');
    const key = await balancer.lease();
    if (key.apiKey !== 'AQ.test-key-000001') throw new Error('another key');
    await key.succeeded();
    await balancer.close();`;
  const loadedAt = async (place: object): Promise<string[]> =>
    insides(await loadedBy('src/client/index.js', does, { PLACE: JSON.stringify(place) }));
  expect(await loadedAt({ address: server.grpc })).toEqual([]);
  expect(await loadedAt({ dataDir: tempDir() })).toEqual(
    expect.arrayContaining(['src/store/sqlite/sqlite-store.js', 'src/engine/engine.js']),
  );
});

test('a server loads nothing that sends telemetry, unless it is to be sent', async () => {
  const does = `
    const { startServer } = await import(new URL('../server/index.js', import.meta.resolve(process.env.ENTRY)).href);
    await (await startServer({ dataDir: process.env.DATA_DIR, http: '127.0.0.1:0' })).drain();`;
  const entry = 'src/cli/serve.js';
  const dist = pathToFileURL(join(ROOT, 'dist', entry)).href;
  const { own, others } = await loadedBy(entry, does, { ENTRY: dist, DATA_DIR: tempDir() });
  expect(own).toContain('src/server/server.js');
  expect(own).not.toContain('src/server/telemetry/otlp.js');
  expect(others.filter((name) => /otlp|sdk-trace|sdk-logs/.test(name))).toEqual([]);
});
