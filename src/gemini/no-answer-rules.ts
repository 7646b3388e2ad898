import { ErrorClass, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { begins, both, closeCode, leadSays, type Rule, transport, wordsOnly } from './rule.ts';

/** Where no HTTP status tells anything: asked after all rules for answers. */
export const NO_ANSWER_RULES: readonly Rule[] = [
  // How the call ended, in the client's words.
  {
    name: 'call-cancelled',
    because: 'transport failure CANCELLED: the caller gave up',
    applies: transport(TransportFailure.CANCELLED),
    errorClass: ErrorClass.CANCELLED,
    scope: 'none',
  },
  {
    name: 'call-timed-out',
    because: 'transport failure TIMEOUT',
    applies: transport(TransportFailure.TIMEOUT),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  {
    name: 'connection-failed',
    because: 'transport failure CONNECT, RESET or CUT',
    applies: transport(TransportFailure.CONNECT, TransportFailure.RESET, TransportFailure.CUT),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },

  // The reason of a closed live session, which is the REST message cut to 123 bytes.
  {
    name: 'live-not-found',
    because: 'a live session closed because there is no such model or resource',
    applies: both(
      closeCode(1007, 1008, 1011),
      begins(/^(?:models\/\S{1,200} is not found|Requested entity was not found|Publisher Model )/),
    ),
    errorClass: ErrorClass.NOT_FOUND,
    scope: 'none',
  },
  {
    name: 'live-bad-request',
    because: 'a live session closed because of what was sent',
    applies: both(
      closeCode(1008, 1011),
      begins(/^(?:Request contains an invalid argument|Invalid (?:JSON|value)|Operation is not implemented)/),
    ),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  {
    name: 'live-unavailable',
    because: 'a live session closed because the service is unavailable',
    applies: both(closeCode(1008, 1011), leadSays('service is currently unavailable')),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },
  {
    name: 'live-timeout',
    because: 'a live session closed because a deadline expired',
    applies: both(closeCode(1008, 1011), leadSays('deadline expired')),
    errorClass: ErrorClass.TIMEOUT,
    scope: 'none',
  },
  {
    // Policy is what Google closes with for anything that it does not want; only these words speak of the key.
    name: 'live-refused',
    because: 'close code 1008 with a reason that does not speak of permission',
    applies: both(
      closeCode(1008),
      ({ message, lead }) =>
        message !== '' &&
        !/permission|denied|not allowed|unauthori[sz]ed|not authori[sz]ed|unauthenticated|forbidden|blocked|disabled|not enabled|restricted|allowlist/.test(
          lead,
        ),
    ),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  {
    name: 'live-policy',
    because: 'close code 1008 without a reason, or with one that speaks of permission',
    applies: closeCode(1008),
    errorClass: ErrorClass.PERMISSION,
    scope: 'project-model',
  },
  {
    name: 'live-internal',
    because: 'close code 1011 or 1014',
    applies: closeCode(1011, 1014),
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
  {
    name: 'live-try-later',
    because: 'close code 1012 or 1013',
    applies: closeCode(1012, 1013),
    errorClass: ErrorClass.OVERLOADED,
    scope: 'none',
  },
  {
    name: 'live-protocol',
    because: 'a close code of what was sent: 1002, 1003, 1007, 1009 or 1010',
    applies: closeCode(1002, 1003, 1007, 1009, 1010),
    errorClass: ErrorClass.BAD_REQUEST,
    scope: 'none',
  },
  {
    name: 'live-ended',
    because: 'close code 1001, 1005, 1006 or 1015: the connection ended',
    applies: closeCode(1001, 1005, 1006, 1015),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },

  // The words of a JavaScript error, for clients that report nothing else.
  {
    name: 'aborted',
    because: 'the words of an AbortError or TimeoutError',
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
    because: 'the words of a connection that failed',
    applies: both(
      wordsOnly,
      begins(
        /^(?:[A-Za-z]{1,40}: )?(?:fetch failed|terminated|Connection error|socket hang up|other side closed|(?:read|write|connect|getaddrinfo) [A-Z_]{4,20}|Live connection failed|WebSocket is not connected|Premature close)/,
      ),
    ),
    errorClass: ErrorClass.NETWORK,
    scope: 'none',
  },
  {
    name: 'broken-json-answer',
    because: 'the words of a SyntaxError or of an answer that @google/genai could not use',
    applies: both(
      wordsOnly,
      begins(
        /^(?:SyntaxError\b|Incomplete JSON segment|Unexpected (?:end of JSON|token |Status or Content-Type|response type from download)|Failed to (?:upload file: Upload status|get upload url)|All content has been uploaded, but|Server did not return an HttpResponse)/i,
      ),
    ),
    errorClass: ErrorClass.SERVER_ERROR,
    scope: 'none',
  },
];
