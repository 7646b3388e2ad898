/**
 * KeyBalancer's client: calls of Gemini with leased keys, and every method of the service.
 *
 *     const wrapper = createGeminiWrapper({ address: '127.0.0.1:50051' });
 *     const answer = await wrapper.executeWithRetry((ai) =>
 *       ai.models.generateContent({ model: 'gemini-2.5-flash', contents: 'Why is the sky blue?' }),
 *     );
 *     await wrapper.close();
 */
export type { Attempt } from './attempts.ts';
export type { Balancer, CallOptions, UnaryCalls } from './balancer.ts';
export { type ConnectOptions, connect } from './connect.ts';
export { KeyBalancerError, type ReasonName, type StatusName } from './errors.ts';
export type { ImportOptions, ImportSummary } from './key-file.ts';
export type { GenAIOptions } from './leased-genai.ts';
export { createGeminiWrapper, type GeminiFunction, type GeminiWrapper } from './wrapper.ts';
export type { GeminiWrapperOptions, RetryOptions } from './wrapper-options.ts';
