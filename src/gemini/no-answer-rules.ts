import { ErrorClass, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { begins, both, closeCode, leadSays, type Rule, transport, wordsOnly } from './rule.ts';

/** Where no HTTP status tells anything: asked after all rules for answers. */
export const NO_ANSWER_RULES: readonly Rule[] = [
  // How the call ended, in the client's words.
  {
    name: 'call-cancelled',
    applies: transport(TransportFailure.CANCELLED),
    errorClass: ErrorClass.CANCELLED,
    scope: 'none',
  },
  {
    name: 'call-timed-out',
    applies: transport(TransportFailure.TIMEOUT),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  {
    name: 'connection-failed',
    applies: transport(TransportFailure.CONNECT, TransportFailure.RESET, TransportFailure.CUT),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },

  // The reason of a closed live session, which is the REST message cut to 123 bytes.
  {
    name: 'live-not-found',
    applies: both(
      closeCode(1007, 1008, 1011),
      begins(/^(?:models\/\S{1,200} is not found|Requested entity was not found|Publisher Model )/),
    ),
    errorClass: ErrorClass.NOT_FOUND,
    scope: 'none',
  },
  {
    name: 'live-bad-request',
    applies: both(
      closeCode(1008, 1011),
      begins(/^(?:Request contains an invalid argument|Invalid (?:JSON|value)|Operation is not implemented)/),
    ),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  {
    name: 'live-unavailable',
    applies: both(closeCode(1008, 1011), leadSays('service is currently unavailable')),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },
  {
    name: 'live-timeout',
    applies: both(closeCode(1008, 1011), leadSays('deadline expired')),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  { name: 'live-policy', applies: closeCode(1008), errorClass: ErrorClass.PERMISSION, scope: 'project-model' },
  { name: 'live-internal', applies: closeCode(1011, 1014), errorClass: ErrorClass.SERVER_ERROR, scope: 'none' },
  { name: 'live-try-later', applies: closeCode(1012, 1013), errorClass: ErrorClass.OVERLOADED, scope: 'none' },
  {
    name: 'live-protocol',
    applies: closeCode(1002, 1003, 1007, 1009, 1010),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  { name: 'live-ended', applies: closeCode(1001, 1005, 1006, 1015), errorClass: ErrorClass.NETWORK, scope: 'none' },

  // The words of a JavaScript error, for clients that report nothing else.
  {
    name: 'aborted',
    applies: both(
      wordsOnly,
      begins(
        /^(?:(?:DOMException|Error): )?(?:AbortError|TimeoutError|This operation was aborted|The operation was aborted)/,
      ),
    ),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  {
    name: 'fetch-failed',
    applies: both(
      wordsOnly,
      begins(
        /^(?:[A-Za-z]{1,40}: )?(?:fetch failed|terminated|Connection error|socket hang up|other side closed|(?:read|write|connect|getaddrinfo) [A-Z_]{4,20}|Live connection failed)/,
      ),
    ),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },
  {
    name: 'broken-json-answer',
    applies: both(wordsOnly, begins(/^(?:SyntaxError\b|Incomplete JSON segment|Unexpected (?:end of JSON|token ))/)),
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
];
