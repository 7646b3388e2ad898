import type { ProviderErrorInit } from '../gemini/describe-thrown.ts';

/** Asks Gemini whether it takes a key. The store decides when and what of it; whoever opens the store brings the network. */
export type Probe = (order: ProbeOrder) => Promise<ProbeAnswer>;

export interface ProbeOrder {
  /** Secret. */
  apiKey: string;
  /** "": the models are listed, which uses no quota. Else the model generates one token, which uses a request of its quota. */
  model: string;
  /** How many models are listed, at least 1. */
  modelsPageSize: number;
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface ProbeAnswer {
  latencyMs: number;
  /** undefined: Gemini took the key. Redacted. */
  error: ProviderErrorInit | undefined;
}
