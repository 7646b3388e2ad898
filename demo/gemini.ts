import { type BehaviourSpec, type Counts, type FakeGemini, startFakeGemini } from '../test/fake-gemini/index.ts';
import type { DemoKey, Role } from './keys.ts';
import { LIMITED } from './keys.ts';

export interface DemoGemini {
  readonly url: string;
  readonly counts: Counts;
  /** Uses up most of the limited projects' minutes, as if other programs had called before, and forgets that it called. */
  openMinutes(): Promise<void>;
  /** The next few calls of a model are answered 503. */
  overload(model: string): void;
  close(): Promise<void>;
}

const MINUTE_MS = 60_000;
/** A minute's tokens of project photos; all but the last few hundred are used up by `openMinutes`. */
const TOKENS_A_MINUTE = 100_000;
const TOKENS_LEFT = 150;
const CHARACTERS_A_TOKEN = 4;
const OVERLOADS = 4;
/** How the limited projects' running minutes end: after so large a part of the demo. */
const MINUTE_ENDS = { [LIMITED.minute]: 0.45, [LIMITED.tokens]: 0.7 };

/** A fake Gemini that knows the keys. Limits are small enough that a demo of so many seconds runs into them. */
export async function startDemoGemini(
  keys: readonly DemoKey[],
  models: readonly string[],
  seconds: number,
): Promise<DemoGemini> {
  // Set back while minutes are opened, so that they end within the demo and not a minute later.
  let clockShift = 0;
  const fake = await startFakeGemini({
    now: () => Date.now() + clockShift,
    // All of them: a demo makes some thousands.
    logSize: 1_000_000,
    keys: Object.fromEntries(
      keys.map(({ apiKey, project, role }) => [
        apiKey,
        { ...(project === '' ? {} : { project }), behaviour: behaviourOf(role, seconds) },
      ]),
    ),
  });
  return {
    url: fake.url,
    counts: fake.counts,
    async openMinutes() {
      for (const [project, part] of Object.entries(MINUTE_ENDS)) {
        const key = keys.find((each) => each.project === project)!;
        const tokens = key.role === 'tokens' ? TOKENS_A_MINUTE - TOKENS_LEFT : 1;
        clockShift = part * seconds * 1000 - MINUTE_MS;
        await Promise.all(models.map((model) => spend(fake, key, model, tokens)));
      }
      clockShift = 0;
      fake.reset();
    },
    overload(model) {
      fake.setModel({ model, behaviour: 'overloaded', times: OVERLOADS });
    },
    close: () => fake.close(),
  };
}

function behaviourOf(role: Role, seconds: number): BehaviourSpec {
  // As long as a quick answer takes.
  const delayMs = 10;
  switch (role) {
    case 'healthy':
      return { delayMs };
    case 'dead':
      return { delayMs, error: 'key_invalid_json' };
    case 'expired':
      return { delayMs, error: 'key_expired' };
    case 'leaked':
      return { delayMs, error: 'key_leaked' };
    case 'suspended':
      return { delayMs, error: 'consumer_suspended_2026' };
    case 'minute':
      return { delayMs, minuteLimit: Math.ceil(seconds * 2) };
    case 'tokens':
      return { delayMs, minuteTokenLimit: TOKENS_A_MINUTE };
    case 'day':
      return { delayMs, dayLimit: Math.ceil(seconds * 2.5) };
  }
}

async function spend(fake: FakeGemini, { apiKey, number }: DemoKey, model: string, tokens: number): Promise<void> {
  const response = await fetch(`${fake.url}/v1beta/models/${model}:generateContent`, {
    method: 'POST',
    headers: { 'x-goog-api-key': apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ contents: [{ parts: [{ text: 'x'.repeat(tokens * CHARACTERS_A_TOKEN) }] }] }),
  });
  await response.arrayBuffer();
  if (!response.ok)
    throw new Error(`the fake Gemini refused key ${number} with ${response.status} before the demo began`);
}
