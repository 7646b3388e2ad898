/** A moment on both clocks. */
export interface Moment {
  /** Milliseconds on the engine's clock, which only goes forward. */
  readonly now: number;
  /** Wall-clock milliseconds since 1970, less now. It changes when the wall clock is set. */
  readonly wallOffset: number;
}
