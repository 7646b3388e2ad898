import { timestampMs } from '@bufbuild/protobuf/wkt';
import { connectOperator } from '../client/operator.ts';
import { unlessAborted } from '../client/unless-aborted.ts';
import type { PastExamination } from '../gen/keybalancer/operator/v1/operator_pb.ts';
import type { KeyToImport } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { readClientConfig } from '../server/config/config.ts';
import { socketPath } from '../store/data-dir.ts';
import type { DatabaseDescription, Examination, ExportedKey, Maintenance } from '../store/open-store.ts';
import { CliError, EXIT } from './exit-code.ts';
import { interruptible } from './interruptible.ts';
import { type ClientOptions, flagsOf } from './options.ts';
import type { Output } from './output.ts';
import { listens } from './server-address.ts';
import { checkThereIsData } from './with-balancer.ts';

/**
 * What a command does that only the owner of a data dir can: by the socket in the dir, else as the owner itself. A server that is
 * only reached over the network is refused with why.
 */
export async function withMaintenance<T>(
  command: string,
  options: ClientOptions,
  output: Output,
  use: (maintenance: Maintenance) => Promise<T>,
): Promise<T> {
  const place = localPlace(command, options);
  return interruptible(async (signal) => {
    if (place.socket !== undefined && (await listens(place.socket))) {
      return onSocket(place.socket, signal, (operator) => use(remoteMaintenance(operator)));
    }
    signal.throwIfAborted();
    if (place.dataDir === undefined) throw new CliError(EXIT.notReached, `nobody listens at unix:${place.socket}`);
    checkThereIsData(place.dataDir);
    const { openStore } = await import('../store/open-store.ts');
    const store = await openStore({
      dataDir: place.dataDir,
      durability: 'full',
      masterKey: place.masterKey,
      // Gemini is not asked here, and nothing may become of keys that wait for its answer.
      verify: true,
      warn: (message) => output.complain(message),
    });
    let working: Promise<T> | undefined;
    try {
      signal.throwIfAborted();
      working = use(store.maintenance);
      return await unlessAborted(working, signal);
    } finally {
      await store.close();
      // A copy that was under way takes away what it wrote.
      await working?.catch(() => {});
    }
  });
}

/** What only a server that runs can do. */
export async function withRunningServer<T>(
  command: string,
  options: ClientOptions,
  use: (operator: ReturnType<typeof connectOperator>) => Promise<T>,
): Promise<T> {
  const { socket, dataDir } = localPlace(command, options);
  return interruptible(async (signal) => {
    if (socket !== undefined && (await listens(socket))) return onSocket(socket, signal, use);
    signal.throwIfAborted();
    const where = dataDir === undefined ? `unix:${socket}` : `data dir ${dataDir}`;
    throw new CliError(EXIT.notReached, `no server runs on ${where}`);
  });
}

type Operator = ReturnType<typeof connectOperator>;

function localPlace(command: string, options: ClientOptions) {
  const { address, dataDir, masterKey } = readClientConfig(flagsOf(options));
  if (address === undefined) return { dataDir, masterKey, socket: socketPath(dataDir) };
  if (address.startsWith('unix:')) return { masterKey, socket: address.slice('unix:'.length), dataDir: undefined };
  throw new CliError(
    EXIT.usage,
    `\`${command}\` acts on a data dir, through the socket in it, and not on a server at ${address}: run it on that server's machine with --data-dir DIR`,
  );
}

async function onSocket<T>(socket: string, signal: AbortSignal, use: (operator: Operator) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const operator = connectOperator(`unix:${socket}`);
  try {
    return await unlessAborted(use(operator), signal);
  } finally {
    operator.close();
  }
}

function remoteMaintenance(operator: Operator): Maintenance {
  return {
    async backUp(path, onProgress) {
      for await (const { copiedBytes, totalBytes, result } of operator.backUp({ path })) {
        onProgress({ copiedBytes: Number(copiedBytes), totalBytes: Number(totalBytes) });
        if (result !== undefined) return examination(result);
      }
      throw new CliError(EXIT.failed, 'the server ended the copy without a result');
    },
    async describe() {
      const { lastBackup, lastCheck, ...found } = await operator.describeDatabase({});
      return {
        schemaVersion: found.schemaVersion,
        durability: found.durability === 'normal' ? 'normal' : 'full',
        databaseBytes: Number(found.databaseBytes),
        logBytes: Number(found.logBytes),
        lastBackup: past(lastBackup),
        lastCheck: past(lastCheck),
      };
    },
    async check() {
      const { result } = await operator.check({});
      return examination(result!);
    },
    async *exportKeys(pool) {
      for await (const { keys } of operator.exportKeys({ pool })) yield keys.map(exported);
    },
  };
}

function past(found: PastExamination | undefined): DatabaseDescription['lastCheck'] {
  if (found?.endTime === undefined) return undefined;
  return { endTime: timestampMs(found.endTime), problems: found.problems, keys: Number(found.keys) };
}

function exported({ pool, key }: { pool: string; key?: KeyToImport | undefined }): ExportedKey {
  const { apiKey, weight = 1, maxConcurrentLeases, project, models, source, labels, tier, disabled } = key!;
  return { apiKey, pool, settings: { weight, maxConcurrentLeases, project, models, source, labels, tier, disabled } };
}

function examination(result: {
  problems: string[];
  keys: bigint;
  schemaVersion: number;
  sizeBytes: bigint;
}): Examination {
  const { problems, keys, schemaVersion, sizeBytes } = result;
  return { problems, keys: Number(keys), schemaVersion, sizeBytes: Number(sizeBytes) };
}
