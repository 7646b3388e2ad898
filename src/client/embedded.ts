import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import { BalancerError } from '../engine/errors.ts';
import { KeyAdminService, KeyBalancerService } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { createGeminiProbe } from '../server/gemini-probe.ts';
import type { CallContext } from '../server/service/service-functions.ts';
import { createServices } from '../server/service/services.ts';
import { VERSION } from '../server/version.ts';
import { socketPath } from '../store/data-dir.ts';
import { openStore } from '../store/open-store.ts';
import { type Balancer, type CallOptions, type InvokeUnary, unaryCalls } from './balancer.ts';
import { fn, LONGEST_TIMER_MS, MOST_CACHED, number, oneOf, refuseUnknown, whole } from './checks.ts';
import { checkBaseUrl, geminiBaseUrlOf } from './config.ts';
import { cancelledError, closedError, KeyBalancerError } from './errors.ts';
import { Waiters } from './waiters.ts';

/** How a data dir is opened in this process. INVALID_ARGUMENT names what cannot be. */
export interface EmbeddedOptions {
  /** full (default): what was acknowledged survives the loss of power; normal: the end of the process. */
  durability?: 'full' | 'normal' | undefined;
  /** The key that keys are sealed with: a value or the path of a file. Default: as the environment says, else master.key in the dir, made on first use. */
  masterKey?: { value?: string | undefined; file?: string | undefined } | undefined;
  /** Decrypted keys to keep in memory, 1 to 10,000,000. Default: by the number of keys. */
  cacheSize?: number | undefined;
  /** Where Gemini is asked about keys. Default: KEYBALANCER_GEMINI_BASE_URL, else GOOGLE_GEMINI_BASE_URL, else Google's. */
  geminiBaseUrl?: string | undefined;
  /** Told what an operator should know, such as that a master key was made. Default: process.emitWarning. */
  warn?: ((message: string) => void) | undefined;
}

/** Calls of other processes that run when the owner closes get so long to end, and their answers to arrive. */
const CLOSE_MS = 250;

export interface EmbeddedBalancer extends Balancer {
  /**
   * Lets other processes join by the socket in the data dir; nothing of it keeps this process alive. Rejects where there can be
   * no socket; where its path would be too long, nothing is served.
   */
  serve(): Promise<void>;
}

/**
 * The engine and the store of a data dir in this process, as its only owner. The one file of the client that knows the
 * server's insides. Rejects with DataDirInUseError when another process owns the dir.
 */
export async function openEmbedded({
  dataDir,
  ...options
}: EmbeddedOptions & { dataDir: string }): Promise<EmbeddedBalancer> {
  checkOptions(options);
  const warn = options.warn ?? ((message: string) => process.emitWarning(message, 'KeyBalancerWarning'));
  const store = await openStore({
    dataDir,
    durability: options.durability ?? 'full',
    masterKey: options.masterKey ?? {},
    probe: createGeminiProbe({ baseUrl: options.geminiBaseUrl ?? geminiBaseUrlOf() }),
    warn,
    ...(options.cacheSize === undefined ? {} : { cacheSize: options.cacheSize }),
  });
  const where = `data dir ${dataDir}`;
  const draining = new AbortController();
  const services = createServices({
    store,
    version: VERSION,
    startTime: Date.now(),
    draining: draining.signal,
    open: { watchers: 0, sessions: 0 },
  });
  const waiters = new Waiters();
  let closing: Promise<void> | undefined;
  let opening: ReturnType<typeof openDoor> | undefined;

  const openDoor = async () => {
    const socket = socketPath(dataDir);
    if (socket === undefined) return undefined;
    // Loaded only now: not every owner serves.
    const { SocketDoor } = await import('../server/grpc/socket-door.ts');
    const { createOperatorService } = await import('../server/operator/operator-service.ts');
    if (closing !== undefined) return undefined;
    const failed = (method: string, error: unknown): void =>
      warn(`a call of another process failed inside (${method}): ${(error as Error).message}`);
    const operator = createOperatorService({ maintenance: store.maintenance, config: undefined });
    const door = await SocketDoor.open({ socket, services, operator, failed });
    await store.announce({ socket });
    return door;
  };

  const invokeOf =
    (functions: object): InvokeUnary =>
    async (method: DescMethodUnary, request: Message, options: CallOptions) => {
      if (closing !== undefined) throw closedError(where);
      const serve = (functions as Record<string, Serve | undefined>)[method.localName];
      if (serve === undefined) throw new KeyBalancerError(`no method ${method.name}`, { code: 'UNIMPLEMENTED' });
      if (options.signal?.aborted) throw cancelledError(options.signal);
      const context = new EmbeddedCall(options);
      try {
        return await waiters.until(serve(request, context));
      } catch (error) {
        throw context.error(error);
      }
    };

  const streaming = <I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    serve: ((request: MessageShape<I>, context: CallContext) => AsyncIterable<MessageShape<O>>) | undefined,
  ) =>
    async function* (request: MessageInitShape<I>, options: CallOptions = {}): AsyncGenerator<MessageShape<O>> {
      if (closing !== undefined) throw closedError(where);
      if (serve === undefined) throw new KeyBalancerError(`no method ${method.name}`, { code: 'UNIMPLEMENTED' });
      const left = new AbortController();
      const context = new EmbeddedCall(options, left.signal);
      try {
        context.signal.throwIfAborted();
        const responses = serve(create(method.input, request), context)[Symbol.asyncIterator]();
        try {
          for (;;) {
            const next = await waiters.until(responses.next());
            if (next.done === true) break;
            yield next.value;
          }
        } finally {
          await responses.return?.();
        }
        // A stream that is given up just ends in here; over a network it fails.
        context.signal.throwIfAborted();
      } catch (error) {
        throw context.error(error);
      } finally {
        left.abort();
      }
    };

  return {
    keyBalancer: unaryCalls(KeyBalancerService, invokeOf(services.keyBalancer)),
    keyAdmin: unaryCalls(KeyAdminService, invokeOf(services.keyAdmin)),
    watchHealth: streaming(KeyBalancerService.method.watchHealth, services.keyBalancer.watchHealth),
    testKeys: streaming(KeyAdminService.method.testKeys, services.keyAdmin.testKeys),
    where,
    inProcess: true,
    async serve() {
      if (closing !== undefined) throw closedError(where);
      opening ??= openDoor();
      await opening;
    },
    close() {
      closing ??= (async () => {
        store.drain();
        draining.abort();
        const door = await opening?.catch(() => undefined);
        await door?.close(CLOSE_MS);
        await store.close();
        waiters.close();
      })();
      return closing;
    },
  };
}

