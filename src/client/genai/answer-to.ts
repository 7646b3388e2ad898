import { redact } from '../../gemini/redact.ts';
import { Answer, type AnswerEnd } from './answer.ts';
import { answerLost } from './answer-lost.ts';
import type { RequestFacts } from './request-facts.ts';
import { streamError } from './try-outcome.ts';

/** The answer to a request of which this is known. */
export function answerTo(
  facts: Pick<RequestFacts, 'answer' | 'tellsResources' | 'mustSpeak'>,
  response: Response,
  apiKey: string,
): Answer {
  const { answer: kind, tellsResources, mustSpeak } = facts;
  return new Answer(response, {
    kind,
    keepStart: tellsResources,
    // A leg of an upload says all in its headers.
    mustSpeak: mustSpeak && !response.headers.has('x-goog-upload-status'),
    // The SDK hands other events to its caller.
    shown: kind === 'generated-events' ? (body) => streamError(body, apiKey) : undefined,
    masked: (text) => redact(text, apiKey),
  });
}

/** What the reader of an answer gets to see of an end that leaves it without the rest. `aborted`: whether somebody wanted that. */
export function shownEnd(
  end: AnswerEnd,
  { creates, method }: Pick<RequestFacts, 'creates' | 'method'>,
  { apiKey, aborted }: { apiKey: string; aborted: boolean },
): unknown {
  if (end.by === 'error') return streamError(end.body, apiKey);
  const error = end.by === 'silence' ? end.error : new TypeError('terminated');
  return creates && !aborted ? answerLost(method, error) : error;
}
