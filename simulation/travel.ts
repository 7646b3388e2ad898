import { noise } from './random.ts';

/** From the grant of a key to the arrival of the request at Gemini. */
export const LONGEST_TRANSIT_MS = 40;
const SHORTEST_TRANSIT_MS = 5;
const QUICKEST_ANSWER_MS = 300;
const SLOWEST_ANSWER_MS = 3_000;
/** A refusal takes a tenth of an answer's time. */
const REFUSAL_SHARE = 0.1;

/** What happens to one attempt of a call, the same under every scheduler. */
export interface Travel {
  transitMs: number;
  /** In [0, 1): small numbers meet a server error. */
  luck: number;
}

export function travelOf(seed: number, call: number, attempt: number): Travel {
  return {
    transitMs: SHORTEST_TRANSIT_MS + noise(seed, call, 3 * attempt) * (LONGEST_TRANSIT_MS - SHORTEST_TRANSIT_MS),
    luck: noise(seed, call, 3 * attempt + 1),
  };
}

/** From a request's arrival to its answer's, short ones more common than long ones. */
export function latencyMs(seed: number, call: number, attempt: number, refused: boolean): number {
  const share = noise(seed, call, 3 * attempt + 2);
  const answer = QUICKEST_ANSWER_MS * (SLOWEST_ANSWER_MS / QUICKEST_ANSWER_MS) ** share;
  return refused ? answer * REFUSAL_SHARE : answer;
}
