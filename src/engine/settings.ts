import type { Selection } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What an operator sets on a key. */
export interface KeySettings {
  /** "": unknown, a project of its own. */
  project: string;
  /** 0.001 to 1000. */
  weight: number;
  /** undefined: the pool's; 0: no limit. */
  maxConcurrentLeases: number | undefined;
  /** Models it may serve; empty: all. */
  models: readonly string[];
  source: string;
  labels: Readonly<Record<string, string>>;
  /** 0 to 9: keys of a tier serve only when none of a lower one may. */
  tier: number;
  disabled: boolean;
}

/** What an operator sets on a pool. */
export interface PoolSettings {
  pool: string;
  defaultLeaseTtlMs: number;
  maxLeaseTtlMs: number;
  /** Per key; 0: no limit. */
  maxConcurrentLeases: number;
  /** All keys together; 0: no limit. */
  maxTotalLeases: number;
  maxWaiting: number;
  description: string;
  /** A lease that expires unreported counts as a success. */
  autoSuccess: boolean;
  selection: Selection;
}

/** Pool "default" as it is from the first start, and what a new pool has where nothing else is said. */
export const DEFAULT_POOL: PoolSettings = {
  pool: 'default',
  defaultLeaseTtlMs: 120_000,
  maxLeaseTtlMs: 3_600_000,
  maxConcurrentLeases: 0,
  maxTotalLeases: 0,
  maxWaiting: 10_000,
  description: '',
  autoSuccess: false,
  selection: 1,
};
