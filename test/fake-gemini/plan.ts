import { type BehaviourSpec, type Cut, type Limits, refuses } from './behaviour.ts';
import { type ErrorTemplate, errorTemplate, fill, type Wrapping } from './errors.ts';
import type { FakeRequest, KeyBook, ModelBook } from './scripts.ts';

/** What shall happen to one request: what its key's behaviour says, and where that is silent, its model's. */
export interface Plan {
  refusal: ErrorTemplate | undefined;
  errorMidStream: ErrorTemplate | undefined;
  wrapping: Wrapping;
  delayMs: number;
  chunkDelayMs: number;
  chunks: number;
  cut: Cut | undefined;
  /** All of these hold. */
  limits: readonly Limits[];
  dayRetryDelayMs: number | undefined;
}

export function planFor(request: FakeRequest, keys: KeyBook, models: ModelBook, wrapping: Wrapping): Plan {
  const ofKey = keys.take(request);
  // A request that the key refuses never gets to the model, so it uses up nothing there.
  const layers = refuses(ofKey, request.method) ? [ofKey] : [ofKey, models.take(request)];
  return planOf(layers, request, wrapping);
}

/** The plan of a request that no behaviour touches. */
export function plainPlan(wrapping: Wrapping): Plan {
  return {
    refusal: undefined,
    errorMidStream: undefined,
    wrapping,
    delayMs: 0,
    chunkDelayMs: 0,
    chunks: 4,
    cut: undefined,
    limits: [],
    dayRetryDelayMs: undefined,
  };
}

function planOf(layers: readonly BehaviourSpec[], request: FakeRequest, wrapping: Wrapping): Plan {
  const plain = plainPlan(wrapping);
  const first = <Field extends keyof BehaviourSpec>(field: Field): BehaviourSpec[Field] | undefined =>
    layers.find((layer) => layer[field] !== undefined)?.[field];

  const refusing = layers.find((layer) => refuses(layer, request.method))?.error;
  const refusal = refusing === undefined ? undefined : fill(errorTemplate(refusing), request);
  const midStream = first('errorMidStream');
  const base: Plan = {
    refusal,
    errorMidStream: midStream === undefined ? undefined : fill(errorTemplate(midStream), request),
    wrapping: first('wrapping') ?? plain.wrapping,
    delayMs: first('delayMs') ?? plain.delayMs,
    chunkDelayMs: first('chunkDelayMs') ?? plain.chunkDelayMs,
    chunks: first('chunks') ?? plain.chunks,
    cut: first('cut'),
    limits: layers,
    dayRetryDelayMs: first('dayRetryDelayMs'),
  };
  if (refusal?.wire === 'stream' && request.method === 'streamGenerateContent') {
    return { ...base, refusal: undefined, errorMidStream: refusal };
  }
  if (refusal?.wire === 'cut') return { ...base, cut: 'beforeAnswer' };
  if (refusal?.wire === 'silence') return { ...base, delayMs: Infinity };
  return base;
}
