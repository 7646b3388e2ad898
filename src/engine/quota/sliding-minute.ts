const MINUTE_MS = 60_000;
/** Bookings this close to the first of an entry join it. */
const ENTRY_MS = 100;

/** Where in an entry what is, and how many numbers an entry is. */
const FIRST = 0;
const LAST = 1;
const REQUESTS = 2;
const TOKENS = 3;
const SUCCEEDED_REQUESTS = 4;
const SUCCEEDED_TOKENS = 5;
const STRIDE = 6;

/** A peak is forgotten so long after it was last reached: the limit that it speaks of may be lower by then. */
const PEAK_MS = 24 * 3_600_000;

interface Peak {
  readonly most: number;
  /** When the window was left that it is of, or at most 60 s before that. */
  readonly at: number;
}

type Entry = [
  first: number,
  last: number,
  requests: number,
  tokens: number,
  succeededRequests: number,
  succeededTokens: number,
];

/**
 * Requests and tokens of the last 60 s, those of exactly 60 s ago not among them. How Gemini counts a minute is not published: what
 * keeps to a limit in each 60 s keeps to it in every aligned minute too.
 *
 * Bookings within 100 ms are one entry, which leaves 60 s after the last of them: never too early, and at most 601 entries. Times
 * are on the engine's clock, in milliseconds.
 *
 * Invariants: entries lie one after the other in #entries from #head on, by their last booking; #sums are what they add up to;
 * #entries is undefined when there are none, so that idle windows cost nothing.
 */
export class SlidingMinute {
  #entries: number[] | undefined;
  #head = 0;
  #requests = 0;
  #tokens = 0;
  #succeededRequests = 0;
  #succeededTokens = 0;
  /** Of windows that something has left since: what may still be taken back is in none, so taking back leaves no trace here. */
  #peakRequests: Peak | undefined;
  #peakTokens: Peak | undefined;

  /** `now` is never less than before. */
  book(requests: number, tokens: number, now: number): void {
    this.#expire(now);
    const first = this.#entries?.at(FIRST - STRIDE) ?? -Infinity;
    this.#append([now, now, requests, tokens, 0, 0], now - first < ENTRY_MS);
  }

  /** What was booked at that time turned out otherwise. No effect once it left the window. */
  correct(bookedAt: number, requestsDelta: number, tokensDelta: number, now: number): void {
    const entry = this.#find(bookedAt, now);
    if (entry < 0) return;
    this.#requests += this.#add(entry + REQUESTS, requestsDelta);
    this.#tokens += this.#add(entry + TOKENS, tokensDelta);
  }

  /**
   * What was booked at that time reached Gemini only later: it leaves the window so much later too, with whatever else is in its
   * entry. No effect once it left.
   */
  arrive(bookedAt: number, arrivedAt: number, now: number): void {
    const entry = this.#find(bookedAt, now);
    if (entry < 0) return;
    const entries = this.#entries!;
    const next = entries[entry + STRIDE + LAST] ?? Infinity;
    entries[entry + LAST] = Math.max(entries[entry + LAST]!, Math.min(arrivedAt, next));
  }

  /** Of what was booked at that time, so much succeeded; less than 0 takes it back. No effect once it left the window. */
  succeed(bookedAt: number, requests: number, tokens: number, now: number): void {
    const entry = this.#find(bookedAt, now);
    if (entry < 0) return;
    this.#succeededRequests += this.#add(entry + SUCCEEDED_REQUESTS, requests);
    this.#succeededTokens += this.#add(entry + SUCCEEDED_TOKENS, tokens);
  }

  requests(now: number): number {
    this.#expire(now);
    return this.#requests;
  }

  tokens(now: number): number {
    this.#expire(now);
    return this.#tokens;
  }

  succeededRequests(now: number): number {
    this.#expire(now);
    return this.#succeededRequests;
  }

  succeededTokens(now: number): number {
    this.#expire(now);
    return this.#succeededTokens;
  }

