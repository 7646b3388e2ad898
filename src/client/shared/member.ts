import { DataDirInUseError, readOwner } from '../../store/data-dir.ts';
import type { Balancer } from '../balancer.ts';
import type { EmbeddedBalancer } from '../embedded.ts';
import type { KeyBalancerError } from '../errors.ts';
import { connectRemote } from '../remote.ts';
import { inUseError, isFinal, openError } from './open-errors.ts';
import { type OwnerWatch, watchOwner } from './owner-watch.ts';

/** A data dir as one process sees it. */
export interface SharedDir {
  readonly dataDir: string;
  /** Path of the owner's socket; undefined: too long for one. */
  readonly socket: string | undefined;
  /** Opens it as the owner; rejects with DataDirInUseError when another process is. */
  readonly open: () => Promise<EmbeddedBalancer>;
  /** Told what an operator should know. */
  readonly warn: (message: string) => void;
}

/** What this process is to the data dir now: its owner, or the guest of the owner, who gets its calls. */
export type Member = Owner | Guest;

export interface Owner {
  readonly role: 'owner';
  readonly balancer: EmbeddedBalancer;
}

export interface Guest {
  readonly role: 'guest';
  readonly balancer: Balancer;
  /** undefined: only calls that fail tell that the owner is gone. */
  readonly watch: OwnerWatch | undefined;
  /** Whether the owner is a server, which whoever looks after it may start again. */
  readonly ofServer: boolean;
  /** Unary calls that have not ended. */
  calls: number;
}

/** The owner cannot be joined. `isFinal`: nor will it be. */
export interface NotJoined {
  readonly role: 'none';
  readonly error: KeyBalancerError;
  readonly isFinal: boolean;
}

/** Joins the owner, else becomes it: the lock of the data dir decides. Rejects where nobody could open it. */
export async function enter(dir: SharedDir): Promise<Member | NotJoined> {
  const joined = await join(dir);
  if ('role' in joined) return joined;
  try {
    return { role: 'owner', balancer: await dir.open() };
  } catch (error) {
    if (!(error instanceof DataDirInUseError)) throw openError(error);
    const { grpc } = error.owner ?? {};
    // Where the path is too long for a socket, a server still says its TCP address.
    if (dir.socket === undefined && grpc !== undefined) return guest(grpc, undefined, true);
    const { refusal } = joined;
    return { role: 'none', error: inUseError(error, refusal, dir.dataDir), isFinal: isFinal(refusal) };
  }
}

/** Joins the owner. When nobody is there to be joined: the system's code for that. */
export async function join({ dataDir, socket }: SharedDir): Promise<Guest | { refusal: string }> {
  if (socket === undefined) return { refusal: 'ENAMETOOLONG' };
  try {
    const watch = await watchOwner(socket);
    const { grpc, http } = readOwner(dataDir) ?? {};
    return guest(`unix:${socket}`, watch, (grpc ?? http) !== undefined);
  } catch (error) {
    return { refusal: (error as NodeJS.ErrnoException).code ?? '' };
  }
}

function guest(address: string, watch: OwnerWatch | undefined, ofServer: boolean): Guest {
  return { role: 'guest', balancer: connectRemote(address), watch, ofServer, calls: 0 };
}
