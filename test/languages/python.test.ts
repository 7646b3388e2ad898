import { describeClient } from './client-behaviour.ts';
import { preparePython } from './toolchains.ts';

describeClient('Python', preparePython);
