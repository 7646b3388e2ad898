import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/engine/clock.ts';
import { BalancerError } from '../../src/engine/errors.ts';
import type { KeyAdminService } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createKeyAdminService } from '../../src/server/service/admin/key-admin-service.ts';
import type { ServiceContext } from '../../src/server/service/service-context.ts';
import type { CallContext, ServiceFunctions } from '../../src/server/service/service-functions.ts';
import { openStore } from '../../src/store/open-store.ts';
import type { Probe } from '../../src/store/probe.ts';
import { tempDir } from './temp-dir.ts';

export const START_TIME = 1_764_000_000_000;

/** The service functions on a real store in a data dir of its own, which goes with the test. */
export interface TestService {
  context: ServiceContext;
  call: CallContext;
  /** Stops the store, so that another can open its data dir. */
  close(): Promise<void>;
  /** Management, each method of it there. */
  admin: Required<ServiceFunctions<typeof KeyAdminService>>;
}

export interface ServiceOptions {
  dataDir?: string;
  clock?: Clock;
  /** Whether Gemini is asked before a suspected key is disabled. */
  verify?: boolean;
  /** How Gemini is asked. */
  probe?: Probe;
  /** By how much ends of cooldowns are spread, 0 to less than 1. */
  random?: () => number;
}

export async function openService(options: ServiceOptions = {}): Promise<TestService> {
  const { dataDir = tempDir(), ...others } = options;
  const store = await openStore({
    dataDir,
    durability: 'normal',
    masterKey: {},
    ...others,
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= store.close();
    return closed;
  };
  onTestFinished(close);
  const context: ServiceContext = {
    store,
    version: '1.2.3',
    startTime: START_TIME,
    draining: new AbortController().signal,
    open: { watchers: 0, sessions: 0 },
  };
  return { context, call: callOf(), close, admin: createKeyAdminService(context) as TestService['admin'] };
}

export function callOf(call: Partial<CallContext> = {}): CallContext {
  return { caller: 'local', signal: new AbortController().signal, timeoutMs: undefined, ...call };
}

/** A clock that stands until the test moves it. */
export function movedClock(now = 1_000): Clock & { move(ms: number): void } {
  return {
    now: () => now,
    wallOffset: () => START_TIME,
    move: (ms) => {
      now += ms;
    },
  };
}

/** Why a call was refused: its reason, and the field if it is one field's fault. Fails the test if it was not refused. */
export async function refusalOf(
  answer: Promise<unknown>,
): Promise<{ reason: string; field?: string; message: string }> {
  try {
    await answer;
  } catch (error) {
    if (!(error instanceof BalancerError)) throw error;
    const { reason, message, metadata } = error;
    return { reason, message, ...(metadata.field === undefined ? {} : { field: metadata.field }) };
  }
  throw new Error('the call was not refused');
}
