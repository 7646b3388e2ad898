import type { GoogleGenAI, HttpOptions } from '@google/genai';
import { KeyBalancerError } from '../errors.ts';
import { checkCallOptions, checkNewerCallOptions } from '../genai-options.ts';
import { withAttempts } from './call-scope.ts';

type Method = (...args: unknown[]) => unknown;
type Methods = Record<string, unknown>;

/** The resources of the SDK's newer half, which retries by itself. */
const NEWER = ['interactions', 'webhooks', 'agents', 'triggers', 'environments', 'credentials', 'voices'] as const;

/** Errors around errors that are looked through. */
const DEEPEST_CAUSE = 6;

/**
 * Hangs the tries on what requests end with. What the SDK throws for an HTTP error is made by it, from a response: only around its
 * one way to send requests is it known whose tries they were. Without such a way, in another version, errors come without.
 */
export function tellAttempts(ai: GoogleGenAI): void {
  aroundRequests(ai, (_, send) => withAttempts(send));
}

/** Refuses options of single calls that the lease decides: the SDK asks for them no earlier than with the request. */
export function checkCalls(ai: GoogleGenAI): void {
  aroundRequests(ai, async ({ httpOptions }, send) => {
    checkCallOptions(httpOptions);
    return send();
  });
}

function aroundRequests(
  ai: GoogleGenAI,
  around: (request: { httpOptions?: HttpOptions }, send: () => Promise<unknown>) => Promise<unknown>,
): void {
  const { apiClient } = ai as unknown as { apiClient?: Methods };
  if (apiClient === undefined) return;
  for (const name of ['request', 'requestStream']) {
    const send = apiClient[name];
    if (typeof send !== 'function') continue;
    apiClient[name] = (request: { httpOptions?: HttpOptions }) =>
      around(request, async () => (send as Method).call(apiClient, request));
  }
}

/**
 * A stream whose `return()` is called before it was begun ends its request, too: the SDK's generators pass that on to what they read
 * from only once they have begun.
 */
export function endUnbegunStreams({ models, chats }: GoogleGenAI): void {
  models.generateContentStream = endingUnbegun(models.generateContentStream);
  const create = chats.create.bind(chats);
  chats.create = (params) => {
    const chat = create(params);
    chat.sendMessageStream = endingUnbegun(chat.sendMessageStream.bind(chat));
    return chat;
  };
}

function endingUnbegun<P, T>(open: (params: P) => Promise<AsyncGenerator<T>>): typeof open {
  return async (params) => {
    const stream = await open(params);
    const next = stream.next.bind(stream);
    const leave = stream.return.bind(stream);
    let begun = false;
    stream.next = () => {
      begun = true;
      return next();
    };
    stream.return = (value) => {
      // Its first chunk is there already.
      if (!begun) void stream.next().catch(() => undefined);
      return leave(value);
    };
    return stream;
  };
}

/**
 * Interactions and the like retry up to four times with the same key, which here would multiply the tries. The SDK takes a
 * setting against that for each call, and reads the same one from the client that it builds for the resource. A KeyBalancerError, which
 * it would wrap, comes as it is.
 */
export function withoutOwnRetries(ai: GoogleGenAI): void {
  for (const name of NEWER) {
    let prepared: object | undefined;
    const get = inheritedGetter(ai, name);
    if (get === undefined) continue;
    Object.defineProperty(ai, name, {
      configurable: true,
      enumerable: false,
      get() {
        prepared ??= prepare(get.call(ai) as Methods);
        return prepared;
      },
    });
  }
}

function inheritedGetter(object: object, name: string): (() => unknown) | undefined {
  for (let holder: object | null = object; holder !== null; holder = Object.getPrototypeOf(holder) as object | null) {
    const getter = Object.getOwnPropertyDescriptor(holder, name)?.get;
    if (getter !== undefined) return getter;
  }
  return undefined;
}

function prepare(resource: Methods): object {
  const prototype = Object.getPrototypeOf(resource) as object;
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const method: unknown = Object.getOwnPropertyDescriptor(prototype, name)?.value;
    if (name === 'constructor' || typeof method !== 'function') continue;
    resource[name] =
      name === 'getClient'
        ? (...args: unknown[]) => withoutRetries((method as Method).apply(resource, args))
        : (...args: unknown[]) =>
            withAttempts(() =>
              withBareErrors(async () => {
                // What comes first says what is asked for.
                if (args.length > 1) checkNewerCallOptions(args.at(-1));
                return (method as Method).apply(resource, args);
              }),
            );
  }
  // Files of environments are a resource within one.
  const files: unknown = resource.files;
  if (typeof files === 'object' && files !== null) prepare(files as Methods);
  return resource;
}

/** What a request ends with that Gemini did not refuse comes as it is: the SDK's newer half wraps it twice, in errors of a connection. */
async function withBareErrors<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw keyBalancerErrorIn(error) ?? error;
  }
}

function keyBalancerErrorIn(thrown: unknown): KeyBalancerError | undefined {
  let error = thrown;
  for (let depth = 0; error instanceof Error && depth < DEEPEST_CAUSE; depth++) {
    if (error instanceof KeyBalancerError) return error;
    error = error.cause;
  }
  return undefined;
}

/** The client that is built for a resource. */
function withoutRetries(client: unknown): unknown {
  const { _options: options } = client as { _options?: { retry_config?: unknown } };
  if (options !== undefined) options.retry_config ??= { strategy: 'none' };
  return client;
}
