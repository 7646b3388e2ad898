import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { FileStore } from '../file-store.ts';
import type { QuotaBook } from '../limits.ts';
import type { OwnedStore } from '../owned-store.ts';
import type { Plan } from '../plan.ts';
import { quotaError } from '../quota-error.ts';
import {
  badRequest,
  cacheRefused,
  fileRefused,
  malformedJson,
  modelNotFound,
  refusal,
  tunedModelRefused,
} from '../refusals.ts';
import {
  expectedAnswer,
  expectedTokens,
  field,
  fileIdsOf,
  functionCallOf,
  functionResponseOf,
  inputTokens,
  list,
  pieces,
  promptOf,
} from '../text.ts';

interface World {
  models: ReadonlySet<string>;
  files: FileStore;
  owned: OwnedStore;
  quotas: QuotaBook;
  newResponseId: () => string;
}

export function countTokens(call: Call, world: World): Answer {
  const wrong = refusedContents(call, world);
  if (wrong !== undefined) return wrong;
  const totalTokens = inputTokens(call.json);
  return { kind: 'json', body: { totalTokens, promptTokensDetails: [{ modality: 'TEXT', tokenCount: totalTokens }] } };
}

/** generateContent and streamGenerateContent: what is refused, then what the quota refuses, then the answer. */
export function generate(call: Call, plan: Plan, world: World): Answer {
  const wrong = refusedContents(call, world);
  if (wrong !== undefined) return wrong;
  const model = call.model ?? '';
  const promptTokens = inputTokens(call.json);
  const violations = world.quotas.admit(call.project, model, promptTokens, plan.limits);
  if (violations.length > 0) return refusal(quotaError(violations, model, plan.dayRetryDelayMs));

  const text = expectedAnswer(functionResponseOf(call.json) ?? promptOf(call.json));
  const usageMetadata = usage(promptTokens, expectedTokens(text));
  const common = { modelVersion: model, responseId: world.newResponseId() };
  const functionCall = functionCallOf(call.json);
  if (functionCall !== undefined || call.method === 'generateContent') {
    const parts = functionCall === undefined ? [{ text }, ...imagesFor(call.json, text)] : [{ functionCall }];
    const body = {
      candidates: [{ content: { role: 'model', parts }, finishReason: 'STOP', index: 0 }],
      usageMetadata,
      ...common,
    };
    if (call.method === 'generateContent') return { kind: 'json', body };
    return { kind: 'stream', format: streamFormat(call), chunks: [body] };
  }
  const texts = pieces(text, plan.chunks);
  const chunks = texts.map((piece, at) =>
    at < texts.length - 1
      ? { candidates: [candidate(piece)], ...common }
      : { candidates: [candidate(piece, 'STOP')], usageMetadata, ...common },
  );
  return { kind: 'stream', format: streamFormat(call), chunks };
}

/** `alt=sse` asks for server-sent events; without it a stream is one JSON array, written piece by piece. */
export function streamFormat({ query }: Call): 'sse' | 'array' {
  return query.get('alt') === 'sse' ? 'sse' : 'array';
}

function refusedContents(call: Call, { models, files, owned }: World): Answer | undefined {
  if (typeof call.json !== 'object' || call.json === null || Array.isArray(call.json)) return malformedJson();
  if (call.name !== undefined) {
    if (owned.get(call.name, call.project) === undefined) return tunedModelRefused(call.name);
  } else if (!models.has(call.model ?? '')) return modelNotFound(call);
  const request = field(call.json, 'generateContentRequest') ?? call.json;
  if (list(field(request, 'contents')).length === 0) {
    return badRequest('* GenerateContentRequest.contents: contents is not specified\n');
  }
  const cache = field(request, 'cachedContent');
  if (typeof cache === 'string' && owned.get(cache, call.project) === undefined) return cacheRefused();
  const foreign = fileIdsOf(request).find((fileId) => files.get(fileId, call.project) === undefined);
  return foreign === undefined ? undefined : fileRefused(foreign);
}

function candidate(text: string, finishReason?: 'STOP'): Record<string, unknown> {
  return { content: { role: 'model', parts: [{ text }] }, ...(finishReason && { finishReason }), index: 0 };
}

/** One image, where images are asked for: bytes that follow from the text. */
function imagesFor(body: unknown, text: string): unknown[] {
  const wanted = list(field(field(body, 'generationConfig'), 'responseModalities')).includes('IMAGE');
  return wanted ? [{ inlineData: { mimeType: 'image/png', data: Buffer.from(text).toString('base64') } }] : [];
}

function usage(promptTokenCount: number, candidatesTokenCount: number): Record<string, unknown> {
  return {
    promptTokenCount,
    candidatesTokenCount,
    totalTokenCount: promptTokenCount + candidatesTokenCount,
    promptTokensDetails: [{ modality: 'TEXT', tokenCount: promptTokenCount }],
  };
}
