import { fork } from 'node:child_process';
import { once } from 'node:events';
import { expect, onTestFinished, test } from 'vitest';
import { createKeyBalancer } from '../../../src/client/index.ts';
import { startFakeGemini } from '../../fake-gemini/index.ts';
import { INHERITED } from '../../support/inherited.ts';
import { apiKeys } from '../../support/orders.ts';
import { endings, MODEL, WAYS } from '../balancers.ts';
import type { FileAnswer, FileOrder } from './file-process.ts';

async function inProcess(order: FileOrder): Promise<FileAnswer> {
  const env = { ...INHERITED, KEYBALANCER_MASTER_KEY: '00'.repeat(32) };
  const child = fork(new URL('./file-process.ts', import.meta.url), { env });
  const exit = once(child, 'exit');
  child.send(order);
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const [answer] = (await Promise.race([
    once(child, 'message'),
    exit.then(([code]) => Promise.reject(new Error(`the process ended with ${String(code)}`))),
  ])) as [FileAnswer];
  await exit;
  return answer;
}

test.each(WAYS)(
  'a file that one process uploaded is found by another, in its project, and no key is blamed for the search ($way)',
  async ({ place }) => {
    const keys = apiKeys(6);
    const projects = Object.fromEntries(keys.map((key, index) => [key, { project: `project-${index}` }]));
    const fake = await startFakeGemini({ keys: projects });
    onTestFinished(() => fake.close());
    const where = await place();
    const balancer = createKeyBalancer({ ...where, genai: { httpOptions: { baseUrl: fake.url } } });
    onTestFinished(() => balancer.close());
    for (const key of keys) await balancer.addKey(key);

    const order = { place: where, geminiUrl: fake.url };
    const { uri } = await inProcess({ ...order, uri: undefined });
    // The key that has the file was not the last to serve the model: it comes last.
    await balancer.genai().models.generateContent({ model: MODEL, contents: 'hello' });
    const before = fake.counts.total;
    const { text, outcomes, searches } = await inProcess({ ...order, uri });
    expect(text).not.toBe('');
    // Each project is asked once at most, until one has it.
    expect(searches).toBe(keys.length - 1);
    expect(outcomes).toEqual([...Array.from({ length: searches }, () => 'RESOURCE_MISMATCH'), 'success']);
    const asked = fake.counts.log.slice(before).map(({ project }) => project);
    expect(new Set(asked).size).toBe(asked.length);
    const health = (await balancer.getStats()).keys;
    expect(health.map(({ effectiveWeight, cooldowns }) => [effectiveWeight, cooldowns.length])).toEqual(
      keys.map(() => [1, 0]),
    );
    expect(await endings(balancer)).toMatchObject({ failed: searches });
  },
);
