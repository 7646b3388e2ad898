import { type ChannelOptions, Client, connectivityState } from '@grpc/grpc-js';
import type { Address } from './address.ts';
import type { Credentials } from './credentials.ts';

/** One address and the connection to it. */
export interface Endpoint {
  /** As people write it. */
  readonly where: string;
  readonly client: Client;
}

const CHANNEL: ChannelOptions = {
  // Finds out about a connection that died in silence while calls or streams are open on it.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // A server that restarts is found again at once.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  // Answers carry plaintext keys: they pass by no proxy that the environment happens to name.
  'grpc.enable_http_proxy': 0,
  // How it is called is the client's matter, not that of who keeps the name's TXT records.
  'grpc.service_config_disable_resolution': 1,
  // The largest answer, 10,000 leases, is beyond the default of 4 MiB.
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
};

/**
 * The addresses of one KeyBalancer. One is used at a time, until it fails: then the next, and after the last the first. A
 * name with several records is one address: its records are tried in their order (pick_first), and all calls go to the one
 * that answered, since leases are known only where they were given.
 */
export class Endpoints {
  readonly all: readonly Endpoint[];
  #at = 0;

  constructor(addresses: readonly Address[], { channel, options }: Pick<Credentials, 'channel' | 'options'>) {
    this.all = addresses.map(({ text, target }) => ({
      where: text,
      client: new Client(target, channel, { ...CHANNEL, ...options }),
    }));
  }

  get current(): Endpoint {
    return this.all[this.#at]!;
  }

  get where(): string {
    return this.all.map(({ where }) => where).join(', ');
  }

  /** Goes on to the next, unless somebody already did. */
  leave(failed: Endpoint): void {
    if (this.current === failed) this.#at = (this.#at + 1) % this.all.length;
  }

  close(): void {
    for (const { client } of this.all) client.close();
  }
}

export function isConnected({ client }: Endpoint): boolean {
  try {
    return client.getChannel().getConnectivityState(false) === connectivityState.READY;
  } catch {
    return false;
  }
}
