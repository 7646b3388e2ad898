import { isoTime } from '../health-json.ts';
import { type Output, printable } from '../output.ts';
import { count, milliseconds } from '../words.ts';
import type { DeliveryEvents } from './delivery.ts';
import type { GapReason } from './event.ts';
import { gapInWords } from './event-in-words.ts';
import type { SourceEvents } from './health-source.ts';

/** What the bridge says and counts: a status line each interval on standard output, what happens on standard error, or both as lines of JSON. */
export class BridgeLog implements SourceEvents, Omit<DeliveryEvents, 'delivered'> {
  readonly #output: Output;
  readonly #json: boolean;
  readonly #between: { server: string; sink: string };
  #reached = false;
  #lost = false;
  #delivered = 0;
  #refused = 0;
  #gaps = 0;
  #merged = 0;
  #failing: { why: string; next: number; since: number } | undefined;

  constructor(output: Output, { json, ...between }: { json: boolean; server: string; sink: string }) {
    this.#output = output;
    this.#json = json;
    this.#between = between;
  }

  /** `waiting`: events that the sink does not have yet. */
  async status(waiting: number): Promise<void> {
    const [reached, failing] = [this.#reached, this.#failing];
    const counts = {
      delivered: this.#delivered,
      waiting,
      gaps: this.#gaps,
      merged: this.#merged,
      refused: this.#refused,
    };
    if (this.#json) {
      const trouble = failing === undefined ? null : { why: failing.why, nextTry: isoTime(failing.next) };
      await this.#line({ kind: 'status', ...this.#between, reached, ...counts, failing: trouble });
      return;
    }
    const sink = failing === undefined ? 'ok' : `failing why=${JSON.stringify(printable(failing.why))}`;
    const fields = Object.entries({ reached: reached ? 'yes' : 'no', ...counts, sink });
    await this.#output.line(`${isoTime(Date.now())} ${fields.map(([name, value]) => `${name}=${value}`).join(' ')}`);
  }

  warn(message: string): void {
    this.#say('warning', message);
  }

  lost(why: string): void {
    this.#reached = false;
    this.#lost = true;
    this.#say('server-lost', `the server is not reached, trying again: ${why}`);
  }

  found(): void {
    this.#reached = true;
    if (this.#lost) this.#say('server-found', 'the server is reached again');
    this.#lost = false;
  }

  gap(reason: GapReason, changes = 0): void {
    this.#gaps++;
    this.#merged += changes;
    this.#say('gap', gapInWords({ reason, changes }), { reason, changes });
  }

  delivered(count: number): void {
    this.#delivered += count;
  }

  refused(events: number, why: string): void {
    this.#refused += events;
    this.#say(
      'refused',
      `the sink took a batch, but ${count(events, 'event')} of it not: ${why || 'it does not say why'}`,
      {
        events,
      },
    );
  }

  tooLarge(events: number, most: number): void {
    this.#say(
      'too-large',
      `${count(events, 'event')} were too large for the sink; from now on at most ${most} at once`,
      {
        events,
        most,
      },
    );
  }

  failing(why: string, next: number): void {
    const before = this.#failing;
    this.#failing = { why, next, since: before?.since ?? Date.now() };
    // Not each try of the same failure.
    if (before?.why === why) return;
    const wait = milliseconds(Math.max(1, next - Date.now()));
    this.#say('sink-failing', `the sink takes nothing: ${why}; tried again in ${wait}, until it does`);
  }

  mended(failures: number): void {
    const long = milliseconds(Math.max(1, Date.now() - (this.#failing?.since ?? Date.now())));
    this.#failing = undefined;
    this.#say('sink-mended', `the sink takes events again, after ${long} and ${count(failures, 'failure')}`, {
      failures,
    });
  }

  #say(kind: string, message: string, fields: Record<string, unknown> = {}): void {
    if (this.#json) void this.#line({ kind, message, ...fields });
    else this.#output.complain(message);
  }

  #line(record: Record<string, unknown>): Promise<void> {
    return this.#output.line(JSON.stringify({ time: isoTime(Date.now()), ...record }));
  }
}
