import { setTimeout as sleep } from 'node:timers/promises';
import { createKeyBalancer, KeyBalancerError } from 'keybalancer';

interface Job {
  id: number;
  prompt: string;
}

// In place of a real queue, such as one in Redis.
const queue: Job[] = [1, 2, 3].map((id) => ({ id, prompt: `Write paragraph ${id}.` }));

// A job that finds no key goes back into the queue, so none waits long in here.
await using balancer = createKeyBalancer({ maxWait: 1000, deadline: 120_000 });
balancer.on('exhausted', ({ reason, model }) => console.warn(`no key for ${model}: ${reason}`));

const write = balancer.withRetry(async (ai, prompt: string) => {
  const answer = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: prompt });
  return answer.text;
});

let stopping = false;
process.once('SIGTERM', () => {
  stopping = true;
});

while (!stopping) {
  const job = queue.shift();
  if (job === undefined) break;
  try {
    console.log(`job ${job.id}: ${await write(job.prompt)}`);
  } catch (error) {
    if (error instanceof KeyBalancerError && error.retryAfterMs !== undefined) {
      queue.push(job);
      await sleep(Math.min(error.retryAfterMs, 60_000));
    } else {
      console.error(`job ${job.id} failed for good:`, error);
    }
  }
}
