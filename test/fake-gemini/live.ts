import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Ending } from './counts.ts';
import type { ErrorTemplate } from './errors.ts';
import type { Plan } from './plan.ts';
import { expectedAnswer, expectedTokens, field, list, pieces, promptOf } from './text.ts';
import { acceptWebSocket } from './web-socket.ts';

interface Session {
  music: boolean;
  ended: (status: number, ending: Ending) => void;
}

/** The most that a close frame holds of a reason. */
const MAX_REASON_BYTES = 123;

/**
 * A live session: the first message sets it up, and is refused by a close where a call would be refused by an error. After that each
 * turn is answered as generateContent answers its text; music answers PLAY with a chunk of sound. `planOf` gets the setup.
 */
export function serveLive(
  request: IncomingMessage,
  socket: Duplex,
  { music, ended }: Session,
  planOf: (setup: unknown) => Plan,
): void {
  let plan: Plan | undefined;
  let over = false;
  const finish = (ending: Ending): void => {
    if (over) return;
    over = true;
    ended(101, ending);
  };
  const line = acceptWebSocket(request, socket, {
    message(text) {
      const message = parsed(text);
      if (plan === undefined) {
        plan = planOf(field(message, 'setup'));
        setUp(plan);
      } else answer(plan, message);
    },
    closed: (orderly) => finish(orderly ? 'whole' : 'clientGone'),
  });
  if (line === undefined) finish('clientGone');

  function setUp({ refusal, cut }: Plan): void {
    if (refusal !== undefined) refuse(refusal);
    else if (cut === 'beforeAnswer') breakOff();
    else line?.send({ setupComplete: {} });
  }

  function answer({ chunks, cut, errorMidStream }: Plan, message: unknown): void {
    if (music) {
      if (field(message, 'playbackControl') === 'PLAY') {
        line?.send({ serverContent: { audioChunks: [{ data: 'AAAA', mimeType: 'audio/l16;rate=48000' }] } });
      }
      return;
    }
    const prompt = turnOf(message);
    if (prompt === undefined) return;
    const text = expectedAnswer(prompt);
    for (const piece of pieces(text, chunks)) {
      line?.send({ serverContent: { modelTurn: { role: 'model', parts: [{ text: piece }] } } });
      if (errorMidStream !== undefined) refuse(errorMidStream);
      else if (cut === 'midStream') breakOff();
      if (over) return;
    }
    const promptTokenCount = expectedTokens(prompt);
    const responseTokenCount = expectedTokens(text);
    const totalTokenCount = promptTokenCount + responseTokenCount;
    line?.send({
      serverContent: { turnComplete: true },
      usageMetadata: { promptTokenCount, responseTokenCount, totalTokenCount },
    });
  }

  /** As Gemini ends sessions: 1011 for quota and its own faults, 1008 for the rest, with the message of the error. */
  function refuse({ status, body }: ErrorTemplate): void {
    const reason = String(field(field(body, 'error'), 'message') ?? 'Internal error encountered.');
    finish('whole');
    line?.close(status === 429 || status >= 500 ? 1011 : 1008, cutTo(reason, MAX_REASON_BYTES));
  }

  function breakOff(): void {
    finish('cut');
    socket.destroy();
  }
}

/** The text of a turn that is complete; undefined for anything else. */
function turnOf(message: unknown): string | undefined {
  const content = field(message, 'clientContent');
  if (field(content, 'turnComplete') === true) return promptOf({ contents: list(field(content, 'turns')) });
  const text = field(field(message, 'realtimeInput'), 'text');
  return typeof text === 'string' ? text : undefined;
}

function cutTo(text: string, bytes: number): string {
  return Buffer.from(text)
    .subarray(0, bytes)
    .toString('utf8')
    .replace(/\uFFFD$/, '');
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
