import { describe } from 'vitest';
import { openStore } from '../../src/store/open-store.ts';
import { movedClock } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';
import type { StorePlace } from './conformance/bench.ts';
import { leasesConform } from './conformance/leases.ts';
import { managementConforms } from './conformance/management.ts';
import { quotasConform } from './conformance/quotas.ts';

function newPlace(): StorePlace {
  const dataDir = tempDir();
  const clock = movedClock();
  return {
    open: () => openStore({ dataDir, durability: 'normal', masterKey: {}, clock, random: () => 0 }),
    pass: (ms) => clock.move(ms),
  };
}

describe('the SQLite store keeps what the store interface promises', () => {
  leasesConform(newPlace);
  managementConforms(newPlace);
  quotasConform(newPlace);
});
