import { registerHooks } from 'node:module';
import type { GoogleGenAI } from '@google/genai';
import type { Balancer } from '../../src/client/balancer.ts';
import { connect } from '../../src/client/connect.ts';
import { createGeminiWrapper, type GeminiWrapper } from '../../src/client/index.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';

/** A process that uses a data dir as its parent says: a worker of a cluster. */
export type SharedOrder =
  | { connect: string; visit?: boolean; embedded?: { masterKey?: { value: string }; geminiBaseUrl?: string } }
  | { addKey: string }
  | { acquire: { requestId?: string; maxWaitMs?: number } }
  | { report: string }
  /** That the lease's key is suspended, says Gemini. */
  | { reportSuspended: string }
  | { renew: string }
  /** Makes calls by a wrapper, so many at once, until it is told to stop. Each call is told of when it has ended. */
  | { work: string; pool: string; geminiUrl: string; callers: number }
  | { stop: true }
  | { keyState: true }
  | { watch: true }
  | { where: true }
  /** What was loaded since it began: the modules that are imported when they are needed. */
  | { loaded: true }
  | { close: true };

export type SharedReply =
  | { id: number; answer: unknown }
  | { id: number; refusal: { code: string; reason: string; message: string } };

/** What it tells unasked. */
export type SharedNews =
  | { call: string; error: string | undefined }
  | { health: string; keys: number; reset: boolean }
  | { warning: string };

const MODEL = 'gemini-2.5-flash';
let balancer: Balancer | undefined;
let wrapper: GeminiWrapper | undefined;
let stopping = false;
const loaded: string[] = [];
registerHooks({
  load(url, context, nextLoad) {
    loaded.push(url);
    return nextLoad(url, context);
  },
});
let callers: Promise<void>[] = [];

function tell(news: SharedNews): void {
  process.send?.(news);
}

process.on('warning', ({ name, message }) => {
  if (name === 'KeyBalancerWarning') tell({ warning: message });
});

async function done(order: SharedOrder): Promise<unknown> {
  if ('connect' in order) {
    const { connect: dataDir, visit, embedded } = order;
    balancer = await connect({ dataDir, visit, embedded });
    return balancer.where;
  }
  if ('addKey' in order) {
    await balancer!.keyAdmin.createKey({ apiKey: order.addKey });
    return undefined;
  }
  if ('acquire' in order) {
    const { requestId = '', maxWaitMs } = order.acquire;
    const maxWait = maxWaitMs === undefined ? undefined : { seconds: BigInt(Math.floor(maxWaitMs / 1000)) };
    const { lease } = await balancer!.keyBalancer.acquireKey({ requestId, maxWait, leaseTtl: { seconds: 600n } });
    return lease?.leaseId;
  }
  if ('report' in order) {
    const { duplicate } = await balancer!.keyBalancer.reportResult({ leaseId: order.report, outcome: 1 });
    return { duplicate };
  }
  if ('reportSuspended' in order) {
    const message = "Permission denied: Consumer 'api_key:' has been suspended.";
    const error = { httpStatus: 403, status: 'PERMISSION_DENIED', message };
    await balancer!.keyBalancer.reportResult({ leaseId: order.reportSuspended, outcome: 2, error });
    return undefined;
  }
  if ('renew' in order) {
    await balancer!.keyBalancer.renewLease({ leaseId: order.renew });
    return undefined;
  }
  if ('work' in order) {
    wrapper = createGeminiWrapper({
      dataDir: order.work,
      pool: order.pool,
      model: MODEL,
      maxWait: 10_000,
      genai: { httpOptions: { baseUrl: order.geminiUrl } },
    });
    callers = Array.from({ length: order.callers }, (_, caller) => work(caller));
    return undefined;
  }
  if ('stop' in order) {
    stopping = true;
    await Promise.all(callers);
    await wrapper?.close();
    return undefined;
  }
  if ('keyState' in order) return (await balancer!.keyAdmin.listKeys({})).keys[0]?.health?.state;
  if ('watch' in order) {
    void watch();
    return undefined;
  }
  if ('where' in order) return balancer?.where;
  if ('loaded' in order) return loaded;
  await balancer?.close();
  return undefined;
}

async function work(caller: number): Promise<void> {
  for (let turn = 0; !stopping; turn++) {
    const prompt = `call ${process.pid} ${caller} ${turn}`;
    const error = await wrapper!
      .executeWithRetry(ask, prompt)
      .then((answer) => (answer === expectedAnswer(prompt) ? undefined : `answered ${answer}`), String);
    tell({ call: prompt, error });
  }
}

async function ask(ai: GoogleGenAI, prompt: string): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: prompt })).text;
}

async function watch(): Promise<void> {
  for await (const { event } of balancer!.watchHealth({})) {
    const { keys = [], reset = false } = event.case === 'snapshot' ? event.value : {};
    tell({ health: event.case ?? '', keys: keys.length, reset });
  }
}

process.on('message', async ({ id, order }: { id: number; order: SharedOrder }) => {
  try {
    process.send?.({ id, answer: await done(order) } satisfies SharedReply);
  } catch (error) {
    const { code = '', reason = '', message } = error as { code?: string; reason?: string; message: string };
    process.send?.({ id, refusal: { code, reason, message } } satisfies SharedReply);
  }
});
// Only the channel to the parent keeps it alive; a child that is abandoned ends.
process.on('disconnect', () => process.exit());
