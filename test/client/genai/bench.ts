import type { GoogleGenAI } from '@google/genai';
import { onTestFinished, vi } from 'vitest';
import type { Balancer } from '../../../src/client/balancer.ts';
import { connect } from '../../../src/client/connect.ts';
import type { ClientEvent } from '../../../src/client/events.ts';
import type { GenAIContext, LeaseSettings, RetryBudget } from '../../../src/client/genai/context.ts';
import { createLeasedGenAI } from '../../../src/client/genai/leased-client.ts';
import { ResourceOrigins } from '../../../src/client/genai/resource-origins.ts';
import type { GenAIOptions } from '../../../src/client/leased-genai.ts';
import { Reports } from '../../../src/client/reports.ts';
import { type FakeGemini, type FakeGeminiOptions, startFakeGemini } from '../../fake-gemini/index.ts';
import { tempDir } from '../../support/temp-dir.ts';

export const MODEL = 'gemini-2.5-flash';

export interface Bench {
  fake: FakeGemini;
  ai: GoogleGenAI;
  balancer: Balancer;
  events: ClientEvent[];
  origins: ResourceOrigins;
  /** Another client of the same balancer, such as another process has: it remembers nothing. */
  another(settings?: Partial<LeaseSettings>, options?: GenAIOptions): GoogleGenAI;
  /** How the leases of the pool ended, those that there were, when no report is on its way. */
  endings(): Promise<Record<string, number>>;
  failures(): Promise<Record<string, number>>;
}

export interface BenchOptions {
  fake?: Omit<FakeGeminiOptions, 'keys'>;
  settings?: Partial<LeaseSettings>;
  genai?: GenAIOptions;
  spend?: RetryBudget;
}

/** A fake Gemini with these keys, and a leased client on a data dir that has them in this order, each with the project that the fake gives it. */
export async function bench(keys: NonNullable<FakeGeminiOptions['keys']>, options: BenchOptions = {}): Promise<Bench> {
  const fake = await startFakeGemini({ ...options.fake, keys });
  onTestFinished(() => fake.close());
  // Else each test would be warned of the master key that it made.
  vi.stubEnv('KEYBALANCER_MASTER_KEY', '00'.repeat(32));
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const balancer = await connect({ dataDir: tempDir(), embedded: { geminiBaseUrl: 'http://127.0.0.1:1' } });
  const reports = new Reports(balancer);
  onTestFinished(async () => {
    await reports.settled();
    await balancer.close();
  });
  for (const [apiKey, { project }] of Object.entries(keys)) {
    await balancer.keyAdmin.createKey({ apiKey, key: { weight: 1, ...(project === undefined ? {} : { project }) } });
  }
  const events: ClientEvent[] = [];
  const client = (
    origins: ResourceOrigins,
    settings: Partial<LeaseSettings> = {},
    genai: GenAIOptions = {},
  ): GoogleGenAI => {
    const context: GenAIContext = {
      connected: async () => ({ balancer, reports }),
      settings: { pool: '', maxRetries: 3, retryDelay: 1, maxWait: undefined, ...options.settings, ...settings },
      origins,
      notify: (event) => events.push(event),
      ...(options.spend === undefined ? {} : { spend: options.spend }),
    };
    const httpOptions = { baseUrl: fake.url, ...options.genai?.httpOptions, ...genai.httpOptions };
    return createLeasedGenAI(context, { ...options.genai, ...genai, httpOptions });
  };
  const origins = new ResourceOrigins();
  const pool = async () => {
    await reports.settled();
    return (await balancer.keyBalancer.getStats({ pools: ['default'] })).pools[0]!;
  };
  return {
    fake,
    ai: client(origins),
    balancer,
    events,
    origins,
    another: (settings, genai) => client(new ResourceOrigins(), settings, genai),
    async endings() {
      const { usage, activeLeases } = await pool();
      const { acquired, succeeded, failed, expired, unused, released, late } = usage!;
      return positive({ acquired, succeeded, failed, expired, unused, released, late, active: activeLeases });
    },
    failures: async () => positive((await pool()).failuresByClass),
  };
}

function positive(counts: Readonly<Record<string, number | bigint>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(counts)
      .map(([name, value]) => [name, Number(value)] as const)
      .filter(([, value]) => value > 0),
  );
}

/** Reads a stream to its end, or to where it fails. */
export async function read<T>(stream: Promise<AsyncIterable<T>>): Promise<{ chunks: T[]; error?: unknown }> {
  const chunks: T[] = [];
  try {
    for await (const chunk of await stream) chunks.push(chunk);
  } catch (error) {
    return { chunks, error };
  }
  return { chunks };
}
