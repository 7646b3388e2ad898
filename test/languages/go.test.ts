import { describeClient } from './client-behaviour.ts';
import { prepareGo } from './toolchains.ts';

describeClient('Go', prepareGo);
