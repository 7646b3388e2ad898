import { createHash } from 'node:crypto';
import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import { badRequest, modelNotFound } from '../refusals.ts';
import { field, list, promptOf } from '../text.ts';

const DIMENSIONS = 8;

/** embedContent and batchEmbedContents. A vector follows from the text alone. */
export function embed(call: Call, { models }: { models: ReadonlySet<string> }): Answer {
  if (!models.has(call.model ?? '')) return modelNotFound(call);
  const requests = field(call.json, 'requests');
  if (requests === undefined) return { kind: 'json', body: { embedding: embedding(call.json) } };
  if (list(requests).length === 0)
    return badRequest('* BatchEmbedContentsRequest.requests: requests is not specified\n');
  return { kind: 'json', body: { embeddings: list(requests).map(embedding) } };
}

/** Numbers between -1 and 1 that JSON holds exactly. */
function embedding(request: unknown): { values: number[] } {
  const text = promptOf({ contents: [field(request, 'content')] });
  const wanted = Number(field(request, 'outputDimensionality') ?? DIMENSIONS);
  const digest = createHash('sha256').update(text).digest();
  return { values: Array.from({ length: wanted }, (_, at) => digest[at % digest.length]! / 128 - 1) };
}
