import { socketPath } from '../store/data-dir.ts';
import type { Balancer } from './balancer.ts';
import { refuseUnknown } from './checks.ts';
import { masterKeyOf, placeOf } from './config.ts';
import { refuseCredentials } from './credentials.ts';
import type { EmbeddedOptions } from './embedded.ts';
import { connectRemote, type RemoteOptions } from './remote.ts';
import type { SharedDir } from './shared/member.ts';
import { openShared } from './shared/shared-balancer.ts';
import { openVisit } from './shared/visit.ts';

/** Which KeyBalancer, and the way to it. */
export interface ConnectOptions {
  /** HOST:PORT or unix:PATH of a server, or of several, tried in their order. */
  address?: string | readonly string[] | undefined;
  /** How to reach the server. */
  remote?: RemoteOptions | undefined;
  /**
   * A data dir: this process joins the one that owns it, a server or another like this, else it opens the dir and lets others join.
   * When the owner goes, one of those who joined takes its place.
   */
  dataDir?: string | undefined;
  /** How to open the data dir in this process. */
  embedded?: EmbeddedOptions | undefined;
  /** For a command beside those who work on the data dir: it never takes an owner's place. Default: false. */
  visit?: boolean | undefined;
}

const CONNECT_OPTIONS = ['address', 'remote', 'dataDir', 'embedded', 'visit'];

/** The KeyBalancer at an address or of a data dir; with neither, the one that the environment names, else that of the default data dir. */
export async function connect(options: ConnectOptions = {}): Promise<Balancer> {
  refuseUnknown(options, CONNECT_OPTIONS);
  const place = placeOf(options);
  if ('address' in place) return connectRemote(place.address, options.remote);
  refuseCredentials(options.remote ?? {});
  const dir = sharedDir(place.dataDir, options.embedded);
  return options.visit ? openVisit(dir) : openShared(dir);
}

function sharedDir(dataDir: string, embedded: EmbeddedOptions = {}): SharedDir {
  const warn = embedded.warn ?? ((message: string) => process.emitWarning(message, 'KeyBalancerWarning'));
  return {
    dataDir,
    socket: socketPath(dataDir),
    warn,
    async open() {
      // Loaded only now: whoever joins an owner loads no database.
      const { openEmbedded } = await import('./embedded.ts');
      return openEmbedded({ ...embedded, masterKey: embedded.masterKey ?? masterKeyOf(), warn, dataDir });
    },
  };
}
