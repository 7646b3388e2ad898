import type { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What a failure speaks about: whose fault it is, and so what may have to rest. */
export type Scope = 'none' | 'key' | 'project' | 'project-model';

/** What a provider error means, before anyone decides what to do about it. */
export interface Finding {
  errorClass: ErrorClass;
  scope: Scope;
  /** The delay that Gemini stated (RetryInfo), in milliseconds. */
  retryDelayMs: number | undefined;
}