  /**
   * The most that succeeded within some 60 s, these or ones of the last 24 h. Only the highest is kept, and while it is, no lower one
   * that comes after it.
   */
  mostSucceededRequests(now: number): number {
    return Math.max(this.succeededRequests(now), mostOf(this.#peakRequests, now));
  }

  mostSucceededTokens(now: number): number {
    return Math.max(this.succeededTokens(now), mostOf(this.#peakTokens, now));
  }

  /** When the oldest entry leaves; `now` when there is none. */
  oldestLeaves(now: number): number {
    this.#expire(now);
    return this.#entries === undefined ? now : this.#entries[this.#head + LAST]! + MINUTE_MS;
  }

  /** Time of the newest booking, undefined when there is none. */
  newest(now: number): number | undefined {
    this.#expire(now);
    return this.#entries?.at(LAST - STRIDE);
  }

  /**
   * When so much fits under the limits if nothing else comes: 0 now, Infinity never, as with a limit of 0. More tokens than the
   * limit fit once no others are counted: whether the limit is true, only Gemini can say.
   */
  readyAt(
    limits: { readonly requests?: number | undefined; readonly tokens?: number | undefined },
    wanted: { readonly requests: number; readonly tokens: number },
    now: number,
  ): number {
    this.#expire(now);
    const { requests: mostRequests = Infinity, tokens: mostTokens = Infinity } = limits;
    if (mostRequests <= 0 || mostTokens <= 0 || wanted.requests > mostRequests) return Infinity;
    let requestsOver = this.#requests + wanted.requests - mostRequests;
    let tokensOver = this.#tokens + Math.min(wanted.tokens, mostTokens) - mostTokens;
    const entries = this.#entries;
    if (entries === undefined || (requestsOver <= 0 && tokensOver <= 0)) return 0;
    // All that is wanted fits into an empty window, so the last entry is as far as this goes.
    let entry = this.#head;
    for (; entry < entries.length - STRIDE; entry += STRIDE) {
      requestsOver -= entries[entry + REQUESTS]!;
      tokensOver -= entries[entry + TOKENS]!;
      if (requestsOver <= 0 && tokensOver <= 0) break;
    }
    return entries[entry + LAST]! + MINUTE_MS;
  }

  /** Takes in what the other counted too. The other stays as it is. Peaks do not add up: they may be of different times. */
  merge(other: SlidingMinute, now: number): void {
    // What has left one of them never was in one window with what the other has.
    this.#expire(now);
    other.#expire(now);
    this.#peakRequests = higher(this.#peakRequests, other.#peakRequests, now);
    this.#peakTokens = higher(this.#peakTokens, other.#peakTokens, now);
    const merged = [...this.#all(), ...other.#all()].sort((a, b) => a[LAST] - b[LAST]);
    this.#clear();
    let anchor = -Infinity;
    for (const entry of merged) {
      // By the last booking of each, so that there are no more than 601 again. What joins leaves at most 200 ms late.
      const joins = entry[LAST] - anchor < ENTRY_MS;
      if (!joins) anchor = entry[LAST];
      this.#append(entry, joins);
    }
  }

  #all(): Entry[] {
    const all: Entry[] = [];
    const entries = this.#entries ?? [];
    for (let at = this.#head; at < entries.length; at += STRIDE) all.push(entries.slice(at, at + STRIDE) as Entry);
    return all;
  }

  #append([first, last, ...counts]: Entry, joins: boolean): void {
    const [requests, tokens, succeededRequests, succeededTokens] = counts;
    this.#requests += requests;
    this.#tokens += tokens;
    this.#succeededRequests += succeededRequests;
    this.#succeededTokens += succeededTokens;
    const entries = this.#entries;
    if (entries === undefined) {
      // Not pushed: the first push makes room for more than most windows ever have.
      this.#entries = [first, last, ...counts];
      return;
    }
    if (!joins) {
      entries.push(first, last, ...counts);
      return;
    }
    const newest = entries.length - STRIDE;
    entries[newest + FIRST] = Math.min(entries[newest + FIRST]!, first);
    entries[newest + LAST] = last;
    for (let i = 0; i < counts.length; i++) entries[newest + REQUESTS + i]! += counts[i]!;
  }

  /** The entry that a booking of that time is in, -1 when it has left. */
  #find(bookedAt: number, now: number): number {
    this.#expire(now);
    const entries = this.#entries;
    if (entries === undefined) return -1;
    // The first whose last booking is not before it.
    let low = this.#head / STRIDE;
    let high = entries.length / STRIDE;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (entries[middle * STRIDE + LAST]! < bookedAt) low = middle + 1;
      else high = middle;
    }
    const entry = low * STRIDE;
    return entry < entries.length && entries[entry + FIRST]! <= bookedAt ? entry : -1;
  }

  /** Adds to a number of an entry, which never falls below 0; gives what it changed by. */
  #add(index: number, delta: number): number {
    const entries = this.#entries!;
    const before = entries[index]!;
    const after = Math.max(0, before + delta);
    entries[index] = after;
    return after - before;
  }

  #expire(now: number): void {
    const entries = this.#entries;
    if (entries === undefined) return;
    let head = this.#head;
    const leaves = entries[head + LAST]! + MINUTE_MS;
    if (leaves > now) return;
    // The sums only fall while entries leave, so they are highest just before.
    this.#peakRequests = higher(this.#peakRequests, { most: this.#succeededRequests, at: leaves }, leaves);
    this.#peakTokens = higher(this.#peakTokens, { most: this.#succeededTokens, at: leaves }, leaves);
    // Not "last <= now - 60 s", which rounds another way than what readyAt says.
    while (head < entries.length && entries[head + LAST]! + MINUTE_MS <= now) {
      this.#requests -= entries[head + REQUESTS]!;
      this.#tokens -= entries[head + TOKENS]!;
      this.#succeededRequests -= entries[head + SUCCEEDED_REQUESTS]!;
      this.#succeededTokens -= entries[head + SUCCEEDED_TOKENS]!;
      head += STRIDE;
    }
    if (head === entries.length) {
      this.#clear();
    } else if (head > entries.length / 2) {
      // Each entry that is moved pays with one that left.
      entries.splice(0, head);
      this.#head = 0;
    } else {
      this.#head = head;
    }
  }

  #clear(): void {
    this.#entries = undefined;
    this.#head = 0;
    this.#requests = 0;
    this.#tokens = 0;
    this.#succeededRequests = 0;
    this.#succeededTokens = 0;
  }
}

function mostOf(peak: Peak | undefined, now: number): number {
  return peak !== undefined && now - peak.at < PEAK_MS ? peak.most : 0;
}

/** Of two the higher, of two alike the later; undefined when nothing succeeded, so that it costs nothing. */
function higher(a: Peak | undefined, b: Peak | undefined, now: number): Peak | undefined {
  const [ofA, ofB] = [mostOf(a, now), mostOf(b, now)];
  if (ofA === 0 && ofB === 0) return undefined;
  if (ofA === ofB) return a!.at > b!.at ? a : b;
  return ofA > ofB ? a : b;
}