function checkOptions(options: EmbeddedOptions): void {
  refuseUnknown(options, ['durability', 'masterKey', 'cacheSize', 'geminiBaseUrl', 'warn'], 'embedded');
  oneOf('durability', options.durability, ['full', 'normal']);
  if (options.masterKey !== undefined) refuseUnknown(options.masterKey, ['value', 'file'], 'masterKey');
  if (options.cacheSize !== undefined) whole('cacheSize', options.cacheSize, 1, MOST_CACHED);
  if (options.geminiBaseUrl !== undefined) checkBaseUrl('geminiBaseUrl', options.geminiBaseUrl);
  if (options.warn !== undefined) fn('warn', options.warn);
}

type Serve = (request: Message, context: CallContext) => Promise<Message>;

const NEVER_ABORTED = new AbortController().signal;

/** A call that never leaves the process. Its signal is made when it is first asked for: most calls end without anybody asking. */
class EmbeddedCall implements CallContext {
  readonly caller = 'local';
  readonly timeoutMs: number | undefined;
  readonly relaxed: boolean | undefined;
  readonly #given: AbortSignal[];
  /** Tells a deadline that passed from a caller who gave up. */
  #timeout: AbortSignal | undefined;
  #signal: AbortSignal | undefined;

  constructor({ signal, timeoutMs, relaxed }: CallOptions, left?: AbortSignal) {
    this.timeoutMs = timeoutMs === undefined ? undefined : number('timeoutMs', timeoutMs, 0, LONGEST_TIMER_MS);
    this.relaxed = relaxed;
    this.#given = [signal, left].filter((each) => each !== undefined);
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      if (this.timeoutMs !== undefined) this.#timeout = AbortSignal.timeout(Math.ceil(this.timeoutMs));
      const signals = this.#timeout === undefined ? this.#given : [...this.#given, this.#timeout];
      this.#signal = signals.length > 1 ? AbortSignal.any(signals) : (signals[0] ?? NEVER_ABORTED);
    }
    return this.#signal;
  }

  /** As it would be over a network. */
  error(error: unknown): KeyBalancerError {
    if (this.#timeout?.aborted) return new KeyBalancerError('the deadline passed', { code: 'DEADLINE_EXCEEDED' });
    if (this.signal.aborted) return cancelledError(this.signal);
    if (error instanceof BalancerError) {
      const { code, reason, metadata, retryDelayMs, violations } = error;
      return new KeyBalancerError(error.message, { code, reason, metadata, retryAfterMs: retryDelayMs, violations });
    }
    return new KeyBalancerError('internal error', { code: 'INTERNAL', cause: error });
  }
}
