import { pino } from 'pino';
import { onTestFinished, vi } from 'vitest';
import { createGeminiWrapper, type GeminiWrapper, type GeminiWrapperOptions } from '../../src/client/index.ts';
import { type RunningServer, startServer } from '../../src/server/server.ts';
import { type FakeGemini, type FakeGeminiOptions, startFakeGemini } from '../fake-gemini/index.ts';
import { tempDir } from '../support/temp-dir.ts';

/** A real server on a data dir, until the test ends. */
export async function serve(dataDir = tempDir()): Promise<RunningServer> {
  const server = await startServer({
    dataDir,
    grpc: { host: '127.0.0.1', port: 0 },
    http: undefined,
    durability: 'normal',
    masterKey: {},
    insecure: false,
    geminiBaseUrl: 'http://127.0.0.1:1',
    verify: true,
    logger: pino({ level: 'silent' }),
  });
  onTestFinished(() => server.drain());
  return server;
}

/** The ways to a balancer, each with what names a fresh one. */
export const WAYS: readonly { way: string; place: () => Promise<{ address: string } | { dataDir: string }> }[] = [
  {
    way: 'embedded',
    place: async () => {
      // Else each test would be warned of the master key that it made.
      vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
      onTestFinished(() => {
        vi.unstubAllEnvs();
      });
      return { dataDir: tempDir() };
    },
  },
  { way: 'by a server', place: async () => ({ address: (await serve()).grpc! }) },
];

export const MODEL = 'gemini-2.5-flash';

export interface Bench {
  fake: FakeGemini;
  wrapper: GeminiWrapper;
}

/** A fake Gemini with these keys, and a wrapper whose pool holds them in this order. */
export async function bench(
  place: { address: string } | { dataDir: string },
  keys: NonNullable<FakeGeminiOptions['keys']>,
  options: Omit<GeminiWrapperOptions, 'address' | 'dataDir'> = {},
): Promise<Bench> {
  const fake = await startFakeGemini({ keys });
  onTestFinished(() => fake.close());
  const { genai, ...rest } = options;
  const wrapper = createGeminiWrapper({
    ...place,
    model: MODEL,
    genai: { ...genai, httpOptions: { ...genai?.httpOptions, baseUrl: fake.url } },
    ...rest,
  });
  onTestFinished(() => wrapper.close());
  for (const apiKey of Object.keys(keys)) await wrapper.addKey(apiKey);
  return { fake, wrapper };
}

/** How the leases of the pool ended, those that there were. */
export async function endings(wrapper: GeminiWrapper): Promise<Record<string, number>> {
  const stats = (await wrapper.getStats()).pools[0]!;
  const { acquired, succeeded, failed, expired, unused, released, late } = stats.usage!;
  const all = { acquired, succeeded, failed, expired, unused, released, late, active: stats.activeLeases };
  return Object.fromEntries(
    Object.entries(all)
      .map(([name, value]) => [name, Number(value)] as const)
      .filter(([, value]) => value > 0),
  );
}
