import { normal, seeded } from './random.ts';
import { capacity, HOUR_MS, MINUTE_MS, MODELS, type World } from './world.ts';

/** Of what all projects admit. */
const SHARE_OF_CAPACITY = 0.7;
/** The rate is one number for so long. */
const SLOT_MS = 10_000;
/** The busiest hour has (1 + SWING) / (1 - SWING) times the calls of the quietest, half a day apart. */
const SWING = 0.4;
/** Bursts: the logarithm of each model's rate wanders with this deviation, and forgets where it was in this time. */
const BURST_DEVIATION = 0.8;
const BURST_MS = 3 * MINUTE_MS;

/** What callers want in the day, by time: the same for every scheduler. */
export interface Load {
  readonly count: number;
  readonly times: Float64Array;
  readonly models: Uint8Array;
  /** Of all models. */
  readonly capacity: number;
}

/** A Poisson process whose rate follows the hour and bursts of each model; a model's share is its share of capacity. */
export function drawLoad(world: World): Load {
  const dice = seeded(world.seed ^ 0x10ad);
  const slots = (world.end - world.start) / SLOT_MS;
  const capacities = Array.from({ length: MODELS }, (_, model) => capacity(world, model));
  const wanted = capacities.map((calls) => calls * SHARE_OF_CAPACITY);
  const rates = wanted.map((calls) => ratesOf(calls, slots, dice));
  const room = Math.ceil(wanted.reduce((a, b) => a + b) * 1.02);
  const times = new Float64Array(room);
  const models = new Uint8Array(room);
  let count = 0;
  for (let slot = 0; slot < slots; slot++) {
    const total = rates.reduce((sum, rate) => sum + rate[slot]!, 0);
    let at = gap(dice, total);
    while (at < 1 && count < room) {
      times[count] = world.start + (slot + at) * SLOT_MS;
      models[count++] = modelAt(rates, slot, dice() * total);
      at += gap(dice, total);
    }
  }
  return { count, times, models, capacity: capacities.reduce((a, b) => a + b) };
}

/** Expected calls for each slot, `calls` altogether. */
function ratesOf(calls: number, slots: number, dice: () => number): Float64Array {
  const rates = new Float64Array(slots);
  const kept = Math.exp(-SLOT_MS / BURST_MS);
  let burst = normal(dice);
  let sum = 0;
  for (let slot = 0; slot < slots; slot++) {
    // The day starts at noon, when most is wanted.
    const daily = 1 + SWING * Math.cos((2 * Math.PI * slot * SLOT_MS) / (24 * HOUR_MS));
    rates[slot] = daily * Math.exp(BURST_DEVIATION * burst);
    sum += rates[slot]!;
    burst = kept * burst + Math.sqrt(1 - kept * kept) * normal(dice);
  }
  return rates.map((rate) => (rate * calls) / sum);
}

/** Time to the next call, in slots. */
function gap(dice: () => number, rate: number): number {
  return -Math.log(1 - dice()) / rate;
}

function modelAt(rates: readonly Float64Array[], slot: number, point: number): number {
  let model = 0;
  for (let left = point - rates[0]![slot]!; left >= 0 && model < MODELS - 1; left -= rates[model]![slot]!) model++;
  return model;
}
