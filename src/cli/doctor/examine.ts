import { addressList } from '../../client/address.ts';
import { connect } from '../../client/connect.ts';
import { type ClientConfig, readClientConfig } from '../../server/config/config.ts';
import type { Flags } from '../../server/config/settings.ts';
import { VERSION } from '../../server/version.ts';
import { otherUser, socketPath } from '../../store/data-dir.ts';
import { type ClientOptions, flagsOf } from '../options.ts';
import { listens } from '../server-address.ts';
import { examineAddress } from './examine-address.ts';
import { examineConfig } from './examine-config.ts';
import { examineDataDir, hasData } from './examine-data-dir.ts';
import { examineGemini } from './examine-gemini.ts';
import { examineKeys } from './examine-keys.ts';
import { type Examined, ok, problem, warning } from './finding.ts';

/** Steps of the clock that are no matter of scheduling. */
const STEP_MS = 500;

/** Looks at everything that the options lead to, one after the other, as far as it gets. */
export async function examine(
  options: ClientOptions & { geminiBaseUrl?: string },
  signal: AbortSignal,
): Promise<Examined> {
  const clock = { wall: Date.now(), running: performance.now() };
  const flags: Flags = { ...flagsOf(options), ...(options.geminiBaseUrl && { geminiBaseUrl: options.geminiBaseUrl }) };
  const findings = [ok('program', `keybalancer ${VERSION}, Node ${process.versions.node}`), ...examineConfig(flags)];
  let config: ClientConfig;
  try {
    config = readClientConfig(flags);
  } catch (error) {
    // With a configuration that cannot be used nobody knows where to look; what is wrong with it is told already, unless of flags.
    if (findings.every(({ verdict }) => verdict === 'ok')) throw error;
    return { findings, reached: true };
  }
  const place =
    config.address === undefined ? await examineLocal(config, signal) : await examineEach(config.address, signal);
  findings.push(...place.findings, await examineGemini(config.geminiBaseUrl, signal));
  const stepMs = Date.now() - clock.wall - (performance.now() - clock.running);
  if (Math.abs(stepMs) > STEP_MS) {
    const found = `this machine's clock was set by ${Math.round(stepMs)} ms while this ran`;
    findings.push(warning('clock', found, 'let NTP slew the clock rather than step it'));
  }
  return { findings, reached: place.reached };
}

/** Each of the addresses: of several, a client finds out only about the first that answers. */
async function examineEach(addresses: string, signal: AbortSignal): Promise<Examined> {
  const all: Examined[] = [];
  for (const address of addressList(addresses)) all.push(await examineAddress(address, signal));
  return { findings: all.flatMap(({ findings }) => findings), reached: all.some(({ reached }) => reached) };
}

async function examineLocal(
  { dataDir, masterKey, geminiBaseUrl }: ClientConfig,
  signal: AbortSignal,
): Promise<Examined> {
  const socket = socketPath(dataDir);
  const inUse = socket !== undefined && (await listens(socket));
  const findings = examineDataDir(dataDir, masterKey, inUse);
  if (inUse) {
    const server = await examineAddress(`unix:${socket}`, signal);
    return { findings: [...findings, ...server.findings], reached: server.reached };
  }
  if (!hasData(dataDir)) return { findings, reached: false };
  findings.push(
    warning('server', 'none runs on the data dir', '`keybalancer serve` starts one; embedded clients need none'),
  );
  // What is to be said of that, permissions() says.
  if (otherUser(dataDir) !== undefined) return { findings, reached: true };
  try {
    const balancer = await connect({ dataDir, visit: true, embedded: { masterKey, geminiBaseUrl, warn() {} } });
    try {
      const { pools } = await balancer.keyBalancer.getStats({}, { signal });
      findings.push(
        ok('database', 'it opens, and its keys are there'),
        ...(await examineKeys(balancer, pools, signal)),
      );
    } finally {
      await balancer.close();
    }
  } catch (error) {
    signal.throwIfAborted();
    findings.push(
      problem('database', (error as Error).message, '`keybalancer check` looks closer; `restore` takes a backup'),
    );
  }
  return { findings, reached: true };
}
