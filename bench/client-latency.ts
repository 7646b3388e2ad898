/**
 * What a call of Gemini costs more by genai() than by a plain GoogleGenAI, against a fake Gemini in a process of its own: by a server
 * over loopback TCP, and embedded. The ways take turns in one run, in blocks of calls, so that what a call leaves to be done after
 * it, such as its report, falls upon its own kind. Then the memory of many calls in flight, each way in a fresh process.
 * Run: node bench/client-latency.ts [--calls N] [--in-flight N] [--durability full|normal, of the server] [--json]
 */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { GoogleGenAI } from '@google/genai';
import { createKeyBalancer, type KeyBalancer } from '../src/client/index.ts';
import { connectRemote } from '../src/client/remote.ts';
import { Outcome } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { startFakeGemini } from '../test/fake-gemini/index.ts';

const KEYS = Array.from({ length: 30 }, (_, index) => `AQ.bench-key-${String(index).padStart(4, '0')}`);
const QUESTION = { model: 'gemini-2.5-flash', contents: 'hello' };
const BLOCK = 50;
const WARMING_BLOCKS = 20;
const WAYS = ['plain', 'by a server', 'embedded'] as const;
type Way = (typeof WAYS)[number];

interface Place {
  geminiUrl: string;
  address: string;
  dataDir: string;
}

/** Quantiles of a call, in microseconds. */
interface Latency {
  p50: number;
  p99: number;
}

/** What a process held more with the calls in flight than before them, in bytes a call. */
interface Memory {
  heapPerCall: number;
  residentPerCall: number;
}

function clientOf(way: 'by a server' | 'embedded', { geminiUrl, address, dataDir }: Place): KeyBalancer {
  const place = way === 'embedded' ? { dataDir } : { address };
  return createKeyBalancer({ ...place, genai: { httpOptions: { baseUrl: geminiUrl } } });
}

function plain({ geminiUrl }: Place): GoogleGenAI {
  return new GoogleGenAI({ apiKey: KEYS[0]!, vertexai: false, httpOptions: { baseUrl: geminiUrl } });
}

/** Runs this file as a process of another part. */
function part(name: string, ...args: string[]): ChildProcess {
  return fork(new URL(import.meta.url), [name, ...args], {
    execArgv: ['--disable-warning=KeyBalancerWarning'],
  });
}

async function ask<T>(child: ChildProcess, message: object): Promise<T> {
  child.send(message);
  const answered = new AbortController();
  const { signal } = answered;
  const ended = once(child, 'exit', { signal }).then(() => Promise.reject(new Error('a part of the benchmark ended')));
  try {
    const [answer] = (await Promise.race([once(child, 'message', { signal }), ended])) as [T];
    return answer;
  } finally {
    ended.catch(() => {});
    answered.abort();
  }
}

/** The fake's process. It never answers the calls that are to stay in flight. */
async function serveFake(delayMs: number): Promise<void> {
  const keys = Object.fromEntries(KEYS.map((key) => [key, { behaviour: { delayMs } }]));
  const fake = await startFakeGemini({ keys, logSize: 0 });
  process.on('message', () => process.send!({ url: fake.url, inFlight: fake.counts.inFlight }));
}

/** The process whose memory is measured: starts its calls at the first message, and says what it holds at each. */
async function holdCalls(way: Way, place: Place, calls: number): Promise<void> {
  const client = way === 'plain' ? undefined : clientOf(way, place);
  await client?.getStats();
  const ai = client?.genai() ?? plain(place);
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let started = false;
  process.on('message', async () => {
    collect();
    const { heapUsed, rss } = process.memoryUsage();
    process.send!({ heapUsed, rss });
    if (started) return;
    started = true;
    for (let call = 0; call < calls; call++) {
      ai.models.generateContent(QUESTION).catch(() => {});
      // As calls come; all in one tick would be a queue, and not calls in flight.
      if (call % 100 === 99) await sleep(20);
    }
  });
}

async function memoryOf(way: Way, place: Place, calls: number): Promise<Memory> {
  const fake = part('fake', 'Infinity');
  const { url } = await ask<{ url: string }>(fake, {});
  const child = part('hold', way, JSON.stringify({ ...place, geminiUrl: url }), String(calls));
  try {
    const before = await ask<NodeJS.MemoryUsage>(child, {});
    while ((await ask<{ inFlight: number }>(fake, {})).inFlight < calls) await sleep(200);
    const during = await ask<NodeJS.MemoryUsage>(child, {});
    return {
      heapPerCall: Math.round((during.heapUsed - before.heapUsed) / calls),
      residentPerCall: Math.round((during.rss - before.rss) / calls),
    };
  } finally {
    child.kill('SIGKILL');
    fake.kill('SIGKILL');
    await once(child, 'exit');
  }
}

