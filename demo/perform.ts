import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Balancer, connect } from '../src/client/index.ts';
import { ImportConflict } from '../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type Account, accountOf, agree } from './account.ts';
import { OVERLOADED } from './cast.ts';
import type { DemoGemini } from './gemini.ts';
import { type DemoKey, keyFile, numberOfRedacted } from './keys.ts';
import type { BackendTask, FromBackend, FromWatcher } from './messages.ts';
import { News } from './news.ts';
import type { Child, Processes } from './processes.ts';
import type { Scene, SceneBackend } from './scene.ts';
import { importFile, startServer } from './server.ts';
import { amount } from './words.ts';

export interface Stage {
  scene: Scene;
  keys: readonly DemoKey[];
  gemini: DemoGemini;
  processes: Processes;
  /** An empty directory, for the key file and the server's data. */
  dir: string;
  /** Aborts when the demo is to end early. */
  signal: AbortSignal;
}

/** A backend that does not say that it is ready, or done, within this is lost. */
const BACKEND_PATIENCE_MS = 15_000;
const REQUESTS_EVERY_MS = 100;

/** The demo from beginning to end. Resolves with what each part says of what happened. */
export async function perform(stage: Stage): Promise<Account> {
  const { scene, gemini, processes, dir } = stage;
  scene.phase = 'starting the server';
  const server = await startServer(processes, join(dir, 'data'), gemini.url);
  scene.tell(`a server at ${server.address}, its data in SQLite`);
  const balancer = await connect({ address: server.address });
  try {
    scene.phase = 'importing keys';
    // They load while the keys are imported.
    const backends = startBackends(stage, server.address);
    await importKeys(stage, balancer, server.address);
    scene.phase = 'starting backends';
    const watcher = await startWatcher(stage, server.address);
    await callForAWhile(stage, backends);
    scene.phase = 'counting';
    await agree(scene, balancer);
    const account = await accountOf(stage, balancer);
    await processes.end(watcher);
    return { ...account, serverExit: await server.stop() };
  } finally {
    await balancer.close();
  }
}

/** The keys come from a file, by the command line; their projects by the API, since a line of the file says key and weight only. */
async function importKeys({ scene, keys, processes, dir }: Stage, balancer: Balancer, address: string): Promise<void> {
  const path = join(dir, 'keys.txt');
  await writeFile(path, keyFile(keys), { mode: 0o600 });
  const imported = await importFile(processes, path, address);
  if (imported !== keys.length) throw new Error(`${imported} keys were imported, and not ${keys.length}`);
  scene.tell(`keybalancer import keys.txt: ${amount(imported, 'new key')}`);

  const withProject = keys.filter(({ project }) => project !== '');
  await balancer.keyBalancer.importKeys({
    source: 'demo',
    onConflict: ImportConflict.UPDATE,
    keys: withProject.map(({ apiKey, weight, project }) => ({ apiKey, weight, project })),
  });
  const listed = await balancer.keyAdmin.listKeys({ pageSize: 1000 });
  for (const { keyId, redactedKey, project } of listed.keys) {
    const key = keys.find(({ number }) => number === numberOfRedacted(redactedKey));
    if (key === undefined || key.project !== project) {
      throw new Error(`the server lists key ${keyId} of project "${project}", which the demo did not import so`);
    }
    scene.keys.set(keyId, { ...key, keyId, health: undefined, stayedHealthy: true });
  }
}

/** Resolves when the watcher knows every key. */
async function startWatcher({ scene, processes }: Stage, address: string): Promise<Child> {
  const watcher = processes.start('the watcher', './watcher.ts', [address], 'ipc');
  const news = new News(scene);
  await new Promise<void>((resolve) => {
    watcher.process.on('message', ({ type, keys }: FromWatcher) => {
      for (const health of keys) {
        const before = scene.heard(health);
        if (type === 'change') news.changed(before, health);
      }
      if (type === 'change') scene.changes++;
      else resolve();
    });
    void watcher.ended.then(() => resolve());
  });
  return watcher;
}

interface Backend {
  child: Child;
  /** Resolve when it says so. */
  ready: Promise<void>;
  done: Promise<void>;
}

function startBackends({ scene, gemini, processes }: Stage, address: string): Backend[] {
  return scene.backends.map((backend) => {
    const task: BackendTask = { ...backend.part, address, geminiUrl: gemini.url };
    const child = processes.start(`backend ${task.name}`, './backend.ts', [JSON.stringify(task)], 'ipc');
    return listen(child, scene, backend);
  });
}

async function callForAWhile({ scene, gemini, processes, signal }: Stage, running: readonly Backend[]): Promise<void> {
  await soon(
    running.map(({ ready }) => ready),
    'ready',
    signal,
  );
  await gemini.openMinutes();
  scene.startedAt = Date.now();
  scene.phase = 'running';
  scene.tell(`${amount(running.length, 'backend')} call Gemini, each a process of its own`);
  for (const { child } of running) child.send('go');

  const counting = setInterval(() => {
    scene.requestsByKey = gemini.counts.byKey;
  }, REQUESTS_EVERY_MS);
  const totalMs = scene.seconds * 1000;
  try {
    await sleep(totalMs * OVERLOADED.after, undefined, { signal });
    gemini.overload(OVERLOADED.model);
    scene.tell(`${OVERLOADED.model} is overloaded for a moment: no key is blamed`);
    await sleep(totalMs * (1 - OVERLOADED.after), undefined, { signal });
  } finally {
    clearInterval(counting);
  }

  scene.phase = 'ending';
  for (const { child } of running) {
    void processes.mayEnd(child);
    child.send('stop');
  }
  await soon(
    running.map(({ done }) => done),
    'done',
    signal,
  );
}

function listen(child: Child, scene: Scene, backend: SceneBackend): Backend {
  const said = (type: FromBackend['type']): Promise<void> =>
    new Promise((resolve) => {
      child.process.on('message', (message: FromBackend) => {
        if (message.type === type) resolve();
      });
    });
  child.process.on('message', (message: FromBackend) => {
    if (message.type !== 'ready') scene.counted(backend, message.counts);
  });
  return { child, ready: said('ready'), done: said('done') };
}

/** Rejects when the backends are not so far after a while. */
async function soon(promises: Promise<void>[], what: string, signal: AbortSignal): Promise<void> {
  const arrived = new AbortController();
  const late = async (): Promise<never> => {
    await sleep(BACKEND_PATIENCE_MS, undefined, { signal: AbortSignal.any([arrived.signal, signal]) });
    throw new Error(`a backend was not ${what} after ${BACKEND_PATIENCE_MS / 1000} s`);
  };
  try {
    await Promise.race([late(), Promise.all(promises)]);
  } finally {
    arrived.abort();
  }
}
