import type { DescMethodUnary, Message } from '@bufbuild/protobuf';
import type { CallOptions, InvokeUnary } from '../balancer.ts';
import { KeyBalancerError } from '../errors.ts';
import type { Fallback } from './fallback.ts';
import { KIND_OF, type Operation } from './operation.ts';

/** Operations that no stream carries: each a call of its own, from which the fallback learns whether that way is open. */
export class LoneCalls {
  readonly #single: InvokeUnary;
  readonly #fallback: Fallback;
  readonly #ended: () => void;
  #reports = 0;

  /** `ended` hears of the end of each call. */
  constructor(single: InvokeUnary, fallback: Fallback, ended: () => void) {
    this.#single = single;
    this.#fallback = fallback;
    this.#ended = ended;
  }

  /** Reports under way. */
  get reports(): number {
    return this.#reports;
  }

  carry(operation: Operation): void {
    if (operation.settled) return;
    const { method, request, signal, timeLeftMs, mayRepeat } = operation;
    this.invoke(method, request, { signal, timeoutMs: timeLeftMs, mayRepeat }).then(
      (answer) => operation.resolve(answer),
      (error: unknown) => operation.reject(error),
    );
  }

  async invoke(method: DescMethodUnary, request: Message, call: CallOptions): Promise<Message> {
    const inTrial = this.#fallback.way === 'trial';
    const isReport = KIND_OF[method.localName] === 'report';
    if (isReport) this.#reports++;
    try {
      const answer = await this.#single(method, request, call);
      if (inTrial) this.#fallback.tried(true);
      return answer;
    } catch (error) {
      // A refusal that gives its reason is an answer too.
      if (inTrial) this.#fallback.tried(error instanceof KeyBalancerError && error.reason !== '');
      throw error;
    } finally {
      if (isReport) this.#reports--;
      this.#ended();
    }
  }
}
