import { expect, test } from 'vitest';
import { withAwayPolicy } from '../../src/client/away-policy.ts';
import { OpenLeases } from '../../src/client/open-leases.ts';
import { remote } from './scripted-balancer.ts';

test('what is put around a balancer that becomes the owner of its data dir says so, too', () => {
  let isOwner = false;
  const shared = {
    ...remote('127.0.0.1:1'),
    get inProcess() {
      return isOwner;
    },
  };
  const around = new OpenLeases().around(withAwayPolicy(shared, 'fail', () => {}));
  expect(around.inProcess).toBe(false);
  isOwner = true;
  expect(around.inProcess).toBe(true);
});
