import type { WatchHealthResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';

/**
 * Why what a sink is told is not every single change:
 *
 *   reset    the server cannot tell what happened since; a snapshot of all there is follows
 *   resumed  nobody watched for a while; what changed then follows as it stands now, or was over before
 *   merged   the sink is slow, so that several changes of a key or pool come as one
 */
export type GapReason = 'reset' | 'resumed' | 'merged';

export interface Gap {
  reason: GapReason;
  /** When it was found, in unix milliseconds. */
  time: number;
  /** Changes that are told within others, by the server's count; 0: nobody knows how many. */
  changes: number;
}

/** What there is to tell: a change, one key or one pool of a snapshot, or that something is missing. */
export type Told = { health: WatchHealthResponse } | { gap: Gap };

/** What the watch gave. */
export interface Noticed {
  /** undefined: nothing for the sink, but the token moved on. */
  told: Told | undefined;
  /** Where a watch goes on after this; "": not known yet, as in the middle of a snapshot. */
  resumeToken: string;
}

/** What a sink is told, with the name under which it is sent again and again until the sink has it. */
export interface BridgeEvent {
  /** Of this event and of no other, over restarts of the bridge too. */
  id: string;
  told: Told;
  resumeToken: string;
  /** When the bridge had it, in unix milliseconds. */
  observedTime: number;
}
