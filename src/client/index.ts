/**
 * KeyBalancer's client: Gemini with leased keys, and every method of the service.
 *
 *     const balancer = createKeyBalancer({ address: '127.0.0.1:50051' });
 *     const ai = balancer.genai(); // a GoogleGenAI, used as ever
 *     const answer = await ai.models.generateContent({ model: 'gemini-2.5-flash', contents: 'Why is the sky blue?' });
 *     await balancer.close();
 */
export type { Attempt } from './attempts.ts';
export type { AwayOption } from './away-policy.ts';
export type { Balancer, CallOptions, ServerStreamingCall, UnaryCall, UnaryCalls } from './balancer.ts';
export type { ClientEventType, ListenerOf } from './client-events.ts';
export type { GeminiFunction, KeyBalancer, KeyBalancer as GeminiWrapper } from './client-interface.ts';
export { type ConnectOptions, connect } from './connect.ts';
export type { CredentialOptions, TlsOptions } from './credentials.ts';
export type { EmbeddedOptions } from './embedded.ts';
export { KeyBalancerError, type KeyBalancerErrorFields, type ReasonName, type StatusName } from './errors.ts';
export type { ClientEvent, ExhaustedEvent, LeaseEvent, ReportEvent, RetryEvent } from './events.ts';
export type { ImportSummary } from './import-summary.ts';
export { createKeyBalancer, createKeyBalancer as createGeminiWrapper } from './key-balancer.ts';
export type { ImportOptions } from './key-file.ts';
export type { KeyFileFormat } from './key-formats/formats.ts';
export type { BatchOptions, LeaseOptions } from './lease-options.ts';
export type { GenAIOptions, LeasedGenAIOptions } from './leased-genai.ts';
export type { Judgement, LeasedKey, Usage } from './leased-key.ts';
export type { KeyBalancerOptions, KeyBalancerOptions as GeminiWrapperOptions, RetryOptions } from './options.ts';
export type { RemoteOptions } from './remote.ts';
export type { WatchOptions } from './watch.ts';
