/**
 * What most want of KeyBalancer: Gemini with leased keys. Every method of the service is in keybalancer/client, the server in
 * keybalancer/server, a fake Gemini for tests in keybalancer/testing, the messages in keybalancer/gen.
 *
 *     const balancer = createKeyBalancer({ address: '127.0.0.1:50051' });
 *     const ai = balancer.genai(); // a GoogleGenAI, used as ever
 */
export {
  type Attempt,
  type AwayOption,
  type BatchOptions,
  type ClientEvent,
  type ClientEventType,
  type CredentialOptions,
  createGeminiWrapper,
  createKeyBalancer,
  type ExhaustedEvent,
  type GeminiFunction,
  type GeminiWrapper,
  type GeminiWrapperOptions,
  type GenAIOptions,
  type ImportOptions,
  type ImportSummary,
  type Judgement,
  type KeyBalancer,
  KeyBalancerError,
  type KeyBalancerErrorFields,
  type KeyBalancerOptions,
  type KeyFileFormat,
  type LeasedKey,
  type LeaseEvent,
  type LeaseOptions,
  type ListenerOf,
  type ReasonName,
  type ReportEvent,
  type RetryEvent,
  type RetryOptions,
  type StatusName,
  type TlsOptions,
  type Usage,
  type WatchOptions,
} from './client/index.ts';
