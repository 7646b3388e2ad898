import type { Metadata, ServerUnaryCall } from '@grpc/grpc-js';
import type { CallContext } from '../service/service-functions.ts';

/** What all kinds of grpc-js calls have. */
export interface ServerCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline: ServerUnaryCall<unknown, unknown>['getDeadline'];
  on(event: 'cancelled', listener: () => void): unknown;
}

/** What a grpc-js call says of itself. The signal is made when it is first asked for: most calls end without anybody asking. */
export class GrpcCallContext implements CallContext {
  readonly caller = 'local';
  readonly #call: ServerCall;
  #controller: AbortController | undefined;

  constructor(call: ServerCall) {
    this.#call = call;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      const controller = new AbortController();
      this.#controller = controller;
      if (this.#call.cancelled) controller.abort();
      else this.#call.on('cancelled', () => controller.abort());
    }
    return this.#controller.signal;
  }

  get timeoutMs(): number | undefined {
    const deadline = Number(this.#call.getDeadline());
    return Number.isFinite(deadline) ? Math.max(0, deadline - Date.now()) : undefined;
  }
}
