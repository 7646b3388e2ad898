import type { KeyAdminService } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ServiceContext } from '../service-context.ts';
import type { ServiceFunctions } from '../service-functions.ts';
import { listImports } from './list-imports.ts';
import { listKeys } from './list-keys.ts';
import { createKey, deleteKey, getKey, resetKey, updateKey } from './manage-keys.ts';
import { listLeases, revokeLease } from './manage-leases.ts';
import { createPool, deletePool, listPools, updatePool } from './manage-pools.ts';
import { deleteQuota, listQuotas, setQuota } from './manage-quotas.ts';
import { testKeys } from './test-keys.ts';

/** Management of keys, leases, pools and quotas. */
export function createKeyAdminService(context: ServiceContext): ServiceFunctions<typeof KeyAdminService> {
  return {
    listKeys: (request) => listKeys(context, request),
    getKey: (request) => getKey(context, request),
    createKey: (request, call) => createKey(context, request, call),
    updateKey: (request, call) => updateKey(context, request, call),
    deleteKey: (request) => deleteKey(context, request),
    resetKey: (request) => resetKey(context, request),
    testKeys: (request, call) => testKeys(context, request, call),
    listLeases: (request) => listLeases(context, request),
    revokeLease: (request) => revokeLease(context, request),
    listImports: (request) => listImports(context, request),
    listPools: (request) => listPools(context, request),
    createPool: (request, call) => createPool(context, request, call),
    updatePool: (request) => updatePool(context, request),
    deletePool: (request) => deletePool(context, request),
    listQuotas: (request) => listQuotas(context, request),
    setQuota: (request) => setQuota(context, request),
    deleteQuota: (request) => deleteQuota(context, request),
  };
}
