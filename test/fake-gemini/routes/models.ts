import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import { page } from '../page.ts';
import { modelNotFound } from '../refusals.ts';

/** The models that exist unless the options say otherwise. */
export const DEFAULT_MODELS: readonly string[] = [
  'gemini-2.0-flash',
  'gemini-2.5-flash',
  'gemini-2.5-flash-lite',
  'gemini-2.5-pro',
  'gemini-3-pro',
  'gemini-3.6-flash',
];

export function listModels(call: Call, models: ReadonlySet<string>): Answer {
  return page('models', [...models].map(resource), call.query, 1000);
}

export function getModel(call: Call, models: ReadonlySet<string>): Answer {
  const model = call.model ?? '';
  return models.has(model) ? { kind: 'json', body: resource(model) } : modelNotFound(call);
}

function resource(model: string): Record<string, unknown> {
  return {
    name: `models/${model}`,
    version: '001',
    displayName: model,
    description: 'A model of the fake Gemini server.',
    inputTokenLimit: 1_048_576,
    outputTokenLimit: 65_536,
    supportedGenerationMethods: ['generateContent', 'countTokens'],
    temperature: 1,
    topP: 0.95,
    topK: 64,
    maxTemperature: 2,
  };
}
