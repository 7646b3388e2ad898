import { randomUUID } from 'node:crypto';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { Balancer } from '../../src/client/balancer.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { Ledger } from './ledger.ts';

/** Leases that a client holds while it works. */
const HELD = 8;

/** The server as a client sees it: whether it was killed, and how to reach it. */
export interface Target {
  killed: boolean;
  balancer: Balancer;
  /** Told of every answer, at once. */
  answered: (call: Call) => void;
}

export type Call = 'acquire' | 'report' | 'import';

interface Step {
  call: Call;
  make: (balancer: Balancer) => Promise<void>;
}

/**
 * A client that keeps a server busy until it is killed. A call that was under way then is kept, to be repeated word for word
 * on the next server; any other failure is one that must not be.
 */
export class LoadClient {
  readonly #ledger: Ledger;
  readonly #random: () => number;
  readonly #held: string[] = [];
  #unfinished: Step | undefined;
  /** Keys that it imports next; 0: none. */
  importSize = 0;

  constructor(ledger: Ledger, random: () => number) {
    this.#ledger = ledger;
    this.#random = random;
  }

  /** Works until the server is killed. */
  async run(target: Target): Promise<void> {
    while (!target.killed) {
      const step = this.#next();
      try {
        await step.make(target.balancer);
        target.answered(step.call);
      } catch (error) {
        const cut = error instanceof KeyBalancerError && error.code === 'UNAVAILABLE' && error.reason === '';
        if (!target.killed || !cut) throw error;
        this.#unfinished = step;
      }
    }
  }

  /** Repeats the call whose answer the kill took. */
  async finish(balancer: Balancer): Promise<void> {
    const step = this.#unfinished;
    this.#unfinished = undefined;
    await step?.make(balancer);
  }

  /** Reports all that it holds. */
  async reportAll(balancer: Balancer): Promise<void> {
    while (this.#held.length > 0) await this.#report(this.#held.shift()!).make(balancer);
  }

  #next(): Step {
    if (this.importSize > 0) {
      const size = this.importSize;
      this.importSize = 0;
      return this.imports(size);
    }
    const dice = this.#random();
    if (this.#held.length < HELD && (this.#held.length === 0 || dice < 0.5)) return this.#acquire();
    if (dice < 0.05 && this.#ledger.reported.length > 0) return this.#reportAgain();
    return this.#report(this.#held.splice(Math.floor(this.#random() * this.#held.length), 1)[0]!);
  }

  #acquire(): Step {
    const requestId = this.#random() < 0.8 ? randomUUID() : '';
    const model = ['', 'gemini-2.5-flash', 'gemini-2.5-pro'][Math.floor(this.#random() * 3)]!;
    let first = true;
    const make = async (balancer: Balancer): Promise<void> => {
      if (!first && requestId === '') this.#ledger.lostAcquires++;
      first = false;
      const leaseTtl = durationFromMs(3_600_000);
      const { lease } = await balancer.keyBalancer.acquireKey({ requestId, leaseTtl, model });
      this.#ledger.acquired(lease!.leaseId, lease!.keyId);
      this.#held.push(lease!.leaseId);
    };
    return { call: 'acquire', make };
  }

  #report(leaseId: string): Step {
    const dice = this.#random();
    const outcome = dice < 0.7 ? Outcome.SUCCESS : dice < 0.9 ? Outcome.FAILURE : Outcome.UNUSED;
    // Rests nothing, so that leases go on.
    const error = { httpStatus: 500, status: 'INTERNAL', message: 'An internal error has occurred.' };
    let first = true;
    const make = async (balancer: Balancer): Promise<void> => {
      const isFirst = first;
      first = false;
      const request = outcome === Outcome.FAILURE ? { leaseId, outcome, error } : { leaseId, outcome };
      const { duplicate, late } = await balancer.keyBalancer.reportResult(request);
      // The first of two may have been counted though its answer was lost.
      if ((isFirst && duplicate) || late)
        throw new Error(`duplicate ${duplicate}, late ${late}: a report of an open lease`);
      this.#ledger.took(leaseId, outcome);
    };
    return { call: 'report', make };
  }

  #reportAgain(): Step {
    const { reported } = this.#ledger;
    const leaseId = reported[Math.floor(this.#random() * reported.length)]!;
    const make = async (balancer: Balancer): Promise<void> => {
      const { duplicate } = await balancer.keyBalancer.reportResult({ leaseId, outcome: Outcome.FAILURE });
      if (!duplicate) throw new Error('a lease was reported twice and counted twice');
    };
    return { call: 'report', make };
  }

  /** A call that brings so many new keys. */
  imports(size: number): Step {
    const requestId = randomUUID();
    const keys = Array.from({ length: size }, (_, index) => ({ apiKey: `AQ.test-key-${requestId}-${index}` }));
    const make = async (balancer: Balancer): Promise<void> => {
      const { results, record } = await balancer.keyBalancer.importKeys({ keys, requestId, source: 'load' });
      if (record!.created !== size) throw new Error(`of ${size} keys ${record!.created} were created`);
      this.#ledger.imported(results.map(({ keyId }) => keyId));
    };
    return { call: 'import', make };
  }
}
