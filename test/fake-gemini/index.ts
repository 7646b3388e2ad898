/**
 * A fake of the Gemini API for tests: a real HTTP server whose keys, quotas and faults are scripted.
 *
 *     await using fake = await startFakeGemini({
 *       keys: { 'AQ.test-key-000001': { project: 'p1', behaviour: { minuteLimit: 10 } }, 'AQ.test-key-000002': { behaviour: 'dead' } },
 *     });
 *     const ai = new GoogleGenAI({ apiKey: 'AQ.test-key-000001', vertexai: false, httpOptions: { baseUrl: fake.url } });
 *
 * Answers and token counts follow from the prompt alone: see expectedAnswer and expectedTokens. A prompt that has the name of a declared
 * function is answered by a call of it. Besides models and files there are caches, batches, file search stores, tuned models,
 * interactions and live sessions, each its project's alone.
 */
export type { Behaviour, BehaviourName, BehaviourSpec, Cut, FakeMethod, Limits } from './behaviour.ts';
export type { Counts, Ending, LogEntry } from './counts.ts';
export { type CustomError, errorNames, type Wrapping } from './errors.ts';
export type { FakeGeminiOptions } from './options.ts';
export { nextPacificMidnight } from './pacific-midnight.ts';
export type { FakeRequest, KeyOptions, ModelOptions, Script } from './scripts.ts';
export { type FakeGemini, startFakeGemini } from './server.ts';
export { expectedAnswer, expectedTokens } from './text.ts';
