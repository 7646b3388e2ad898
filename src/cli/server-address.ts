import { addressList } from '../client/address.ts';
import { watchOwner } from '../client/shared/owner-watch.ts';
import { readClientConfig } from '../server/config/config.ts';
import { readOwner, socketPath } from '../store/data-dir.ts';
import { type ClientOptions, flagsOf } from './options.ts';

/**
 * Where the server is that the options lead to, without opening a data dir: a server that starts must find it free. undefined: there
 * is a data dir, but nobody who owns it can be asked.
 */
export function serverAddress(options: ClientOptions): string | readonly string[] | undefined {
  const { address, dataDir } = readClientConfig(flagsOf(options));
  if (address !== undefined) return addressList(address);
  const socket = socketPath(dataDir);
  return socket === undefined ? readOwner(dataDir)?.grpc : `unix:${socket}`;
}

/** Whether the options lead to a data dir of this machine, or to the socket in one: what has no RPC on a port acts there alone. */
export function isLocal(options: ClientOptions): boolean {
  const { address } = readClientConfig(flagsOf(options));
  return address === undefined || address.startsWith('unix:');
}

/** Whether somebody listens at the path of a unix socket: its file alone says nothing. */
export async function listens(socket: string): Promise<boolean> {
  try {
    (await watchOwner(socket)).close();
    return true;
  } catch {
    return false;
  }
}
