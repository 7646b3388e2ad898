import type { LimitName } from '../../gemini/finding.ts';

/** A lesson's value, and when it was taught, in wall-clock milliseconds since 1970; 0: none. */
type LessonColumns = { readonly [Name in LimitName as `${Name}Learned` | `${Name}LearnedAt`]: number };

/** What a database stores of a Meter. Times are wall-clock milliseconds since 1970. */
export interface MeterRow extends LessonColumns {
  /** The midnight that ends the day counted; 0: nothing is counted. */
  readonly dayEnd: number;
  readonly dayRequests: number;
  readonly dayTokens: number;
  /** Requests that succeeded, and their tokens. */
  readonly daySucceeded: number;
  readonly daySucceededTokens: number;
  /** Of the newest booking in the minute; 0: there is none. */
  readonly minuteTime: number;
  readonly minuteRequests: number;
  readonly minuteTokens: number;
}
