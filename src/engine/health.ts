import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';

/** What outcomes taught about a key. The operator's weight is no part of it; the effective weight is weight x factor. */
export interface Health {
  /** 0.1 to 1. */
  readonly factor: number;
  /** Failures of the key's own since its last success. */
  readonly consecutiveFailures: number;
  readonly lastErrorClass: ErrorClass;
  /** On the engine's clock; undefined: never. */
  readonly lastSuccess: number | undefined;
  readonly lastFailure: number | undefined;
}

export const HEALTHY: Health = {
  factor: 1,
  consecutiveFailures: 0,
  lastErrorClass: ErrorClass.UNSPECIFIED,
  lastSuccess: undefined,
  lastFailure: undefined,
};

/** So low a factor lets a key be tried now and then still. */
export const LOWEST_HEALTH = 0.1;

export function succeeded(health: Health, now: number): Health {
  return {
    factor: Math.min(1, health.factor * 1.1),
    consecutiveFailures: 0,
    lastErrorClass: health.lastErrorClass,
    lastSuccess: now,
    lastFailure: health.lastFailure,
  };
}

/** `ownFault`: whether the key itself, not its quota, its provider or its caller, is to blame. */
export function failed(health: Health, errorClass: ErrorClass, ownFault: boolean, now: number): Health {
  return {
    factor: ownFault ? Math.max(LOWEST_HEALTH, health.factor * 0.8) : health.factor,
    consecutiveFailures: ownFault ? health.consecutiveFailures + 1 : health.consecutiveFailures,
    lastErrorClass: errorClass,
    lastSuccess: health.lastSuccess,
    lastFailure: now,
  };
}
