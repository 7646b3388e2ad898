import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { ProviderErrorInit } from '../../gemini/describe-thrown.ts';
import { type Lease, Outcome, type ReportResultResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Reports } from '../reports.ts';
import type { Usage } from '../token-usage.ts';
import { classOf, type Notify, toldInTime } from './retries.ts';

/** What is known of a try besides how it ended. */
export interface TryFigures {
  /** HTTP status of the answer; 0: none came. */
  status: number;
  latencyMs: number;
  usage?: Usage | undefined;
}

/** Tells the balancer, and whoever listens, how tries ended. */
export class TryReports {
  readonly #reports: Reports;
  readonly #notify: Notify;

  constructor(reports: Reports, notify: Notify) {
    this.#reports = reports;
    this.#notify = notify;
  }

  /** Nobody waits for it. */
  succeeded({ leaseId, keyId }: Lease, figures: TryFigures): void {
    void this.#reports.send({ leaseId, outcome: Outcome.SUCCESS, ...reported(figures) }, keyId, true);
    this.#tell(keyId, 'success', '', figures);
  }

  /** The balancer's answer; undefined: it takes longer than a request waits. */
  async failed(
    { leaseId, keyId }: Lease,
    error: ProviderErrorInit,
    figures: TryFigures,
  ): Promise<ReportResultResponse | undefined> {
    const sending = this.#reports.send({ leaseId, outcome: Outcome.FAILURE, error, ...reported(figures) }, keyId);
    const told = await toldInTime(sending);
    this.#tell(keyId, 'failure', classOf(told), { ...figures, status: error.httpStatus ?? figures.status });
    return told;
  }

  #tell(keyId: string, outcome: 'success' | 'failure', errorClass: string, figures: TryFigures): void {
    const { status: httpStatus, latencyMs, usage } = figures;
    const inputTokens = Number(usage?.inputTokens ?? 0);
    const outputTokens = Number(usage?.outputTokens ?? 0);
    this.#notify({ type: 'report', keyId, outcome, errorClass, httpStatus, latencyMs, inputTokens, outputTokens });
  }
}

function reported({ latencyMs, usage }: TryFigures) {
  return { latency: durationFromMs(Math.round(latencyMs)), ...(usage === undefined ? {} : { usage }) };
}
