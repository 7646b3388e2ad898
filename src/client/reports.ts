import { performance } from 'node:perf_hooks';
import { clearTimeout, setTimeout } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ReportResultRequestSchema, ReportResultResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { awayPauseMs, isAway } from './away.ts';
import type { Balancer } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';

export type Report = MessageInitShape<typeof ReportResultRequestSchema>;

export interface ReportsOptions {
  /** How long a report that finds the balancer away is sent again, in milliseconds. Default 30,000. */
  patienceMs?: number;
  /** Reports that may wait for a balancer that is away; more are lost. Default 10,000. */
  mostWaiting?: number;
  /** Shortest time between two words on reports that were lost, in milliseconds. Default 60,000. */
  tellMs?: number;
}

/** A server that is frozen answers nothing; the report is then sent again. */
const ONE_TRY_MS = 10_000;
const FIRST_PAUSE_MS = 100;
/** Thousands may wait, and each try costs. */
const LONGEST_PAUSE_MS = 1_000;

/** Sends the reports of leases, again and again while the balancer is away, for whoever cannot wait for them. */
export class Reports {
  readonly #balancer: Balancer;
  readonly #patienceMs: number;
  readonly #mostWaiting: number;
  readonly #pending = new Set<Promise<unknown>>();
  readonly #tellMs: number;
  #waiting = 0;
  #lost = 0;
  /** Of the lost, those that were told of. */
  #told = 0;
  #telling: NodeJS.Timeout | undefined;

  constructor(balancer: Balancer, { patienceMs = 30_000, mostWaiting = 10_000, tellMs = 60_000 }: ReportsOptions = {}) {
    this.#balancer = balancer;
    this.#patienceMs = patienceMs;
    this.#mostWaiting = mostWaiting;
    this.#tellMs = tellMs;
  }

  /** Never rejects; undefined: it is lost. `relaxed`: nobody waits for its answer, so it may wait for company. */
  send(report: Report, keyId: string, relaxed = false): Promise<ReportResultResponse | undefined> {
    return this.#track(this.#deliver(report, relaxed).catch((error: unknown) => this.#lose(error, keyId)));
  }

  /** Resolves when no report is on its way. */
  async settled(): Promise<void> {
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  /** Says how many were lost, if more than was told. */
  close(): void {
    clearTimeout(this.#telling);
    this.#tell();
  }

  #track<T>(sending: Promise<T>): Promise<T> {
    this.#pending.add(sending);
    return sending.finally(() => this.#pending.delete(sending));
  }

  async #deliver(report: Report, relaxed: boolean): Promise<ReportResultResponse> {
    const end = performance.now() + this.#patienceMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        return await this.#balancer.keyBalancer.reportResult(report, { timeoutMs: ONE_TRY_MS, relaxed });
      } catch (error) {
        const again =
          isAway(error) ||
          (error instanceof KeyBalancerError && (error.code === 'DEADLINE_EXCEEDED' || error.reason === 'QUEUE_FULL'));
        if (!again || performance.now() >= end || this.#waiting >= this.#mostWaiting) throw error;
      }
      this.#waiting++;
      await sleep(awayPauseMs(pauseMs / 2, pauseMs));
      this.#waiting--;
    }
  }

  #lose(error: unknown, keyId: string): undefined {
    this.#lost++;
    if (this.#lost === 1) {
      this.#told = 1;
      warn(`a report on key ${keyId} was lost: ${(error as Error).message}`);
    }
    // Thousands may be lost together: they are told of by their number.
    this.#telling ??= setTimeout(() => {
      this.#telling = undefined;
      this.#tell();
    }, this.#tellMs).unref();
    return undefined;
  }

  #tell(): void {
    if (this.#lost === this.#told) return;
    this.#told = this.#lost;
    warn(`${this.#lost} reports were lost; their leases ended by their time limit`);
  }
}

function warn(message: string): void {
  process.emitWarning(message, 'KeyBalancerWarning');
}
