import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { INHERITED } from '../support/inherited.ts';
import { apiKeys } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';

const CLIENT = new URL('../../src/client/index.ts', import.meta.url).href;
const [ONE] = apiKeys(1) as [string];

/** What a program prints whose only work is that of an embedded client. Rejects when it does not end well. */
async function run(program: string): Promise<string> {
  const begin = `
    import { createKeyBalancer } from ${JSON.stringify(CLIENT)};
    const balancer = createKeyBalancer({ dataDir: ${JSON.stringify(tempDir())} });
    await balancer.addKey(${JSON.stringify(ONE)});
  `;
  const env = { ...INHERITED, KEYBALANCER_MASTER_KEY: '00'.repeat(32) };
  const ran = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', begin + program], { env });
  return ran.stdout.trim();
}

test('an embedded client that waits for a key keeps its process alive', async () => {
  const printed = await run(`
    const key = await balancer.lease();
    const message = 'You exceeded your current quota. Please retry in 1s.';
    const body = JSON.stringify({ error: { code: 429, status: 'RESOURCE_EXHAUSTED', message } });
    await key.failed({ status: 429, body });
    const later = await balancer.lease({ maxWait: 600_000 });
    console.log(later.keyId === key.keyId);
  `);
  expect(printed).toBe('true');
});

test('an embedded client that watches health keeps its process alive', async () => {
  const printed = await run(`
    for await (const { event } of balancer.watchHealth({ skipSnapshot: true, heartbeatInterval: 1_000 })) {
      console.log(event.case);
      break;
    }
  `);
  expect(printed).toBe('heartbeat');
});

test('an embedded client that nobody waits for keeps no process alive', async () => {
  const printed = await run(`
    await balancer.lease();
    const watch = balancer.watchHealth()[Symbol.asyncIterator]();
    console.log((await watch.next()).value.event.case);
  `);
  expect(printed).toBe('snapshot');
});
