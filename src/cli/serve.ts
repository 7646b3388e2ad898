import { readServerConfig } from '../server/config/config.ts';
import { ConfigError } from '../server/config/config-error.ts';
import { exposedDoors } from '../server/config/exposure.ts';
import { LiveConfig } from '../server/config/live-config.ts';
import type { Flags } from '../server/config/settings.ts';
import { createLogger, type Logger } from '../server/logger.ts';
import type { RunningServer } from '../server/server.ts';
import { CliError, EXIT, exitCodeOfSignal } from './exit-code.ts';
import type { Output } from './output.ts';

type StopSignal = 'SIGINT' | 'SIGTERM';

/** Runs the server in this process until a signal ends it. */
export async function serve(flags: Flags, output: Output): Promise<void> {
  const { logLevel, otlp, ...config } = readServerConfig(flags);
  const telemetry = otlp && (await import('../server/telemetry/otlp.ts')).startOtlp(otlp, () => logger);
  const pretty = process.stderr.isTTY === true;
  const logger: Logger = createLogger({ level: logLevel, pretty, copyTo: telemetry?.logLines });
  // Before the start: a signal that comes meanwhile must not leave it half done.
  const stop = stopSignal(logger);
  dieLoudly(logger);

  const [{ startServer }, { setLogger }] = await Promise.all([import('../server/server.ts'), import('@grpc/grpc-js')]);
  // It would write plain text between the JSON lines.
  setLogger({ error: (message) => logger.warn({ from: 'grpc-js' }, String(message)) });
  const live = new LiveConfig(flags, process.env, logger);
  reloadBySignal(live, logger);
  const server = await startServer({ ...config, logger, config: live, telemetry });
  if (!stop.received()) {
    const exposed = exposedDoors(config);
    if (exposed.length > 0) logger.warn({ exposed }, 'API keys cross the network in plain text');
    const line = await readyLine(server);
    logger.info({ grpc: server.grpc, http: server.http, socket: server.socket, dataDir: config.dataDir }, 'ready');
    await output.line(line);
  }
  await stop.signal;
  await server.drain();
  logger.info('stopped');
  if (telemetry === undefined) return;
  await telemetry.close();
  // What waits for a collector's answer, or for its next try, would hold up the end.
  process.exit(EXIT.done);
}

async function readyLine(server: RunningServer): Promise<string> {
  const doors = [
    ...(server.grpc === undefined ? [] : [`grpc=${server.grpc}`]),
    ...(server.http === undefined ? [] : [`http=${server.http}`]),
  ];
  if (doors.length > 0) return `ready ${doors.join(' ')}`;
  if (server.socket !== undefined) return `ready socket=${server.socket}`;
  await server.drain();
  throw new CliError(
    EXIT.failed,
    'nobody could reach this server: --grpc and --http are off, and the path of the data dir is too long for a unix socket in it',
  );
}

/** The first signal asks for a stop in good order; the second ends the process, for everything acknowledged is committed. */
function stopSignal(logger: Logger): { signal: Promise<StopSignal>; received: () => boolean } {
  let received = false;
  const signal = new Promise<StopSignal>((resolve) => {
    const onSignal = (name: StopSignal): void => {
      if (received) {
        logger.warn({ signal: name }, 'stopped at once');
        process.exit(exitCodeOfSignal(name));
      }
      received = true;
      logger.info({ signal: name }, 'stopping; a second signal stops at once');
      resolve(name);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
  return { signal, received: () => received };
}

/** SIGHUP reads the configuration again; one that cannot be used leaves the old one in force. */
function reloadBySignal(config: LiveConfig, logger: Logger): void {
  process.on('SIGHUP', () => {
    try {
      logger.info(config.reload(), 'configuration read again');
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      logger.error({ problems: error.problems }, 'the configuration cannot be used; the old one stays in force');
    }
  });
}

/** An error that nobody handled is in the log, as JSON, before the process ends. */
function dieLoudly(logger: Logger): void {
  process.on('uncaughtException', (err) => {
    logger.fatal({ err }, 'an error that nobody handled; the server ends');
    process.exit(EXIT.failed);
  });
}
