/** Numbers in [0, 1) that a seed alone decides (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    return mixed(state);
  };
}

/**
 * One number in [0, 1) for (index, salt), whoever asks and in whatever order. So a call meets the same luck under every
 * scheduler.
 */
export function noise(seed: number, index: number, salt: number): number {
  return mixed((Math.imul(index, 0x9e3779b1) ^ Math.imul(salt + 1, 0x85ebca6b) ^ Math.imul(seed, 0xc2b2ae35)) | 0);
}

/** Between `low` and `high`, each factor as likely as another: small values are more common than large ones. */
export function logUniform(dice: () => number, low: number, high: number): number {
  return low * (high / low) ** dice();
}

/** Between `low` and `high`, and twice as much half as often. */
export function paretoTo(dice: () => number, low: number, high: number): number {
  return low / (1 - dice() * (1 - low / high));
}

/** Normally distributed, mean 0 and variance 1 (Box and Muller). */
export function normal(dice: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice());
}

function mixed(state: number): number {
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
