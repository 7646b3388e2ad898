import { expect, test } from 'vitest';
import { setRests } from '../../src/engine/cooldowns.ts';
import { setLimits } from '../../src/engine/gates.ts';
import { allowsModel, readyAt } from '../../src/engine/key.ts';
import type { Rest } from '../../src/engine/rest.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { countKeys, modelUsages } from '../../src/store/sqlite/model-stats.ts';
import { Rig } from '../engine/rig.ts';

const MODELS = ['', 'pro', 'flash', 'embed'];

test('keys are counted for each model as one by one, and others run meanwhile', async () => {
  const rig = new Rig();
  for (const model of MODELS) rig.pool.usageOf(model);
  const rest = (model: string, until: number, probeAt = Infinity): Rest => ({
    model,
    cause: ErrorClass.RATE_LIMITED_MINUTE,
    since: rig.now,
    until,
    strikes: 0,
    probeAt,
    afterEnd: 'over',
    forgetAt: until,
    dayEnd: undefined,
    trial: undefined,
  });
  for (let i = 0; i < 6_000; i++) {
    const key = rig.addKey({
      models: i % 5 === 0 ? ['pro', 'embed'] : [],
      disabled: i % 11 === 0,
      project: `p${i % 40}`,
    });
    if (i % 3 === 0) setRests(rig.engine, key, [rest(MODELS[i % 4]!, rig.now + 1_000 + i)], rig.now);
  }
  setRests(rig.engine, rig.engine.project('p7'), [rest('flash', rig.now + 50)], rig.now);
  setRests(rig.engine, rig.engine.project('p8'), [rest('', rig.now + 90)], rig.now);
  setRests(rig.engine, rig.engine.project('p9'), [rest('pro', rig.now + 9_000, rig.now + 30)], rig.now);
  setLimits(rig.engine, rig.engine.project('p10'), 'embed', { requestsPerDay: 0 }, rig.now);
  const wallOffset = 5_000_000;
  const at = rig.engine.moment(rig.now);

  let ran = 0;
  let others = setImmediate(function run() {
    ran++;
    others = setImmediate(run);
  });
  const models = modelUsages(rig.pool);
  await countKeys(rig.engine, rig.pool, models, { now: () => rig.now, wallOffset: () => wallOffset });
  clearImmediate(others);

  expect(models.map(({ model }) => model)).toEqual(MODELS);
  for (const { model, availableKeys, nextAvailableTime } of models) {
    const enabled = rig.pool.keys.filter((key) => key !== undefined && !key.settings.disabled);
    const untils = enabled.filter((key) => allowsModel(key!, model)).map((key) => readyAt(key!, model, 0, at));
    expect(availableKeys).toBe(untils.filter((until) => until === 0).length);
    expect(nextAvailableTime).toBe(Math.min(...untils.filter((until) => until > 0)) + wallOffset);
  }
  expect(ran).toBeGreaterThan(0);
});
