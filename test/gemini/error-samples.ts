import { readFileSync } from 'node:fs';
import type { Scope } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

/** One of the recorded failures, with what it means. */
export interface ErrorSample {
  name: string;
  httpStatus: number;
  /** As received: text, or JSON when it was JSON. */
  body: unknown;
  errorClass: ErrorClass;
  scope: Scope;
}

interface Recorded {
  name: string;
  http_status: number;
  body: unknown;
  expected: { class: keyof typeof ErrorClass; scope: string };
}

const recorded: Recorded[] = JSON.parse(readFileSync(new URL('../fake-gemini/errors.json', import.meta.url), 'utf8'));

export const SAMPLES: readonly ErrorSample[] = recorded.map((sample) => ({
  name: sample.name,
  httpStatus: sample.http_status,
  body: sample.body,
  errorClass: ErrorClass[sample.expected.class],
  scope: sample.expected.scope.toLowerCase().replace('_', '-') as Scope,
}));

export function textOf(sample: ErrorSample): string {
  return typeof sample.body === 'string' ? sample.body : JSON.stringify(sample.body);
}
