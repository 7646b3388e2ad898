import { randomBytes } from 'node:crypto';
import type { BridgeEvent, Noticed } from './event.ts';
import type { StateFile } from './state-file.ts';

/** How far the bridge has come. */
export interface BridgeState {
  /** Begins the ids of events. */
  stream: string;
  /** Number of the next event. */
  next: number;
  /** Of the last event that was delivered. */
  resumeToken: string;
  /** Named, and perhaps sent already, but not known to be delivered; the oldest first. */
  pending: readonly BridgeEvent[];
}

/**
 * What is on its way to the sink. An event gets its id and is stored before it is sent for the first time, and stays until the sink has
 * it: so a bridge that was killed sends it again by the same id.
 */
export class Outbox {
  readonly #file: StateFile | undefined;
  #state: BridgeState;

  /** `file`: undefined where nothing outlives the process. Takes the file over from whoever wrote it before. */
  constructor(file: StateFile | undefined) {
    this.#file = file;
    this.#state = file?.read() ?? { stream: randomBytes(6).toString('hex'), next: 1, resumeToken: '', pending: [] };
    // A file that cannot be written must be known before anything is sent.
    file?.write(this.#state);
  }

  get pending(): readonly BridgeEvent[] {
    return this.#state.pending;
  }

  /** Where the watch goes on; "": it begins with a snapshot. */
  get resumeToken(): string {
    return newestToken(this.#state.pending, this.#state.resumeToken);
  }

  /** Names what there is to tell and stores it, behind what is pending. */
  add(noticed: readonly Noticed[]): void {
    const { stream, pending } = this.#state;
    let { next, resumeToken } = this.#state;
    const events: BridgeEvent[] = [...pending];
    for (const { told, resumeToken: token } of noticed) {
      if (told !== undefined) {
        events.push({ id: `${stream}-${next++}`, told, resumeToken: token, observedTime: Date.now() });
      } else if (token !== '') {
        // Nothing to deliver: it counts with the event before it.
        const before = events.pop();
        if (before === undefined) resumeToken = token;
        else events.push({ ...before, resumeToken: token });
      }
    }
    const token = newestToken(events, resumeToken);
    // A balancer where nothing happens gives the disk nothing to do.
    if (next === this.#state.next && token === this.resumeToken) return;
    this.#store({ stream, next, resumeToken, pending: events });
  }

  /** The sink has the oldest so many. */
  delivered(count: number): void {
    const { pending, resumeToken } = this.#state;
    this.#store({
      ...this.#state,
      resumeToken: newestToken(pending.slice(0, count), resumeToken),
      pending: pending.slice(count),
    });
  }

  #store(state: BridgeState): void {
    this.#file?.write(state);
    this.#state = state;
  }
}

function newestToken(events: readonly BridgeEvent[], before: string): string {
  return events.findLast(({ resumeToken }) => resumeToken !== '')?.resumeToken ?? before;
}
