import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test } from 'vitest';
import type { Balancer } from '../../src/client/balancer.ts';
import { KeyBalancerError } from '../../src/client/errors.ts';
import { Reports } from '../../src/client/reports.ts';
import { Outcome, ReportResultResponseSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

/** Takes reports only while `there`. */
class Desk {
  there = false;
  readonly taken: (string | undefined)[] = [];
  readonly balancer = {
    keyBalancer: {
      reportResult: async ({ leaseId }: { leaseId?: string }) => {
        if (!this.there) throw new KeyBalancerError('away', { code: 'UNAVAILABLE' });
        this.taken.push(leaseId);
        return create(ReportResultResponseSchema);
      },
    },
  } as unknown as Balancer;
}

function warned(): string[] {
  const warnings: string[] = [];
  const listen = (warning: Error): void => {
    if (warning.name === 'KeyBalancerWarning') warnings.push(warning.message);
  };
  process.on('warning', listen);
  onTestFinished(() => void process.off('warning', listen));
  return warnings;
}

test('reports wait for a balancer that is away, as many as may; the rest are lost, counted and told of once', async () => {
  const desk = new Desk();
  const warnings = warned();
  const reports = new Reports(desk.balancer, { mostWaiting: 2 });
  const sent = ['a', 'b', 'c', 'd', 'e'].map((leaseId) =>
    reports.send({ leaseId, outcome: Outcome.SUCCESS }, `key of ${leaseId}`),
  );
  expect(await Promise.all(sent.slice(2))).toEqual([undefined, undefined, undefined]);
  await expect.poll(() => warnings).toEqual(['a report on key key of c was lost: away']);
  desk.there = true;
  await reports.settled();
  expect(desk.taken.sort()).toEqual(['a', 'b']);
  reports.close();
  await expect.poll(() => warnings.at(-1)).toMatch(/^3 reports were lost/);
});

test('reports that are lost later are told of by their number, though nobody closes', async () => {
  const warnings = warned();
  const reports = new Reports(new Desk().balancer, { mostWaiting: 0, tellMs: 1 });
  const lose = async (count: number) => {
    for (let lost = 0; lost < count; lost++) await reports.send({ leaseId: 'a', outcome: Outcome.SUCCESS }, 'key');
  };
  await lose(1);
  await expect.poll(() => warnings).toEqual(['a report on key key was lost: away']);
  await lose(3);
  await expect.poll(() => warnings.at(-1)).toMatch(/^4 reports were lost/);
  const { length } = warnings;
  reports.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(warnings).toHaveLength(length);
});

test('a report that is refused is not sent again', async () => {
  let sent = 0;
  const refusing = {
    keyBalancer: {
      reportResult: async () => {
        sent++;
        throw new KeyBalancerError('no such lease', { code: 'NOT_FOUND', reason: 'LEASE_NOT_FOUND' });
      },
    },
  } as unknown as Balancer;
  expect(await new Reports(refusing).send({ leaseId: 'a', outcome: Outcome.SUCCESS }, 'key')).toBeUndefined();
  expect(sent).toBe(1);
});
