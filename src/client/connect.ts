import { connect as connectSocket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataDirInUseError, socketPath } from '../store/data-dir.ts';
import type { Balancer } from './balancer.ts';
import { masterKeyOf, placeOf } from './config.ts';
import type { EmbeddedOptions } from './embedded.ts';
import { KeyBalancerError, type KeyBalancerErrorFields } from './errors.ts';
import { connectRemote } from './remote.ts';

export interface ConnectOptions {
  /** HOST:PORT or unix:PATH of a server. */
  address?: string | undefined;
  /** A data dir: the server that owns it is used, else it is opened in this process. */
  dataDir?: string | undefined;
  /** How to open the data dir in this process. */
  embedded?: EmbeddedOptions | undefined;
}

/** The owner of a data dir gets so long to be heard at its socket: it may have just begun, or be about to end. */
const OWNER_PATIENCE_MS = 2_000;
const OWNER_POLL_MS = 50;

/** The KeyBalancer at an address or of a data dir; with neither, the one that the environment names, else that of the default data dir. */
export async function connect(options: ConnectOptions = {}): Promise<Balancer> {
  const place = placeOf(options);
  if ('address' in place) return connectRemote(place.address);
  const { dataDir } = place;
  const socket = socketPath(dataDir);
  const end = performance.now() + OWNER_PATIENCE_MS;
  for (;;) {
    if (socket !== undefined && (await isServed(socket))) return connectRemote(`unix:${socket}`);
    // Loaded only now: whoever uses a server loads no database.
    const { openEmbedded } = await import('./embedded.ts');
    try {
      return await openEmbedded({ masterKey: masterKeyOf(), ...options.embedded, dataDir });
    } catch (error) {
      if (!(error instanceof DataDirInUseError)) throw openError(error);
      // Where the path is too long for a socket, the owner still says its TCP address.
      if (socket === undefined && error.owner?.grpc !== undefined) return connectRemote(error.owner.grpc);
      if (performance.now() >= end) throw openError(error);
      await sleep(OWNER_POLL_MS);
    }
  }
}

/** Known by their names: to load the class of the last would load the database's code. */
const OPEN_ERRORS: Readonly<Record<string, Pick<KeyBalancerErrorFields, 'code' | 'reason'>>> = {
  DataDirInUseError: { code: 'UNAVAILABLE', reason: 'DATA_DIR_IN_USE' },
  DataDirError: { code: 'FAILED_PRECONDITION', reason: 'DATA_DIR_UNUSABLE' },
  MasterKeyError: { code: 'FAILED_PRECONDITION', reason: 'MASTER_KEY_UNUSABLE' },
};

/** Why a data dir cannot be opened, as the error of a client. */
function openError(error: unknown): unknown {
  const fields = error instanceof Error ? OPEN_ERRORS[error.name] : undefined;
  return fields === undefined ? error : new KeyBalancerError((error as Error).message, { ...fields, cause: error });
}

/** Whether somebody listens at the socket; its file alone says nothing, since a killed server leaves it behind. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
