import type { BackendPart } from './messages.ts';

/** The three backends: what differs is the model and the pace. */
export const BACKENDS: readonly BackendPart[] = [
  { name: 'chat', model: 'gemini-2.5-flash', callsPerSecond: 200, workers: 8, typoEvery: 0 },
  { name: 'search', model: 'gemini-2.5-flash-lite', callsPerSecond: 150, workers: 6, typoEvery: 0 },
  { name: 'reports', model: 'gemini-2.5-pro', callsPerSecond: 100, workers: 4, typoEvery: 100 },
];

/** The model that is overloaded for a moment, and when: after so large a part of the demo. */
export const OVERLOADED = { model: 'gemini-2.5-pro', after: 0.55 };
