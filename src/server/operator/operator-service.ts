import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { BalancerError, invalidField } from '../../engine/errors.ts';
import {
  BackUpResponseSchema,
  CheckResponseSchema,
  DescribeDatabaseResponseSchema,
  type Examination,
  ExaminationSchema,
  ExportKeysResponseSchema,
  type OperatorService,
  ReloadConfigResponseSchema,
  SetLogLevelResponseSchema,
} from '../../gen/keybalancer/operator/v1/operator_pb.ts';
import type { DatabaseDescription, Examination as Found, Maintenance } from '../../store/open-store.ts';
import { ConfigError } from '../config/config-error.ts';
import type { LiveConfig } from '../config/live-config.ts';
import type { ServiceFunctions } from '../service/service-functions.ts';
import { Wakeup } from '../service/wakeup.ts';

export interface OperatorContext {
  maintenance: Maintenance;
  /** undefined: the owner of the data dir is an application, whose configuration is its own affair. */
  config: LiveConfig | undefined;
}

/** What the unix socket offers beside the services of all doors. */
export function createOperatorService({
  maintenance,
  config,
}: OperatorContext): ServiceFunctions<typeof OperatorService> {
  return {
    backUp: ({ path }) => backUp(maintenance, path),
    exportKeys: ({ pool }) => exportKeys(maintenance, pool),
    check: async () => create(CheckResponseSchema, { result: examinationMessage(await maintenance.check()) }),
    describeDatabase: async () => databaseMessage(await maintenance.describe()),
    reloadConfig: async () => {
      const { applied, restartNeeded } = refusing(() => configOf(config).reload());
      return create(ReloadConfigResponseSchema, { applied, restartNeeded });
    },
    setLogLevel: async ({ level }) => {
      const previousLevel = refusing(() => configOf(config).setLogLevel(level));
      return create(SetLogLevelResponseSchema, { previousLevel });
    },
  };
}

/** Progress as fast as it is read, then the result. A caller who leaves does not end the copy. */
async function* backUp(maintenance: Maintenance, path: string) {
  const wakeup = new Wakeup();
  let progress = { copiedBytes: 0, totalBytes: 0 };
  let ended: { result: Found } | { error: unknown } | undefined;
  maintenance
    .backUp(path, (latest) => {
      progress = latest;
      wakeup.wake();
    })
    .then(
      (result) => {
        ended = { result };
      },
      (error: unknown) => {
        ended = { error };
      },
    )
    .finally(() => wakeup.wake());
  for (;;) {
    await wakeup.sleep();
    if (ended !== undefined && 'error' in ended) throw ended.error;
    const { copiedBytes, totalBytes } = progress;
    const response = { copiedBytes: BigInt(copiedBytes), totalBytes: BigInt(totalBytes) };
    if (ended === undefined) yield create(BackUpResponseSchema, response);
    else {
      yield create(BackUpResponseSchema, { ...response, result: examinationMessage(ended.result) });
      return;
    }
  }
}

async function* exportKeys(maintenance: Maintenance, pool: string) {
  for await (const keys of maintenance.exportKeys(pool)) {
    yield create(ExportKeysResponseSchema, {
      keys: keys.map(({ apiKey, pool, settings: { maxConcurrentLeases, ...settings } }) => ({
        pool,
        key: {
          ...settings,
          apiKey,
          models: [...settings.models],
          labels: { ...settings.labels },
          ...(maxConcurrentLeases !== undefined && { maxConcurrentLeases }),
        },
      })),
    });
  }
}

function examinationMessage({ problems, keys, schemaVersion, sizeBytes }: Found): Examination {
  return create(ExaminationSchema, { problems, keys: BigInt(keys), schemaVersion, sizeBytes: BigInt(sizeBytes) });
}

function databaseMessage({ databaseBytes, logBytes, lastBackup, lastCheck, ...rest }: DatabaseDescription) {
  const past = (found: DatabaseDescription['lastCheck']) =>
    found && { endTime: timestampFromMs(found.endTime), problems: found.problems, keys: BigInt(found.keys) };
  return create(DescribeDatabaseResponseSchema, {
    ...rest,
    databaseBytes: BigInt(databaseBytes),
    logBytes: BigInt(logBytes),
    ...(lastBackup && { lastBackup: past(lastBackup)! }),
    ...(lastCheck && { lastCheck: past(lastCheck)! }),
  });
}

function configOf(config: LiveConfig | undefined): LiveConfig {
  if (config !== undefined) return config;
  throw invalidField(
    'method',
    'of a server',
    'BackUp and Check, since an application owns this data dir, and no server',
  );
}

function refusing<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new BalancerError('INVALID_FIELD', error.message, {
      violations: error.problems.map((description) => ({ field: 'config', description })),
    });
  }
}
