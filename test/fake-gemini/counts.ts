import type { FakeMethod } from './behaviour.ts';

/** How an answer ended: whole (an HTTP error is whole too), cut by the fake, with an error chunk in a stream, or left by the client. */
export type Ending = 'whole' | 'cut' | 'errorMidStream' | 'clientGone';

/** One request, as it is written when its answer ends. */
export interface LogEntry {
  /** '' when there was none. */
  apiKey: string;
  /** '' when the key is not known. */
  project: string;
  model: string | undefined;
  method: FakeMethod;
  /** HTTP status of the answer; 0 when none was sent. */
  status: number;
  ending: Ending;
  /** When it arrived, on the fake's clock. */
  at: number;
}

type Tally = Readonly<Record<string, number>>;

/** What reached the fake. Live: it changes while requests come. */
export interface Counts {
  /** Requests that arrived, and by API key ('' for none), by key and model (where the request names one), by method. */
  readonly total: number;
  readonly byKey: Tally;
  readonly byKeyAndModel: Readonly<Record<string, Tally>>;
  readonly byMethod: Tally;
  /** Answers that ended, by HTTP status (0 when none was sent), by key and status, by ending. */
  readonly byStatus: Tally;
  readonly byKeyAndStatus: Readonly<Record<string, Tally>>;
  readonly byEnding: Tally;
  /** Requests whose answer has not ended: total = inFlight + all of byStatus. */
  readonly inFlight: number;
  /** The last requests whose answer ended, oldest first, at most `logSize`. */
  readonly log: readonly LogEntry[];
}

/** The part of a LogEntry that is known when a request arrives. */
export type Arrival = Omit<LogEntry, 'status' | 'ending'>;

export class CountBook implements Counts {
  total = 0;
  inFlight = 0;
  byKey = tally();
  byKeyAndModel = nested();
  byMethod = tally();
  byStatus = tally();
  byKeyAndStatus = nested();
  byEnding = tally();
  log: LogEntry[] = [];
  readonly #logSize: number;
  #period = 0;

  constructor(logSize: number) {
    this.#logSize = logSize;
  }

  /** Counts the request; the function returned counts how its answer ended. */
  arrived(arrival: Arrival): (status: number, ending: Ending) => void {
    const period = this.#period;
    this.total += 1;
    this.inFlight += 1;
    add(this.byKey, arrival.apiKey);
    add(this.byMethod, arrival.method);
    if (arrival.model !== undefined) add(inner(this.byKeyAndModel, arrival.apiKey), arrival.model);
    return (status, ending) => {
      // What arrived before a reset belongs to what was thrown away.
      if (period !== this.#period) return;
      this.inFlight -= 1;
      add(this.byStatus, String(status));
      add(inner(this.byKeyAndStatus, arrival.apiKey), String(status));
      add(this.byEnding, ending);
      this.log.push({ ...arrival, status, ending });
      if (this.log.length > this.#logSize) this.log.shift();
    };
  }

  reset(): void {
    this.#period += 1;
    this.total = 0;
    this.inFlight = 0;
    this.byKey = tally();
    this.byKeyAndModel = nested();
    this.byMethod = tally();
    this.byStatus = tally();
    this.byKeyAndStatus = nested();
    this.byEnding = tally();
    this.log = [];
  }
}

// Without a prototype, because names come from requests: a key may be called "constructor".
function tally(): Record<string, number> {
  return Object.create(null) as Record<string, number>;
}

function nested(): Record<string, Record<string, number>> {
  return Object.create(null) as Record<string, Record<string, number>>;
}

function inner(of: Record<string, Record<string, number>>, name: string): Record<string, number> {
  const found = of[name];
  if (found !== undefined) return found;
  const made = tally();
  of[name] = made;
  return made;
}

function add(to: Record<string, number>, name: string): void {
  to[name] = (to[name] ?? 0) + 1;
}
