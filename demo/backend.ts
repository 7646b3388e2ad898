// One of the demo's backends, in a process of its own: calls Gemini through the client as any service would, and counts.
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGeminiWrapper } from '../src/client/index.ts';
import type { BackendTask, CallCounts, FromBackend, ToBackend } from './messages.ts';

const COUNTS_EVERY_MS = 100;

const task = JSON.parse(process.argv[2]!) as BackendTask;
const counts: CallCounts = { calls: 0, succeeded: 0, failed: 0, attempts: 0, retries: 0, failures: {} };
let stopped = false;

// The key comes with each lease, so the backend has none of its own.
const wrapper = createGeminiWrapper({
  address: task.address,
  model: task.model,
  genai: { httpOptions: { baseUrl: task.geminiUrl } },
});

async function call(prompt: string, model: string): Promise<void> {
  let attempts = 0;
  try {
    await wrapper.executeWithRetry((ai) => {
      attempts++;
      return ai.models.generateContent({ model, contents: prompt });
    });
    counts.succeeded++;
  } catch (error) {
    counts.failed++;
    const why = reasonOf(error);
    counts.failures[why] = (counts.failures[why] ?? 0) + 1;
  }
  counts.calls++;
  counts.attempts += attempts;
  counts.retries += Math.max(0, attempts - 1);
}

/** The class of Gemini's last error, else why the balancer had no key. */
function reasonOf(error: unknown): string {
  const { attempts, reason, code, name } = error as {
    attempts?: { errorClass: string }[];
    reason?: string;
    code?: string;
    name?: string;
  };
  return attempts?.at(-1)?.errorClass ?? (reason || code || name || 'UNKNOWN');
}

/** Calls at the worker's part of the backend's pace, and later where a call takes longer than that. */
async function work(worker: number): Promise<void> {
  const intervalMs = (1000 * task.workers) / task.callsPerSecond;
  let due = performance.now() + (intervalMs * worker) / task.workers;
  for (let turn = 0; !stopped; turn++) {
    await sleep(Math.max(0, due - performance.now()));
    const nth = turn * task.workers + worker + 1;
    const typo = task.typoEvery > 0 && nth % task.typoEvery === 0;
    await call(`${task.name}: question ${nth}`, typo ? `${task.model}-typo` : task.model);
    due = Math.max(due + intervalMs, performance.now());
  }
}

function tell(message: FromBackend): void {
  process.send?.(message);
}

/** The next word of the demo. */
async function word(): Promise<ToBackend> {
  const [message] = (await once(process, 'message')) as [ToBackend];
  return message;
}

// Ctrl-C reaches every process of the terminal; the demo says when to stop, or is gone.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());

tell({ type: 'ready' });
await word();
const ticking = setInterval(() => tell({ type: 'counts', counts }), COUNTS_EVERY_MS);
const working = Array.from({ length: task.workers }, (_, worker) => work(worker));
await word();
stopped = true;
await Promise.all(working);
await wrapper.close();
clearInterval(ticking);
tell({ type: 'done', counts });
// From this side: a parent that disconnects is never told that the child has closed.
process.disconnect();