async function latencies(place: Place, calls: number): Promise<Record<string, Latency>> {
  const clients = { server: clientOf('by a server', place), embedded: clientOf('embedded', place) };
  const bare = connectRemote(place.address);
  try {
    for (const client of Object.values(clients)) for (const key of KEYS) await client.addKey(key);
    const ais = { plain: plain(place), server: clients.server.genai(), embedded: clients.embedded.genai() };
    const ways: Record<Way | 'lease alone', () => Promise<unknown>> = {
      plain: () => ais.plain.models.generateContent(QUESTION),
      'by a server': () => ais.server.models.generateContent(QUESTION),
      embedded: () => ais.embedded.models.generateContent(QUESTION),
      'lease alone': async () => {
        const { lease } = await bare.keyBalancer.acquireKey({ model: QUESTION.model });
        const report = { leaseId: lease!.leaseId, outcome: Outcome.SUCCESS };
        void bare.keyBalancer.reportResult(report, { relaxed: true });
      },
    };
    const times = new Map(Object.keys(ways).map((way) => [way, [] as number[]]));
    const order = Object.entries(ways);
    for (let block = -WARMING_BLOCKS; block < calls / BLOCK; block++) {
      for (const [way, run] of order) {
        for (let call = 0; call < BLOCK; call++) {
          const before = performance.now();
          await run();
          if (block >= 0) times.get(way)!.push((performance.now() - before) * 1_000);
        }
        // Reports that wait for company are not the next one's.
        await sleep(15);
      }
      order.push(order.shift()!);
    }
    return Object.fromEntries([...times].map(([way, taken]) => [way, quantiles(taken)]));
  } finally {
    await Promise.all([clients.server.close(), clients.embedded.close(), bare.close()]);
  }
}

function quantiles(times: readonly number[]): Latency {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round(sorted[Math.floor(sorted.length * share)]!);
  return { p50: at(0.5), p99: at(0.99) };
}

async function compare(calls: number, inFlight: number, durability: string, asJson: boolean): Promise<void> {
  const [serverDir, dataDir] = [0, 1].map(() => mkdtempSync(join(tmpdir(), 'keybalancer-bench-'))) as [string, string];
  const fake = part('fake', '0');
  const main = new URL('../src/cli/main.ts', import.meta.url).pathname;
  const doors = ['--grpc', '127.0.0.1:0', '--http', 'off'];
  const line = ['serve', '--data-dir', serverDir, ...doors, '--durability', durability, '--log-level', 'error'];
  const server = spawn(process.execPath, [main, ...line], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [ready] = (await once(server.stdout.setEncoding('utf8'), 'data')) as [string];
    const { url: geminiUrl } = await ask<{ url: string }>(fake, {});
    const place = { geminiUrl, address: /grpc=(\S+)/.exec(ready)![1]!, dataDir };
    const latency = await latencies(place, calls);
    const memory: Record<string, Memory> = {};
    for (const way of inFlight > 0 ? WAYS : []) memory[way] = await memoryOf(way, place, inFlight);
    if (asJson) console.log(JSON.stringify({ calls, latency, inFlight, memory }, undefined, 2));
    else print(latency, memory, inFlight);
  } finally {
    server.kill();
    fake.kill();
    await once(server, 'exit');
    for (const dir of [serverDir, dataDir]) rmSync(dir, { recursive: true, force: true });
  }
}

function print(latency: Record<string, Latency>, memory: Record<string, Memory>, inFlight: number): void {
  const { p50, p99 } = latency.plain!;
  const cell = (value: string | number): string => String(value).padStart(10);
  console.log(`${'us a call'.padEnd(12)}${['p50', 'added', 'p99', 'added'].map(cell).join('')}`);
  for (const [way, of] of Object.entries(latency)) {
    const cells = way === 'lease alone' ? [of.p50, '', of.p99, ''] : [of.p50, of.p50 - p50, of.p99, of.p99 - p99];
    console.log(`${way.padEnd(12)}${cells.map(cell).join('')}`);
  }
  if (inFlight > 0) console.log(`${inFlight} calls in flight, KiB a call: heap, resident`);
  for (const [way, of] of Object.entries(memory)) {
    const cells = [of.heapPerCall, of.residentPerCall].map((bytes) => (bytes / 1024).toFixed(1));
    console.log(`${way.padEnd(12)}${cells.map(cell).join('')}`);
  }
}

const [name, ...args] = process.argv.slice(2);
if (name === 'fake') {
  await serveFake(Number(args[0]));
} else if (name === 'hold') {
  await holdCalls(args[0] as Way, JSON.parse(args[1]!) as Place, Number(args[2]));
} else {
  const { values } = parseArgs({
    options: {
      calls: { type: 'string', default: '3000' },
      'in-flight': { type: 'string', default: '10000' },
      durability: { type: 'string', default: 'full' },
      json: { type: 'boolean', default: false },
    },
  });
  await compare(Number(values.calls), Number(values['in-flight']), values.durability, values.json);
}
