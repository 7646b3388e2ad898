import type { Store } from '../../store/store.ts';

/** What the service functions stand on. */
export interface ServiceContext {
  readonly store: Store;
  readonly version: string;
  /** Wall-clock milliseconds. */
  readonly startTime: number;
  /** Aborted when the server begins to drain: long streams end by it. */
  readonly draining: AbortSignal;
  /** Open streams, for GetStats and metrics. */
  readonly open: { watchers: number; sessions: number };
}
