import type { GoogleGenAI } from '@google/genai';
import recorded from '../fake-gemini/errors.json' with { type: 'json' };
import type { CustomError, Wrapping } from '../fake-gemini/index.ts';

/** How a failure is to be judged, as errors.json has it. */
export interface Expected {
  class: string;
  scope: 'NONE' | 'KEY' | 'PROJECT' | 'PROJECT_MODEL';
  retry_same_request_with_other_key: boolean;
  /** Seconds, or "permanent" or "until-pacific-midnight". */
  cooldown: number | string;
}

/** One of the recorded failures, and what Gemini or the network does for a client to meet it. */
export interface Failure {
  name: string;
  httpStatus: number;
  /** As it was recorded, which may be as the SDK showed it. */
  text: string;
  expected: Expected;
  meets:
    | { by: 'answer'; error: CustomError }
    | { by: 'live close'; code: number; reason: string }
    /** A connection that is cut, an answer that never comes, one that claims to be JSON: names that the fake knows. */
    | { by: 'fault'; error: 'network_fetch_failed' | 'client_timeout_abort' | 'sdk_bad_json_body' };
}

interface Recorded {
  name: string;
  http_status: number;
  body: unknown;
  shape?: string;
  expected: Expected;
}

export const FAILURES: readonly Failure[] = (recorded as readonly Recorded[]).map((each) => ({
  name: each.name,
  httpStatus: each.http_status,
  text: typeof each.body === 'string' ? each.body : JSON.stringify(each.body),
  expected: each.expected,
  meets: meetingOf(each),
}));

/** What is recorded as the SDK showed it is what Gemini sent before the SDK wrapped it. */
function meetingOf({ name, http_status: status, body, shape }: Recorded): Failure['meets'] {
  const text = String(body);
  switch (shape) {
    case 'live-close': {
      const [, code = '', reason = ''] = /^Live connection closed before setup completed \(code (\d+)\): (.*)$/s.exec(
        text,
      )!;
      return { by: 'live close', code: Number(code), reason };
    }
    case 'js-error':
      return { by: 'fault', error: name as 'network_fetch_failed' };
    case 'sdk-nested':
      return {
        by: 'answer',
        error: { status, body: JSON.parse((body as { error: { message: string } }).error.message) },
      };
    case 'sdk-midstream':
      return { by: 'answer', error: { status, body: JSON.parse(text.replace(/^got status: \w+\. /, '')) } };
    default:
      return { by: 'answer', error: { status, body } };
  }
}

/** A way for a client to meet a failure: how it calls Gemini, and how the answer travels. */
export interface Way {
  name: string;
  wrapping: Wrapping;
  /** Whether the stream begins well, and the failure is one of its chunks. By itself the SDK takes no notice of some such. */
  midStream: boolean;
  /** Gives the text of the answer; throws what the SDK throws. */
  call: (ai: GoogleGenAI, model: string) => Promise<string>;
}

const contents = 'hello';

async function generate(ai: GoogleGenAI, model: string): Promise<string> {
  return (await ai.models.generateContent({ model, contents })).text ?? '';
}

async function stream(ai: GoogleGenAI, model: string): Promise<string> {
  let text = '';
  for await (const chunk of await ai.models.generateContentStream({ model, contents })) text += chunk.text ?? '';
  return text;
}

async function interact(ai: GoogleGenAI, model: string): Promise<string> {
  return (await ai.interactions.create({ model, input: contents })).output_text ?? '';
}

async function live(ai: GoogleGenAI, model: string): Promise<string> {
  const session = await ai.live.connect({ model, callbacks: { onmessage: () => {} } });
  session.close();
  return '';
}

const HTTP = [
  { by: 'call', call: generate },
  { by: 'stream', call: stream },
  { by: 'interaction', call: interact },
] as const;
const WRAPPINGS = { json: 'JSON', array: 'a JSON array', text: 'text/plain', sse: 'text/event-stream' } as const;

/** Every way in which a client can meet the failure. */
export function waysToMeet({ meets }: Failure): Way[] {
  const as = { wrapping: 'json', midStream: false } as const;
  if (meets.by === 'live close') return [{ ...as, name: 'a live session', call: live }];
  const isPage = meets.by === 'fault' || typeof meets.error.body === 'string';
  if (isPage) return HTTP.map(({ by, call }) => ({ ...as, name: `a ${by}`, call }));
  const { status } = meets.error;
  // No failure: the calls that the SDK has answer well.
  if (status === 200) return HTTP.slice(0, 2).map(({ by, call }) => ({ ...as, name: `a ${by}`, call }));
  const ways = HTTP.flatMap(({ by, call }) =>
    Object.entries(WRAPPINGS).map(([wrapping, words]) => ({
      ...as,
      name: `a ${by} refused in ${words}`,
      wrapping: wrapping as Wrapping,
      call,
    })),
  );
  return [
    ...ways,
    { ...as, name: 'a chunk of a stream', midStream: true, call: stream },
    { name: 'a chunk of a stream that is an array', wrapping: 'array', midStream: true, call: stream },
  ];
}
