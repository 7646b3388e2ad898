import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { z } from 'zod';
import { WatchHealthResponseSchema } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { reasonOf } from '../../store/data-dir.ts';
import { CliError, EXIT } from '../exit-code.ts';
import type { BridgeEvent } from './event.ts';
import type { BridgeState } from './outbox.ts';

const EVENT = z.object({
  id: z.string(),
  resumeToken: z.string(),
  observedTime: z.number(),
  health: z.json().optional(),
  gap: z.object({ reason: z.enum(['reset', 'resumed', 'merged']), time: z.number(), changes: z.number() }).optional(),
});

const STATE = z.object({
  version: z.literal(1),
  stream: z.string().min(1),
  next: z.int().positive(),
  resumeToken: z.string(),
  pending: z.array(EVENT),
});

/** A state of the bridge on disk: always a whole one, and with all that write() was called for, also after a loss of power. */
export class StateFile {
  readonly path: string;
  /** Of the file as this process left it; undefined: not yet. */
  #stamp: string | undefined;

  constructor(path: string) {
    this.path = path;
  }

  /** undefined: there is none yet. Throws a CliError where the file holds something else. */
  read(): BridgeState | undefined {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new CliError(EXIT.failed, `state file ${this.path} cannot be read: ${reasonOf(error)}`);
    }
    try {
      const { version: _, pending, ...state } = STATE.parse(JSON.parse(text));
      return { ...state, pending: pending.map(eventOf) };
    } catch {
      throw new CliError(
        EXIT.failed,
        `state file ${this.path} is not one of this bridge; name another, or remove it to begin anew with a snapshot`,
      );
    }
  }

  /** Throws a CliError where it cannot be stored, and where another process has written it since. */
  write({ stream, next, resumeToken, pending }: BridgeState): void {
    this.#refuseSecondWriter();
    const state = { version: 1, stream, next, resumeToken, pending: pending.map(eventJson) };
    const fresh = `${this.path}.new`;
    try {
      const file = openSync(fresh, 'w', 0o600);
      try {
        writeFileSync(file, `${JSON.stringify(state)}\n`);
        fsyncSync(file);
        this.#stamp = stampOf(fresh);
      } finally {
        closeSync(file);
      }
      renameSync(fresh, this.path);
      syncDirectory(dirname(this.path));
    } catch (error) {
      throw new CliError(EXIT.failed, `state file ${this.path} cannot be written: ${reasonOf(error)}`);
    }
  }

  /** Two bridges with one state would each take the other's events for delivered. */
  #refuseSecondWriter(): void {
    if (this.#stamp === undefined || stampOf(this.path) === this.#stamp) return;
    throw new CliError(
      EXIT.failed,
      `state file ${this.path} was written by another process, or removed; each bridge needs one of its own`,
    );
  }
}

function eventJson({ id, told, resumeToken, observedTime }: BridgeEvent): unknown {
  const about = 'gap' in told ? told : { health: toJson(WatchHealthResponseSchema, told.health) };
  return { id, resumeToken, observedTime, ...about };
}

function eventOf({ id, resumeToken, observedTime, health, gap }: z.infer<typeof EVENT>): BridgeEvent {
  const told =
    gap === undefined
      ? { health: fromJson(WatchHealthResponseSchema, health as JsonValue, { ignoreUnknownFields: true }) }
      : { gap };
  return { id, told, resumeToken, observedTime };
}

/** Tells one writing of a file from another; undefined: there is no such file. */
function stampOf(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat && `${stat.ino}:${stat.mtimeNs}`;
}

/** The rename itself must outlive a loss of power. */
function syncDirectory(path: string): void {
  const directory = openSync(path, 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}
