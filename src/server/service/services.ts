import type { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireKey } from './acquire-key.ts';
import { createKeyAdminService } from './admin/key-admin-service.ts';
import { batchGetKeys } from './batch-get-keys.ts';
import { getStats } from './get-stats.ts';
import { importKeys } from './import-keys.ts';
import { renewLease } from './renew-lease.ts';
import { batchReportResults, reportResult } from './report-result.ts';
import type { ServiceContext } from './service-context.ts';
import type { ServiceFunctions } from './service-functions.ts';
import { session } from './session/session.ts';
import { watchHealth } from './watch-health/watch-health.ts';

/** Everything that each door of the server offers. */
export interface Services {
  keyBalancer: ServiceFunctions<typeof KeyBalancerService>;
  keyAdmin: ServiceFunctions<typeof KeyAdminService>;
}

export function createServices(context: ServiceContext): Services {
  return {
    keyBalancer: {
      acquireKey: (request, call) => acquireKey(context, request, call),
      reportResult: (request, call) => reportResult(context, request, call),
      batchReportResults: (request, call) => batchReportResults(context, request, call),
      renewLease: (request, call) => renewLease(context, request, call),
      batchGetKeys: (request, call) => batchGetKeys(context, request, call),
      importKeys: (request, call) => importKeys(context, request, call),
      getStats: (request, call) => getStats(context, request, call),
      watchHealth: (request, call) => watchHealth(context, request, call),
      session: (requests, call) => session(context, requests, call),
    },
    keyAdmin: createKeyAdminService(context),
  };
}
