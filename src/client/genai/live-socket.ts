import { redact } from '../../gemini/redact.ts';
import { KeyBalancerError } from '../errors.ts';
import { maskKeys } from '../mask-keys.ts';

/** A WebSocket, as the SDK has it of its factory. */
interface Socket {
  connect(): void;
  send(message: string): void;
  close(): void;
}

interface SocketCallbacks {
  onopen(): void;
  onmessage(event: { type: string; data: unknown }): void;
  onerror(event: { type: string; message: string; error: unknown }): void;
  onclose(event: { type: string; code: number; reason: string; wasClean: boolean }): void;
}

interface SocketFactory {
  create(url: string, headers: Record<string, string>, callbacks: SocketCallbacks): Socket;
}

/**
 * The SDK's `live`, or its `live.music`, whose sessions go with this key. Only the WebSocket is told of it, in its address, and that
 * is kept where no log of a session or of an event leads. Throws UNIMPLEMENTED for a version of the SDK that makes them otherwise:
 * its sessions would go out without a key.
 */
export function liveWithKey<L extends object>(live: L, apiKey: string): L {
  const { webSocketFactory: inner } = live as { webSocketFactory?: SocketFactory };
  if (typeof inner?.create !== 'function') {
    throw new KeyBalancerError('this version of @google/genai opens live sessions in a way that takes no leased key', {
      code: 'UNIMPLEMENTED',
    });
  }
  const webSocketFactory: SocketFactory = {
    create: (url, headers, callbacks) =>
      new KeyedSocket(inner.create(addressOf(url, apiKey), headers, withoutKey(callbacks, apiKey))),
  };
  return Object.create(live, { webSocketFactory: { value: webSocketFactory } }) as L;
}

class KeyedSocket implements Socket {
  readonly #inner: Socket;

  constructor(inner: Socket) {
    this.#inner = inner;
  }

  connect(): void {
    this.#inner.connect();
  }

  send(message: string): void {
    this.#inner.send(message);
  }

  close(): void {
    this.#inner.close();
  }
}

function addressOf(url: string, apiKey: string): string {
  const address = new URL(url);
  address.searchParams.set('key', apiKey);
  return address.href;
}

/** The events lead to the socket, which has its address: what is told is a copy of what they say. */
function withoutKey(callbacks: SocketCallbacks, apiKey: string): SocketCallbacks {
  return {
    onopen: () => callbacks.onopen(),
    onmessage: ({ type, data }) => callbacks.onmessage({ type, data }),
    onerror: ({ type, message, error }) =>
      callbacks.onerror({ type, message: redact(message, apiKey), error: maskKeys(error, [apiKey]) }),
    onclose: ({ type, code, reason, wasClean }) =>
      callbacks.onclose({ type, code, reason: redact(reason, apiKey), wasClean }),
  };
}
