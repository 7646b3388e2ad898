import type { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireKey } from './acquire-key.ts';
import { renewLease } from './renew-lease.ts';
import { batchReportResults, reportResult } from './report-result.ts';
import type { ServiceContext } from './service-context.ts';
import type { ServiceFunctions } from './service-functions.ts';

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
    },
    keyAdmin: {},
  };
}
